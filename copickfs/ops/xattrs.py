"""Extended attributes: where a path of the merged tree comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyfuse3

from copickfs import paths

if TYPE_CHECKING:
    from copickfs.ops.inodes import InodeTable
    from copickfs.ops.lanes import Lanes
    from copickfs.view import View

PREFIX = "user.copickfs."


class Xattrs:
    """Answers ``user.copickfs.*``; there are no others. Used on the event loop only."""

    def __init__(self, view: View, inodes: InodeTable, lanes: Lanes) -> None:
        self._view = view
        self._inodes = inodes
        self._lanes = lanes

    async def get(self, number: int, name: bytes) -> bytes:
        """The value of one attribute. Raises `pyfuse3.FUSEError` ENODATA."""
        # Programs ask for security labels and ACLs of every file: answer these at once.
        if not name.startswith(PREFIX.encode()):
            raise pyfuse3.FUSEError(pyfuse3.ENOATTR)
        value = (await self._all(number)).get(name.decode(errors="surrogateescape"))
        if value is None:
            raise pyfuse3.FUSEError(pyfuse3.ENOATTR)
        return value

    async def names(self, number: int) -> list[bytes]:
        """The names of all attributes."""
        return [name.encode() for name in await self._all(number)]

    async def _all(self, number: int) -> dict[str, bytes]:
        path = self._inodes.path(number)
        lane = self._view.layers[-1].name if self._view.layers else ""
        return await self._lanes.call(lane, attributes_of, self._view, path)


def attributes_of(view: View, path: str) -> dict[str, bytes]:
    """The extended attributes of a path. May block.

    ``layer`` decides the path, ``path`` is where that layer has it, ``kind`` is ``container``,
    ``store``, ``file`` or ``symlink``, ``layers`` (of a container) are those that contribute to it,
    and ``shadows`` are those whose file, store or directory of this name is hidden.

    Raises:
        NotFound: No layer has the path.
    """
    sources = view.sources(path)
    first = sources[0]
    store = paths.store_of(path)
    is_container = first.entry.is_dir and store is None
    contributing = []
    for source in sources:
        if not (is_container and source.entry.is_dir):
            break
        contributing.append(source.layer.name)
    hidden = [source.layer.name for source in sources[max(1, len(contributing)) :]]
    kind = "container" if is_container else first.entry.kind.value
    values = {
        "layer": first.layer.name,
        "path": first.layer.location(path),
        "kind": "store" if first.entry.is_dir and path == store else kind,
    }
    if contributing:
        values["layers"] = ",".join(contributing)
    if hidden:
        values["shadows"] = ",".join(hidden)
    return {PREFIX + key: value.encode(errors="surrogateescape") for key, value in values.items()}
