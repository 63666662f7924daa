"""Every kind of layer, each holding the same tree."""

from __future__ import annotations

import contextlib
import os
import uuid
from typing import TYPE_CHECKING, NamedTuple

import fsspec

from copickfs.layers.local import LocalLayer
from copickfs.layers.localwrite import WritableLocalLayer
from copickfs.layers.memory import MemoryLayer
from copickfs.layers.remote import FsspecLayer
from tests.azurite import Azurite
from tests.objectstore import ObjectStore
from tests.rclonestore import RcloneStore
from tests.remotes import KINDS
from tests.servers import SftpServer
from tests.telling import TellingLayer
from tests.webserver import WebServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from copickfs.layers.base import Layer
    from copickfs.layers.writable import WritableLayer
    from tests.remotes import Remote, RemoteKind

GIB = 1 << 30

NAMES = (
    "plain.txt",
    ".hidden",
    "with space",
    "umläut-日本語-🔬",
    "[1]",
    "a*b?c",
    "50% #7 & <b>'\"",
    "semi;colon:at@=+,",
    "back\\slash",
    "new\nline",
    "n" * 255,
    "ü" * 127,
    "~tilde",
)
LATIN_1 = os.fsdecode(b"latin-\xe9.txt")
ARRAY = "store.zarr/0"
CHUNKS = {f"{ARRAY}/{z}/{y}/0": bytes([z, y]) * 50 for z in range(3) for y in range(3)}

FILES: dict[str, bytes] = {
    "top": b"top",
    "empty": b"",
    "dir/inner/deep.json": b'{"a": 1}',
    "dir/ranges.bin": bytes(i * 7 % 251 for i in range(100_000)),
    "dir/blocks.bin": bytes(range(256)) * (10 << 12),  # more than is fetched in one request
    **{f"names/{name}": name.encode() for name in NAMES},
    **{f"names/dir {name[:120]}/x": b"x" for name in NAMES},
    "store.zarr/.zgroup": b"{}",
    f"{ARRAY}/.zarray": b'{"shape": [3, 3, 1]}',
    **CHUNKS,
}
EMPTY_DIRECTORIES = ("hollow", "dir/hollow inner")
KNOWN = {"dir/inner/deep.json": {"points": 3, "portal": {"run_name": "TS_1", "authors": ["A", "B"]}}}
SPARSE = {"sparse.mrc": 5 * GIB + 12_345}
MARKS = {0: b"begin", 5 * GIB - 3: b"across", 5 * GIB + 12_340: b"fine!"}
"""What a sparse file holds, by offset."""


def build(root: Path) -> None:
    """Write the tree to a directory."""
    for path, data in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    for path in EMPTY_DIRECTORIES:
        (root / path).mkdir(parents=True)
    (root / "undecodable").mkdir()
    (root / "undecodable" / LATIN_1).write_bytes(b"latin")
    for path, size in SPARSE.items():
        with (root / path).open("wb") as file:
            file.truncate(size)
            for offset, mark in MARKS.items():
                file.seek(offset)
                file.write(mark)
    (root / "link-to-dir").symlink_to("dir")
    (root / "link-to-file").symlink_to("dir/ranges.bin")
    (root / "dangling").symlink_to("nowhere/at all")
    (root / "links/inner").mkdir(parents=True)
    (root / "links/inner/back").symlink_to("..")
    (root / "links/inner/here").symlink_to(".")
    (root / "links/aside").symlink_to("../dir/inner")


class Backend(NamedTuple):
    """A kind of layer.

    Attributes:
        name: Shown by pytest.
        open: Context manager from a directory that holds the tree to a connected layer with it.
        on_disk: The layer shows that very directory, with its links and sparse files.
        links: Symbolic links are known as such.
        undecodable: Names may be any bytes.
        excluded: Characters that no name can have.
    """

    name: str
    open: Callable[[Path], contextlib.AbstractContextManager[Layer]]
    on_disk: bool = True
    links: bool = True
    undecodable: bool = True
    excluded: str = ""

    @property
    def files(self) -> dict[str, bytes]:
        """What is in the tree, without names that this kind of layer cannot have."""
        return {path: data for path, data in FILES.items() if not set(self.excluded) & set(path)}


