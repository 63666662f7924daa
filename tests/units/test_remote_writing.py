"""Writing to remote layers: what others see, when, and what stays behind."""

from __future__ import annotations

import contextlib
import errno
import stat
from typing import TYPE_CHECKING, Any

import pytest

from copickfs.errors import ConfigError, IsADirectory, NotADirectory, NotFound
from copickfs.layers.remotewrite import WritableFsspecLayer
from copickfs.layers.sources import store_writing
from copickfs.layers.writable import Change, Owner, is_writable
from copickfs.model import ByteRange, Pending
from tests.remotes import KINDS, Remote
from tests.sandbox import wait_until
from tests.units.conftest import own_threads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OWNER = Owner(0, 0)
BIG = bytes(range(256)) * (40 << 10)
PICKS = "ExperimentRuns/TS_1/Picks/me_1_ribosome.json"


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.name)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    with request.param.open(tmp_path_factory.mktemp("remote")) as remote:
        yield remote


@pytest.fixture
def remote(place: Remote, tmp_path: Path) -> Iterator[Remote]:
    """An empty place, where nothing may stay behind but what the test has put there."""
    with place.layer("cleaner") as layer:
        remove_all(layer)
    place.journals = tmp_path / "journals"
    yield place
    wait_until(lambda: not own_threads(), what="the end of the layer's threads")
    assert not [path for path in place.files() if "copickfs" in path]


@pytest.fixture(params=[False, True], ids=["direct", "behind"])
def layer(remote: Remote, request: pytest.FixtureRequest) -> Iterator[WritableFsspecLayer]:
    with remote.layer(propagate=request.param) as opened:
        yield opened
        assert opened.flush_pending(30), opened.pending()
    assert remote.journal_files() == []


def remove_all(layer: WritableFsspecLayer, directory: str = "") -> None:
    for entry in layer.scan(directory):
        path = f"{directory}/{entry.name}".lstrip("/")
        if entry.is_dir:
            remove_all(layer, path)
            layer.rmdir(path)
        else:
            layer.unlink(path)


def make_directories(layer: WritableFsspecLayer, path: str) -> None:
    parts = path.split("/")
    for depth in range(1, len(parts) + 1):
        with contextlib.suppress(FileExistsError):
            layer.mkdir("/".join(parts[:depth]), 0o755, OWNER)


def store(layer: WritableFsspecLayer, path: str, data: bytes) -> None:
    with contextlib.closing(layer.create(path, 0o644, OWNER, whole=True)) as file:
        file.write(0, data)
        file.flush()


def read(layer: WritableFsspecLayer, path: str) -> bytes:
    with contextlib.closing(layer.open(path)) as file:
        return bytes(file.read(ByteRange(0, 1 << 30)))


def names(layer: WritableFsspecLayer, path: str = "") -> set[str]:
    return {entry.name for entry in layer.scan(path)}


def test_it_is_a_writable_layer_that_waits_for_a_network(layer: WritableFsspecLayer) -> None:
    assert is_writable(layer)
    assert not layer.prompt
    assert layer.pending() == Pending()


def test_a_new_file_is_there_for_all_after_the_flush(layer: WritableFsspecLayer, remote: Remote) -> None:
    make_directories(layer, "dir/inner")
    file = layer.create("dir/inner/x", 0o644, OWNER, whole=True)
    file.write(0, b"some ")
    file.write(5, b"bytes")
    assert file.read(ByteRange(0, 100)) == b"some bytes"
    with pytest.raises(NotFound):
        layer.stat("dir/inner/x")
    file.flush()
    assert read(layer, "dir/inner/x") == b"some bytes"
    assert layer.stat("dir/inner/x") == file.status()
    assert layer.stat("dir/inner/x").size_bytes == 10
    file.close()
    assert layer.flush_pending(30)
    assert remote.files() == {"dir/inner/x": b"some bytes"}
    assert layer.stat("dir/inner/x").version == file.status().version
    with remote.layer("there") as other:
        assert read(other, "dir/inner/x") == b"some bytes"


def test_a_large_file_arrives_unharmed(layer: WritableFsspecLayer, remote: Remote) -> None:
    data = BIG * 2  # more than one part, block or request
    store(layer, "big", data)
    assert layer.flush_pending(60)
    assert remote.files() == {"big": data}
    assert read(layer, "big") == data


