"""The base directories of this user, as the XDG Base Directory Specification has them."""

from __future__ import annotations

import os
from pathlib import Path


def cache_home() -> Path:
    """Where what can be made again is kept. Raises `RuntimeError` if the user has no home."""
    return _named("XDG_CACHE_HOME") or Path("~/.cache").expanduser()


def state_home() -> Path:
    """Where logs and journals are kept. Raises `RuntimeError` if the user has no home."""
    return _named("XDG_STATE_HOME") or Path("~/.local/state").expanduser()


def runtime_home() -> Path | None:
    """Where sockets are; None if nothing says so."""
    return _named("XDG_RUNTIME_DIR")


def _named(variable: str) -> Path | None:
    """What a variable names; a relative path is to be ignored, for it means another place each time."""
    path = Path(os.environ.get(variable, ""))
    return path if path.is_absolute() else None