@contextlib.contextmanager
def connected(layer: Layer) -> Iterator[Layer]:
    layer.connect()
    try:
        yield layer
    finally:
        layer.close()


@contextlib.contextmanager
def _memory(_root: Path) -> Iterator[Layer]:
    with connected(MemoryLayer("contract", files=FILES, directories=EMPTY_DIRECTORIES)) as layer:
        yield layer


@contextlib.contextmanager
def _telling(_root: Path) -> Iterator[Layer]:
    with connected(TellingLayer("contract", 0, FILES, EMPTY_DIRECTORIES, known=KNOWN)) as layer:
        yield layer


@contextlib.contextmanager
def _local(root: Path) -> Iterator[Layer]:
    with connected(LocalLayer("contract", root)) as layer:
        yield layer


@contextlib.contextmanager
def _fsspec_memory(root: Path) -> Iterator[Layer]:
    fs = fsspec.filesystem("memory")
    top = f"/{root.name}-{uuid.uuid4().hex}"
    try:
        for path, data in FILES.items():
            fs.pipe_file(f"{top}/{path}", data)
        for path in EMPTY_DIRECTORIES:
            fs.makedirs(f"{top}/{path}")
        with connected(FsspecLayer("contract", f"memory:/{top}")) as layer:
            yield layer
    finally:
        fs.rm(top, recursive=True)


@contextlib.contextmanager
def _sftp(root: Path) -> Iterator[Layer]:
    with (
        SftpServer(root) as server,
        connected(FsspecLayer("contract", server.url, fs_args=server.fs_args)) as layer,
    ):
        yield layer


@contextlib.contextmanager
def _sftp_generic(root: Path) -> Iterator[Layer]:
    """By fsspec's own SFTP file system, which is what there is without sshfs."""
    fsspec.register_implementation("plainsftp", "fsspec.implementations.sftp.SFTPFileSystem", clobber=True)
    with SftpServer(root) as server:
        url = server.url.replace("ssh://", "plainsftp://")
        args = {**server.fs_args, "look_for_keys": False, "allow_agent": False}
        with connected(FsspecLayer("contract", url, fs_args=args)) as layer:
            yield layer


@contextlib.contextmanager
def _web(root: Path, listing: str = "html") -> Iterator[Layer]:
    with WebServer(root) as server:
        server.listing = listing
        with connected(FsspecLayer("contract", server.url)) as layer:
            yield layer


@contextlib.contextmanager
def _web_json(root: Path) -> Iterator[Layer]:
    with _web(root, "json") as layer:
        yield layer


@contextlib.contextmanager
def _store(_root: Path, protocol: str = "s3") -> Iterator[Layer]:
    """Google's store is asked by the same requests as S3, but for conditions of writing."""
    with ObjectStore() as store:
        fill(store)
        args = store.fs_args
        if protocol == "gs":
            args = {"endpoint_url": args["endpoint_url"], "bearer_token": "of-a-test"}
        with connected(
            FsspecLayer("contract", f"{protocol}://{store.bucket}/project", fs_args=args)
        ) as layer:
            yield layer


@contextlib.contextmanager
def _google(root: Path) -> Iterator[Layer]:
    with _store(root, "gs") as layer:
        yield layer


@contextlib.contextmanager
def _rclone(root: Path) -> Iterator[Layer]:
    directory = root.parent / f"rclone-{uuid.uuid4().hex}"
    with RcloneStore(directory) as store:
        project = directory / store.bucket / "project"
        for path, data in FILES.items():
            if "\n" not in path:
                (project / path).parent.mkdir(parents=True, exist_ok=True)
                (project / path).write_bytes(data)
        for path in EMPTY_DIRECTORIES:
            (project / path).mkdir(parents=True)
            (project / path / ".copickfs-directory").touch()
        with connected(FsspecLayer("contract", store.url, fs_args=store.fs_args)) as layer:
            yield layer


