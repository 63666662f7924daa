"""Copy-on-write: the only code that changes anything in the tree.

What is changed is first brought into the layer that is written, with the directories above it; what is
removed there, and still is in a layer below, is hidden by a mark. The rules are those of the kernel's
overlayfs. Every change is made in steps of which each shows the tree as it was or as it will be: a
daemon that is killed between two of them leaves nothing to repair, only marks that hide nothing.

Synchronous and thread-safe: changes of one name follow each other, others do not wait.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from copickfs import paths
from copickfs.errors import IsADirectory, NotADirectory, NotFound
from copickfs.layers.base import is_prompt
from copickfs.view.background import Background
from copickfs.view.copyup import Place, begin_version, copy_file, copy_other, copy_xattrs, keeping_times
from copickfs.view.locks import PathLocks
from copickfs.view.materialize import Completion
from copickfs.view.merged import Found
from copickfs.view.opened import OpenFile
from copickfs.view.places import Places, at, is_of
from copickfs.view.renaming import RENAME_EXCHANGE, RENAME_NOREPLACE, rename
from copickfs.view.stores import Stores
from copickfs.view.whiteouts import Whiteouts

if TYPE_CHECKING:
    from collections.abc import Callable

    from copickfs.layers.base import Layer
    from copickfs.layers.writable import Change, Owner, WritableFile, WritableLayer
    from copickfs.model import Entry, Space
    from copickfs.view.merged import View

__all__ = ["RENAME_EXCHANGE", "RENAME_NOREPLACE", "Writer"]


class Writer:
    """Changes the merged tree.

    Every method raises `ReadOnly` where a layer that is not written decides what is there, the errors
    of the system call of its name, and `Transient` where a layer that has to be asked is out of reach.

    Args:
        view: The merged tree.
        default: The layer that new names are made in; None if there is none.
        strategy: ``write_strategy`` of the configuration.
        small_store_bytes: Partial copies of stores up to this size are completed by themselves.

    Attributes:
        view: As given.
        places: Which layer a change is made in.
        whiteouts: The marks.
        prompt: All layers are local: no call waits for a network.
    """

    def __init__(
        self,
        view: View,
        default: WritableLayer | None,
        *,
        strategy: str = "default",
        small_store_bytes: int = 64 << 20,
    ) -> None:
        self.view = view
        self.prompt = all(map(is_prompt, view.layers))
        self._default = default
        self._background = Background()
        self.whiteouts = Whiteouts(view.membership.marks, self._background)
        self._stores = Stores(view, self.whiteouts)
        self.places = Places(view, default, strategy, self._stores)
        self._locks = PathLocks()
        self._completion = Completion(
            view, self._locks, self._stores, self.places, self.whiteouts, self._background, small_store_bytes
        )
        self._completion.resume(self.places.written)

    def __repr__(self) -> str:
        return f"<Writer to {', '.join(layer.name for layer in self.places.written) or 'nothing'}>"

    def may_write(self, layer: Layer) -> bool:
        """True if what ``layer`` has is changed where it is, without being copied up."""
        return self.places.is_written(layer)

    def space(self) -> Space | None:
        """Room for new files; None where that is not known without asking a network."""
        return None if self._default is None else self._default.space()

    def create(
        self, path: str, mode: int, owner: Owner, *, whole: bool = False
    ) -> tuple[WritableFile, Layer]:
        """Make a file and open it. Raises `FileExistsError` if the merged tree has the name.

        It is published whole if `paths.is_published_whole` says so, or ``whole`` does.
        """
        whole = whole or paths.is_published_whole(path)
        with self._locks.changing(path):
            place = self._new(path)
            file = place.layer.create(place.path, mode, owner, whole=whole)
            if not file.whole:
                self.changed(path, directory=False)
            return self._opened(file, path), place.member

    def open(self, path: str, *, truncate: bool = False, whole: bool = False) -> tuple[WritableFile, Layer]:
        """Open an existing file for reading and writing; with ``truncate`` it is empty at first.

        It is published whole as by `create`; where ``whole`` asks for it, also if it has several hard links,
        of which the others keep the version before.
        """
        asked, whole = whole, whole or paths.is_published_whole(path)
        with self._locks.changing(path):
            found = self.view.lookup(path)
            if found.entry.is_dir:
                raise IsADirectory(path)
            layer = self.places.target(path, found)
            is_linked = asked and found.entry.nlink > 1 and stat.S_ISREG(found.entry.mode)
            if is_linked or (whole and not is_of(found.layer, layer)):
                place = self.places.prepare(path, layer)
                file = begin_version(path, found, place, empty=truncate)

                def finish(placed: str) -> None:
                    copy_xattrs(path, found, place._replace(path=placed))

                return self._opened(file, path, finish), place.member
            place = self.copy_up(path, found, layer, empty=truncate)
            file = layer.edit(place.path, whole=whole)
            if truncate:
                file.truncate(0)
            return self._opened(file, path), place.member

    def mkdir(self, path: str, mode: int, owner: Owner) -> Found:
        """Make a directory."""
        return self._make(path, lambda place: place.layer.mkdir(place.path, mode, owner), directory=True)

    def mknod(self, path: str, mode: int, device: int, owner: Owner) -> Found:
        """Make an empty file, a FIFO or a socket."""
        return self._make(path, lambda place: place.layer.mknod(place.path, mode, device, owner))

    def symlink(self, path: str, text: str, owner: Owner) -> Found:
        """Make a symbolic link."""
        return self._make(path, lambda place: place.layer.symlink(place.path, text, owner))

    def link(self, path: str, new_path: str) -> Found:
        """Give a file a second name. A lower file is copied up."""
        with self._locks.changing(path, new_path):
            found = self.view.lookup(path)
            if found.entry.is_dir:
                raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
            self._check_free(new_path)
            layer = self.places.target(path, found)
            new_place = self.places.prepare(new_path, layer)
            place = self.copy_up(path, found, layer)
            entry = layer.link(place.path, new_place.path)
            self.changed(new_path, directory=False)
            return self._found(entry, new_place.member, new_path)

    def unlink(self, path: str) -> None:
        """Remove anything but a directory."""
        with self._locks.changing(path):
            found = self.view.lookup(path)
            if found.entry.is_dir:
                raise IsADirectory(path)
            place = self._hide(path, found)
            if is_of(found.layer, place.layer):
                place.layer.unlink(place.path)
            self.changed(path, directory=False)

    def remove(self, path: str) -> None:
        """Remove anything, a directory with all that it shows; where the layer can, in one step."""
        found = self.view.lookup(path)
        if not found.entry.is_dir:
            self.unlink(path)
            return
        layer = self.places.target(path, found)
        if layer.prompt or self.places.member(path, layer) is None:
            self.rmdir(path, full=True)
            return
        for entry in self.view.listing(path).entries:
            self.remove(paths.join(path, entry.name))
        self.rmdir(path)

    def rmdir(self, path: str, *, full: bool = False) -> None:
        """Remove a directory that shows nothing, or with ``full`` any. The root stays (EBUSY)."""
        with self._locks.changing(path):
            found = self.view.lookup(path)
            if not found.entry.is_dir:
                raise NotADirectory(path)
            if not path:
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
            if not full and self.view.listing(path).entries:
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
            layer = self.places.target(path, found)
            own = self.places.member(path, layer)
            place = self._hide(path, found)
            # Whoever looks from now on finds no lower layer; then the marks in it can go.
            self.changed(path, directory=True)
            if own is not None and own.path == place.path:
                take = self.whiteouts.discard if full else self.whiteouts.remove_directory
                take(layer, place.path)
            elif own is not None:
                self.discard_partial(path, layer)
            self.changed(path, directory=True)

    def rename(self, path: str, new_path: str, flags: int) -> None:
        """Rename, with the flags of renameat2(2): `RENAME_NOREPLACE` or `RENAME_EXCHANGE`, or none."""
        if flags not in (0, RENAME_NOREPLACE, RENAME_EXCHANGE):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        with self._locks.changing(path, new_path):
            _check_name(new_path)
            rename(self, path, new_path, flags)

    def change(self, path: str, change: Change) -> Found:
        """Change mode, owner or times."""
        with self._locks.changing(path):
            place, found = self._own(path)
            entry = place.layer.change(place.path, change)
            self._touch(path)
            return Found(entry, place.member, found.ttl_s)

    def set_xattr(self, path: str, name: str, value: bytes, flags: int = 0) -> None:
        """Set an extended attribute; ``flags`` as in `os.setxattr`."""
        with self._locks.changing(path):
            place, _found = self._own(path)
            place.layer.set_xattr(place.path, name, value, flags)
            self._completion.touch(path)

    def remove_xattr(self, path: str, name: str) -> None:
        """Remove an extended attribute."""
        with self._locks.changing(path):
            place, _found = self._own(path)
            place.layer.remove_xattr(place.path, name)
            self._completion.touch(path)

    def sync_directory(self, path: str) -> None:
        """The names in a directory, and the marks, are on stable storage when this returns."""
        for layer in self.places.written:
            place = self.places.member(path, layer)
            if place is not None:
                layer.sync_directory(place.path)
                self.whiteouts.sync(layer, place.path)

    def materialize(self, path: str) -> int:
        """Complete the partial copy of a store, or of all stores below a directory.

        Returns:
            The number of files that were copied.
        """
        self.view.lookup(path)
        return self._completion.complete_below(path, self.places.written)

    def take(self, path: str) -> None:
        """Have what is at ``path`` in the layer in which it would be changed; a store as a partial copy."""
        with self._locks.changing(path):
            self._own(path)
            self._completion.touch(path)

    def close(self) -> None:
        """End what is done in the background; the next mount goes on with it. Idempotent."""
        self._background.close()

    def copy_up(self, path: str, found: Found, layer: WritableLayer, *, empty: bool = False) -> Place:
        """Where ``layer`` has what is at ``path``, which is copied there if need be; the locks are held."""
        if found.entry.is_dir:
            return self.places.prepare_directory(path, layer)
        if is_of(found.layer, layer):
            return at(layer, found.layer, path)
        place = self.places.prepare(path, layer)
        with keeping_times(place) if layer.prompt else contextlib.nullcontext():
            if stat.S_ISREG(found.entry.mode):
                copy_file(path, found, place, empty=empty)
            else:
                copy_other(path, found, place)
        self.changed(path, directory=False)
        return place

    def changed(self, path: str, *, directory: bool) -> None:
        """``path`` is something else by now."""
        self.view.membership.changed(path, directory=directory)
        self._completion.touch(path)

    def discard_partial(self, store: str, layer: WritableLayer) -> None:
        """Remove the partial copy of a store that is hidden by now."""
        partial = self.view.membership.marks.partial(layer, store)
        self._stores.end(store)
        self.whiteouts.discard(layer, partial.place(store))
        self._stores.forget(store, layer)

    def _touch(self, path: str) -> None:
        self._completion.touch(path)
        self.view.membership.touched(path)

    def _new(self, path: str) -> Place:
        self._check_free(path)
        return self.places.prepare(path, self.places.target(path))

    def _check_free(self, path: str) -> None:
        try:
            self.view.lookup(path)
        except NotFound:
            _check_name(path)
            return
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    def _make(self, path: str, make: Callable[[Place], Entry], *, directory: bool = False) -> Found:
        with self._locks.changing(path):
            place = self._new(path)
            entry = make(place)
            self.changed(path, directory=directory)
            return self._found(entry, place.member, path)

    def _found(self, entry: Entry, member: Layer, path: str) -> Found:
        return Found(entry, member, member.ttl_s(paths.split(path)[0]))

    def _own(self, path: str) -> tuple[Place, Found]:
        found = self.view.lookup(path)
        return self.copy_up(path, found, self.places.target(path, found)), found

    def _hide(self, path: str, found: Found) -> Place:
        """Hide what layers below have at ``path``; where the layer that is written has it, or would."""
        layer = self.places.target(path, found)
        place = self.places.prepare(path, layer)
        if not is_of(found.layer, layer) or self.places.shows_below(path, place):
            self.whiteouts.put(layer, place.path)
        return place

    def _opened(
        self, file: WritableFile, path: str, finish: Callable[[str], None] | None = None
    ) -> WritableFile:
        return OpenFile(file, path, self._locks, self._stores, self._touch, finish)


def _check_name(path: str) -> None:
    """Raise what no file can be called."""
    name = paths.split(path)[1]
    if len(name) * 4 > paths.NAME_MAX_BYTES:
        too_long = len(name.encode(errors="surrogateescape")) > paths.NAME_MAX_BYTES
        if too_long:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    if paths.is_reserved(path):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
