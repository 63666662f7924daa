"""Where the journals of layers are, and which of them wait for a mount."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from copickfs.basedirs import state_home

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK = "lock"
"""In a daemon's place: held while it lives; holds the address that the changes are for."""

_LOCKS = Path("/proc/locks")
_INODE = 5


class Waiting(NamedTuple):
    """A journal with changes that no running daemon of this machine sends.

    Attributes:
        directory: Where it is.
        root: The layer root that they are for, without secrets; ``""`` if that is not known.
        entries: How many they are.
    """

    directory: Path
    root: str
    entries: int

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return (
            "mount a configuration that writes to this root, spelt as it is here, and they are sent; "
            "or remove the directory to give them up"
        )

    def in_words(self) -> str:
        """For people, in one line."""
        number = "1 change waits" if self.entries == 1 else f"{self.entries} changes wait"
        return f"{number} for {self.root or 'a root that is not known'} in {self.directory}: {self.remedy}"


def default_journal_directory() -> Path:
    """Where this user's journals are, unless another place is named."""
    return state_home() / "copickfs" / "journal"


def waiting_journals(directory: Path | None = None) -> list[Waiting]:
    """The journals of this user that nobody sends. Takes no lock and changes nothing; never raises.

    Args:
        directory: Where journals are; None for the user's state directory.
    """
    with contextlib.suppress(OSError, RuntimeError):
        found = [
            _waiting(journal) for journal in sorted((directory or default_journal_directory()).iterdir())
        ]
        return [journal for journal in found if journal.entries]
    return []


def _waiting(journal: Path) -> Waiting:
    root, entries = "", 0
    held = _held_inodes()
    for place in _places(journal):
        with contextlib.suppress(OSError):
            lock = place / LOCK
            if lock.stat().st_ino in held:
                continue
            root = lock.read_text(encoding="utf-8", errors="replace") or root
            entries += sum(name.endswith(".json") for name in os.listdir(place / "entries"))  # noqa: PTH208
    return Waiting(journal, root, entries)


def _places(journal: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        yield from sorted(place for place in journal.iterdir() if place.name.isdigit())


def _held_inodes() -> set[int]:
    """The files that somebody holds. To try a lock would be in the way of a daemon that starts just now."""
    with contextlib.suppress(OSError):
        lines = _LOCKS.read_text(encoding="ascii", errors="replace").splitlines()
        fields = [line.split() for line in lines]
        return {int(each[_INODE].rpartition(":")[2]) for each in fields if each[1:2] == ["FLOCK"]}
    return set()
