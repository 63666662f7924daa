"""The writable local layer."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Any

from copickfs.errors import IsADirectory
from copickfs.layers import links, localattributes, localcalls
from copickfs.layers.localfile import LocalFile
from copickfs.layers.localinplace import InPlaceFile
from copickfs.layers.localnames import LocalNames
from copickfs.layers.localstaged import StagedFile
from copickfs.layers.localstaging import Staging

if TYPE_CHECKING:
    from copickfs.layers.base import LayerFile
    from copickfs.layers.localplace import Place
    from copickfs.layers.localstaging import Draft
    from copickfs.layers.writable import Change, Owner, WritableFile
    from copickfs.model import Entry

_FILE_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


class WritableLocalLayer(LocalNames):
    """A local directory tree that is written. See `copickfs.layers.writable.WritableLayer`.

    Args:
        name: Name of the layer.
        root: The directory.
        priority: Higher is asked first.
        read_only: True if no face may ever write here.
        options: See `LocalLayer`.

    Attributes:
        prompt: The root is on a local disk.
        staging: Makes versions of files that have no name yet.
    """

    def __init__(
        self,
        name: str,
        root: str | os.PathLike[str],
        priority: int = 0,
        *,
        read_only: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(name, root, priority, read_only=read_only, **options)
        self.prompt = True
        self.staging = Staging(self.root, self.own)

    def connect(self) -> None:
        """See `Layer.connect`. What earlier mounts have left in the staging directory is removed."""
        super().connect()
        self.prompt = not self._patient
        self.staging.sweep()

    def close(self) -> None:
        """See `Layer.close`."""
        super().close()
        self.staging.close()

    def create(
        self, path: str, mode: int, owner: Owner, *, whole: bool, source: LayerFile | None = None
    ) -> WritableFile:
        """See `WritableLayer.create`."""
        mode = stat.S_IMODE(mode)
        with self.answers(path), contextlib.ExitStack() as undo:
            place = undo.enter_context(self.place(path))
            if not whole and source is None:
                with self.own.changing(path):
                    descriptor = self._make_file(place, mode, owner)
                return InPlaceFile(self, path, self.entry_of(place.name, os.fstat(descriptor)), descriptor)
            draft = self._draft(path, place, mode)
            undo.callback(draft.close)
            localattributes.give(draft.descriptor, place.directory, place.parent, mode, owner)
            if whole or source is None:
                undo.pop_all()
                return StagedFile(self, path, place, draft, source, new=True)
            # Nobody may take a part of the contents for the file, nor a crash leave it.
            localcalls.copy_file(source, draft.descriptor)
            with self.own.publishing(path, draft.descriptor):
                draft.publish_new(place.directory, place.name)
            place.close()
            undo.pop_all()
        source.close()
        entry = self.entry_of(place.name, os.fstat(draft.descriptor))
        return InPlaceFile(self, path, entry, draft.descriptor)

    def edit(self, path: str, *, whole: bool) -> WritableFile:
        """See `WritableLayer.edit`. A link that others have made is written through."""
        with self.answers(path), contextlib.ExitStack() as undo:
            place = undo.enter_context(self._place_of_file(path))
            status = place.status()
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectory(path)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.ENXIO, os.strerror(errno.ENXIO), path)
            if whole and status.st_nlink == 1:
                file = self._edit_whole(path, place)
                if file is not None:
                    undo.pop_all()
                    return file
            descriptor = os.open(place.name, os.O_RDWR | _FILE_FLAGS, dir_fd=place.directory)
            return InPlaceFile(self, path, self.entry_of(place.name, os.fstat(descriptor)), descriptor)

    def change(self, path: str, change: Change) -> Entry:
        """See `WritableLayer.change`."""
        with self.answers(path), self._target(path) as target, self.own.changing(path):
            localattributes.apply(target, change)
        return self._stat(path, inline=False)

    def set_xattr(self, path: str, name: str, value: bytes, flags: int = 0) -> None:
        """See `WritableLayer.set_xattr`. Only attributes in ``user.`` are stored."""
        localattributes.check_xattr(name)
        with self.answers(path), self._target(path) as target, self.own.changing(path):
            os.setxattr(target, name, value, flags)

    def remove_xattr(self, path: str, name: str) -> None:
        """See `WritableLayer.remove_xattr`."""
        localattributes.check_xattr(name)
        with self.answers(path), self._target(path) as target, self.own.changing(path):
            os.removexattr(target, name)

    def draft_like(self, path: str, place: Place, model: int) -> Draft:
        """An empty draft with owner, mode and extended attributes of an open file."""
        draft = self._draft(path, place, 0o600)
        try:
            localattributes.imitate(draft.descriptor, model)
        except BaseException:
            draft.close()
            raise
        return draft

    def _draft(self, path: str, place: Place, mode: int) -> Draft:
        draft = self.staging.draft(place.directory, place.parent.st_dev, mode)
        self.own.drafting(path, draft.descriptor)
        return draft

    def _edit_whole(self, path: str, place: Place) -> StagedFile | None:
        """A new version of a file; None if we may write the file, but put no other in its place."""
        if not os.access(place.name, os.W_OK, dir_fd=place.directory, effective_ids=True):
            read_only = os.fstatvfs(place.directory).f_flag & os.ST_RDONLY
            number = errno.EROFS if read_only else errno.EACCES
            raise OSError(number, os.strerror(number), path)
        try:
            descriptor = os.open(place.name, os.O_RDONLY | _FILE_FLAGS, dir_fd=place.directory)
        except PermissionError:
            return None
        base = LocalFile(self, self.entry_of(place.name, os.fstat(descriptor)), descriptor)
        try:
            draft = self.draft_like(path, place, descriptor)
        except PermissionError:
            base.close()
            return None
        except BaseException:
            base.close()
            raise
        return StagedFile(self, path, place, draft, base, new=False)

    def _place_of_file(self, path: str) -> Place:
        """Where a file really lies: elsewhere if ``path`` is a link that is followed."""
        place = self.place(path)
        try:
            linked = stat.S_ISLNK(place.status().st_mode)
        except BaseException:
            place.close()
            raise
        if not linked:
            return place
        place.close()
        full = self._prefix + path
        if links.unmarked(self._links.text(path, full)) is not None or not self._links.target(path, full):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        real = os.path.realpath(full)
        return self.open_place(path, os.path.dirname(real), os.path.basename(real))
