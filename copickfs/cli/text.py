"""Names as a terminal may show them."""

from __future__ import annotations


def printable(text: str) -> str:
    """A name may hold anything, also what would move the cursor of a terminal."""
    shown = text.encode(errors="backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)