def test_an_edited_file_keeps_what_was_not_written(layer: WritableFsspecLayer, remote: Remote) -> None:
    remote.put("file", b"0123456789")
    layer.refresh()
    with contextlib.closing(layer.edit("file", whole=True)) as file:
        assert file.read(ByteRange(2, 4)) == b"23"
        file.write(3, b"xx")
        file.truncate(7)
        file.truncate(8)
        assert file.status().size_bytes == 8
        assert read(layer, "file") == b"0123456789"
        file.flush()
        assert read(layer, "file") == b"012xx56\0"
        file.write(0, b"y")  # another version
        file.flush()
    assert layer.flush_pending(30)
    assert remote.files() == {"file": b"y12xx56\0"}


def test_a_file_that_is_not_changed_is_not_published(layer: WritableFsspecLayer, remote: Remote) -> None:
    remote.put("file", b"old")
    layer.refresh()
    before = layer.stat("file")
    with contextlib.closing(layer.edit("file", whole=True)) as file:
        file.flush()
        file.sync()
    with contextlib.closing(layer.edit("file", whole=True)) as file:
        file.truncate(0)
        file.discard()
        file.flush()
    assert layer.stat("file") == before
    assert remote.files() == {"file": b"old"}


def test_a_file_written_in_place_is_shown_from_the_first_moment(
    layer: WritableFsspecLayer, remote: Remote
) -> None:
    file = layer.create("notes", 0o644, OWNER, whole=False)
    assert layer.stat("notes").size_bytes == 0
    assert names(layer) == {"notes"}
    with pytest.raises(FileExistsError):
        layer.create("notes", 0o644, OWNER, whole=False)
    with pytest.raises(FileExistsError):
        layer.mkdir("notes", 0o755, OWNER)
    file.write(2, b"abc")
    other = layer.edit("notes", whole=False)
    other.write(0, b"..")
    assert file.read(ByteRange(0, 9)) == read(layer, "notes") == b"..abc"
    assert other.status().identity == file.status().identity == layer.stat("notes").identity
    assert remote.files() == {}
    other.flush()
    other.close()
    file.write(5, b"!")
    assert layer.stat("notes").size_bytes == 6
    file.flush()
    file.close()
    assert layer.flush_pending(30)
    assert remote.files() == {"notes": b"..abc!"}


def test_what_was_written_in_place_is_not_lost_with_its_writer(
    layer: WritableFsspecLayer, remote: Remote
) -> None:
    file = layer.create("notes", 0o644, OWNER, whole=False)
    file.write(0, b"almost")
    file.discard()
    file.close()
    assert read(layer, "notes") == b"almost"
    assert layer.flush_pending(30)
    assert remote.files() == {"notes": b"almost"}


def test_a_copy_up_takes_the_contents_along(layer: WritableFsspecLayer, remote: Remote) -> None:
    remote.put("lower", BIG)
    layer.refresh()
    source = layer.open("lower")
    with contextlib.closing(layer.create("upper", 0o644, OWNER, whole=True, source=source)) as file:
        assert file.status().size_bytes == len(BIG)
        file.write(1, b"?")
        file.flush()
    with contextlib.closing(
        layer.create("same", 0o644, OWNER, whole=True, source=layer.open("lower"))
    ) as same:
        same.flush()
    assert layer.flush_pending(60)
    assert remote.files() == {"lower": BIG, "upper": BIG[:1] + b"?" + BIG[2:], "same": BIG}


def test_directories_come_and_go(layer: WritableFsspecLayer, remote: Remote) -> None:
    assert layer.mkdir("a", 0o755, OWNER).is_dir
    assert layer.mkdir("a/b", 0o755, OWNER).is_dir
    with pytest.raises(FileExistsError):
        layer.mkdir("a", 0o755, OWNER)
    assert names(layer) == {"a"}
    assert names(layer, "a") == {"b"}
    assert names(layer, "a/b") == set()
    with pytest.raises(OSError, match="not empty") as caught:
        layer.rmdir("a")
    assert caught.value.errno == errno.ENOTEMPTY
    store(layer, "a/b/x", b"x")
    layer.unlink("a/b/x")
    assert layer.flush_pending(30)
    with remote.layer("there") as other:
        assert names(other, "a/b") == set()  # also where a directory is only what is in it
    layer.rmdir("a/b")
    layer.rmdir("a")
    assert names(layer) == set()
    assert layer.flush_pending(30)
    with remote.layer("there") as other:
        assert names(other) == set()


