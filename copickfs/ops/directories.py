"""LOOKUP, GETATTR, READLINK and the reading of directories."""

from __future__ import annotations

import errno
import itertools
import stat
from typing import TYPE_CHECKING

import pyfuse3
import trio

from copickfs import paths
from copickfs.errors import CopickfsError, NotADirectory, NotFound, Stale, WouldBlock
from copickfs.layers.base import LISTED_TTL_S, POLLED_TTL_S
from copickfs.model import Entry, EntryKind, is_same_type

if TYPE_CHECKING:
    from copickfs.ops.attributes import Attributes
    from copickfs.ops.files import Files
    from copickfs.ops.inodes import InodeTable
    from copickfs.ops.lanes import Lanes
    from copickfs.ops.unpublished import Unpublished
    from copickfs.view import Found, Listing, View


_DOTS = (b".", b"..")
_DOT = Entry("", stat.S_IFDIR | 0o755, 0, 0, "")


class _Stream:
    """An open directory: the listing as it was when reading began at the top.

    Positions in it serve as offsets: they stay what they are while names come and go.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.removed: Entry | None = None
        self.entries: list[Entry] | None = None
        self.ttl_s = 0.0
        self.news = -1
        self.until_s = 0.0


class Directories:
    """Names and attributes. Used on the event loop only."""

    def __init__(
        self,
        view: View,
        inodes: InodeTable,
        lanes: Lanes,
        attributes: Attributes,
        files: Files,
        unpublished: Unpublished,
    ) -> None:
        self._view = view
        self._inodes = inodes
        self._lanes = lanes
        self._attributes = attributes
        self._files = files
        self._unpublished = unpublished
        self._streams: dict[int, _Stream] = {}
        self._next_handle = itertools.count(1)

    async def lookup(self, parent: int, name: bytes, thread: int = 0) -> pyfuse3.EntryAttributes:
        """What ``name`` in ``parent`` is; an absence is answered in a way that the kernel remembers.

        A version that is not published yet is there for the ``thread`` that writes it alone.
        """
        if name in (b".", b".."):
            number = parent if name == b"." else self._inodes.parent(parent)
            found = await self._find(self._inodes.path(number))
            return self._attributes.of(number, found.entry, found.ttl_s)
        own = self._unpublished.seen_by((parent, name), thread)
        if own is not None:
            self._inodes.hold(own[0], parent, name, own[1].look)
            return self._attributes.passing(*own)
        path = paths.join(self._inodes.path(parent), name.decode(errors="surrogateescape"))
        try:
            found = await self._find(path)
        except (NotFound, NotADirectory):
            ttl_s = self._view.negative_ttl_s(path)
            return self._attributes.absent(0.0 if self._unpublished.concerns((parent, name)) else ttl_s)
        entry = found.entry
        number = self._inodes.remember(parent, name, entry.identity, entry.look, linked=_is_linked(entry))
        if self._unpublished.concerns((parent, name)) or self._view.is_generated(path):
            # What a file is made of can go at any moment, and the kernel would hear of it too late.
            return self._attributes.passing(number, entry, min(found.ttl_s, POLLED_TTL_S))
        return self._attributes.of(number, entry, found.ttl_s)

    async def getattr(self, number: int) -> pyfuse3.EntryAttributes:
        """The attributes of an inode; of an open file also after its name is gone."""
        entry, ttl_s = await self._entry(number)
        self._inodes.tell(number, entry.look)
        return self._attributes.of(number, entry, ttl_s)

    async def _entry(self, number: int) -> tuple[Entry, float]:
        written = self._files.handles.writer_of(number)
        if written is not None:
            return written.written.status(), LISTED_TTL_S if written.written.whole else POLLED_TTL_S
        try:
            found = await self._inodes.by_name(number, self._find)
        except (NotFound, NotADirectory, Stale):
            return self._open_entry(number)
        entry = found.entry
        if self._inodes.is_of(number, entry.identity, linked=_is_linked(entry)):
            return entry, found.ttl_s
        try:
            return self._open_entry(number)
        except Stale:
            same_type = is_same_type(self._inodes.told(number), entry.look)
            if not (stat.S_ISREG(entry.mode) and same_type):
                raise  # the kernel has an inode that changes its type fail for ever, with EIO
            # The kernel asks before it opens what it has just looked up, and `Files.open` opens what has
            # the name by now. It repeats an open after ESTALE only once, which a busy writer can spoil.
            return entry, 0.0

    def _open_entry(self, number: int) -> tuple[Entry, float]:
        """What is known of an inode that has no name any more, or whose name stands for another."""
        entry = self._unpublished.entry_of(number) or self._files.entry_of(number)
        if entry is None:
            open_here = (stream.removed for stream in self._streams.values() if stream.number == number)
            entry = next(open_here, None)
        if entry is None:
            raise Stale("another file has taken its place, or none")
        return entry, 0.0

    async def readlink(self, number: int) -> bytes:
        """The text of a symbolic link."""
        path = self._inodes.path(number)
        found = await self._find(path)
        stale = not self._inodes.is_of(number, found.entry.identity, linked=_is_linked(found.entry))
        if stale or found.entry.kind is not EntryKind.SYMLINK:
            raise Stale(f"another file has taken the place of the link {path!r}")
        try:
            text = await self._lanes.call(found.layer.name, found.layer.readlink, path)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            raise Stale(f"another file has just taken the place of the link {path!r}") from None
        return text.encode(errors="surrogateescape")

    async def opendir(self, number: int) -> int:
        """Open a directory for reading. The listing itself is made by the first `readdir`."""
        handle = next(self._next_handle)
        self._streams[handle] = _Stream(number)
        return handle

    async def readdir(self, handle: int, offset: int, token: pyfuse3.ReaddirToken) -> None:
        """Answer entries from ``offset`` on until the kernel's buffer is full."""
        stream = self._streams[handle]
        if offset == 0 or stream.entries is None:
            stream.news = self._view.news
            stream.until_s = trio.current_time() + POLLED_TTL_S
            stream.entries, stream.ttl_s = await self._listed(stream)
        if stream.news != self._view.news or trio.current_time() > stream.until_s:
            # The listing is older than the news: the kernel may show it, but must not keep it.
            stream.ttl_s = 0.0
        if self._unpublished.concerns_directory(stream.number):
            stream.ttl_s = 0.0
        entries = stream.entries
        for position in range(offset, 2):  # "." and ".." come first
            number = stream.number if position == 0 else self._inodes.parent(stream.number)
            # The kernel looks at nothing but the number and the kind.
            attributes = self._attributes.of(number, _DOT, 0.0)
            if not pyfuse3.readdir_reply(token, _DOTS[position], attributes, position + 1):
                return
            offset = position + 1
        self._reply_entries(stream, entries, offset, token)

    def path_of(self, handle: int) -> str:
        """The path of an open directory."""
        return self._inodes.path(self._streams[handle].number)

    async def removing(self, parent: int, name: bytes) -> None:
        """A directory is about to be removed: what it was is kept for those who have it open."""
        number = self._inodes.number_of(parent, name)
        streams = [stream for stream in self._streams.values() if stream.number == number]
        if streams:
            found = await self._find(self._inodes.path(number))
            for stream in streams:
                stream.removed = found.entry._replace(nlink=0)

    def releasedir(self, handle: int) -> None:
        """Let go of an open directory."""
        self._streams.pop(handle, None)

    def _reply_entries(
        self, stream: _Stream, entries: list[Entry], offset: int, token: pyfuse3.ReaddirToken
    ) -> None:
        parent, ttl_s = stream.number, stream.ttl_s
        remember, fill, reply = self._inodes.remember, self._attributes.of, pyfuse3.readdir_reply
        if self._view.is_generated(self._inodes.path(parent)):
            fill = self._attributes.passing
        for position in range(offset - 2, len(entries)):
            entry = entries[position]
            # Every entry that fits counts as a lookup (readdirplus).
            name = entry[0].encode(errors="surrogateescape")
            linked = entry[8] > 1 and not stat.S_ISDIR(entry[1])
            number = remember(parent, name, entry.identity, entry.look, linked=linked)
            attributes = fill(number, entry, ttl_s)
            if entry[2] < 0 and not self._inodes.is_new(number):
                attributes.st_size = self._size_at_hand(number)
            if not reply(token, name, attributes, position + 3):
                self._inodes.forget(number, 1)
                return

    def _size_at_hand(self, number: int) -> int:
        """The length of a file that the kernel may have contents of, as far as nobody has to be asked.

        At a length that is too small it would cut them, also under a program that has them mapped.
        """
        try:
            size_bytes = self._view.lookup_nowait(self._inodes.path(number)).entry.size_bytes
        except (CopickfsError, OSError):
            opened = self._files.entry_of(number)
            size_bytes = 0 if opened is None else opened.size_bytes
        return max(0, size_bytes)

    async def _listed(self, stream: _Stream) -> tuple[list[Entry], float]:
        """What an open directory has, wherever it is by now; nothing once it was removed."""
        if stream.removed is not None and self._inodes.place(stream.number)[1] == b"":
            return [], 0.0
        listing = await self._list(self._inodes.path(stream.number))
        return listing.entries, listing.ttl_s

    async def _find(self, path: str) -> Found:
        try:
            return self._view.lookup_nowait(path)
        except WouldBlock as block:
            return await self._lanes.call(block.lane, self._view.lookup, path)

    async def _list(self, path: str) -> Listing:
        try:
            return self._view.listing_nowait(path)
        except WouldBlock as block:
            return await self._lanes.call(block.lane, self._view.listing, path)


def _is_linked(entry: Entry) -> bool:
    return entry.nlink > 1 and not entry.is_dir
