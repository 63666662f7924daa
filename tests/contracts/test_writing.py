"""What every layer that can be written must do: the contract in `copickfs.layers.writable`."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from copickfs.errors import IsADirectory, NotADirectory, NotFound, WouldBlock
from copickfs.layers.memory import MemoryLayer
from copickfs.layers.writable import Change, Owner, WritableFile, WritableLayer, is_writable
from copickfs.model import ByteRange, EntryKind
from tests.contracts.backends import WRITABLE_BACKENDS, WritableBackend
from tests.sandbox import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.remotes import Remote

ME = Owner(os.getuid(), os.getgid())
PICKS = "Picks/user_1_ribosome.json"
OLD = b"old contents, " * 100
BIG = bytes(i * 7 % 251 for i in range(300_000))


@pytest.fixture(scope="module", params=WRITABLE_BACKENDS, ids=lambda backend: backend.name)
def backend(request: pytest.FixtureRequest) -> WritableBackend:
    chosen: WritableBackend = request.param
    return chosen


@pytest.fixture(scope="module")
def place(backend: WritableBackend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote | None]:
    """A server, in which each test has a place of its own; None where there is none."""
    if backend.kind is None:
        yield None
        return
    with backend.kind.open(tmp_path_factory.mktemp("place")) as remote:
        yield remote


@pytest.fixture
def layer(backend: WritableBackend, place: Remote | None, tmp_path: Path) -> Iterator[WritableLayer]:
    """An empty layer; what it announces is in `news`, and nothing may be in there."""
    (tmp_path / "root").mkdir()
    threads = set(threading.enumerate())
    with backend.open(tmp_path / "root", place) as opened:
        news: list[str] = []
        opened.subscribe(news.append)
        opened.mkdir("Picks", 0o755, ME)
        yield opened
    assert news == [], "own changes were announced"

    def left() -> list[threading.Thread]:
        new = set(threading.enumerate()) - threads
        return [thread for thread in new if not thread.name.startswith(("fsspecIO", "asyncio_"))]

    wait_until(lambda: not left(), what="the end of the layer's threads")


@contextlib.contextmanager
def editing(layer: WritableLayer, path: str, *, whole: bool) -> Iterator[WritableFile]:
    file = layer.edit(path, whole=whole)
    try:
        yield file
    finally:
        file.close()


def put(layer: WritableLayer, path: str, data: bytes, mode: int = 0o644, *, whole: bool = False) -> None:
    file = layer.create(path, mode, ME, whole=whole)
    try:
        if data:
            assert file.write(0, data) == len(data)
        file.flush()
    finally:
        file.close()


def get(layer: WritableLayer, path: str) -> bytes:
    with contextlib.closing(layer.open(path)) as file:
        return bytes(file.read(ByteRange(0, 1 << 30)))


def names(layer: WritableLayer, path: str = "") -> set[str]:
    """What is in a directory, without what copickfs keeps at the root for itself."""
    return {entry.name for entry in layer.scan(path)} - {".copickfs"}


def exists(layer: WritableLayer, path: str) -> bool:
    try:
        layer.stat(path)
    except NotFound:
        return False
    return True


def fails(code: int) -> pytest.RaisesExc[OSError]:
    return pytest.raises(OSError, check=lambda error: error.errno == code)


def test_it_is_known_as_writable(layer: WritableLayer) -> None:
    assert is_writable(layer)
    assert not is_writable(MemoryLayer("read-only"))


@pytest.mark.parametrize("whole", [False, True])
def test_a_new_file_has_what_was_written(layer: WritableLayer, whole: bool) -> None:
    file = layer.create(PICKS, 0o640, ME, whole=whole)
    assert file.whole is whole
    assert file.entry.name == "user_1_ribosome.json"
    assert file.status().size_bytes == 0
    assert exists(layer, PICKS) is not whole
    assert file.write(0, b"begin") == 5
    assert file.write(10, memoryview(b"end")) == 3
    assert file.status().size_bytes == 13
    assert bytes(file.read(ByteRange(0, 100))) == b"begin\0\0\0\0\0end"
    assert exists(layer, PICKS) is not whole
    file.flush()
    assert get(layer, PICKS) == b"begin\0\0\0\0\0end"
    file.close()
    file.close()
    assert layer.stat(PICKS).size_bytes == 13
    assert names(layer, "Picks") == {"user_1_ribosome.json"}


@pytest.mark.parametrize("whole", [False, True])
def test_an_empty_file_is_one(layer: WritableLayer, whole: bool) -> None:
    put(layer, PICKS, b"", whole=whole)
    assert layer.stat(PICKS).size_bytes == 0
    assert get(layer, PICKS) == b""


def test_what_has_the_name_is_in_the_way_of_a_file_written_in_place(layer: WritableLayer) -> None:
    put(layer, PICKS, OLD)
    with pytest.raises(FileExistsError):
        layer.create(PICKS, 0o644, ME, whole=False)
    with pytest.raises(FileExistsError):
        layer.create("Picks", 0o644, ME, whole=False)
    assert get(layer, PICKS) == OLD


def test_a_file_that_is_published_whole_replaces_what_came_in_between(layer: WritableLayer) -> None:
    file = layer.create(PICKS, 0o644, ME, whole=True)
    file.write(0, b"mine")
    put(layer, PICKS, b"another's")
    file.flush()
    file.close()
    assert get(layer, PICKS) == b"mine"


def test_a_file_that_may_not_replace_leaves_what_came_in_between(
    layer: WritableLayer, backend: WritableBackend
) -> None:
    file = layer.create(PICKS, 0o644, ME, whole=True)
    file.replaces = False
    file.write(0, OLD)
    put(layer, PICKS, b"in between")
    if backend.kind is None:
        with fails(errno.EEXIST):
            file.flush()
        assert get(layer, PICKS) == b"in between"
    file.discard()
    file.close()
    file = layer.create("Picks/other.json", 0o644, ME, whole=True)
    file.replaces = False
    file.write(0, OLD)
    file.sync()
    file.close()
    assert get(layer, "Picks/other.json") == OLD


def test_nothing_is_published_of_a_new_file_that_was_never_flushed(layer: WritableLayer) -> None:
    for discarded in (False, True):
        file = layer.create(PICKS, 0o644, ME, whole=True)
        file.write(0, b"half of")
        if discarded:
            file.discard()
            file.flush()
        file.close()
        assert not exists(layer, PICKS)
    assert names(layer, "Picks") == set()


def test_readers_see_the_version_before_until_the_flush(layer: WritableLayer) -> None:
    put(layer, PICKS, OLD, whole=True)
    reader = layer.open(PICKS)
    with editing(layer, PICKS, whole=True) as file:
        assert file.whole
        assert bytes(file.read(ByteRange(0, 10**6))) == OLD
        file.truncate(0)
        file.write(0, b"new")
        assert file.status().size_bytes == 3
        assert (get(layer, PICKS), layer.stat(PICKS).size_bytes) == (OLD, len(OLD))
        file.flush()
        assert (get(layer, PICKS), layer.stat(PICKS).size_bytes) == (b"new", 3)
    with contextlib.suppress(OSError):  # a source without versions may say that it is stale
        assert bytes(reader.read(ByteRange(0, 10**6))) == OLD
    reader.close()


def test_a_part_of_a_file_published_whole_is_changed(layer: WritableLayer) -> None:
    put(layer, PICKS, BIG, whole=True)
    with editing(layer, PICKS, whole=True) as file:
        file.write(1_000, b"changed")
        expected = BIG[:1_000] + b"changed" + BIG[1_007:]
        assert bytes(file.read(ByteRange(0, 10**6))) == expected
        assert get(layer, PICKS) == BIG
        file.truncate(2_000)
        file.truncate(3_000)
        expected = expected[:2_000] + bytes(1_000)
        assert bytes(file.read(ByteRange(0, 10**6))) == expected
        file.flush()
    assert get(layer, PICKS) == expected


def test_written_again_after_a_flush_it_goes_on_with_a_new_version(layer: WritableLayer) -> None:
    file = layer.create(PICKS, 0o644, ME, whole=True)
    for count in range(1, 5):
        file.write(count - 1, b"x")
        assert file.status().size_bytes == count
        if count > 1:
            assert get(layer, PICKS) == b"x" * (count - 1)
        file.flush()
        assert get(layer, PICKS) == b"x" * count
        file.flush()
    file.write(0, b"given up")
    file.discard()
    file.flush()
    file.close()
    assert get(layer, PICKS) == b"xxxx"


def test_a_writer_that_was_killed_leaves_the_version_before(layer: WritableLayer) -> None:
    put(layer, PICKS, OLD, whole=True)
    with editing(layer, PICKS, whole=True) as file:
        file.truncate(0)
        file.write(0, b"half of the n")
        file.discard()
        file.flush()
        assert bytes(file.read(ByteRange(0, 10**6))) == OLD
        file.write(0, b"NEW")
        file.flush()
    assert get(layer, PICKS) == b"NEW" + OLD[3:]


def test_a_file_that_was_only_opened_is_not_published(layer: WritableLayer) -> None:
    put(layer, PICKS, OLD, whole=True)
    before = layer.stat(PICKS)
    with editing(layer, PICKS, whole=True) as file:
        assert file.status()[:4] == before[:4]
        file.flush()
        file.sync()
    assert layer.stat(PICKS).version == before.version


def test_everybody_sees_each_write_in_place(layer: WritableLayer) -> None:
    put(layer, "notes.txt", OLD)
    reader = layer.open("notes.txt")
    with editing(layer, "notes.txt", whole=False) as file:
        assert not file.whole
        file.write(4, b"CONTENTS")
        expected = OLD[:4] + b"CONTENTS" + OLD[12:]
        assert bytes(file.read(ByteRange(0, 10**6))) == expected
        file.flush()
        assert get(layer, "notes.txt") == expected
        file.discard()
        file.truncate(5)
        file.sync()
        assert get(layer, "notes.txt") == b"old C"
        assert file.status().size_bytes == 5
    reader.close()


@pytest.mark.parametrize("whole", [False, True])
def test_a_random_exerciser_agrees_with_a_model(layer: WritableLayer, whole: bool) -> None:
    chance = random.Random(6)
    put(layer, PICKS, BIG, whole=whole)
    model = bytearray(BIG)
    with editing(layer, PICKS, whole=whole) as file:
        for _ in range(150):
            action = chance.choice(["write", "write", "read", "truncate", "flush"])
            offset = chance.randrange(400_000)
            if action == "write":
                data = chance.randbytes(chance.choice([1, 100, 50_000]))
                model.extend(bytes(max(0, offset - len(model))))
                model[offset : offset + len(data)] = data
                assert file.write(offset, data) == len(data)
            elif action == "truncate":
                del model[offset:]
                model.extend(bytes(offset - len(model)))
                file.truncate(offset)
            elif action == "flush":
                file.flush()
                assert get(layer, PICKS) == model
            span = ByteRange(offset, offset + 70_000)
            assert bytes(file.read(span)) == model[span.start : span.stop]
            with contextlib.suppress(WouldBlock):
                assert bytes(file.read_nowait(span)) == model[span.start : span.stop]
            assert file.status().size_bytes == len(model)
        file.flush()
    assert get(layer, PICKS) == model


@pytest.mark.parametrize("whole", [False, True])
def test_a_file_begins_with_the_contents_of_another_layers(layer: WritableLayer, whole: bool) -> None:
    lower = MemoryLayer("lower", files={"x": BIG, "empty": b""})
    for name, change, expected in (
        ("x", b"", BIG),
        ("x", b"changed", b"changed" + BIG[7:]),
        ("empty", b"", b""),
    ):
        source = lower.open(name)
        file = layer.create(PICKS, 0o644, ME, whole=whole, source=source)
        assert bytes(file.read(ByteRange(0, 10**6))) == lower_contents(lower, name)
        assert file.status().size_bytes == lower.stat(name).size_bytes
        if change:
            file.write(0, change)
        file.flush()
        file.close()
        assert get(layer, PICKS) == expected
        layer.unlink(PICKS)


def lower_contents(lower: MemoryLayer, name: str) -> bytes:
    with contextlib.closing(lower.open(name)) as file:
        return bytes(file.read(ByteRange(0, 10**6)))


def test_a_source_cut_to_nothing_or_covered_is_not_needed(layer: WritableLayer) -> None:
    lower = MemoryLayer("lower", files={"x": b"0123456789"})
    file = layer.create(PICKS, 0o644, ME, whole=True, source=lower.open("x"))
    file.truncate(0)
    file.write(2, b"ab")
    file.flush()
    file.close()
    assert get(layer, PICKS) == b"\0\0ab"
    file = layer.create(PICKS, 0o644, ME, whole=True, source=lower.open("x"))
    file.write(0, b"covers all of it")
    file.flush()
    file.close()
    assert get(layer, PICKS) == b"covers all of it"


def test_a_file_that_was_renamed_is_published_under_its_new_name(layer: WritableLayer) -> None:
    file = layer.create(PICKS, 0o644, ME, whole=True)
    file.write(0, b"first")
    file.flush()
    file.write(5, b", second")
    layer.rename(PICKS, "Picks/renamed.json")
    file.move("Picks/renamed.json")
    file.flush()
    file.close()
    assert names(layer, "Picks") == {"renamed.json"}
    assert get(layer, "Picks/renamed.json") == b"first, second"


def test_a_file_that_was_removed_is_published_nowhere(layer: WritableLayer) -> None:
    put(layer, PICKS, OLD, whole=True)
    for file in (layer.edit(PICKS, whole=True), layer.create("Picks/new.json", 0o644, ME, whole=True)):
        file.write(0, b"for nobody")
        file.move(None)
        file.flush()
        file.sync()
        assert bytes(file.read(ByteRange(0, 10))) == b"for nobody"
        file.close()
    assert names(layer, "Picks") == {"user_1_ribosome.json"}
    assert get(layer, PICKS) == OLD


def test_an_open_file_survives_its_name(layer: WritableLayer) -> None:
    put(layer, "notes.txt", OLD)
    with editing(layer, "notes.txt", whole=False) as file:
        layer.unlink("notes.txt")
        file.move(None)
        file.write(0, b"OLD")
        assert bytes(file.read(ByteRange(0, 5))) == b"OLD c"
        file.flush()
    assert not exists(layer, "notes.txt")


def test_opening_for_writing_fails_as_the_system_call(layer: WritableLayer) -> None:
    put(layer, "file", b"")
    for whole in (False, True):
        with pytest.raises(NotFound):
            layer.edit("absent", whole=whole)
        with pytest.raises(NotFound):
            layer.edit("absent/x", whole=whole)
        with pytest.raises(NotADirectory):
            layer.edit("file/x", whole=whole)
        with pytest.raises(IsADirectory):
            layer.edit("Picks", whole=whole)
        with pytest.raises(NotFound):
            layer.create("absent/x", 0o644, ME, whole=whole)
        with pytest.raises(NotADirectory):
            layer.create("file/x", 0o644, ME, whole=whole)


def test_directories_are_made_and_removed(layer: WritableLayer, backend: WritableBackend) -> None:
    entry = layer.mkdir("run", 0o750, ME)
    assert (entry.name, entry.is_dir) == ("run", True)
    if backend.attributes:
        assert stat.S_IMODE(layer.stat("run").mode) == 0o750
    layer.mkdir("run/inner", 0o755, ME)
    put(layer, "run/inner/x", b"x")
    with pytest.raises(FileExistsError):
        layer.mkdir("run", 0o755, ME)
    with pytest.raises(FileExistsError):
        layer.mkdir("run/inner/x", 0o755, ME)
    with pytest.raises(NotFound):
        layer.mkdir("absent/inner", 0o755, ME)
    with pytest.raises(NotADirectory):
        layer.mkdir("run/inner/x/y", 0o755, ME)
    with fails(errno.ENOTEMPTY):
        layer.rmdir("run")
    with pytest.raises(NotADirectory):
        layer.rmdir("run/inner/x")
    with pytest.raises(NotFound):
        layer.rmdir("absent")
    layer.unlink("run/inner/x")
    layer.rmdir("run/inner")
    layer.sync_directory("run")
    layer.rmdir("run")
    assert names(layer) == {"Picks"}


def test_files_are_removed(layer: WritableLayer) -> None:
    put(layer, PICKS, OLD)
    layer.unlink(PICKS)
    assert not exists(layer, PICKS)
    assert names(layer, "Picks") == set()
    with pytest.raises(NotFound):
        layer.open(PICKS)
    with pytest.raises(NotFound):
        layer.unlink(PICKS)
    with pytest.raises(IsADirectory):
        layer.unlink("Picks")
    put(layer, PICKS, b"again")
    assert get(layer, PICKS) == b"again"


def test_files_are_renamed(layer: WritableLayer) -> None:
    put(layer, "a", b"a")
    put(layer, "b", b"b")
    layer.rename("a", "Picks/c")
    assert (exists(layer, "a"), get(layer, "Picks/c")) == (False, b"a")
    with pytest.raises(FileExistsError):
        layer.rename("Picks/c", "b", replace=False)
    layer.rename("Picks/c", "b")
    assert (get(layer, "b"), names(layer, "Picks")) == (b"a", set())
    layer.rename("b", "b")
    layer.rename("b", "free", replace=False)
    assert names(layer) == {"Picks", "free"}
    with pytest.raises(NotFound):
        layer.rename("b", "c")
    with pytest.raises(NotFound):
        layer.rename("free", "absent/x")
    with pytest.raises(IsADirectory):
        layer.rename("free", "Picks")
    with pytest.raises(NotADirectory):
        layer.rename("Picks", "free")
    assert get(layer, "free") == b"a"


def test_directories_are_renamed(layer: WritableLayer) -> None:
    for path in ("run", "run/inner", "empty", "full"):
        layer.mkdir(path, 0o755, ME)
    put(layer, "run/inner/x", b"x")
    put(layer, "full/x", b"")
    layer.rename("run", "empty")
    assert get(layer, "empty/inner/x") == b"x"
    assert not exists(layer, "run")
    with pytest.raises(NotFound):
        layer.stat("run/inner/x")
    with fails(errno.ENOTEMPTY):
        layer.rename("empty", "full")
    with fails(errno.EINVAL):
        layer.rename("empty", "empty/inner/y")
    layer.mkdir("run", 0o755, ME)
    put(layer, "run/y", b"y")
    assert names(layer, "run") == {"y"}
    assert names(layer, "empty/inner") == {"x"}


def test_names_change_places(layer: WritableLayer, backend: WritableBackend) -> None:
    layer.mkdir("run", 0o755, ME)
    put(layer, "run/x", b"x")
    put(layer, "file", b"file")
    if not backend.exchange:
        with fails(errno.EINVAL):
            layer.exchange("run", "file")
        return
    layer.exchange("run", "file")
    assert (get(layer, "run"), get(layer, "file/x")) == (b"file", b"x")
    layer.exchange("Picks", "file")
    assert (get(layer, "Picks/x"), names(layer, "file")) == (b"x", set())
    with pytest.raises(NotFound):
        layer.exchange("run", "absent")


def test_symbolic_links_are_shown_as_links(layer: WritableLayer, backend: WritableBackend) -> None:
    put(layer, PICKS, OLD)
    texts = {
        "up": "..",
        "dir": "Picks",
        "file": PICKS,
        "away": "/etc",
        "nowhere": "no/where",
        "odd": "//x/./y",
    }
    if not backend.links:
        with fails(errno.EOPNOTSUPP):
            layer.symlink("up", "..", ME)
        return
    for name, text in texts.items():
        assert layer.symlink(name, text, ME).kind is EntryKind.SYMLINK
        assert layer.stat(name).kind is EntryKind.SYMLINK
        assert layer.stat(name).size_bytes == len(text)
        assert layer.readlink(name) == text
    kinds = {entry.name: entry.kind for entry in layer.scan("") if entry.name in texts}
    assert kinds == dict.fromkeys(texts, EntryKind.SYMLINK)
    with pytest.raises(FileExistsError):
        layer.symlink("up", "elsewhere", ME)
    for name in texts:
        layer.unlink(name)
    assert names(layer) == {"Picks"}
    assert get(layer, PICKS) == OLD


def test_files_have_second_names(layer: WritableLayer, backend: WritableBackend) -> None:
    put(layer, PICKS, OLD)
    if not backend.hard_links:
        with fails(errno.EOPNOTSUPP):
            layer.link(PICKS, "Picks/second.json")
        return
    assert layer.link(PICKS, "Picks/second.json").nlink == 2
    with pytest.raises(FileExistsError):
        layer.link(PICKS, "Picks/second.json")
    with editing(layer, PICKS, whole=True) as file:
        assert not file.whole, "the other name would keep the version before"
        file.truncate(0)
        file.write(0, b"both")
        file.flush()
    assert get(layer, "Picks/second.json") == b"both"
    layer.unlink(PICKS)
    assert get(layer, "Picks/second.json") == b"both"
    assert layer.stat("Picks/second.json").nlink == 1


def test_special_files(layer: WritableLayer, backend: WritableBackend) -> None:
    assert layer.mknod("plain", 0o600 | stat.S_IFREG, 0, ME).size_bytes == 0
    assert get(layer, "plain") == b""
    if not backend.special:
        return
    assert stat.S_ISFIFO(layer.mknod("fifo", 0o600 | stat.S_IFIFO, 0, ME).mode)
    assert stat.S_ISSOCK(layer.mknod("socket", 0o600 | stat.S_IFSOCK, 0, ME).mode)
    with fails(errno.EPERM):
        layer.mknod("null", 0o600 | stat.S_IFCHR, os.makedev(1, 3), ME)
    with fails(errno.ENXIO):
        layer.edit("fifo", whole=False)
    assert names(layer) == {"Picks", "plain", "fifo", "socket"}


def test_attributes_are_changed(layer: WritableLayer, backend: WritableBackend) -> None:
    put(layer, PICKS, OLD)
    when_ns = 1_000_000_000_123_456_789
    entry = layer.change(PICKS, Change(mode=0o604, atime_ns=when_ns - 1, mtime_ns=when_ns))
    assert entry.size_bytes == len(OLD)
    layer.change("Picks", Change(mode=0o700))
    layer.change(PICKS, Change(atime_ns=7))
    layer.change(PICKS, Change(uid=ME.uid, gid=ME.gid))
    with pytest.raises(NotFound):
        layer.change("Picks/absent", Change(mode=0o600))
    if backend.attributes:
        entry = layer.stat(PICKS)
        assert (stat.S_IMODE(entry.mode), entry.atime_ns, entry.mtime_ns) == (0o604, 7, when_ns)
        assert (entry.uid, entry.gid) == ME
        assert stat.S_IMODE(layer.stat("Picks").mode) == 0o700
    assert get(layer, PICKS) == OLD


@pytest.mark.parametrize("mode", [0o644, 0o600, 0o777, 0o400])
def test_a_new_file_has_the_mode_that_was_asked_for(
    layer: WritableLayer, backend: WritableBackend, mode: int
) -> None:
    before = os.umask(0o077)
    try:
        put(layer, "in place", b"", mode)
        put(layer, PICKS, b"", mode, whole=True)
        layer.mkdir("run", mode | 0o100, ME)
    finally:
        os.umask(before)
    if backend.attributes:
        assert [stat.S_IMODE(layer.stat(path).mode) for path in ("in place", PICKS)] == [mode, mode]
        assert stat.S_IMODE(layer.stat("run").mode) == mode | 0o100


def test_a_new_version_has_the_attributes_of_the_one_before(
    layer: WritableLayer, backend: WritableBackend
) -> None:
    put(layer, PICKS, OLD, 0o640, whole=True)
    layer.change(PICKS, Change(atime_ns=5, mtime_ns=1_000_000_000))
    if backend.xattrs:
        layer.set_xattr(PICKS, "user.comment", b"kept")
    with editing(layer, PICKS, whole=True) as file:
        assert file.status().mtime_ns == layer.stat(PICKS).mtime_ns
        file.write(0, b"NEW")
        file.flush()
    entry = layer.stat(PICKS)
    if backend.attributes:
        assert stat.S_IMODE(entry.mode) == 0o640
    assert entry.mtime_ns != 1_000_000_000
    if backend.xattrs:
        assert layer.get_xattr(PICKS, "user.comment") == b"kept"


def test_attributes_of_an_open_file_go_with_its_contents(
    layer: WritableLayer, backend: WritableBackend
) -> None:
    put(layer, PICKS, OLD, 0o640, whole=True)
    with editing(layer, PICKS, whole=True) as file:
        file.change(Change(mode=0o600, mtime_ns=2_000_000_000))
        if backend.attributes:
            assert stat.S_IMODE(file.status().mode) == 0o600
            assert stat.S_IMODE(layer.stat(PICKS).mode) == 0o640
        file.flush()
    assert get(layer, PICKS) == OLD
    file = layer.create("Picks/new.json", 0o644, ME, whole=True)
    file.write(0, OLD)
    file.change(Change(mode=0o600, mtime_ns=2_000_000_000))
    file.flush()
    file.close()
    if backend.attributes:
        for path in (PICKS, "Picks/new.json"):
            entry = layer.stat(path)
            assert (stat.S_IMODE(entry.mode), entry.mtime_ns) == (0o600, 2_000_000_000)


def test_extended_attributes(layer: WritableLayer, backend: WritableBackend) -> None:
    put(layer, PICKS, OLD)
    with fails(errno.ENODATA):
        layer.get_xattr(PICKS, "user.comment")
    if not backend.xattrs:
        with fails(errno.EOPNOTSUPP):
            layer.set_xattr(PICKS, "user.comment", b"x")
        assert layer.list_xattrs(PICKS) == []
        return
    for path in (PICKS, "Picks"):
        layer.set_xattr(path, "user.comment", b"good\0picks")
        assert layer.get_xattr(path, "user.comment") == b"good\0picks"
        assert layer.list_xattrs(path) == ["user.comment"]
    with fails(errno.EEXIST):
        layer.set_xattr(PICKS, "user.comment", b"", os.XATTR_CREATE)
    with fails(errno.ENODATA):
        layer.set_xattr(PICKS, "user.other", b"", os.XATTR_REPLACE)
    with pytest.raises(NotFound):
        layer.set_xattr("absent", "user.comment", b"")
    layer.remove_xattr(PICKS, "user.comment")
    with fails(errno.ENODATA):
        layer.remove_xattr(PICKS, "user.comment")
    assert layer.list_xattrs(PICKS) == []


def test_reserved_names_are_ordinary_names(layer: WritableLayer) -> None:
    layer.mkdir("Picks/.copickfs-whiteouts", 0o755, ME)
    put(layer, "Picks/.copickfs-whiteouts/x.json", b"")
    assert names(layer, "Picks") == {".copickfs-whiteouts"}
    layer.rename("Picks/.copickfs-whiteouts/x.json", "Picks/.copickfs-whiteouts/y.json")
    layer.unlink("Picks/.copickfs-whiteouts/y.json")
    layer.rmdir("Picks/.copickfs-whiteouts")
    assert names(layer, "Picks") == set()


def test_strange_and_long_names(layer: WritableLayer) -> None:
    strange = ("with space", "umläut-🔬", "[1]", "a*b?c", "50% #7 & <b>'\"", "n" * 255, "ü" * 127, "-rf")
    for name in strange:
        put(layer, f"Picks/{name}", name.encode(), whole=len(name) % 2 == 0)
    assert names(layer, "Picks") == set(strange)
    for name in strange:
        assert get(layer, f"Picks/{name}") == name.encode()
        with editing(layer, f"Picks/{name}", whole=True) as file:
            file.write(0, b"!")
            file.flush()
        layer.unlink(f"Picks/{name}")
    assert names(layer, "Picks") == set()


def test_readers_of_a_file_written_in_a_loop_see_whole_versions(layer: WritableLayer) -> None:
    versions = [bytes([value]) * (1_000 + 37 * value) for value in range(20)]
    put(layer, PICKS, versions[0], whole=True)
    done = threading.Event()

    def read() -> int:
        count = 0
        while not done.is_set() or not count:
            with contextlib.closing(layer.open(PICKS)) as file, contextlib.suppress(OSError):
                data = bytes(file.read(ByteRange(0, 1 << 20)))
                assert data in versions
                count += 1
        return count

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        try:
            for version in versions:
                with editing(layer, PICKS, whole=True) as file:
                    file.truncate(0)
                    for offset in range(0, len(version), 300):
                        file.write(offset, version[offset : offset + 300])
                    file.flush()
        finally:
            done.set()
        assert all(reader.result() for reader in readers)
    assert get(layer, PICKS) == versions[-1]


def test_many_writers_at_once(layer: WritableLayer) -> None:
    def write(number: int) -> None:
        for turn in range(5):
            path = f"Picks/{number}_{turn}.json"
            put(layer, path, path.encode(), whole=bool(turn % 2))
            layer.rename(path, f"Picks/renamed {number}_{turn}.json")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    expected = {f"renamed {number}_{turn}.json" for number in range(8) for turn in range(5)}
    assert names(layer, "Picks") == expected
    for name in expected:
        assert get(layer, f"Picks/{name}") == f"Picks/{name.removeprefix('renamed ')}".encode()
