"""Direct access to the files of one layer (specification, 2.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from copickfs import paths
from copickfs.api import tree as trees

if TYPE_CHECKING:
    from copickfs.api.root import LayerRoot
    from copickfs.api.tree import Tree
    from copickfs.model import Entry


class FilesystemFeatures:
    """The files of one layer, by their paths or by copick objects.

    Every ``place`` is a path of the tree (``"ExperimentRuns/TS_001"``) or an object (a run, picks, ...).

    Args:
        root: The layer's own root.

    Attributes:
        name: Name of the layer.
        config: Its configuration.
    """

    def __init__(self, root: LayerRoot) -> None:
        self.name = root.name
        self.config = root.config
        self._layer_root = root

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of layer {self.name}>"

    @property
    def is_local(self) -> bool:
        """True if `path` gives paths of this machine."""
        return bool(getattr(self.config, "is_local", False))

    def path(self, place: Any = "") -> str:
        """Where the layer has, or would have, ``place``: a path of this machine or a URL, without secrets."""
        return self._layer_root.layer.location(path_of(place))

    def exists(self, place: Any) -> bool:
        """True if the layer itself has it, shown or shadowed."""
        return trees.exists(self._tree, path_of(place))

    def info(self, place: Any = "") -> Entry:
        """Kind, size, times and version. Raises `NotFound`."""
        return self._tree.view.lookup(path_of(place)).entry

    def listdir(self, place: Any = "") -> list[str]:
        """The names in a directory of the layer, in order. Raises `NotFound`."""
        return sorted(entry.name for entry in self._tree.view.listing(path_of(place)).entries)

    def read_bytes(self, place: Any) -> bytes:
        """The contents of a file of the layer. Raises `NotFound`."""
        return trees.read(self._tree, path_of(place))

    def write_bytes(self, place: Any, data: bytes) -> None:
        """Write a whole file into the layer, which readers see as it was or as it is now.

        Raises:
            NotWritable: The layer is not written; a ``PermissionError``.
        """
        self._tree.write(path_of(place), data)

    def remove(self, place: Any) -> None:
        """Remove a file, or a directory with all that is in it, from the layer alone. Raises `NotFound`."""
        self._tree.remove(path_of(place))

    @property
    def _tree(self) -> Tree:
        return self._layer_root.tree


def path_of(place: Any) -> str:
    """The path in the tree of what is named by its path, or by an object that has one."""
    path = place if isinstance(place, str) else getattr(place, "path", None)
    if not isinstance(path, str):
        raise TypeError(f"neither a path nor a copick object of a layer: {place!r}")
    return paths.normalise(path)
