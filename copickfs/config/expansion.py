"""Expansion of ``~``, environment variables and relative paths in the values of a configuration.

In a file ``$NAME`` and ``${NAME}`` stand for an environment variable, ``$$`` for a dollar sign. A ``$`` that
is followed by neither a name nor a brace is an ordinary character.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

_REFERENCE = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<brace>\{[^}]*\}?))", re.ASCII
)
_NAME = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}", re.ASCII)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*(://|::)")
_LOCAL = re.compile(r"(?:file|local):(?://)?")


def expand_variables(text: str, *, strict: bool = True, secret: bool = False) -> str:
    """``text`` with its references to environment variables replaced.

    Args:
        text: A value from a configuration file.
        strict: False leaves everything but references to variables that are set as it is, ``$$`` too.
        secret: ``text`` may be a password with a dollar sign in it: the error names a variable only if it is
            written ``${NAME}``, or is all of ``text`` and in capital letters.

    Raises:
        ValueError: A variable is not set, or ``${`` is not followed by a name and ``}``.
    """

    def replacement(match: re.Match[str]) -> str:
        if match["dollar"]:
            return "$" if strict else match[0]
        braced = _NAME.fullmatch(match["brace"] or "")
        name = match["name"] or (braced[1] if braced else None)
        if name is not None and name in os.environ:
            return os.environ[name]
        if not strict:
            return match[0]
        if name is None:
            raise ValueError("'${' must be followed by a variable's name and '}'; write $$ for a dollar sign")
        shown = name if not secret or braced or (match[0] == text and name.isupper()) else "after the '$'"
        raise ValueError(f"environment variable {shown} is not set; set it, or write $$ for a dollar sign")

    return _REFERENCE.sub(replacement, text)


def expand_argument(text: str, *, strict: bool = True) -> str:
    """``text`` with variables and a leading ``~/`` expanded; it may be a path, a password or anything else.

    Raises:
        ValueError: See `expand_variables`.
    """
    text = expand_variables(text, strict=strict, secret=True)
    return str(Path.home()) + text[1:] if text == "~" or text.startswith("~/") else text


def escape(value: Any) -> Any:
    """``value`` as it is written in a file: the inverse of the expansion of variables."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, dict):
        return {key: escape(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [escape(item) for item in value]
    return value


def is_url(root: str) -> bool:
    """True for ``protocol://...`` and for chained URLs (``simplecache::s3://...``)."""
    return _URL.match(root) is not None


def resolve_root(root: str, base_directory: Path) -> str:
    """An absolute path, or the URL as it is; ``local://`` and ``file://`` are paths.

    Raises:
        ValueError: See `resolve_path`.
    """
    if "::" not in root:
        root = _LOCAL.sub("", root, count=1) if _LOCAL.match(root) else root
    return root if is_url(root) else resolve_path(root, base_directory)


def resolve_path(path: str, base_directory: Path) -> str:
    """``path`` with ``~`` expanded, below ``base_directory`` if it is relative.

    ``..`` is kept: what it means behind a symbolic link is the kernel's business.

    Raises:
        ValueError: The path is empty, contains NUL, or names the home of a user that does not exist.
    """
    if not path.strip():
        raise ValueError("must not be empty; give a path or a URL")
    if "\0" in path:
        raise ValueError("must not contain a NUL character")
    try:
        return str(base_directory / (Path(path).expanduser() if path.startswith("~") else path))
    except RuntimeError:
        raise ValueError("no such user's home directory; write ./~ for a name that begins so") from None
