"""Names in the database: text where they are UTF-8, bytes where they are not."""

from __future__ import annotations


def stored(name: str) -> str | bytes:
    """A name as it is bound to a statement; one name always in the same way."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return name.encode(errors="surrogateescape")
    return name


def shown(value: str | bytes) -> str:
    """A name as it was."""
    return value if isinstance(value, str) else value.decode(errors="surrogateescape")


def words(name: str) -> str:
    """A name as it is searched in: what is not UTF-8 cannot be asked for."""
    return name.encode(errors="replace").decode() if not name.isascii() else name
