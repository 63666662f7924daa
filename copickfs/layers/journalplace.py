"""Where the journals of layers are."""

from __future__ import annotations

import os
from pathlib import Path


def default_journal_directory() -> Path:
    """Where this user's journals are, unless another place is named."""
    state = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
    return state / "copickfs" / "journal"


def has_pending(journal: Path) -> bool:
    """True if something may wait in this journal, or be in use there."""
    try:
        return any(journal.iterdir())
    except OSError:
        return False
