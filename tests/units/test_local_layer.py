from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from copickfs.errors import AccessDenied, ConfigError, NotADirectory, NotFound, Unavailable, WouldBlock
from copickfs.layers import mounts
from copickfs.layers.base import LISTED_TTL_S, POLLED_TTL_S
from copickfs.layers.local import LocalLayer
from copickfs.layers.watch import Watcher
from copickfs.model import ByteRange
from tests.sandbox import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def connect() -> Iterator[Callable[..., LocalLayer]]:
    layers = []

    def connected(root: Path, **options: bool) -> LocalLayer:
        layer = LocalLayer("lab", root, **options)
        layer.connect()
        layers.append(layer)
        return layer

    before = threading.active_count()
    yield connected
    for layer in layers:
        layer.close()
        layer.close()
    assert threading.active_count() == before


def names(layer: LocalLayer, path: str = "") -> list[str]:
    return sorted(entry.name for entry in layer.scan(path))


def test_a_root_that_cannot_be_used_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for root, message in (
        (tmp_path / "nowhere", "no such directory"),
        (tmp_path / "file", "not a directory"),
    ):
        with pytest.raises(ConfigError, match=message):
            LocalLayer("lab", root).connect()


def test_a_link_to_a_directory_elsewhere_is_followed(
    tmp_path: Path, connect: Callable[..., LocalLayer]
) -> None:
    (tmp_path / "elsewhere" / "TS_9").mkdir(parents=True)
    (tmp_path / "elsewhere" / "TS_9" / "x").write_text("x")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "TS_9").symlink_to(tmp_path / "elsewhere" / "TS_9")
    layer = connect(tmp_path / "root")
    entry = layer.stat("TS_9")
    assert entry.is_dir
    assert entry.volatile
    assert names(layer, "TS_9") == ["x"]


def test_links_that_lead_nowhere_or_back_are_shown_as_links(
    tmp_path: Path, connect: Callable[..., LocalLayer]
) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "up").symlink_to("..")
    (tmp_path / "a" / "self").symlink_to("self")
    (tmp_path / "dangling").symlink_to("/nowhere/at/all")
    layer = connect(tmp_path)
    for path, text in (("a/b/up", ".."), ("a/self", "self"), ("dangling", "/nowhere/at/all")):
        assert layer.stat(path).kind.value == "symlink"
        assert layer.readlink(path) == text
        with pytest.raises(NotADirectory):
            layer.scan(path)
    with pytest.raises(FileNotFoundError) as missing:
        layer.open("dangling")
    assert not isinstance(missing.value, NotFound)


def test_a_confined_layer_refuses_links_out_of_its_root(
    tmp_path: Path, connect: Callable[..., LocalLayer], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("k")
    root = tmp_path / "root"
    (root / "real").mkdir(parents=True)
    (root / "real" / "x").write_text("x")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "key").symlink_to(tmp_path / "secret" / "key")
    (root / "inside").symlink_to("real")
    layer = connect(root, confined=True)
    with caplog.at_level(logging.INFO):
        assert layer.stat("out").kind.value == "symlink"
        assert layer.stat("out").kind.value == "symlink"
    assert sum("'out' leads out of" in record.message for record in caplog.records) == 1
    assert names(layer, "inside") == ["x"]
    for refused in (lambda: layer.readlink("out"), lambda: layer.open("key"), lambda: layer.open("out/key")):
        with pytest.raises(AccessDenied):
            refused()


def test_a_fifo_does_not_hang_and_is_not_a_source_of_bytes(
    tmp_path: Path, connect: Callable[..., LocalLayer]
) -> None:
    os.mkfifo(tmp_path / "fifo")
    layer = connect(tmp_path)
    file = layer.open("fifo")
    with pytest.raises(OSError, match="Illegal seek"):
        file.read(ByteRange(0, 10))
    file.close()
    file.close()


