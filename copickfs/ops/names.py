"""MKDIR, MKNOD, SYMLINK, LINK, UNLINK, RMDIR and RENAME: changes of names."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from copickfs import paths
from copickfs.errors import NotADirectory, NotFound
from copickfs.layers.writable import Owner
from copickfs.view.writing import RENAME_EXCHANGE

if TYPE_CHECKING:
    import pyfuse3

    from copickfs.model import Entry
    from copickfs.ops.handles import Place
    from copickfs.ops.inodes import InodeTable
    from copickfs.ops.unpublished import Unpublished
    from copickfs.ops.writing import Writing
    from copickfs.view import Found, View


class Names:
    """Used on the event loop only.

    Args:
        view: The merged tree.
        writing: What changes it.
        inodes: The inodes that the kernel knows.
        unpublished: Versions that only their writers see.
    """

    def __init__(self, view: View, writing: Writing, inodes: InodeTable, unpublished: Unpublished) -> None:
        self._view = view
        self._writing = writing
        self._inodes = inodes
        self._unpublished = unpublished

    async def mkdir(self, place: Place, mode: int, ctx: pyfuse3.RequestContext) -> tuple[int, Found]:
        """Make a directory; its inode and what it is."""
        owner = Owner(ctx.uid, ctx.gid)
        return self._made(
            place,
            await self._writing.do(self._writing.writer.mkdir, self._path(place), stat.S_IMODE(mode), owner),
        )

    async def mknod(
        self, place: Place, mode: int, device: int, ctx: pyfuse3.RequestContext
    ) -> tuple[int, Found]:
        """Make an empty file, a FIFO or a socket."""
        owner = Owner(ctx.uid, ctx.gid)
        writer = self._writing.writer
        return self._made(place, await self._writing.do(writer.mknod, self._path(place), mode, device, owner))

    async def symlink(self, place: Place, text: bytes, ctx: pyfuse3.RequestContext) -> tuple[int, Found]:
        """Make a symbolic link."""
        writer = self._writing.writer
        target = text.decode(errors="surrogateescape")
        owner = Owner(ctx.uid, ctx.gid)
        return self._made(place, await self._writing.do(writer.symlink, self._path(place), target, owner))

    async def link(self, number: int, place: Place) -> Found:
        """Give the file of an inode a further name."""
        await self._publish(self._inodes.place(number))
        path = self._inodes.path(number)
        found = await self._writing.do(self._writing.writer.link, path, self._path(place))
        identity = found.entry.identity
        self._inodes.adopt(number, *self._inodes.place(number), identity)  # it may have been copied up
        self._inodes.add_name(number, *place, identity)
        self._inodes.hold(number, *place, found.entry.look)
        return found

    async def unlink(self, place: Place, thread: int) -> None:
        """Remove a file."""
        own = self._unpublished.seen_by(place, thread)
        path = self._path(place)
        try:
            entry = await self._writing.do(self._unlink, path)
        except NotFound:
            if own is None:
                raise
        else:
            self._removed(place, entry)
        self._detach(place)

    def _unlink(self, path: str) -> Entry:
        entry = self._view.lookup(path).entry
        self._writing.writer.unlink(path)
        return entry

    async def rmdir(self, place: Place) -> None:
        """Remove an empty directory."""
        await self._writing.do(self._writing.writer.rmdir, self._path(place))
        number = self._inodes.number_of(*place)
        self._inodes.remove_name(number, *place)

    async def rename(self, place: Place, new_place: Place, flags: int) -> None:
        """Give a file or a directory another name."""
        await self._publish(place)
        if flags & RENAME_EXCHANGE:
            await self._publish(new_place)
        path, new_path = self._path(place), self._path(new_place)
        before, replaced, after, other = await self._writing.do(self._rename, path, new_path, flags)
        number = self._number(place, before)
        if flags & RENAME_EXCHANGE and replaced is not None and other is not None:
            self._exchange(place, new_place, (number, after), (self._number(new_place, replaced), other))
            return
        if replaced is not None:
            self._removed(new_place, replaced, but=number)
        self._detach(new_place)
        if self._inodes.knows(number):
            self._inodes.rename(number, place, new_place, after.identity, linked=_is_linked(after))
        elif not after.inode:
            # A version that was published so lately that nobody has followed it yet.
            for other_number in self._inodes.named(*place):
                self._inodes.rename(other_number, place, new_place, after.identity)
        self._unpublished.move(place, new_place)
        self._follow()

    def _rename(
        self, path: str, new_path: str, flags: int
    ) -> tuple[Entry, Entry | None, Entry, Entry | None]:
        before, replaced = self._view.lookup(path).entry, self._at(new_path)
        self._writing.writer.rename(path, new_path, flags)
        return before, replaced, self._view.lookup(new_path).entry, self._at(path)

    def _at(self, path: str) -> Entry | None:
        try:
            return self._view.lookup(path).entry
        except (NotFound, NotADirectory):
            return None

    def _exchange(
        self, place: Place, new_place: Place, first: tuple[int, Entry], second: tuple[int, Entry]
    ) -> None:
        for (number, entry), old, new in ((first, place, new_place), (second, new_place, place)):
            if self._inodes.knows(number):
                self._inodes.rename(number, old, new, entry.identity, linked=_is_linked(entry))
        here = self._unpublished.at(place)
        self._unpublished.move(new_place, place)
        for handle in here:
            self._unpublished.remove(handle)
            handle.place = new_place
            self._unpublished.add(handle)
        self._follow()

    async def _publish(self, place: Place) -> None:
        """Whoever moves or links a file that is being written takes what was written so far along."""
        for handle in self._unpublished.at(place):
            await self._writing.publish(handle)

    def _detach(self, place: Place) -> None:
        """The file that has this name is another one, or none: what is written to it goes nowhere."""
        for handle in self._unpublished.at(place):
            handle.written.move(None)
            self._inodes.remove_name(handle.number, *place)
            self._unpublished.remove(handle)

    def _follow(self) -> None:
        """Tell the files being written what they are called by now."""
        for handle in self._unpublished.all():
            handle.written.move(self._path(handle.place))

    def _removed(self, place: Place, entry: Entry, but: int | None = None) -> None:
        number = self._number(place, entry)
        if number != but:
            self._inodes.remove_name(
                number, *place, entry.identity, replaced=but is not None and not entry.is_dir
            )

    def _number(self, place: Place, entry: Entry) -> int:
        return self._inodes.number_of(*place, entry.identity, linked=_is_linked(entry))

    def _made(self, place: Place, found: Found) -> tuple[int, Found]:
        entry = found.entry
        number = self._inodes.remember(*place, entry.identity, entry.look, linked=_is_linked(entry))
        return number, found

    def _path(self, place: Place) -> str:
        return paths.join(self._inodes.path(place[0]), place[1].decode(errors="surrogateescape"))


def _is_linked(entry: Entry) -> bool:
    return entry.nlink > 1 and not entry.is_dir
