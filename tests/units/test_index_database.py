"""The database of the index: whatever is found in its place, nothing breaks and nothing is lost."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from copickfs.errors import IndexUnavailable
from copickfs.index import Database, EntityTable, in_memory, open_database, opening, rebuild, schema
from copickfs.index.schema import APPLICATION_ID, VERSION
from tests.sandbox import needs_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WRITER = """
import sys
from pathlib import Path
from copickfs.index import open_database
database = open_database(Path(sys.argv[1]))
print("open", flush=True)
for number in range(int(sys.argv[2])):
    with database.writing() as connection:
        connection.execute("INSERT INTO name (text) VALUES (?)", (f"{sys.argv[3]}-{number}",))
print("done", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "index.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    opened = open_database(path)
    yield opened
    opened.close()


def put(database: Database, *names: str) -> None:
    with database.writing() as connection:
        connection.executemany("INSERT INTO name (text) VALUES (?)", [(name,) for name in names])


def names_in(database: Database) -> list[str]:
    with database.reading() as connection:
        return [name for (name,) in connection.execute("SELECT text FROM name ORDER BY id")]


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_what_is_written_is_there_at_the_next_start(path: Path, database: Database) -> None:
    put(database, "a", "b")
    database.close()
    database.close()
    again = open_database(path)
    assert names_in(again) == ["a", "b"]
    assert again.problems() == []
    again.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_transaction_is_whole_or_undone(database: Database) -> None:
    def half(database: Database, then: Callable[[sqlite3.Connection], object]) -> None:
        with database.writing() as connection:
            connection.execute("INSERT INTO name (text) VALUES ('half')")
            then(connection)

    with pytest.raises(ZeroDivisionError):
        half(database, lambda _: 1 / 0)
    with pytest.raises(IndexUnavailable):
        half(database, lambda connection: connection.execute("INSERT INTO nothing VALUES (1)"))
    assert names_in(database) == []
    put(database, "whole")
    assert names_in(database) == ["whole"]


def test_readers_see_one_state_and_wait_for_no_writer(database: Database) -> None:
    put(database, "before")
    with database.writing() as connection:
        connection.execute("INSERT INTO name (text) VALUES ('after')")
        seen: list[list[str]] = []
        thread = threading.Thread(target=lambda: seen.append(names_in(database)))
        thread.start()
        thread.join()
        assert seen == [["before"]]
    with database.reading() as reading:
        assert reading.execute("SELECT count(*) FROM name").fetchone() == (2,)
        thread = threading.Thread(target=lambda: put(database, "later"))
        thread.start()
        thread.join()
        assert reading.execute("SELECT count(*) FROM name").fetchone() == (2,)
    assert names_in(database) == ["before", "after", "later"]


def test_connections_of_threads_that_have_ended_are_closed(database: Database) -> None:
    def ask() -> None:
        assert names_in(database) == []

    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    assert len(os.listdir("/proc/self/fd")) < descriptors + 10


def test_processes_take_turns_in_writing(path: Path, database: Database) -> None:
    count = 100
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(count), name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for name in "ab"
    ]  # fmt: skip
    for number in range(count):
        put(database, f"own-{number}")
    for writer in writers:
        output, _ = writer.communicate("")
        assert output == "open\ndone\n"
    assert len(names_in(database)) == 3 * count
    assert database.problems() == []


