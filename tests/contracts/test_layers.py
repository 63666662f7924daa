"""What every layer must do, whatever it is made of: the contract in `copickfs.layers.base`."""

from __future__ import annotations

import contextlib
import errno
import json
import random
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from copickfs.errors import LayerError, NotADirectory, NotFound, WouldBlock
from copickfs.model import UNSIZED, ByteRange, EntryKind
from tests.contracts.backends import CHUNKS, EMPTY_DIRECTORIES, FILES, LATIN_1, MARKS, SPARSE
from tests.sandbox import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from copickfs.layers.base import Layer
    from tests.contracts.backends import Backend

BLOCKS = "dir/blocks.bin"


def directories(backend: Backend) -> dict[str, set[str]]:
    """Directory to the names in it, of the tree without what only a disk can hold."""
    listings: dict[str, set[str]] = {"": set()}
    for path, is_file in [*((p, True) for p in backend.files), *((p, False) for p in EMPTY_DIRECTORIES)]:
        parts = path.split("/")
        for depth, name in enumerate(parts):
            listings.setdefault("/".join(parts[:depth]), set()).add(name)
        if not is_file:
            listings.setdefault(path, set())
    return listings


ON_DISK_ONLY = {"": {*SPARSE, "link-to-dir", "link-to-file", "dangling", "undecodable", "links"}}


def read(layer: Layer, path: str, start: int, stop: int) -> bytes:
    with contextlib.closing(layer.open(path)) as file:
        return bytes(file.read(ByteRange(start, stop)))


def test_the_root_is_a_directory(layer: Layer) -> None:
    entry = layer.stat("")
    assert entry.is_dir
    assert entry.name == ""


def test_a_file_is_told_by_its_kind_size_and_name(layer: Layer, backend: Backend) -> None:
    for path, data in backend.files.items():
        entry = layer.stat(path)
        assert (entry.kind, entry.size_bytes) == (EntryKind.FILE, len(data))
        assert (entry.name, entry.layer) == (path.rpartition("/")[2], layer.name)
        assert entry.version
        assert read(layer, path, 0, len(data) + 10) == data


def test_a_listing_is_complete_and_agrees_with_stat(layer: Layer, backend: Backend) -> None:
    for path, names in directories(backend).items():
        entries = {entry.name: entry for entry in layer.scan(path)}
        expected = names | (ON_DISK_ONLY.get(path, set()) if backend.on_disk else set())
        if backend.on_disk and not backend.links:
            expected -= {"dangling"}  # a web server answers for it as for a missing file
        assert entries.keys() == expected
        assert len(layer.scan(path)) == len(entries)
        assert layer.stat(path).is_dir
        for name, entry in entries.items():
            told = layer.stat(f"{path}/{name}" if path else name)
            size_bytes = told.size_bytes if entry.size_bytes == UNSIZED else entry.size_bytes
            facts = (entry.kind, size_bytes, entry.mtime_ns)
            assert (told.kind, told.size_bytes, told.mtime_ns) == facts


def test_only_a_listing_may_leave_lengths_out(layer: Layer, backend: Backend) -> None:
    for path in directories(backend):
        for entry in layer.scan(path):
            inner = f"{path}/{entry.name}" if path else entry.name
            told = layer.stat(inner)
            assert told.size_bytes >= 0
            assert told.identity == entry.identity
            if entry.size_bytes == UNSIZED:
                assert entry.kind is EntryKind.FILE
                assert told == entry._replace(size_bytes=told.size_bytes, blocks=told.blocks, etag=told.etag)
            with contextlib.suppress(WouldBlock):
                assert layer.stat_nowait(inner).size_bytes == told.size_bytes
    with contextlib.closing(layer.open("dir/ranges.bin")) as file:
        assert file.entry.size_bytes == len(FILES["dir/ranges.bin"])


def test_what_a_layer_tells_is_text_and_json(layer: Layer, backend: Backend) -> None:
    for path in ("", *directories(backend), *backend.files):
        for name, text in layer.described(path).items():
            assert "." in name
            text.encode()
        known = layer.known_of(path)
        if known is not None:
            assert json.loads(json.dumps(known)) == known


@pytest.mark.parametrize("path", EMPTY_DIRECTORIES)
def test_an_empty_directory_is_one(layer: Layer, path: str) -> None:
    assert layer.stat(path).is_dir
    assert list(layer.scan(path)) == []
    with pytest.raises(NotFound):
        layer.stat(f"{path}/x")


