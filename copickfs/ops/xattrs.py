"""Extended attributes: where a path of the merged tree comes from."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pyfuse3

from copickfs import paths
from copickfs.errors import NotADirectory, NotFound, Transient

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from copickfs.layers.base import Layer
    from copickfs.ops.inodes import InodeTable
    from copickfs.ops.lanes import Lanes
    from copickfs.ops.writing import Writing
    from copickfs.view import View

PREFIX = "user.copickfs."
"""Names that copickfs answers itself."""

_USER = b"user."
_WINNERS = frozenset({"layer", "path", "kind"})
_ANSWERED = frozenset(f"{PREFIX}{name}".encode() for name in (*_WINNERS, "layers", "shadows"))
_MAX_NAME_BYTES = 255
_MAX_VALUE_BYTES = 1 << 16
"""What the kernel lets an attribute have."""


class Xattrs:
    """Answers ``user.copickfs.*``, and passes on what layers keep below ``user.``. On the event loop only."""

    def __init__(self, view: View, writing: Writing, inodes: InodeTable, lanes: Lanes) -> None:
        self._view = view
        self._writing = writing
        self._inodes = inodes
        self._lanes = lanes

    async def get(self, number: int, name: bytes) -> bytes:
        """The value of one attribute. Raises `pyfuse3.FUSEError` ENODATA."""
        # Programs ask for security labels and ACLs of every file: answer these at once.
        if not name.startswith(_USER):
            raise pyfuse3.FUSEError(pyfuse3.ENOATTR)
        path = self._inodes.path(number)
        text = name.decode(errors="surrogateescape")
        if not text.startswith(PREFIX):
            return await self._lanes.call("xattrs", _get, self._view, path, text)
        wanted = text.removeprefix(PREFIX)
        find = described if "." in wanted else attributes_of_winner if wanted in _WINNERS else attributes_of
        value = (await self._ask(find, path)).get(wanted)
        if value is None:
            raise pyfuse3.FUSEError(pyfuse3.ENOATTR)
        return value.encode(errors="surrogateescape")

    async def names(self, number: int) -> list[bytes]:
        """The names of all attributes."""
        path = self._inodes.path(number)
        try:
            found = {**await self._ask(attributes_of, path), **await self._ask(described, path)}
        except Transient:
            # A layer below is out of reach: what the deciding layer knows can be told all the same.
            found = await self._ask(attributes_of_winner, path)
        kept = await self._lanes.call("xattrs", _list, self._view, path)
        own = [f"{PREFIX}{name}".encode() for name in found]
        return [*own, *(name.encode(errors="surrogateescape") for name in kept)]

    async def set(self, number: int, name: bytes, value: bytes) -> None:
        """Set an attribute below ``user.`` in the write layer. What copickfs answers itself stays."""
        if _is_answered(name):
            return
        writer, text = self._writing.writer, _changeable(name)
        await self._lanes.work("writing", writer.set_xattr, self._inodes.path(number), text, value)

    async def remove(self, number: int, name: bytes) -> None:
        """Remove an attribute below ``user.`` in the write layer. What copickfs answers itself stays."""
        if _is_answered(name):
            return
        writer, text = self._writing.writer, _changeable(name)
        await self._lanes.work("writing", writer.remove_xattr, self._inodes.path(number), text)

    async def _ask(self, find: Callable[[View, str], dict[str, str]], path: str) -> dict[str, str]:
        # Several layers may be asked, so this is no layer's lane.
        return await self._lanes.call("xattrs", find, self._view, path)


def _is_answered(name: bytes) -> bool:
    """True for what copickfs says itself, or a layer by `Layer.described`.

    mv, cp, rsync and others copy every attribute that they are shown, and complain of each they cannot.
    """
    own = name.removeprefix(PREFIX.encode())
    return name in _ANSWERED or (own != name and b"." in own)


def _changeable(name: bytes) -> str:
    if not name.startswith(_USER):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    if name.startswith(PREFIX.encode()):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))
    return name.decode(errors="surrogateescape")


def _get(view: View, path: str, name: str) -> bytes:
    return view.lookup(path).layer.get_xattr(path, name)


def _list(view: View, path: str) -> list[str]:
    return view.lookup(path).layer.list_xattrs(path)


def attributes_of_winner(view: View, path: str) -> dict[str, str]:
    """Those extended attributes of a path for which only the deciding layer is asked. May block.

    ``layer`` decides the path, ``path`` is where that layer has it, and ``kind`` is ``container``,
    ``store``, ``file``, ``symlink``, or ``directory`` inside of a store.

    Raises:
        NotFound: No layer has the path.
    """
    found = view.lookup(path)
    store = paths.store_of(path)
    kind = found.entry.kind.value
    if found.entry.is_dir and store is None:
        kind = "container"
    elif found.entry.is_dir and store == path:
        kind = "store"
    return {"layer": found.layer.name, "path": found.layer.location(path), "kind": kind}


def attributes_of(view: View, path: str) -> dict[str, str]:
    """All extended attributes of a path. May block, on any layer. Raises as `attributes_of_winner`.

    Besides those of the deciding layer: ``layers`` (of a container) are those that contribute to it,
    and ``shadows`` are those whose file, store or directory of this name is hidden.
    """
    values = attributes_of_winner(view, path)
    merges = values["kind"] == "container"
    contributing: list[str] = []
    hidden: list[str] = []
    for position, source in enumerate(view.sources(path)):
        if merges and source.entry.is_dir and not hidden:
            contributing.append(source.layer.name)
        elif position:
            hidden.append(source.layer.name)
    if contributing:
        values["layers"] = ",".join(contributing)
    if hidden:
        values["shadows"] = ",".join(hidden)
    return values


def described(view: View, path: str) -> dict[str, str]:
    """What the layers say of a path by `Layer.described`. May block. Raises as `attributes_of_winner`.

    Of a directory all that contribute say something, of which the highest counts; of anything else the
    deciding one.
    """
    found = view.lookup(path)
    merges = found.entry.is_dir and found.layer is not view.control
    values: dict[str, str] = {}
    try:
        for layer in view.members(path) if merges else (found.layer,):
            for name, text in _described_by(layer, path).items():
                if "." in name and len(f"{PREFIX}{name}".encode()) <= _MAX_NAME_BYTES:
                    values.setdefault(name, _fitting(text))
    except Transient:
        if not values:
            raise
    return values


def _described_by(layer: Layer, path: str) -> Mapping[str, str]:
    try:
        return layer.described(path)
    except (NotFound, NotADirectory):  # gone since it was looked up
        return {}


def _fitting(text: str) -> str:
    """A text that is UTF-8 and no longer than a value may be."""
    data = text.encode(errors="replace")[:_MAX_VALUE_BYTES]
    return data.decode(errors="ignore")