def test_a_killed_writer_leaves_a_sound_database(path: Path, database: Database) -> None:
    command = [sys.executable, "-c", WRITER, str(path), "1000000", "x"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        while len(names_in(database)) < 5:
            pass
        writer.kill()
    found = names_in(database)
    assert found == [f"x-{number}" for number in range(len(found))]
    put(database, "after")
    assert database.problems() == []


HEAD = b"SQLite format 3\0"


@pytest.mark.parametrize("content", [HEAD + b"garbage" * 5_000, HEAD[:9], HEAD, bytes(9), bytes(3 << 20)])
def test_what_may_be_left_of_an_index_is_set_aside(
    path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    opened = open_database(path)
    put(opened, "a")
    opened.close()
    assert path.with_name("index.db.damaged").read_bytes() == content
    (message,) = messages(caplog)
    assert str(path) in message
    assert "made anew" in message


def test_an_empty_file_becomes_an_index(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    path.write_bytes(b"")
    open_database(path).close()
    assert path.read_bytes().startswith(HEAD)
    assert messages(caplog) == []


@pytest.mark.parametrize("content", [b"a", b"notes" * 10, b"garbage" * 5_000, bytes(2 << 20) + b"x"])
def test_a_file_that_was_never_a_database_is_left_alone(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(IndexUnavailable, match="is no SQLite database, and is left as it is; name another"):
        open_database(path)
    assert os.listdir(path.parent) == ["index.db"]
    assert path.read_bytes() == content


def test_what_is_no_file_is_left_alone(path: Path) -> None:
    path.mkdir(parents=True)
    for place in (path, path.with_name("pipe")):
        if place != path:
            os.mkfifo(place)
        with pytest.raises(IndexUnavailable, match="is no SQLite database"):
            open_database(place)
    assert sorted(os.listdir(path.parent)) == ["index.db", "pipe"]


def test_a_file_that_takes_the_place_of_an_index_in_use_is_left_alone(path: Path, database: Database) -> None:
    path.rename(path.with_name("before"))
    path.write_bytes(b"notes")
    assert database.is_replaced
    with pytest.raises(IndexUnavailable, match="is left as it is"):
        rebuild(database)
    assert path.read_bytes() == b"notes"


def test_what_was_set_aside_is_never_overwritten(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    kept = [f"index.db.damaged{suffix}" for suffix in ("", ".2", ".3", ".4", ".5")]
    for number in range(len(kept)):
        path.write_bytes(HEAD + b"%d" % number)
        open_database(path).close()
    for number, name in enumerate(kept):
        assert path.with_name(name).read_bytes() == HEAD + b"%d" % number
    assert len(messages(caplog)) == len(kept)
    path.write_bytes(HEAD + b"one more")
    with pytest.raises(IndexUnavailable, match=r"then remove index.db.damaged to index.db.damaged.5"):
        open_database(path)
    assert path.read_bytes() == HEAD + b"one more"


def test_a_database_that_is_damaged_while_it_is_used_is_made_anew(
    path: Path, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    put(database, *(f"name-{number}" for number in range(5_000)))
    database.close()
    with path.open("r+b") as file:  # not the head, so that it opens
        file.seek(path.stat().st_size // 2)
        file.write(os.urandom(path.stat().st_size // 4))
    again = open_database(path)
    assert again.problems() != []
    assert again.is_damaged
    rebuild(again)
    assert names_in(again) == []
    put(again, "new")
    assert again.problems() == []
    assert len(messages(caplog)) == 1
    again.close()


def test_a_newer_database_is_left_alone_and_another_used_beside_it(
    path: Path, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    put(database, "theirs")
    with database.writing() as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    database.close()
    for _ in range(2):
        beside = open_database(path)
        assert beside.path == path.with_name(f"index.db.v{VERSION}")
        beside.close()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT text FROM name").fetchall() == [("theirs",)]
    connection.close()
    assert all("newer version" in message for message in messages(caplog))
    assert len(messages(caplog)) == 2


def test_another_programs_database_is_left_alone(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE precious (data)")
    connection.commit()
    connection.close()
    opened = open_database(path)
    put(opened, "ours")
    assert opened.path != path
    opened.close()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("precious",)]
    connection.close()
    assert len(messages(caplog)) == 1


def test_an_older_database_is_brought_up_to_date_or_made_anew(
    path: Path, database: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(database, "old")
    database.close()
    with monkeypatch.context() as patched:
        patched.setattr(opening, "VERSION", VERSION + 1)
        patched.setattr(opening, "MIGRATIONS", {VERSION: "ALTER TABLE name ADD COLUMN more TEXT;"})
        newer = open_database(path)
        with newer.reading() as connection:
            assert connection.execute("SELECT text, more FROM name").fetchall() == [("old", None)]
        newer.close()
        patched.setattr(opening, "VERSION", VERSION + 2)  # and nothing says how to get there
        anew = open_database(path)
        assert names_in(anew) == []
        anew.close()
    assert path.with_name("index.db.old").exists()
    assert ["older version" in message for message in messages(caplog)] == [True]


def test_a_database_of_every_older_version_becomes_one_of_this(path: Path) -> None:
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(schema._FIRST)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        connection.execute("INSERT INTO name (text) VALUES ('kept')")
        connection.commit()
    tables = "SELECT name, sql FROM sqlite_schema ORDER BY name"
    with contextlib.closing(open_database(path)) as migrated, contextlib.closing(in_memory()) as made:
        with migrated.reading() as connection, made.reading() as other:
            assert connection.execute(tables).fetchall() == other.execute(tables).fetchall()
            assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert names_in(migrated) == ["kept"]


def test_a_locked_database_is_unavailable_and_harms_nothing(
    path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "OPEN_BUSY_S", 0.2)
    put(database, "a")
    locker = sqlite3.connect(path, isolation_level=None)
    locker.execute("BEGIN EXCLUSIVE")
    quick = Database(path, busy_s=0.2)
    with pytest.raises(IndexUnavailable, match="locked"):
        put(quick, "b")
    with pytest.raises(IndexUnavailable, match="locked"):
        open_database(path)
    assert names_in(quick) == ["a"]
    locker.execute("ROLLBACK")
    locker.close()
    put(quick, "b")
    assert names_in(quick) == ["a", "b"]
    quick.close()


@pytest.mark.parametrize("lock", ["flock", "write", "exclusive"])
def test_opening_waits_two_seconds_at_most(path: Path, database: Database, lock: str) -> None:
    put(database, "a")
    with contextlib.ExitStack() as locked:
        if lock == "flock":
            file = locked.enter_context(path.with_name("index.db.lock").open("wb"))
            fcntl.flock(file, fcntl.LOCK_EX)
        else:
            locker = locked.enter_context(contextlib.closing(sqlite3.connect(path, isolation_level=None)))
            if lock == "exclusive":
                database.close()
                locker.execute("PRAGMA locking_mode = EXCLUSIVE")
            locker.execute("BEGIN EXCLUSIVE")
        begun_s = time.monotonic()
        with pytest.raises(IndexUnavailable, match="another process keeps it locked; try again when"):
            open_database(path)
        assert 1.5 < time.monotonic() - begun_s < 3


@needs_root
def test_a_full_disk_is_unavailable_and_keeps_what_there_was(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)], check=True)
    try:
        opened = open_database(small / "index.db")
        put(opened, "a")
        with pytest.raises(IndexUnavailable, match="full; make room"):
            put(opened, *(f"{number:0500}" for number in range(20_000)))
        assert names_in(opened) == ["a"]
        assert not opened.is_damaged
        put(opened, "b")
        assert names_in(opened) == ["a", "b"]
        opened.close()
    finally:
        subprocess.run(["umount", str(small)], check=True)


@needs_root
def test_a_read_only_disk_is_unavailable(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(place)], check=True)
    try:
        with pytest.raises(IndexUnavailable, match="file system; make it writable, or name another file by"):
            open_database(place / "index.db")
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_closed_database_is_unavailable(database: Database) -> None:
    database.close()
    with pytest.raises(IndexUnavailable, match="closed"):
        names_in(database)
    with pytest.raises(IndexUnavailable, match="closed"):
        put(database, "a")


SLOW = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1e9) SELECT max(i) FROM n"


def work_long(database: Database, use: str, begun: threading.Event) -> None:
    with getattr(database, use)() as connection:
        if use == "writing":
            connection.execute("INSERT INTO name (text) VALUES ('half')")
        begun.set()
        connection.execute(SLOW).fetchall()


def test_what_another_thread_has_opened_and_left_is_not_closed_in_use(database: Database) -> None:
    def write() -> None:
        with database.writing() as connection:
            connection.execute("INSERT INTO name (text) VALUES ('one')")

    def read() -> None:
        with database.reading() as connection:
            connection.execute("SELECT count(*) FROM name").fetchone()

    for step in (write, read):
        thread = threading.Thread(target=step)
        thread.start()
        thread.join()
        with database.writing() as connection:  # the connection of the thread that has ended
            other = threading.Thread(target=read)
            other.start()
            other.join()
            connection.execute("INSERT INTO name (text) VALUES (?)", (step.__name__,))


@pytest.mark.parametrize("use", ["reading", "writing"])
def test_closing_ends_what_is_being_done_and_harms_nothing(path: Path, database: Database, use: str) -> None:
    put(database, "a")
    begun = threading.Event()
    said: list[str] = []

    def work() -> None:
        with pytest.raises(IndexUnavailable) as caught:
            work_long(database, use, begun)
        said.append(str(caught.value))

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(5)
    time.sleep(0.05)
    database.close()
    thread.join(5)
    assert said == [f"{path}: interrupted"]
    assert not os.path.exists(f"{path}-wal"), "the last connection is closed by who has used it"
    again = open_database(path)
    assert names_in(again) == ["a"]
    again.close()


def test_the_tables_are_ours(database: Database) -> None:
    with database.reading() as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_file_that_was_removed_or_replaced_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    database = open_database(path)
    table = EntityTable(database, "k")
    table.finish(table.begin()[0])
    assert not database.is_replaced
    for companion in ("", "-wal", "-shm"):
        path.with_name(path.name + companion).unlink(missing_ok=True)
    assert database.is_replaced
    other = open_database(path)  # as another process would
    rebuild(database)
    assert not database.is_replaced
    assert table.scanned_ns() == 0
    table.finish(table.begin()[0])
    assert EntityTable(other, "k").scanned_ns() > 0
    other.close()
    database.close()


def test_another_programs_database_stays_as_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "index.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
        connection.commit()
    before = path.read_bytes()
    open_database(path).close()
    assert path.read_bytes() == before
    assert "another program" in caplog.text


_READ_WHAT_WAS_CUT_OFF = """
import contextlib, os, pathlib, sqlite3, sys
from copickfs.errors import IndexUnavailable
from copickfs.index import open_database
path = pathlib.Path(sys.argv[1])
database = open_database(path)
with database.writing() as connection:
    rows = ((f"name {number} " + 100 * "x",) for number in range(20_000))
    connection.executemany("INSERT INTO name (text) VALUES (?)", rows)
with contextlib.closing(sqlite3.connect(path)) as other:
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
query = "SELECT sum(length(text)) FROM name"
with database.reading() as connection:
    connection.execute("SELECT count(*) FROM name").fetchone()
os.truncate(path, 8192)
try:
    with database.reading() as connection:
        connection.execute(query).fetchone()
except IndexUnavailable:
    pass
print("alive")
"""


def test_a_file_that_is_cut_off_while_it_is_read_ends_no_process(path: Path) -> None:
    command = [sys.executable, "-c", _READ_WHAT_WAS_CUT_OFF, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr
