"""Names in a local layer: made, renamed and removed by the operating system's own calls."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Any

from copickfs import paths
from copickfs.errors import IsADirectory, LayerError, NotADirectory, NotFound
from copickfs.layers import links, localattributes, localcalls
from copickfs.layers.local import LocalLayer
from copickfs.layers.localown import OwnChanges
from copickfs.layers.localplace import Place
from copickfs.layers.localstaging import STAGING
from copickfs.layers.watch import path_after

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copickfs.layers.localinplace import InPlaceFile
    from copickfs.layers.localstaged import StagedFile
    from copickfs.layers.writable import Owner
    from copickfs.model import Entry

_DIRECTORY_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_NEW_FILE_FLAGS = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC
_MADE = frozenset({stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK})
"""Kinds of files that anybody may make."""


class LocalNames(LocalLayer):
    """The operations on names of `copickfs.layers.writable.WritableLayer`.

    Every operation opens the directories that it is about and acts in them, so that a confined layer
    cannot be left through a directory that has become a symbolic link.

    Args:
        name: Name of the layer.
        root: The directory.
        priority: Higher is asked first.
        options: See `LocalLayer`.

    Attributes:
        own: What we have changed ourselves.
    """

    def __init__(self, name: str, root: str | os.PathLike[str], priority: int = 0, **options: Any) -> None:
        super().__init__(name, root, priority, **options)
        self.own = OwnChanges(self.location)
        self._files: set[InPlaceFile | StagedFile] = set()

    def connect(self) -> None:
        """See `Layer.connect`."""
        super().connect()
        self.own.heard = self._watcher is not None

    def mkdir(self, path: str, mode: int, owner: Owner) -> Entry:
        """See `WritableLayer.mkdir`."""
        with self.answers(path), self.place(path) as place:
            with self.own.changing(path):
                os.mkdir(place.name, stat.S_IMODE(mode), dir_fd=place.directory)
                self._give(place, mode, owner)
            entry = self.entry_of(place.name, place.status())
        if self._watcher is not None:
            self._watcher.renew(path, self._prefix + path)
            with contextlib.suppress(OSError), os.scandir(self._prefix + path) as names:
                if next(names, None) is not None:
                    self._announce(path)  # somebody was quicker than the watch
        return entry

    def mknod(self, path: str, mode: int, device: int, owner: Owner) -> Entry:
        """See `WritableLayer.mknod`. Devices are refused."""
        kind = stat.S_IFMT(mode) or stat.S_IFREG
        if kind not in _MADE:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), path)
        with self.answers(path), self.place(path) as place:
            with self.own.changing(path):
                os.mknod(place.name, kind | stat.S_IMODE(mode), device, dir_fd=place.directory)
                self._give(place, mode, owner)
            return self.entry_of(place.name, place.status())

    def symlink(self, path: str, text: str, owner: Owner) -> Entry:
        """See `WritableLayer.symlink`."""
        if not text:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        with self.answers(path), self.place(path) as place, self.own.changing(path):
            os.symlink(links.marked(text), place.name, dir_fd=place.directory)
            self._give(place, None, owner)
        return self._stat(path, inline=False)

    def link(self, path: str, new_path: str) -> Entry:
        """See `WritableLayer.link`."""
        with (
            self.answers(path),
            self.place(path) as place,
            self.place(new_path) as target,
            self.own.changing(path, new_path),
        ):
            os.link(
                place.name, target.name,
                src_dir_fd=place.directory, dst_dir_fd=target.directory, follow_symlinks=False,
            )  # fmt: skip
        return self._stat(new_path, inline=False)

    def unlink(self, path: str) -> None:
        """See `WritableLayer.unlink`."""
        with self.answers(path), self.place(path) as place, self.own.changing(path):
            os.unlink(place.name, dir_fd=place.directory)

    def rmdir(self, path: str) -> None:
        """See `WritableLayer.rmdir`. Of a link that is shown as a directory, the link is removed."""
        with self.answers(path), self.place(path) as place, self.own.changing(path):
            if stat.S_ISLNK(place.status().st_mode):
                if self.scan(path):
                    raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)
                os.unlink(place.name, dir_fd=place.directory)
            else:
                os.rmdir(place.name, dir_fd=place.directory)
        if self._watcher is not None:
            self._watcher.forget(path)

    def rename(self, path: str, new_path: str, *, replace: bool = True) -> None:
        """See `WritableLayer.rename`."""
        if path == new_path:
            self._stat(path, inline=False)
            return
        with self.answers(path), self.place(path) as place, self.place(new_path) as target:
            moved_directory = stat.S_ISDIR(place.status().st_mode)
            with self._moving({path: new_path}, {path: new_path} if moved_directory else {}):
                if replace:
                    os.rename(
                        place.name, target.name, src_dir_fd=place.directory, dst_dir_fd=target.directory
                    )
                else:
                    _rename_to_free_name(place, target)

    def exchange(self, path: str, other_path: str) -> None:
        """See `WritableLayer.exchange`."""
        if path == other_path:
            self._stat(path, inline=False)
            return
        with self.answers(path), self.place(path) as place, self.place(other_path) as other:
            moves = {path: other_path, other_path: path}
            directories = {
                name: moves[name]
                for name, at in ((path, place), (other_path, other))
                if stat.S_ISDIR(at.status().st_mode)
            }
            with self._moving(moves, directories):
                localcalls.rename(
                    place.directory, place.name, other.directory, other.name, localcalls.RENAME_EXCHANGE
                )

    def sync_directory(self, path: str) -> None:
        """See `WritableLayer.sync_directory`."""
        full = self._prefix + path if path else self.root
        with self.answers(path):
            descriptor = os.open(full, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                self._links.check_descriptor(path, descriptor)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def place(self, path: str) -> Place:
        """The directory of ``path``, opened, and the name in it. Raises what the system says."""
        directory, name = paths.split(path)
        if not directory:
            self._root.check()
        return self.open_place(path, self._prefix + directory, name)

    def open_place(self, path: str, directory: str, name: str) -> Place:
        """A directory of the disk, opened for ``path``, and a name in it."""
        descriptor = os.open(directory, _DIRECTORY_FLAGS)
        try:
            self._links.check_descriptor(path, descriptor)
            return Place(descriptor, name)
        except BaseException:
            os.close(descriptor)
            raise

    @contextlib.contextmanager
    def answers(self, path: str) -> Iterator[None]:
        """Turns the system's errors into the layer's."""
        self.requests += 1
        try:
            yield
        except LayerError:
            raise
        except FileNotFoundError:
            self._root.check()
            raise NotFound(path) from None
        except NotADirectoryError:
            raise NotADirectory(path) from None
        except IsADirectoryError:
            raise IsADirectory(path) from None

    def opened(self, file: InPlaceFile | StagedFile) -> None:
        """A file is open for writing."""
        with self._lock:
            self._files.add(file)

    def forgotten(self, file: InPlaceFile | StagedFile) -> None:
        """It is closed."""
        with self._lock:
            self._files.discard(file)

    def _heard(self, path: str) -> None:
        if not path or not (path.startswith(STAGING) or self.own.did(path)):
            self._announce(path)

    def _make_file(self, place: Place, mode: int, owner: Owner) -> int:
        descriptor = os.open(place.name, _NEW_FILE_FLAGS, mode, dir_fd=place.directory)
        try:
            localattributes.give(descriptor, place.directory, place.parent, mode, owner)
        except BaseException:
            os.close(descriptor)
            os.unlink(place.name, dir_fd=place.directory)
            raise
        return descriptor

    def _give(self, place: Place, mode: int | None, owner: Owner) -> None:
        """Make what was just made the caller's; it is gone again if that fails."""
        descriptor = os.open(place.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place.directory)
        try:
            target = localcalls.descriptor_path(descriptor)
            localattributes.give(target, place.directory, place.parent, mode, owner)
        except BaseException:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                os.rmdir(place.name, dir_fd=place.directory)
            else:
                os.unlink(place.name, dir_fd=place.directory)
            raise
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _moving(self, moves: dict[str, str], directories: dict[str, str]) -> Iterator[None]:
        """Surrounds a rename. What is known of the paths in a directory goes with it."""
        with contextlib.ExitStack() as stack:
            if directories and self._watcher is not None:
                stack.enter_context(self._watcher.moving(directories))
            stack.enter_context(self.own.renaming({*moves, *moves.values()}, directories))
            yield
            if not directories:
                return
            with self._lock:
                for file in self._files:
                    if file.path is not None:
                        file.path = path_after(file.path, directories)


def _rename_to_free_name(place: Place, target: Place) -> None:
    try:
        localcalls.rename(
            place.directory, place.name, target.directory, target.name, localcalls.RENAME_NOREPLACE
        )
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS):
            raise
        # Not in one step, then.
        with contextlib.suppress(FileNotFoundError):
            target.status()
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target.name) from None
        os.rename(place.name, target.name, src_dir_fd=place.directory, dst_dir_fd=target.directory)
