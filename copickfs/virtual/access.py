"""Who may read a file that is made of others: nobody who could not read all of them."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from copickfs.model import Entry

_READ, _SEARCH = 4, 1
_OWNER, _GROUP = 6, 3


class Access(NamedTuple):
    """Whom a file or a directory is open to: the ``st_mode``, ``st_uid`` and ``st_gid`` of its entry."""

    mode: int
    uid: int
    gid: int

    @property
    def who(self) -> tuple[bool, bool, bool]:
        """If its owner, its group, and all others may read the file, or go through the directory."""
        bit = _SEARCH if stat.S_ISDIR(self.mode) else _READ
        return bool(self.mode >> _OWNER & bit), bool(self.mode >> _GROUP & bit), bool(self.mode & bit)


def access_of(entry: Entry) -> Access:
    """Whom an entry is open to."""
    return Access(entry.mode, entry.uid, entry.gid)


def mode_within(of: Entry, sources: Iterable[Access]) -> int:
    """The permissions of a file that is made of ``sources`` and has the owner and the group of ``of``.

    Those of ``of``, without reading for a class of users of which one might not read all sources.
    """
    owner = group = other = True
    for source in set(sources):
        theirs = source.who
        is_same_group = source.gid == of.gid
        owner &= theirs[0 if source.uid == of.uid else 1 if is_same_group else 2]
        group &= theirs[1 if is_same_group else 2]
        other &= theirs[2] and (is_same_group or theirs[1])
    may_read = (owner << _OWNER | group << _GROUP | other) * _READ
    return of.mode & 0o222 | of.mode & may_read