def test_a_directory_made_by_others_stays_when_its_last_file_goes(
    layer: WritableFsspecLayer, remote: Remote
) -> None:
    remote.put("dir/only", b"x")
    layer.refresh()
    layer.unlink("dir/only")
    assert layer.stat("dir").is_dir
    assert layer.flush_pending(30)
    layer.refresh()
    assert layer.stat("dir").is_dir
    assert names(layer, "dir") == set()


def test_a_file_is_renamed_and_replaces_another(layer: WritableFsspecLayer, remote: Remote) -> None:
    store(layer, "one", b"one")
    store(layer, "two", b"two")
    with pytest.raises(FileExistsError):
        layer.rename("one", "two", replace=False)
    layer.rename("one", "two")
    assert names(layer) == {"two"}
    assert read(layer, "two") == b"one"
    layer.rename("two", "three", replace=False)
    layer.rename("three", "three")
    assert layer.flush_pending(30)
    assert remote.files() == {"three": b"one"}
    assert read(layer, "three") == b"one"


def test_an_editor_saves_by_rename(layer: WritableFsspecLayer, remote: Remote) -> None:
    store(layer, "text", b"first")
    for version in (b"second", b"third"):
        layer.rename("text", "text~")
        store(layer, "text", version)
        layer.unlink("text~")
    assert layer.flush_pending(30)
    assert remote.files() == {"text": b"third"}


def test_a_directory_is_renamed_with_all_that_is_in_it(layer: WritableFsspecLayer, remote: Remote) -> None:
    remote.put("dir/deep/old", b"old")
    layer.refresh()
    store(layer, "dir/new", b"new")
    layer.mkdir("dir/empty", 0o755, OWNER)
    layer.mkdir("target", 0o755, OWNER)
    layer.rename("dir", "target")
    assert names(layer) == {"target"}
    assert names(layer, "target") == {"deep", "new", "empty"}
    assert read(layer, "target/deep/old") == b"old"
    store(layer, "target/deep/more", b"more")
    layer.unlink("target/deep/old")
    assert names(layer, "target/deep") == {"more"}
    assert layer.flush_pending(60)
    assert remote.files() == {"target/new": b"new", "target/deep/more": b"more"}
    assert names(layer, "target") == {"deep", "new", "empty"}


def test_an_open_file_follows_its_name(layer: WritableFsspecLayer, remote: Remote) -> None:
    layer.mkdir("dir", 0o755, OWNER)
    file = layer.create("dir/a", 0o644, OWNER, whole=False)
    file.write(0, b"1")
    layer.rename("dir", "moved")
    file.move("moved/a")
    assert layer.stat("moved/a").size_bytes == 1
    file.write(1, b"2")
    file.flush()
    layer.unlink("moved/a")
    file.move(None)
    file.write(2, b"3")
    assert file.read(ByteRange(0, 9)) == b"123"
    file.flush()
    file.close()
    assert names(layer, "moved") == set()
    whole = layer.create("w", 0o644, OWNER, whole=True)
    whole.write(0, b"w")
    whole.move("moved/w")
    whole.flush()
    whole.close()
    assert layer.flush_pending(30)
    assert remote.files() == {"moved/w": b"w"}


def test_what_cannot_be_done_is_refused_as_a_system_call_would(layer: WritableFsspecLayer) -> None:
    layer.mkdir("dir", 0o755, OWNER)
    store(layer, "dir/file", b"x")
    store(layer, "file", b"x")
    refused = {
        errno.EISDIR: (lambda: layer.unlink("dir"), lambda: layer.rename("file", "dir")),
        errno.ENOTDIR: (lambda: layer.rmdir("file"), lambda: layer.rename("dir", "file")),
        errno.ENOENT: (
            lambda: layer.unlink("no"),
            lambda: layer.rmdir("no"),
            lambda: layer.rename("no", "x"),
        ),
        errno.ENOTEMPTY: (lambda: layer.rmdir("dir"),),
        errno.EINVAL: (
            lambda: layer.rename("dir", "dir/inner"),
            lambda: layer.exchange("dir", "file"),
        ),
        errno.EPERM: (lambda: layer.mknod("pipe", stat.S_IFIFO | 0o644, 0, OWNER),),
        errno.EOPNOTSUPP: (
            lambda: layer.symlink("link", "file", OWNER),
            lambda: layer.link("file", "other"),
            lambda: layer.set_xattr("file", "user.a", b""),
            lambda: layer.remove_xattr("file", "user.a"),
        ),
    }
    codes = {IsADirectory: errno.EISDIR, NotADirectory: errno.ENOTDIR, NotFound: errno.ENOENT}
    for code, calls in refused.items():
        for call in calls:
            with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what matters
                call()
            assert codes.get(type(caught.value), caught.value.errno) == code
    for path in ("dir", "no"):
        with pytest.raises((IsADirectory, NotFound)):
            layer.edit(path, whole=True)
    assert names(layer) == {"dir", "file"}


