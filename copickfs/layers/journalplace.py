"""Where the journals of layers are."""

from __future__ import annotations

import os
from pathlib import Path


def default_journal_directory() -> Path:
    """Where this user's journals are, unless another place is named."""
    state = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
    return state / "copickfs" / "journal"
