"""Renaming in the merged tree: what a name stood for below must not come to light.

Files of lower layers are copied up first. A directory that a lower layer contributes to is not renamed
(EXDEV), as in overlayfs: ``mv`` then copies it. Every mark is put while the layer that is written still
has something of that name, so that it hides nothing yet; the rename itself is the one step that shows.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from copickfs import paths
from copickfs.errors import IsADirectory, NotADirectory, NotFound
from copickfs.view.copyup import copy_directory
from copickfs.view.partial import PartialLayer
from copickfs.view.places import is_of

if TYPE_CHECKING:
    from copickfs.layers.writable import WritableLayer
    from copickfs.view.copyup import Place
    from copickfs.view.merged import Found
    from copickfs.view.writing import Writer

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2


def rename(writer: Writer, path: str, new_path: str, flags: int) -> None:
    """Rename ``path``; see `Writer.rename`. The locks are held."""
    found = writer.view.lookup(path)
    try:
        target = writer.view.lookup(new_path)
    except NotFound:
        target = None
        if flags == RENAME_EXCHANGE or not writer.view.lookup(paths.split(new_path)[0]).entry.is_dir:
            raise
    if not path or not new_path:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
    if flags == RENAME_NOREPLACE and target is not None:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    if new_path.startswith(path + "/"):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    if path == new_path:
        return
    if flags == RENAME_EXCHANGE and target is not None:
        _exchange(writer, path, found, new_path, target)
    else:
        _move(writer, path, found, new_path, target)


def _check_replaced(writer: Writer, path: str, found: Found, new_path: str, target: Found) -> None:
    """Check that what ``path`` is may take the place of ``target``; raises what rename(2) answers."""
    writer.places.target(new_path, target)
    if path.startswith(new_path + "/"):
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
    if found.entry.is_dir and not target.entry.is_dir:
        raise NotADirectory(new_path)
    if target.entry.is_dir and not found.entry.is_dir:
        raise IsADirectory(new_path)
    if target.entry.is_dir and writer.view.listing(new_path).entries:
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))


def _move(writer: Writer, path: str, found: Found, new_path: str, target: Found | None) -> None:
    layer = writer.places.target(path, found)
    if target is not None:
        _check_replaced(writer, path, found, new_path, target)
        if _is_same_file(found, target):
            return
    if found.entry.is_dir:
        _check_own(writer, path, found, layer)
    new_place = writer.places.prepare(new_path, layer)
    place = writer.copy_up(path, found, layer)
    if writer.places.shows_below(path, place):
        writer.whiteouts.put(layer, place.path)
    if found.entry.is_dir:
        _make_room(writer, new_path, target, new_place)
    layer.rename(place.path, new_place.path)
    writer.changed(path, directory=found.entry.is_dir)
    writer.changed(new_path, directory=found.entry.is_dir)


def _exchange(writer: Writer, path: str, found: Found, new_path: str, target: Found) -> None:
    if path.startswith(new_path + "/"):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    layer = writer.places.target(path, found)
    if writer.places.target(new_path, target) is not layer:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    places = []
    for each, what in ((path, found), (new_path, target)):
        if what.entry.is_dir:
            _check_own(writer, each, what, layer)
    for each, what in ((path, found), (new_path, target)):
        place = writer.copy_up(each, what, layer)
        if writer.places.shows_below(each, place):
            writer.whiteouts.put(layer, place.path)
        places.append(place)
    layer.exchange(places[0].path, places[1].path)
    for each in (path, new_path):
        writer.changed(each, directory=found.entry.is_dir or target.entry.is_dir)


def _is_same_file(found: Found, target: Found) -> bool:
    """True for two names of one file, which rename(2) leaves as they are."""
    entry, other = found.entry, target.entry
    return entry.nlink > 1 and bool(entry.inode) and (entry.layer, entry.inode) == (other.layer, other.inode)


def _check_own(writer: Writer, path: str, found: Found, layer: WritableLayer) -> None:
    """Check that a directory is the written layer's alone.

    Raises:
        OSError: EXDEV: another layer contributes to it, or it is the partial copy of a store.
    """
    own = found.layer
    members = tuple(writer.view.members(path))
    if len(members) != 1 or not is_of(own, layer) or (isinstance(own, PartialLayer) and own.store == path):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


def _make_room(writer: Writer, path: str, target: Found | None, place: Place) -> None:
    """Let a directory take this name: nothing of a lower one may show in it.

    What is there is an empty directory. The written layer's own one is made if need be, then hides the
    others, and loses its marks, so that it can be replaced.
    """
    layer = place.layer
    if target is None:
        if writer.places.shows_below(path, place):
            writer.whiteouts.put(layer, place.path)
        return
    own = writer.places.member(path, layer)
    partial = own is not None and own.path != place.path
    if own is None or partial:
        copy_directory(path, target, place)
    if writer.places.shows_below(path, place):
        writer.whiteouts.put(layer, place.path)
    writer.changed(path, directory=True)
    if partial:
        writer.discard_partial(path, layer)
    writer.whiteouts.make_empty(layer, place.path)
