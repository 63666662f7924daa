"""Remote places that can be written, each empty at first, and what another machine sees there."""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

import fsspec

from copickfs.layers.remotewrite import WritableFsspecLayer
from tests.objectstore import ObjectStore
from tests.servers import SftpServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Remote:
    """A place, and layers over it as different machines would have them.

    Args:
        url: The layer root.
        fs_args: Arguments for fsspec.
        journals: Where journals are kept.
        server: What can be stopped and started.
        fs: A file system to look at the place with, behind the layers' backs.
        root: Path of the place in ``fs``.
    """

    def __init__(
        self, url: str, fs_args: dict[str, Any], journals: Path, server: Any, fs: Any, root: str
    ) -> None:
        self.url = url
        self.fs_args = fs_args
        self.journals = journals
        self.server = server
        self._fs = fs
        self._root = root

    def below(self, name: str, journals: Path) -> Remote:
        """An empty place of its own on the same server, which is not to be stopped."""
        root = f"{self._root}/{name}"
        self._fs.makedirs(root, exist_ok=True)
        return Remote(f"{self.url}/{name}", self.fs_args, journals, None, self._fs, root)

    @contextlib.contextmanager
    def layer(self, machine: str = "here", **options: Any) -> Iterator[WritableFsspecLayer]:
        """A connected layer of one machine."""
        with contextlib.closing(self.unconnected(machine, **options)) as layer:
            layer.connect()
            yield layer

    def unconnected(self, machine: str = "here", **options: Any) -> WritableFsspecLayer:
        """A layer of one machine."""
        return WritableFsspecLayer(
            "lab",
            self.url,
            fs_args=self.fs_args,
            journal_directory=self.journals / machine,
            **{"timeout_s": 5.0, **options},
        )

    def files(self) -> dict[str, bytes]:
        """All files and what is in them, but for the marks of directories."""
        self._fs.invalidate_cache()
        found = {}
        for full in self._fs.find(self._root):
            if not full.endswith("/.copickfs-directory"):
                found[full.lstrip("/")[len(self._root.strip("/")) + 1 :]] = self._fs.cat_file(full)
        return found

    def put(self, path: str, data: bytes) -> None:
        """Write as another program would."""
        self._fs.makedirs(f"{self._root}/{path}".rpartition("/")[0], exist_ok=True)
        self._fs.pipe_file(f"{self._root}/{path}", data)

    def journal_files(self, machine: str = "here") -> list[str]:
        """Files in a machine's journals but for the locks."""
        files = (self.journals / machine).rglob("*")
        return sorted(path.name for path in files if path.is_file() and path.name != "lock")


@contextlib.contextmanager
def _memory(directory: Path) -> Iterator[Remote]:
    fs = fsspec.filesystem("memory")
    top = f"/w-{uuid.uuid4().hex}"
    fs.makedirs(top)
    try:
        yield Remote(f"memory:/{top}", {}, directory / "journals", None, fs, top)
    finally:
        fs.rm(top, recursive=True)


@contextlib.contextmanager
def _sftp(directory: Path) -> Iterator[Remote]:
    root = directory / "served"
    root.mkdir()
    with SftpServer(root) as server:
        fs = fsspec.filesystem("file")
        yield Remote(server.url, server.fs_args, directory / "journals", server, fs, str(root))


@contextlib.contextmanager
def _sftp_generic(directory: Path) -> Iterator[Remote]:
    fsspec.register_implementation("plainsftp", "fsspec.implementations.sftp.SFTPFileSystem", clobber=True)
    with _sftp(directory) as remote:
        remote.url = remote.url.replace("ssh://", "plainsftp://")
        remote.fs_args = {**remote.fs_args, "look_for_keys": False, "allow_agent": False}
        yield remote


@contextlib.contextmanager
def _s3(directory: Path) -> Iterator[Remote]:
    with ObjectStore() as store:
        root = store.url.removeprefix("s3://")
        yield Remote(store.url, store.fs_args, directory / "journals", store, store.client(), root)


class RemoteKind(NamedTuple):
    """A kind of place.

    Attributes:
        name: Shown by pytest.
        open: Makes one, with what it needs in a directory.
    """

    name: str
    open: Callable[[Path], contextlib.AbstractContextManager[Remote]]


KINDS = (
    RemoteKind("memory", _memory),
    RemoteKind("sftp", _sftp),
    RemoteKind("sftp-generic", _sftp_generic),
    RemoteKind("s3", _s3),
)
