"""Copy-up: bringing what a lower layer has into the layer that is written, before it is changed."""

from __future__ import annotations

import contextlib
import errno
import stat
from typing import TYPE_CHECKING, NamedTuple

from copickfs import paths
from copickfs.errors import Transient
from copickfs.layers.writable import Change, Owner
from copickfs.model import ByteRange, EntryKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from copickfs.layers.base import Layer
    from copickfs.layers.writable import WritableFile, WritableLayer
    from copickfs.model import Entry
    from copickfs.view.merged import Found

_BLOCK_BYTES = 4 << 20


class Place(NamedTuple):
    """Where a path of the merged tree is, or will be, in the layer that is written.

    Attributes:
        layer: The layer.
        path: The path in it.
        member: The layer as a member of the merged tree: itself, or its partial copy of the store.
    """

    layer: WritableLayer
    path: str
    member: Layer


def owner_of(entry: Entry) -> Owner:
    """Who the copy of an entry belongs to."""
    return Owner(entry.uid, entry.gid)


@contextlib.contextmanager
def keeping_times(place: Place) -> Iterator[None]:
    """Surrounds a copy: the times of the directory that it is put into stay what they were."""
    directory = paths.split(place.path)[0]
    if not directory:  # of the root they change anyway, with what copickfs itself keeps there
        yield
        return
    before = place.layer.stat(directory)
    yield
    with contextlib.suppress(OSError, Transient):  # of a directory that is another user's
        place.layer.change(directory, Change(atime_ns=before.atime_ns, mtime_ns=before.mtime_ns))


def copy_directory(path: str, found: Found, place: Place) -> None:
    """Make a directory like the lower one; what is in it stays where it is."""
    entry = found.entry
    try:
        made = place.layer.mkdir(place.path, stat.S_IMODE(entry.mode), owner_of(entry))
    except FileExistsError:
        return
    _finish(path, found, place, made)


def copy_other(path: str, found: Found, place: Place) -> None:
    """Copy a symbolic link that its layer shows as one, a FIFO, a socket or a device."""
    entry = found.entry
    if entry.kind is EntryKind.SYMLINK:
        made = place.layer.symlink(place.path, found.layer.readlink(path), owner_of(entry))
    else:
        made = place.layer.mknod(place.path, entry.mode, 0, owner_of(entry))
    _finish(path, found, place, made)


def begin_version(path: str, found: Found, place: Place, *, empty: bool = False) -> WritableFile:
    """A version of a lower file for the layer that is written, not yet published, with its attributes."""
    mode = stat.S_IMODE(found.entry.mode)
    source = None if empty else found.layer.open(path)
    try:
        file = place.layer.create(place.path, mode, owner_of(found.entry), whole=True, source=source)
    except BaseException:
        if source is not None:
            source.close()
        raise
    try:
        _like(found.entry, file.status(), file.change, times=not empty)
    except BaseException:
        file.close()
        raise
    return file


def copy_file(path: str, found: Found, place: Place, *, empty: bool = False) -> None:
    """Copy a file, in one step for everybody who looks at it."""
    file = begin_version(path, found, place, empty=empty)
    try:
        file.flush()
    finally:
        file.close()
    copy_xattrs(path, found, place)


def begin_copy(path: str, found: Found, place: Place, stopped: Callable[[], bool]) -> WritableFile | None:
    """Like `begin_version`, with all contents copied; None if ``stopped()`` became true meanwhile."""
    source = found.layer.open(path)
    try:
        mode = stat.S_IMODE(found.entry.mode)
        file = place.layer.create(place.path, mode, owner_of(found.entry), whole=True)
        try:
            position = 0
            while data := source.read(ByteRange(position, position + _BLOCK_BYTES)):
                position += file.write(position, data)
                if stopped():
                    file.discard()
                    file.close()
                    return None
            _like(found.entry, file.status(), file.change, times=True)
        except BaseException:
            file.discard()
            file.close()
            raise
        return file
    finally:
        source.close()


def copy_xattrs(path: str, found: Found, place: Place) -> None:
    """Copy extended attributes, as far as both layers keep some."""
    try:
        for name in found.layer.list_xattrs(path):
            place.layer.set_xattr(place.path, name, found.layer.get_xattr(path, name))
    except (OSError, Transient) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise


def _finish(path: str, found: Found, place: Place, made: Entry) -> None:
    def change(change: Change) -> None:
        place.layer.change(place.path, change)

    copy_xattrs(path, found, place)
    _like(found.entry, made, change, times=True)


def _like(entry: Entry, made: Entry, change: Callable[[Change], object], *, times: bool) -> None:
    """Give a copy the attributes of ``entry`` that it did not get when it was made."""
    if (made.uid, made.gid) != (entry.uid, entry.gid):
        # Only root can give files away.
        with contextlib.suppress(PermissionError):
            change(Change(uid=entry.uid, gid=entry.gid))
    mode = stat.S_IMODE(entry.mode)
    is_link = entry.kind is EntryKind.SYMLINK
    change(
        Change(
            mode=None if is_link else mode,
            atime_ns=(entry.atime_ns or entry.mtime_ns) if times else None,
            mtime_ns=entry.mtime_ns if times else None,
        )
    )