def test_modes_and_times_are_accepted_and_forgotten(layer: WritableFsspecLayer) -> None:
    entry = layer.mknod("file", stat.S_IFREG | 0o600, 0, OWNER)
    assert (entry.size_bytes, stat.S_ISREG(entry.mode)) == (0, True)
    assert layer.change("file", Change(mode=0o600, mtime_ns=5)) == entry
    layer.sync_directory("")
    with contextlib.closing(layer.edit("file", whole=True)) as file:
        file.change(Change(mode=0o600))
        file.sync()


def test_reserved_names_are_ordinary_ones(layer: WritableFsspecLayer) -> None:
    make_directories(layer, "a/.copickfs-whiteouts")
    store(layer, "a/.copickfs-whiteouts/gone", b"")
    assert names(layer, "a") == {".copickfs-whiteouts"}
    assert names(layer, "a/.copickfs-whiteouts") == {"gone"}
    assert layer.flush_pending(30)
    layer.refresh()
    assert names(layer, "a/.copickfs-whiteouts") == {"gone"}
    remove_all(layer)


def test_own_changes_are_known_without_asking(layer: WritableFsspecLayer) -> None:
    make_directories(layer, "t.zarr/0/0")
    store(layer, "t.zarr/0/.zarray", b"{}")
    for name in "0123":
        store(layer, f"t.zarr/0/0/{name}", name.encode())
    assert layer.flush_pending(30)
    assert {entry.name for entry in layer.scan_nowait("t.zarr/0/0")} == set("0123")
    layer.unlink("t.zarr/0/0/3")
    assert layer.flush_pending(30)
    assert {entry.name for entry in layer.scan_nowait("t.zarr/0/0")} == set("012")
    layer.refresh()
    assert names(layer, "t.zarr/0/0") == set("012")  # listed as an array from here on
    layer.mkdir("t.zarr/0/1", 0o755, OWNER)
    store(layer, "t.zarr/0/1/0", b"x")
    layer.rename("t.zarr/0/0", "t.zarr/0/2")
    assert layer.flush_pending(30)
    assert names(layer, "t.zarr/0") == {".zarray", "1", "2"}
    assert names(layer, "t.zarr/0/2") == set("012")
    assert names(layer, "t.zarr/0/1") == {"0"}


def test_a_place_that_only_reads_is_refused(tmp_path: Path) -> None:
    layer = WritableFsspecLayer("web", "http://127.0.0.1:9/x", journal_directory=tmp_path, timeout_s=1)
    with contextlib.closing(layer), pytest.raises(ConfigError):
        layer.connect()


def test_a_file_is_removed_whose_directory_was_moved_while_it_was_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy of what was sent in parts has another ETag, which nobody has seen yet."""
    monkeypatch.setattr(store_writing, "WHOLE_BYTES", 0)
    s3 = next(kind for kind in KINDS if kind.name == "s3")
    with s3.open(tmp_path) as remote, remote.layer(propagate=True) as layer:
        layer.mkdir("old", 0o755, OWNER)
        with contextlib.closing(layer.create("old/x", 0o644, OWNER, whole=True)) as file:
            file.write(0, b"x")
            file.flush()
        assert layer.flush_pending(20)
        monkeypatch.setattr(layer._backlog, "_pause_until_s", float("inf"))
        layer.rename("old", "moved")
        look = layer._shown.versions

        def look_late(path: str) -> tuple[Any, ...]:
            monkeypatch.setattr(layer._shown, "versions", look)
            seen = look(path)
            assert layer.flush_pending(20)
            return seen

        monkeypatch.setattr(layer._shown, "versions", look_late)
        layer.unlink("moved/x")
        assert layer.flush_pending(20)
        assert remote.files() == {}
    wait_until(lambda: not own_threads(), what="the end of the layer's threads")
