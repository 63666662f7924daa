"""Where the journal of a layer is."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from copickfs.layers.sources.redaction import shown_url

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TELLING_ARGUMENTS = ("endpoint_url", "host", "port", "account_name", "project", "share")


def default_journal_directory() -> Path:
    """Where this user's journals are, unless another place is named."""
    state = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
    return state / "copickfs" / "journal"


def journal_name(root_url: str, fs_args: Mapping[str, Any]) -> str:
    """A name for the journal of a layer root: the same for the same place, without a secret in it."""
    told = {key: str(value) for key, value in _leaves(fs_args) if key in _TELLING_ARGUMENTS}
    place = json.dumps([shown_url(root_url).rstrip("/"), sorted(told.items())])
    return hashlib.sha256(place.encode(errors="surrogateescape")).hexdigest()[:32]


def _leaves(arguments: Mapping[str, Any]) -> Sequence[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in arguments.items():
        found += _leaves(value) if isinstance(value, dict) else [(key, value)]
    return found
