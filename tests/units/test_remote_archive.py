"""What a remote layer still knows after a restart: how long it is believed, and what never is."""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from copickfs.config import parse
from copickfs.errors import IndexUnavailable, NotFound, Stale, Transient, Unavailable
from copickfs.index import Database, open_database
from copickfs.index.listings import ListingStore
from copickfs.layers import archive as archive_module
from copickfs.layers.archive import ListingArchive
from copickfs.layers.catalogue import Catalogue
from copickfs.layers.identity import listing_key
from copickfs.layers.kinds import BuildContext
from copickfs.layers.manager import LayerManager
from copickfs.layers.remote import FsspecLayer
from copickfs.model import ByteRange
from tests.remotes import KINDS, Remote
from tests.sandbox import needs_root, wait_until
from tests.units.conftest import CHUNK, SMALL, own_threads
from tests.units.test_remote_listings import ARRAY, Shelf, directory, file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.webserver import WebServer

CHUNK_PATH = "a.zarr/0/0/0/1"
ABSENT = ("absent", "dir/absent", "a.zarr/0/0/0/7", "a.zarr/0/0/9/0", "a.zarr/.zattrs", "a.zarr/0/0/0/1x")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(tmp_path / "index/index.db", busy_s=0.2)
    yield opened
    wait_until(lambda: not own_threads(), what="the end of the layers' threads")
    opened.close()


@pytest.fixture
def site(web_site: WebServer) -> WebServer:
    web_site.listing = "json"
    return web_site


@contextlib.contextmanager
def opened(site: WebServer, database: Database, **options: Any) -> Iterator[FsspecLayer]:
    """A layer of a new process, as it were; the source may be away."""
    store = ListingStore(database, listing_key(site.url, {}))
    options = {"timeout_s": 2, "on_unavailable": "error", "ttl_s": 3_600, **options}
    with contextlib.closing(FsspecLayer("lab", site.url, listing_store=store, **options)) as layer:
        with contextlib.suppress(Transient):
            layer.connect()
        site.requests.clear()
        yield layer


def check(layer: FsspecLayer) -> None:
    """Everything is known, and what is not there is known to be absent."""
    assert {entry.name for entry in layer.scan("")} == {"big.bin", "dir", "a.zarr"}
    assert {entry.name for entry in layer.scan("dir")} == {"deep", "small.json"}
    assert layer.scan("dir/deep") == []
    assert layer.stat("dir/small.json").size_bytes == len(SMALL)
    assert layer.stat("a.zarr/0/.zarray").size_bytes == len(CHUNK)
    assert layer.stat(CHUNK_PATH).size_bytes == len(CHUNK)
    for path in ABSENT:
        with pytest.raises(NotFound):
            layer.stat(path)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def rows(database: Database) -> set[str]:
    with database.reading() as connection:
        return {row[0] for row in connection.execute("SELECT directory FROM listing WHERE entries <> x''")}


@pytest.fixture
def visited(site: WebServer, database: Database) -> WebServer:
    """A server whose listings an earlier process has left in the index."""
    with opened(site, database) as layer:
        check(layer)
    assert rows(database) == {"", "dir", "dir/deep", "a.zarr", "a.zarr/0"}
    return site


@pytest.mark.parametrize("options", [{}, {"immutable": True, "ttl_s": 0}], ids=["ttl", "immutable"])
def test_a_second_start_asks_for_no_listing(
    visited: WebServer, database: Database, options: dict[str, Any]
) -> None:
    with opened(visited, database, **options) as layer:
        check(layer)
        assert visited.requests == []
        with contextlib.closing(layer.open(CHUNK_PATH)) as chunk:
            assert chunk.read(ByteRange(0, 1_000)) == CHUNK
        assert len(visited.requests) == 1
        assert layer.stat_nowait(CHUNK_PATH).size_bytes == len(CHUNK)


def test_what_is_too_old_is_asked_for_again_and_changes_are_announced(
    visited: WebServer, database: Database
) -> None:
    (visited.root / "dir/new").write_bytes(b"new")
    (visited.root / "dir/small.json").unlink()
    (visited.root / "a.zarr/0/0/0/2").write_bytes(CHUNK)
    changed: list[str] = []
    with opened(visited, database, ttl_s=0) as layer:
        layer.subscribe(changed.append)
        assert {entry.name for entry in layer.scan("dir")} == {"deep", "new"}
        assert layer.stat("a.zarr/0/0/0/2").size_bytes == len(CHUNK)
        assert {"dir/new", "dir/small.json", "a.zarr/0/0/0/2"} <= set(changed)
    with opened(visited, database) as layer:
        assert {entry.name for entry in layer.scan("dir")} == {"deep", "new"}
        assert visited.requests == []


