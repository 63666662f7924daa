"""Volumes that no MRC file can be made of, which is found out only while they are read."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from copickfs.errors import NotADirectory, NotFound
from copickfs.virtual.volumes.chunkfiles import ABSENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copickfs.errors import Unreadable
    from copickfs.virtual.sources import Source

_log = logging.getLogger(__name__)
_MAX_REMEMBERED = 10_000


class Refusals:
    """Remembers them, as long as what was found there is the same. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._refused: dict[str, Mapping[str, str]] = {}

    def add(self, name: str, versions: Mapping[str, str], error: Unreadable) -> None:
        """Remember a volume, and say in the log once why it is refused.

        Args:
            name: What the volume is known by.
            versions: What was looked at, by paths in the store, and its versions.
            error: Why.
        """
        with self._lock:
            if self._refused.get(name) == versions:
                return
            if len(self._refused) >= _MAX_REMEMBERED:
                self._refused.clear()
            self._refused[name] = versions
        _log.warning("no .mrc file can be made of %s", error)

    def has(self, name: str, source: Source) -> bool:
        """True if a volume is refused. What is looked at for that is remembered in ``source``."""
        versions = self._refused.get(name)
        if versions is None:
            return False
        if all(_version(source, inner) == version for inner, version in versions.items()):
            return True
        with self._lock:
            self._refused.pop(name, None)
        return False


def _version(source: Source, inner: str) -> str:
    try:
        return source.stat(inner).version
    except (NotFound, NotADirectory):
        return ABSENT