MISSING = (
    "absent",
    "dir/absent",
    "dir/inner/absent.json",
    "absent/deeper/still",
    "store.zarr/0/0/9",
    "hollow/x",
)


@pytest.mark.parametrize("path", MISSING)
def test_what_is_missing_is_not_found(layer: Layer, path: str) -> None:
    for method in (layer.stat, layer.scan, layer.open):
        with pytest.raises(NotFound) as caught:
            method(path)
        assert isinstance(caught.value, FileNotFoundError)


@pytest.mark.parametrize("path", ["top/x", "dir/inner/deep.json/y/z", "store.zarr/0/0/0/0/x"])
def test_below_a_file_is_no_directory(layer: Layer, path: str) -> None:
    for method in (layer.stat, layer.scan, layer.open):
        with pytest.raises(NotADirectory):
            method(path)


def test_a_file_cannot_be_listed_nor_a_directory_opened(layer: Layer) -> None:
    for path in ("top", "empty", "store.zarr/.zgroup"):
        with pytest.raises(NotADirectory):
            layer.scan(path)
    for path in ("", "dir", "store.zarr", "store.zarr/0", "hollow"):
        with pytest.raises(IsADirectoryError):
            read(layer, path, 0, 1)


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, 0), (0, 1), (5, 5), (99_999, 100_000), (99_999, 100_001), (100_000, 100_001),
     (50_000, 10**7), (10**9, 10**9 + 5), (0, 100_000), (65_535, 65_537)],
)  # fmt: skip
def test_ranges_are_half_open_and_end_with_the_file(layer: Layer, start: int, stop: int) -> None:
    assert read(layer, "dir/ranges.bin", start, stop) == FILES["dir/ranges.bin"][start:stop]


def test_any_range_of_a_large_file(layer: Layer) -> None:
    data = FILES[BLOCKS]
    chance = random.Random(4)
    with contextlib.closing(layer.open(BLOCKS)) as file:
        for _ in range(20):
            start = chance.randrange(len(data))
            stop = start + chance.choice([1, 4096, 131_072, 1 << 20, 3 << 20])
            assert file.read(ByteRange(start, stop)) == data[start:stop]
        assert file.entry.size_bytes == len(data)


def test_offsets_beyond_5_gib(layer: Layer, backend: Backend) -> None:
    if not backend.on_disk:
        pytest.skip("a sparse file needs a disk")
    size = SPARSE["sparse.mrc"]
    assert layer.stat("sparse.mrc").size_bytes == size
    with contextlib.closing(layer.open("sparse.mrc")) as file:
        for offset, mark in MARKS.items():
            around = file.read(ByteRange(max(0, offset - 4), offset + len(mark) + 4))
            assert around.strip(b"\0") == mark
        assert file.read(ByteRange(size - 3, size + 100)) == MARKS[5 * (1 << 30) + 12_340][-3:]
        assert file.read(ByteRange(size, size + 1)) == b""


def test_symbolic_links_are_followed_and_dangling_ones_shown(layer: Layer, backend: Backend) -> None:
    if not backend.on_disk:
        pytest.skip("no symbolic links in memory")
    assert layer.stat("link-to-dir").is_dir
    assert {entry.name for entry in layer.scan("link-to-dir")} == {e.name for e in layer.scan("dir")}
    assert read(layer, "link-to-dir/inner/deep.json", 0, 100) == FILES["dir/inner/deep.json"]
    assert layer.stat("link-to-file").size_bytes == len(FILES["dir/ranges.bin"])
    if backend.links:
        assert layer.stat("dangling").kind is EntryKind.SYMLINK
        assert layer.readlink("dangling") == "nowhere/at all"
        with pytest.raises(NotADirectory):
            layer.scan("dangling")
        with pytest.raises((NotADirectory, NotFound)):
            layer.stat("dangling/x")
        with pytest.raises(FileNotFoundError):
            layer.open("dangling")


def test_a_link_up_its_own_path_is_not_followed(layer: Layer, backend: Backend) -> None:
    if not backend.links:
        pytest.skip("links are not known as such")
    kinds = {entry.name: entry.kind for entry in layer.scan("links/inner")}
    assert kinds == {"back": EntryKind.SYMLINK, "here": EntryKind.SYMLINK}
    assert layer.stat("links/inner/back").kind is EntryKind.SYMLINK
    assert layer.readlink("links/inner/back") == ".."
    assert [entry.name for entry in layer.scan("links/aside")] == ["deep.json"]