@contextlib.contextmanager
def _azure(root: Path) -> Iterator[Layer]:
    with Azurite(root.parent) as store:
        store.fill({path: data for path, data in FILES.items() if not {"\n", "\\"} & set(path)})
        store.fill({f"{path}/.copickfs-directory": b"" for path in EMPTY_DIRECTORIES})
        with connected(FsspecLayer("contract", store.url, fs_args=store.fs_args)) as layer:
            yield layer


def fill(store: ObjectStore) -> None:
    """Put the tree into a bucket; an empty directory is there by a mark."""
    client = store.client()
    for path, data in FILES.items():
        if path.isprintable():
            client.pipe_file(f"{store.bucket}/project/{path}", data)
    for path in EMPTY_DIRECTORIES:
        client.call_s3("put_object", Bucket=store.bucket, Key=f"project/{path}/", Body=b"")


BACKENDS = (
    Backend("memory", _memory, on_disk=False, links=False),
    Backend("memory-telling", _telling, on_disk=False, links=False),
    Backend("local", _local),
    Backend("fsspec-memory", _fsspec_memory, on_disk=False, links=False),
    Backend("sftp", _sftp),
    Backend("sftp-generic", _sftp_generic, undecodable=False),
    Backend("web", _web, links=False),
    Backend("web-json", _web_json, links=False),
    Backend("s3", _store, on_disk=False, links=False, excluded="\n"),
    Backend("s3-rclone", _rclone, on_disk=False, links=False, excluded="\n"),
    Backend("gs", _google, on_disk=False, links=False, excluded="\n"),
    Backend("az", _azure, on_disk=False, links=False, excluded="\n\\"),
)


class WritableBackend(NamedTuple):
    """A kind of layer that can be written.

    Attributes:
        name: Shown by pytest.
        open: Context manager from an empty directory, and a place of the kind, to a connected layer that
            is empty.
        kind: What place it needs; None for none.
        attributes: The source keeps modes, owners and times.
        xattrs: It keeps extended attributes.
        links: It has symbolic links.
        hard_links: It has hard links.
        exchange: Two names can change places.
        special: It has FIFOs.
    """

    name: str
    open: Callable[[Path, Remote | None], contextlib.AbstractContextManager[WritableLayer]]
    kind: RemoteKind | None = None
    attributes: bool = True
    xattrs: bool = True
    links: bool = True
    hard_links: bool = True
    exchange: bool = True
    special: bool = True


@contextlib.contextmanager
def _memory_writable(_root: Path, _place: Remote | None) -> Iterator[WritableLayer]:
    layer = MemoryLayer("contract", read_only=False)
    with connected(layer):
        yield layer


@contextlib.contextmanager
def _local_writable(root: Path, _place: Remote | None) -> Iterator[WritableLayer]:
    layer = WritableLocalLayer("contract", root, watch=True)
    with connected(layer):
        yield layer


@contextlib.contextmanager
def _local_confined(root: Path, _place: Remote | None) -> Iterator[WritableLayer]:
    layer = WritableLocalLayer("contract", root, watch=True, confined=True)
    with connected(layer):
        yield layer


def _remote(
    *, propagate: bool
) -> Callable[[Path, Remote | None], contextlib.AbstractContextManager[WritableLayer]]:
    @contextlib.contextmanager
    def opened(root: Path, place: Remote | None) -> Iterator[WritableLayer]:
        assert place is not None
        remote = place.below(uuid.uuid4().hex, root / "journals")
        with remote.layer(propagate=propagate) as layer:
            yield layer
            assert layer.flush_pending(30), layer.pending()
        assert remote.journal_files() == []
        assert not [path for path in remote.files() if "-upload-" in path]

    return opened


WRITABLE_BACKENDS = (
    WritableBackend("memory", _memory_writable),
    WritableBackend("local", _local_writable),
    WritableBackend("local-confined", _local_confined),
    *(
        WritableBackend(
            f"{kind.name}-{strategy}", _remote(propagate=propagate), kind,
            attributes=False, xattrs=False, links=False, hard_links=False, exchange=False, special=False,
        )
        for kind in KINDS
        for strategy, propagate in (("default", False), ("propagate", True))
    ),
)  # fmt: skip