def test_what_a_server_was_asked_about_hidden_names_is_known_without_it(
    site: WebServer, database: Database
) -> None:
    """Or no mount of two layers could do without a web server: marks have hidden names."""
    site.dot_names = False
    (site.root / ".there").write_bytes(b"there")
    with opened(site, database) as layer:
        assert layer.stat(".there").size_bytes == 5
        with pytest.raises(NotFound):
            layer.stat(".copickfs")
    with opened(site, database, offline=True) as layer:
        assert layer.stat(".there").size_bytes == 5
        with pytest.raises(NotFound):
            layer.stat(".copickfs")
        with pytest.raises(Unavailable):
            layer.stat(".never-asked-for")
    assert site.requests == []
    (site.root / ".copickfs").mkdir()
    with opened(site, database, ttl_s=0) as layer:
        assert layer.stat(".copickfs").is_dir, "it is asked for again when it is old"


@pytest.mark.parametrize("saves_first", [False, True])
def test_listings_that_are_saved_first_are_counted_if_they_are_not(
    site: WebServer, database: Database, saves_first: bool
) -> None:
    with opened(site, database) as layer:
        if saves_first:
            layer.keep_listings()
        with database.writing():  # by which the index is locked
            outcome = threading.Thread(target=layer.scan, args=("dir",))
            outcome.start()
            outcome.join()
        assert layer.unsaved_listings == int(saves_first)


@pytest.mark.parametrize("ttl_s", [0, 3_600], ids=["old", "young"])
def test_an_outage_at_the_second_start_hides_nothing_that_was_known(
    visited: WebServer, database: Database, ttl_s: float
) -> None:
    visited.stop()
    with opened(visited, database, ttl_s=ttl_s) as layer:
        for _ in range(2):
            check(layer)
        with contextlib.closing(layer.open(CHUNK_PATH)) as chunk, pytest.raises(Transient):
            chunk.read(ByteRange(0, 10))


def test_what_was_never_listed_is_an_error_in_an_outage(site: WebServer, database: Database) -> None:
    with opened(site, database) as layer:
        layer.scan("a.zarr")
    site.stop()
    with opened(site, database) as layer:
        for path in ("dir/small.json", "dir/absent", "a.zarr/0/.zarray", "a.zarr/0/0/0/7", CHUNK_PATH):
            with pytest.raises(Transient):
                layer.stat(path)
        assert {entry.name for entry in layer.scan("a.zarr")} == {"0"}


def test_the_event_loop_never_reads_the_index(visited: WebServer, database: Database) -> None:
    with opened(visited, database) as layer:
        layer.scan("")
        for ask in (layer.stat_nowait, layer.scan_nowait):
            with pytest.raises(BlockingIOError):
                ask("dir/deep")
        layer.scan("dir")
        assert layer.stat_nowait("dir/deep").is_dir


def test_a_refresh_outlives_the_process(visited: WebServer, database: Database) -> None:
    with opened(visited, database, immutable=True) as layer:
        layer.refresh()
    (visited.root / "dir/new").write_bytes(b"new")
    with opened(visited, database, immutable=True) as layer:
        assert layer.stat("dir/new").size_bytes == 3
    visited.stop()
    with opened(visited, database, immutable=True) as layer:
        assert layer.stat("dir/new").size_bytes == 3
        assert layer.stat(CHUNK_PATH).size_bytes == len(CHUNK), "what is doubted stands in during an outage"


def test_a_source_that_was_seen_to_differ_is_not_believed_after_a_kill(
    visited: WebServer, database: Database
) -> None:
    with opened(visited, database) as layer:
        with contextlib.closing(layer.open(CHUNK_PATH)) as chunk:
            (visited.root / CHUNK_PATH).write_bytes(b"another")
            with pytest.raises(Stale):
                chunk.read(ByteRange(0, 10))
        with opened(visited, database) as later:  # the first one is as if it had been killed here
            assert later.stat(CHUNK_PATH).size_bytes == len(b"another")