def test_a_root_that_is_gone_is_an_outage_not_an_absence(
    tmp_path: Path, connect: Callable[..., LocalLayer], caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "root"
    (root / "R").mkdir(parents=True)
    layer = connect(root)
    root.rename(tmp_path / "away")
    for ask in (layer.stat, layer.scan, layer.open):
        with pytest.raises(Unavailable, match="gone or was unmounted"):
            ask("R/x")
    assert layer.health().state == "down"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    (tmp_path / "away").rename(root)
    with pytest.raises(NotFound):
        layer.stat("R/x")
    assert layer.health().state == "ok"


def test_reads_at_every_offset_and_beyond_five_gib(
    tmp_path: Path, connect: Callable[..., LocalLayer]
) -> None:
    (tmp_path / "f").write_bytes(bytes(range(256)) * 10)
    with (tmp_path / "sparse").open("wb") as sparse:
        sparse.seek(5 * 2**30)
        sparse.write(b"end")
    layer = connect(tmp_path)
    file = layer.open("f")
    whole = (tmp_path / "f").read_bytes()
    for span in (ByteRange(0, 10), ByteRange(2550, 9999), ByteRange(2560, 2570), ByteRange(9999, 10_000)):
        assert file.read(span) == whole[span.start : span.stop]
        assert bytes(file.read_nowait(span)) == whole[span.start : span.stop]
    file.close()
    file = layer.open("sparse")
    assert file.read(ByteRange(5 * 2**30 - 1, 5 * 2**30 + 10)) == b"\0end"
    file.close()


def test_the_twin_of_read_answers_only_what_is_in_memory(
    tmp_path: Path, connect: Callable[..., LocalLayer]
) -> None:
    layer = connect(tmp_path)
    if mounts.is_memory(mounts.type_of_device(tmp_path.stat().st_dev)):
        pytest.skip("a file system in memory always answers")
    size_bytes = 8 << 20
    path = tmp_path / "f"
    path.write_bytes(os.urandom(size_bytes))
    with path.open("rb") as handle:
        os.fsync(handle.fileno())
        os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    file = layer.open("f")
    span = ByteRange(0, size_bytes)
    with pytest.raises(WouldBlock):
        file.read_nowait(span)
    data = file.read(span)
    assert bytes(file.read_nowait(span)) == data == path.read_bytes()
    file.close()


def test_hard_links_and_unwatched_directories_are_believed_for_a_second_only(
    tmp_path: Path, connect: Callable[..., LocalLayer]
) -> None:
    (tmp_path / "f").write_text("")
    os.link(tmp_path / "f", tmp_path / "g")
    layer = connect(tmp_path, watch=True)
    assert layer.ttl_s("") == POLLED_TTL_S
    assert layer.stat("g").volatile
    assert layer.ttl_s("") == LISTED_TTL_S
    assert layer.ttl_s("not/there/yet") == LISTED_TTL_S
    assert connect(tmp_path).ttl_s("") == POLLED_TTL_S


class News:
    """Collects what is announced."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def wait_for(self, *wanted: str) -> None:
        deadline = time.monotonic() + 1.0
        while not set(wanted) <= set(self.paths):
            assert time.monotonic() < deadline, f"{wanted} not announced within a second, only {self.paths}"
            time.sleep(0.005)
        self.paths.clear()


def test_every_kind_of_change_is_announced(tmp_path: Path, connect: Callable[..., LocalLayer]) -> None:
    (tmp_path / "R" / "Picks").mkdir(parents=True)
    layer = connect(tmp_path, watch=True)
    news = News()
    layer.subscribe(news.paths.append)
    layer.scan("R/Picks")
    layer.scan("")
    path = tmp_path / "R" / "Picks" / "x.json"
    path.write_text("1")
    news.wait_for("R/Picks/x.json")
    path.write_text("22")
    news.wait_for("R/Picks/x.json")
    path.chmod(0o600)
    news.wait_for("R/Picks/x.json")
    path.rename(path.with_name("y.json"))
    news.wait_for("R/Picks/x.json", "R/Picks/y.json")
    path.with_name("y.json").unlink()
    news.wait_for("R/Picks/y.json")
    (tmp_path / "S").mkdir()
    news.wait_for("S")


def test_changes_so_far_are_announced_when_one_catches_up(
    tmp_path: Path, connect: Callable[..., LocalLayer]
) -> None:
    layer = connect(tmp_path, watch=True)
    heard: list[str] = []

    def listen(path: str) -> None:
        time.sleep(0.001)  # the watcher's own thread has taken the news, and has not told them yet
        heard.append(path)

    layer.subscribe(listen)
    layer.scan("")
    for number in range(40):
        (tmp_path / f"{number}").mkdir()
        layer.catch_up()
        assert f"{number}" in heard
    layer.close()
    layer.catch_up()


def test_a_moved_directory_is_not_taken_for_the_one_at_its_old_path(
    tmp_path: Path, connect: Callable[..., LocalLayer]
) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    layer = connect(tmp_path, watch=True)
    news = News()
    layer.subscribe(news.paths.append)
    for path in ("", "a", "a/b"):
        layer.scan(path)
    (tmp_path / "a").rename(tmp_path / "z")
    news.wait_for("a", "z")
    assert not layer._watcher or "a/b" not in layer._watcher.watched
    (tmp_path / "a" / "b").mkdir(parents=True)
    layer.scan("a/b")
    (tmp_path / "a" / "b" / "new").write_text("")
    news.wait_for("a/b/new")


def test_a_watcher_at_its_bound_says_that_it_does_not_cover(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).mkdir()
    watcher = Watcher("lab", str(tmp_path), lambda _path: None, max_watches=2)
    for name in "abc":
        watcher.add(name, str(tmp_path / name))
    assert [watcher.covers(name) for name in ("a", "b", "c", "c/d")] == [True, True, False, False]
    watcher.close()


def test_a_watcher_whose_listener_fails_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []

    def listen(path: str) -> None:
        told.append(path)
        raise RuntimeError("planted")

    root = tmp_path / "root"
    root.mkdir()
    watcher = Watcher("lab", str(root), listen)
    root.rename(tmp_path / "before")
    root.mkdir()
    wait_until(lambda: told == [""], what="the news of another root")
    watcher.add("", str(root))
    (root / "new").touch()
    wait_until(lambda: "new" in told, what="the news of a file")
    watcher.close()
    assert {record.levelname for record in caplog.records} == {"ERROR"}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_watcher_whose_thread_has_ended_writes_to_no_number_that_it_had(tmp_path: Path) -> None:
    def listen(_path: str) -> None:
        raise SystemExit

    watcher = Watcher("lab", str(tmp_path), listen)
    watcher.add("", str(tmp_path))
    (tmp_path / "new").touch()
    watcher._thread.join()
    numbers = []
    while not numbers or numbers[-1] < watcher._wake:
        numbers.append(os.open(tmp_path / "other", os.O_WRONLY | os.O_CREAT))
    assert watcher._wake in numbers
    watcher.close()
    assert (tmp_path / "other").stat().st_size == 0
    for number in numbers:
        os.close(number)


@pytest.mark.parametrize(
    ("fs_type", "network", "memory"),
    [("ext4", False, False), ("tmpfs", False, True), ("nfs4", True, False), ("fuse.sshfs", True, False)],
)
def test_kinds_of_file_systems(fs_type: str, network: bool, memory: bool) -> None:
    assert (mounts.is_network(fs_type), mounts.is_memory(fs_type)) == (network, memory)


def test_the_type_of_a_device_is_read_from_the_mount_table(tmp_path: Path) -> None:
    assert mounts.type_of_device(tmp_path.stat().st_dev)
    assert mounts.type_of_device(os.makedev(4000, 4000)) == ""
    assert mounts.unescape(r"/a\040b\134c") == "/a b\\c"


def test_what_lies_behind_a_linked_directory_is_believed_for_a_second_only(
    tmp_path: Path, connect: Callable[..., LocalLayer]
) -> None:
    (tmp_path / "elsewhere" / "Picks").mkdir(parents=True)
    (tmp_path / "root" / "plain").mkdir(parents=True)
    (tmp_path / "root" / "run").symlink_to(tmp_path / "elsewhere")
    layer = connect(tmp_path / "root", watch=True)
    for path in ("", "plain", "run", "run/Picks"):
        layer.stat(path)
        layer.scan(path)
    assert [layer.ttl_s(path) for path in ("plain", "run", "run/Picks")] == [
        LISTED_TTL_S, POLLED_TTL_S, POLLED_TTL_S,
    ]  # fmt: skip


def test_another_directory_in_the_place_of_the_root_is_noticed(
    tmp_path: Path, connect: Callable[..., LocalLayer]
) -> None:
    root = tmp_path / "above" / "root"
    (root / "a").mkdir(parents=True)
    layer = connect(root, watch=True)
    news = News()
    layer.subscribe(news.paths.append)
    layer.scan("")
    layer.scan("a")
    (tmp_path / "above").rename(tmp_path / "old")
    (root / "a").mkdir(parents=True)
    news.wait_for("")
    layer.scan("a")
    (root / "a" / "new").write_text("")
    news.wait_for("a/new")


def test_a_confined_layer_is_not_left_through_a_directory_that_becomes_a_link(
    tmp_path: Path, connect: Callable[..., LocalLayer]
) -> None:
    (tmp_path / "secret" / "inner").mkdir(parents=True)
    (tmp_path / "secret" / "inner" / "key").write_text("k")
    root = tmp_path / "root"
    root.mkdir()
    layer = connect(root, confined=True)
    (root / "d").symlink_to(tmp_path / "secret")  # it was a directory when the kernel asked for it
    for refused in (layer.scan, layer.stat):
        with pytest.raises(AccessDenied):
            refused("d/inner")
    with pytest.raises(AccessDenied):
        layer.open("d/inner/key")
