"""From the entries of the view to the attributes that the kernel gets."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pyfuse3

from copickfs.layers.base import LISTED_TTL_S, POLLED_TTL_S

if TYPE_CHECKING:
    from copickfs.model import Entry


class Attributes:
    """Fills one `pyfuse3.EntryAttributes`, again and again.

    pyfuse3 copies it out before anything else runs on the event loop, so one object serves every
    answer, and the making of one is saved for each name of each listing.
    """

    def __init__(self) -> None:
        self._attributes = pyfuse3.EntryAttributes()
        self._negative = pyfuse3.EntryAttributes()
        self._attributes.st_blksize = 1 << 17

    def passing(self, number: int, entry: Entry, ttl_s: float = LISTED_TTL_S) -> pyfuse3.EntryAttributes:
        """The attributes of an inode that its name may cease to stand for at any moment.

        They are believed for ``ttl_s`` all the same: who has just looked the name up goes on with
        this version, and must not be asked to look again when the next one is there.
        """
        filled = self.of(number, entry, ttl_s)
        filled.entry_timeout = 0.0
        return filled

    def of(self, number: int, entry: Entry, ttl_s: float) -> pyfuse3.EntryAttributes:
        """The attributes of inode ``number``; valid until the next call.

        Those of an `UNSIZED` entry are not believed: the kernel asks before it uses them.
        """
        (
            _name, mode, size, mtime_ns, _layer, _etag, ctime_ns, atime_ns,
            nlink, uid, gid, blocks, volatile, _inode,
        ) = entry  # fmt: skip
        filled = self._attributes
        filled.st_ino = number
        filled.st_mode = mode
        # Like btrfs, and overlayfs for what it merges: links of a directory are not counted.
        filled.st_nlink = 1 if stat.S_ISDIR(mode) else nlink
        filled.st_uid = uid
        filled.st_gid = gid
        filled.st_size = size
        filled.st_blocks = blocks
        filled.st_mtime_ns = mtime_ns
        filled.st_ctime_ns = ctime_ns
        filled.st_atime_ns = atime_ns
        filled.entry_timeout = ttl_s
        # A directory's own time and count change with names inside it that nobody may be watching.
        filled.attr_timeout = min(ttl_s, POLLED_TTL_S) if volatile or stat.S_ISDIR(mode) else ttl_s
        if size < 0:
            filled.st_size = filled.st_blocks = 0
            filled.attr_timeout = 0.0
        return filled

    def absent(self, ttl_s: float) -> pyfuse3.EntryAttributes:
        """The answer that a name does not exist, which the kernel remembers for ``ttl_s``."""
        self._negative.st_ino = 0
        self._negative.entry_timeout = ttl_s
        return self._negative