def test_a_file_is_no_symbolic_link(layer: Layer) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what counts
        layer.readlink("top")
    assert caught.value.errno == errno.EINVAL


def test_nowait_twins_agree_or_would_block(layer: Layer) -> None:
    pairs = (
        (layer.stat, layer.stat_nowait),
        (layer.scan, layer.scan_nowait),
    )
    for path in ("", "top", "dir", "absent", "top/x", "dir/inner", "store.zarr/0/1", *MISSING):
        for blocking, nowait in pairs:
            assert _answer(nowait, path) in (_answer(blocking, path), WouldBlock)
    for path in ("top", "dir/ranges.bin"):
        with contextlib.suppress(WouldBlock), contextlib.closing(layer.open_nowait(path)) as file:
            file.read(ByteRange(0, 100))
            assert bytes(file.read_nowait(ByteRange(0, 100))) == FILES[path][:100]


def _answer(method: object, path: str) -> object:
    try:
        answer = method(path)  # type: ignore[operator]
    except (LayerError, WouldBlock) as error:
        return type(error)
    return sorted(answer) if isinstance(answer, list) else answer


def test_a_whole_array_answers_for_its_chunks(layer: Layer) -> None:
    layer.stat("store.zarr/0/.zarray")
    for path, data in CHUNKS.items():
        assert layer.stat(path).size_bytes == len(data)
        assert read(layer, path, 0, 1000) == data
    for path in ("store.zarr/0/0/3/0", "store.zarr/0/3/0/0", "store.zarr/0/.zattrs"):
        with pytest.raises(NotFound):
            layer.stat(path)


def test_sixteen_threads_see_the_same(layer: Layer, backend: Backend) -> None:
    paths = [path for path, data in backend.files.items() if len(data) < 200_000]
    chance = random.Random(5)

    def work(seed: int) -> None:
        order = random.Random(seed).sample(paths, len(paths))
        for path in order[:15]:
            assert layer.stat(path).size_bytes == len(FILES[path])
            assert read(layer, path, 0, 1 << 20) == FILES[path]
            with pytest.raises(NotFound):
                layer.stat(f"{path}.absent"[-250:] if "/" not in path else f"dir/{seed}.absent")
            assert layer.scan("names")

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, [chance.random() for _ in range(16)]))  # type: ignore[arg-type]


def test_one_open_file_serves_sixteen_threads(layer: Layer) -> None:
    data = FILES[BLOCKS]
    with contextlib.closing(layer.open(BLOCKS)) as file, ThreadPoolExecutor(16) as pool:
        spans = [ByteRange(i, i + 131_072) for i in range(0, 6 << 20, 131_072)]
        assert [bytes(part) for part in pool.map(file.read, spans)] == [data[s.start : s.stop] for s in spans]


def test_the_small_print(layer: Layer) -> None:
    assert layer.ttl_s("dir") > 0
    assert layer.location("dir/x").endswith("dir/x")
    assert layer.health().state == "ok"
    layer.stat("top")
    before = layer.statistics()
    read(layer, "dir/ranges.bin", 0, 1000)
    now = layer.statistics()
    assert now.bytes_read + now.cached_bytes >= before.bytes_read + before.cached_bytes + 1000
    assert layer.statistics().requests >= before.requests
    mode = layer.stat("top").mode
    assert stat.S_IMODE(mode) & 0o444 == 0o444
    layer.refresh()
    assert layer.stat("top").size_bytes == 3


def test_undecodable_names_survive_or_are_refused(layer: Layer, backend: Backend) -> None:
    if not backend.on_disk:
        pytest.skip("names in memory are text")
    if backend.undecodable:
        assert [entry.name for entry in layer.scan("undecodable")] == [LATIN_1]
        assert read(layer, f"undecodable/{LATIN_1}", 0, 100) == b"latin"
    else:
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what counts
            layer.scan("undecodable")
        assert caught.value.errno == errno.EILSEQ


def test_close_is_idempotent_and_leaves_nothing(backend: Backend, tree: Path) -> None:
    before = set(threading.enumerate())
    with backend.open(tree) as layer:
        file = layer.open(BLOCKS)
        file.read(ByteRange(0, 10))
        file.close()
        file.close()
        layer.close()
        layer.close()
    wait_until(lambda: not _own_threads() - before, what="the end of the layer's threads")


def _own_threads() -> set[threading.Thread]:
    """All but those that fsspec and asyncio start once for the whole process."""
    shared = ("fsspecIO", "asyncio_")
    return {thread for thread in threading.enumerate() if not thread.name.startswith(shared)}
