"""Where the journals of layers are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copickfs.basedirs import state_home

if TYPE_CHECKING:
    from pathlib import Path


def default_journal_directory() -> Path:
    """Where this user's journals are, unless another place is named."""
    return state_home() / "copickfs" / "journal"


def has_pending(journal: Path) -> bool:
    """True if something may wait in this journal, or be in use there."""
    try:
        return any(journal.iterdir())
    except OSError:
        return False