def test_a_directory_that_is_gone_is_forgotten(visited: WebServer, database: Database) -> None:
    with opened(visited, database) as layer:
        layer.scan("dir")
        (visited.root / "dir/small.json").unlink()
        (visited.root / "dir/deep").rmdir()
        (visited.root / "dir").rmdir()
        layer.refresh()
        with pytest.raises(NotFound):
            layer.scan("dir")
    assert rows(database) == {"", "a.zarr", "a.zarr/0"}
    visited.stop()
    with opened(visited, database) as layer, pytest.raises(NotFound):
        layer.scan("dir")


def test_a_damaged_listing_is_asked_for_again(visited: WebServer, database: Database) -> None:
    with database.writing() as connection:
        connection.execute("UPDATE listing SET entries = zeroblob(length(entries)) WHERE directory = 'dir'")
    with opened(visited, database) as layer:
        check(layer)
        assert [request for request in visited.requests if request.endswith("/")] == ["GET /dir/"]
    visited.stop()
    with opened(visited, database) as layer:
        check(layer)


def test_a_listing_from_the_future_is_old(
    visited: WebServer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module.time, "time_ns", lambda: 10**9)
    with opened(visited, database) as layer:
        layer.stat("dir/small.json")
        assert [request for request in visited.requests if request.endswith("/")] == ["GET /dir/"]
    visited.stop()
    with opened(visited, database) as layer:
        assert layer.stat(CHUNK_PATH).size_bytes == len(CHUNK)


def test_single_names_of_a_server_that_lists_nothing_stand_in_for_it_and_no_more(
    site: WebServer, database: Database
) -> None:
    site.listing = ""
    with opened(site, database, immutable=True) as layer:
        assert layer.stat("dir/small.json").size_bytes == len(SMALL)
        with pytest.raises(NotFound):
            layer.stat("dir/later")
    (site.root / "dir/later").write_bytes(b"later")  # or another key lets it be seen
    with opened(site, database, immutable=True, offline=True) as layer:
        assert layer.stat("dir/small.json").size_bytes == len(SMALL)
        with pytest.raises(NotFound):
            layer.stat("dir/later")
        with pytest.raises(Unavailable):
            layer.stat("dir/never")
    with opened(site, database, immutable=True) as layer:
        assert layer.stat("dir/later").size_bytes == 5


def test_a_server_may_list_later_what_it_did_not(site: WebServer, database: Database) -> None:
    site.listing = ""
    with opened(site, database, immutable=True) as layer, pytest.raises(PermissionError):
        layer.scan("dir")
    site.listing = "json"
    with opened(site, database, immutable=True) as layer:
        check(layer)


