"""Where the journals of layers are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copickfs.basedirs import state_home

if TYPE_CHECKING:
    from pathlib import Path


def default_journal_directory() -> Path:
    """Where this user's journals are, unless another place is named."""
    return state_home() / "copickfs" / "journal"
