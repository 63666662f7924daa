"""The files that copickfs itself adds at the root of the tree.

``copick_config.json`` is listed; ``.copickfs/`` with ``status.json``, ``config.json`` and ``metrics``
is there but not listed, so that no copy of the tree takes it along.
"""

from __future__ import annotations

import json
import stat
import time
from typing import TYPE_CHECKING, Any

from copickfs import paths
from copickfs.errors import IsADirectory, NotADirectory, NotFound
from copickfs.layers.base import BaseLayer
from copickfs.model import BLOCK_BYTES, ByteRange, Entry

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

NAME = "copickfs"
"""What the entries of these files give as their layer."""


class ControlFile:
    """An open control file: its contents as they were made when it was opened."""

    def __init__(self, entry: Entry, data: bytes) -> None:
        self.entry = entry
        self._data = data

    def read(self, span: ByteRange) -> bytes:
        """See `LayerFile.read`."""
        return self._data[span.start : span.stop]

    read_nowait = read

    def close(self) -> None:
        """Nothing to let go of."""


class ControlLayer(BaseLayer):
    """A read-only layer above all others that has only the control files.

    Args:
        files: Path to a function that makes the file's contents, called when it is opened and, for
            its size, when it is looked at. The functions answer from memory.
        owner: ``(uid, gid)`` of the files.
    """

    def __init__(self, files: dict[str, Callable[[], bytes]], owner: tuple[int, int] = (0, 0)) -> None:
        super().__init__(NAME, priority=2**31)
        self._files = files
        self._owner = owner
        self._made_ns = time.time_ns()

    def claims(self, path: str) -> bool:
        """True if ``path`` is this layer's, whatever other layers have there."""
        return path in self._files or path == paths.CONTROL_DIRECTORY

    def stat(self, path: str) -> Entry:
        """See `Layer.stat`."""
        uid, gid = self._owner
        name = paths.split(path)[1]
        if path == paths.CONTROL_DIRECTORY:
            mode = stat.S_IFDIR | 0o555
            return Entry(name, mode, 0, self._made_ns, NAME, ctime_ns=self._made_ns, uid=uid, gid=gid)
        if path not in self._files:
            raise NotFound(path)
        return self._entry(path, len(self._files[path]()))

    def scan(self, path: str) -> list[Entry]:
        """See `Layer.scan`; the listing of the root leaves ``.copickfs`` out."""
        if path in self._files:
            raise NotADirectory(path)
        return [self.stat(file) for file in self._files if paths.split(file)[0] == path]

    def open(self, path: str) -> ControlFile:
        """See `Layer.open`."""
        if path == paths.CONTROL_DIRECTORY:
            raise IsADirectory(path)
        if path not in self._files:
            raise NotFound(path)
        data = self._files[path]()
        return ControlFile(self._entry(path, len(data)), data)

    stat_nowait = stat
    scan_nowait = scan
    open_nowait = open

    def location(self, path: str) -> str:
        """These files are nowhere else."""
        return f"copickfs:/{path}"

    def _entry(self, path: str, size_bytes: int) -> Entry:
        uid, gid = self._owner
        # Status and metrics are of this moment; the configuration is as old as the mount.
        alive = path.endswith(("status.json", "metrics"))
        changed_ns = time.time_ns() if alive else self._made_ns
        return Entry(
            paths.split(path)[1], stat.S_IFREG | 0o444, size_bytes, changed_ns, NAME,
            ctime_ns=changed_ns, atime_ns=changed_ns, uid=uid, gid=gid,
            blocks=-(-size_bytes // BLOCK_BYTES), volatile=alive, inode=1,  # one file, whatever it says
        )  # fmt: skip


def control_layer(
    *,
    status: Callable[[], dict[str, Any]],
    metrics: Callable[[], bytes],
    configuration: dict[str, Any],
    copick_config: dict[str, Any],
    owner: tuple[int, int],
) -> ControlLayer:
    """The control files of a mount.

    Args:
        status: Makes the document of ``.copickfs/status.json``.
        metrics: Makes ``.copickfs/metrics`` (Prometheus text).
        configuration: The configuration with its secrets removed.
        copick_config: An ordinary copick configuration of the mount itself.
        owner: ``(uid, gid)`` of the files.
    """

    def document(data: dict[str, Any]) -> bytes:
        return (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode(errors="surrogateescape")

    fixed = document(configuration)
    own = document(copick_config)
    return ControlLayer(
        {
            paths.CONFIG_NAME: lambda: own,
            f"{paths.CONTROL_DIRECTORY}/status.json": lambda: document(status()),
            f"{paths.CONTROL_DIRECTORY}/config.json": lambda: fixed,
            f"{paths.CONTROL_DIRECTORY}/metrics": metrics,
        },
        owner,
    )


def copick_config_of(configuration: Any, mountpoint: str | os.PathLike[str]) -> dict[str, Any]:
    """An ordinary copick filesystem configuration whose only root is the mount.

    Args:
        configuration: A `MultilayerConfig`; its copick fields are carried over.
        mountpoint: Where the tree is mounted, absolute.
    """
    project = configuration.project()
    # With a list of runs copick makes bare run objects that cannot read anything.
    project.pop("runs", None)
    project.setdefault("pickable_objects", [])
    return {
        **project,
        "config_type": "filesystem",
        "overlay_root": f"local://{mountpoint}",
        "overlay_fs_args": {"auto_mkdir": True},
    }