@contextlib.contextmanager
def locked(database: Database) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(str(database.path), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@contextlib.contextmanager
def damaged(database: Database) -> Iterator[None]:
    with database.writing() as connection:
        connection.execute("DROP TABLE listing")
    yield


@contextlib.contextmanager
def closed(database: Database) -> Iterator[None]:
    database.close()
    yield


@pytest.mark.parametrize("trouble", [locked, damaged, closed])
def test_an_index_that_cannot_be_used_disturbs_nothing(
    site: WebServer,
    database: Database,
    trouble: Callable[[Database], contextlib.AbstractContextManager[None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with trouble(database), opened(site, database, ttl_s=0) as layer:
        for _ in range(3):
            check(layer)
        layer.refresh()
        check(layer)
    assert len(warnings(caplog)) == 1
    assert "see that the index can be read and written" in warnings(caplog)[0]


@needs_root
def test_an_index_on_a_full_disk_disturbs_nothing(
    site: WebServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=True)
    try:
        database = open_database(small / "index.db")
        with opened(site, database) as layer:
            layer.scan("")
        with contextlib.suppress(OSError), (small / "filler").open("wb", buffering=0) as filler:
            while filler.write(bytes(4096)):
                pass
        with opened(site, database, ttl_s=0) as layer:
            check(layer)
            assert len(warnings(caplog)) == 1
            assert rows(database) == {""}
        database.close()
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


class Patchy:
    """A store that fails when it is told to, and says what it was asked."""

    def __init__(self) -> None:
        self.fails = False
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        def call(*_: object, **__: object) -> None:
            if self.fails:
                raise IndexUnavailable("locked")
            self.calls.append(name)

        return call


def test_what_could_not_be_taken_back_is_taken_back_before_anything_is_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archive_module, "REST_S", 0.0)
    store = Patchy()
    archive = ListingArchive("lab", store)  # type: ignore[arg-type]
    store.fails = True
    archive.changed("d/x", None, None)
    archive.forget("e")
    archive.load("d")
    store.fails = False
    assert archive.load("d") is None
    assert store.calls == ["changed", "forget", "load"]
    monkeypatch.setattr(archive_module, "_MANY_DEBTS", 3)
    store.fails = True
    for number in range(10):
        archive.changed(f"d/{number}", None, None)
    store.fails = False
    store.calls.clear()
    archive.load("d")
    assert store.calls[0] == "forget_all"
    assert len(store.calls) <= 5


def test_an_index_that_failed_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Patchy()
    archive = ListingArchive("lab", store)  # type: ignore[arg-type]
    store.fails = True
    archive.distrust()
    store.fails = False
    archive.distrust()
    assert archive.load("d") is None
    assert store.calls == []
    monkeypatch.setattr(archive, "_unwritten_until_s", 0.0)
    monkeypatch.setattr(archive, "_unread_until_s", 0.0)
    archive.load("d")
    assert store.calls == ["distrust", "distrust", "load"]


def catalogue_of(database: Database, shelf: Shelf, *, is_believed: bool = False) -> Catalogue:
    archive = ListingArchive("lab", ListingStore(database, "shelf"), is_believed=is_believed)
    return Catalogue("lab", shelf, 100.0, 5.0, lambda _: None, archive)


def test_what_this_mount_writes_is_believed_only_when_the_source_cannot_be_asked(database: Database) -> None:
    shelf = Shelf(ARRAY)
    first = catalogue_of(database, shelf)
    first.found("s.zarr/0/.zarray")
    first.close()
    asked = len(shelf.asked)
    second = catalogue_of(database, shelf)
    second.found("s.zarr/0/.zarray")
    assert len(shelf.asked) == 2 * asked
    second.close()
    shelf.error = Unavailable("no route")
    third = catalogue_of(database, shelf)
    assert third.found("s.zarr/0/0/0/1") == file("1")
    with pytest.raises(NotFound):
        third.found("s.zarr/0/0/0/2")


@pytest.mark.parametrize("path", ["dir/new", "s.zarr/0/0/0/2", "s.zarr/0/0/1/0", "new"])
def test_after_a_kill_in_an_outage_an_own_change_is_never_absent(database: Database, path: str) -> None:
    shelf = Shelf(ARRAY)
    first = catalogue_of(database, shelf)
    first.found("s.zarr/0/.zarray")
    first.listing("dir")
    first.close()
    if path == "s.zarr/0/0/1/0":
        first.changed("s.zarr/0/0/1", directory("1"), is_new=True)
    first.changed(path, file(path.rpartition("/")[2]))
    assert first.found(path).kind == "f"
    shelf.error = Unavailable("no route")
    later = catalogue_of(database, shelf)  # the first one is as if it had been killed here
    assert later.found(path) == file(path.rpartition("/")[2])
    assert later.found("dir/a") == file("a")
    first.changed(path, None)
    with pytest.raises(NotFound):
        catalogue_of(database, shelf).found(path)


def test_a_listing_that_was_under_way_during_an_own_change_is_not_kept(database: Database) -> None:
    shelf = Shelf(ARRAY)
    catalogue = catalogue_of(database, shelf)
    scan = shelf.scan

    def scan_and_change(path: str) -> list[Any]:
        found = scan(path)
        if path == "dir":
            catalogue.changed("dir/new", file("new"))
        return found

    shelf.scan = scan_and_change  # type: ignore[method-assign]
    assert catalogue.found("dir/new") == file("new")
    catalogue.close()
    assert rows(database) == {""}


@pytest.mark.parametrize("is_believed", [False, True])
def test_what_happens_while_a_listing_is_loaded_is_not_lost(
    database: Database, monkeypatch: pytest.MonkeyPatch, is_believed: bool
) -> None:
    shelf = Shelf(ARRAY)
    first = catalogue_of(database, shelf)
    first.listing("dir")
    first.close()
    later = catalogue_of(database, shelf, is_believed=is_believed)
    load = later._archive.load

    def load_and_change(path: str) -> Any:
        kept = load(path)
        if path == "dir":
            later.distrust()
            later.changed("dir/new", file("new"))
        return kept

    monkeypatch.setattr(later._archive, "load", load_and_change)
    later.listing("")
    shelf.asked.clear()
    shelf.error = Unavailable("no route")
    assert later.found("dir/new") == file("new")
    assert later.found("dir/a") == file("a")
    assert "dir" in shelf.asked


def test_own_directories_that_come_and_go_leave_nothing_wrong(database: Database) -> None:
    shelf = Shelf(ARRAY)
    first = catalogue_of(database, shelf)
    first.found("s.zarr/0/0/0/1")
    first.listing("dir")
    first.close()
    first.changed("s.zarr", None)
    assert rows(database) == {"", "dir"}
    first.changed("s.zarr", directory("s.zarr"), is_new=True)
    first.changed("s.zarr/0", directory("0"))  # moved there, and what is in it
    shelf.error = Unavailable("no route")
    later = catalogue_of(database, shelf)
    assert later.found("dir/a") == file("a")
    with pytest.raises(NotFound):
        later.found("s.zarr/.zgroup")
    with pytest.raises(Unavailable):
        later.found("s.zarr/0/0/0/1")


def test_an_acknowledged_write_is_seen_after_a_kill_and_a_restart(tmp_path: Path) -> None:
    sftp = next(kind for kind in KINDS if kind.name == "sftp")
    with sftp.open(tmp_path) as remote:
        index = tmp_path / "index.db"
        options = {"fs_args": remote.fs_args, "journal_directory": str(remote.journals / "here")}
        told = {"url": remote.url, "options": options, "directory": "d", "index": str(index)}
        write_and_be_killed(told | {"operations": [["put", "d/x", "1"], ["put", "d/y", "2"]]})
        with contextlib.closing(open_database(index)) as database:
            assert names_in(remote, database, "d") == {"x", "y"}
            assert names_in(remote, database, "d") == {"x", "y"}
            remote.server.stop()
            assert names_in(remote, database, "d") == {"x", "y"}
        wait_until(lambda: not own_threads(), what="the end of the layer's threads")


def names_in(remote: Remote, database: Database, path: str) -> set[str]:
    store = ListingStore(database, listing_key(remote.url, remote.fs_args))
    with contextlib.closing(remote.unconnected(ttl_s=3_600, listing_store=store)) as layer:
        with contextlib.suppress(Transient):
            layer.connect()
        return {entry.name for entry in layer.scan(path)}


def write_and_be_killed(told: dict[str, Any]) -> None:
    """Let a process carry out the operations, and kill it when it has acknowledged the last one."""
    command = [sys.executable, "-m", "tests.remote_load"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(told | {"lingers": True}) + "\n")
        process.stdin.flush()
        for _ in range(1 + 2 * len(told["operations"])):
            assert process.stdout.readline()
        process.kill()


def test_the_layers_of_a_configuration_keep_their_listings_in_the_index(
    visited: WebServer, database: Database, tmp_path: Path
) -> None:
    layers = {"lab": {"config_type": "filesystem", "root": visited.url, "read_only": True, "ttl": 3_600}}
    config = parse(
        {"config_type": "multilayer", "layers": ["lab"], "layer_configs": layers}, base_directory=tmp_path
    )
    visited.stop()
    manager = LayerManager(config, BuildContext(database=database))
    manager.connect_layers(tolerate_outages=True)
    assert manager.get_layer("lab").stat(CHUNK_PATH).size_bytes == len(CHUNK)
    manager.close()


def test_a_key_tells_places_and_users_apart_and_holds_no_secret() -> None:
    key = listing_key("ssh://host/x", {"password": "one", "key": "k"})
    assert key == listing_key("ssh://host/x/", {"password": "two"})
    others = [
        ("ssh://host/y", {}),
        ("ssh://host/x", {"username": "me"}),
        ("ssh://me@host/x", {}),
        ("ssh://host/x", {"client_kwargs": {"endpoint_url": "http://one"}}),
    ]
    assert len({key, *(listing_key(url, fs_args) for url, fs_args in others)}) == 1 + len(others)
    assert listing_key("ssh://me:one@host/x", {}) == listing_key("ssh://me:two@host/x", {})
