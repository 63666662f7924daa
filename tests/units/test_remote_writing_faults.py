"""Remote layers under faults: what was acknowledged is never lost, and nothing stays behind."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import random
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from copickfs.errors import Transient, Unavailable
from copickfs.layers.sources.store_writing import StoreWriting
from copickfs.layers.writable import Owner
from copickfs.model import ByteRange
from tests.remote_load import Model, apply, contents
from tests.remotes import KINDS, Remote
from tests.sandbox import needs_root, wait_until
from tests.units.conftest import own_threads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from copickfs.layers.remotewrite import WritableFsspecLayer

OWNER = Owner(0, 0)
PICKS = "ExperimentRuns/TS_1/Picks/me_1_ribosome.json"
KILLS = 3
BY_NAME = {kind.name: kind for kind in KINDS}


@pytest.fixture(params=["sftp", "s3"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Remote]:
    with BY_NAME[request.param].open(tmp_path) as opened:
        yield opened
        wait_until(lambda: not own_threads(), what="the end of the layer's threads")
        assert not [path for path in opened.files() if "copickfs" in path]


def store(layer: WritableFsspecLayer, path: str, data: bytes) -> None:
    with contextlib.closing(layer.create(path, 0o644, OWNER, whole=True)) as file:
        file.write(0, data)
        file.flush()


def read(layer: WritableFsspecLayer, path: str) -> bytes:
    with contextlib.closing(layer.open(path)) as file:
        return bytes(file.read(ByteRange(0, 1 << 30)))


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and "is down" not in record.getMessage()
    ]


def kill_after(told: dict[str, Any], delay_s: float) -> tuple[Model, Model]:
    """Let a process write, kill it, and say what it had acknowledged, with and without what had begun."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.remote_load"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(told) + "\n")
        process.stdin.flush()
        lines = [process.stdout.readline()]
        assert lines[0], "the process did not start"
        threading.Timer(delay_s, process.kill).start()
        lines += process.stdout.readlines()
        process.wait()
    done: Model = {}
    begun: Model = {}
    for line in lines[1:]:
        if not line.endswith("\n"):
            break
        event = json.loads(line)
        if event[0] == "begin":
            begun = apply(done, event[1])
        else:
            done = begun
    return done, begun


@pytest.mark.timeout(300)
@pytest.mark.parametrize("propagate", [False, True], ids=["direct", "behind"])
def test_a_killed_daemon_loses_nothing_that_it_has_acknowledged(
    remote: Remote, propagate: bool, caplog: pytest.LogCaptureFixture
) -> None:
    kill_and_look(remote, propagate=propagate, kills=KILLS)
    assert warnings_of(caplog) == []


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("propagate", [False, True], ids=["direct", "behind"])
def test_killed_daemons_lose_nothing_for_long(
    remote: Remote, propagate: bool, caplog: pytest.LogCaptureFixture
) -> None:
    kill_and_look(remote, propagate=propagate, kills=50)
    assert warnings_of(caplog) == []


def kill_and_look(remote: Remote, *, propagate: bool, kills: int) -> None:
    chance = random.Random(7)
    machine = remote.journals / "here"
    for turn in range(kills):
        options = {"fs_args": remote.fs_args, "journal_directory": str(machine), "propagate": propagate}
        told = {"url": remote.url, "options": options, "seed": turn, "directory": f"r{turn}"}
        done, begun = kill_after(told, chance.uniform(0, 0.8))
        with remote.layer(propagate=propagate) as layer:
            shown = {
                f"r{turn}/{entry.name}": read(layer, f"r{turn}/{entry.name}")
                for entry in layer.scan(f"r{turn}")
            }
            expected = [{path: contents(seed) for path, seed in model.items()} for model in (done, begun)]
            assert shown in expected
            assert layer.flush_pending(60), layer.pending()
            there = {path: data for path, data in remote.files().items() if path.startswith(f"r{turn}/")}
            left = {path for path in there if "-upload-" in path}
            assert {path: data for path, data in there.items() if path not in left} == shown
            wait_until(lambda: not [path for path in remote.files() if "-upload-" in path], limit_s=20)
            wait_until(lambda: not remote.journal_files(), limit_s=20)


@pytest.mark.parametrize("method", ["copy", "delete"])
def test_a_rename_that_is_a_copy_and_a_removal_is_done_whole(tmp_path: Path, method: str) -> None:
    with BY_NAME["s3"].open(tmp_path) as remote:
        options = {"fs_args": remote.fs_args, "journal_directory": str(remote.journals / "here")}
        told = {
            "url": remote.url, "options": options, "directory": "dir", "die_at": method,
            "operations": [["put", "dir/a", "1"], ["put", "dir/b", "2"], ["rename", "dir/a", "dir/b"]],
        }  # fmt: skip
        done, begun = kill_after(told, 30)
        assert (set(done), set(begun)) == ({"dir/a", "dir/b"}, {"dir/b"})
        with remote.layer() as layer:
            assert {entry.name: read(layer, f"dir/{entry.name}") for entry in layer.scan("dir")} == {
                "b": contents("1")
            }
            assert layer.flush_pending(30), layer.pending()
        assert remote.files() == {"dir/b": contents("1")}
        assert remote.journal_files() == []


def test_a_rename_that_breaks_off_is_completed_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with BY_NAME["s3"].open(tmp_path) as remote, remote.layer(timeout_s=3.0) as layer:
        store(layer, "a", b"precious")
        with monkeypatch.context() as patched:
            call = StoreWriting._ask

            def broken(self: StoreWriting, method: str, *args: Any, **options: Any) -> Any:
                if method == "delete":
                    raise ConnectionError("broken off")
                return call(self, method, *args, **options)

            patched.setattr(StoreWriting, "_ask", broken)
            with pytest.raises(Transient):
                layer.rename("a", "b")
            assert [entry.name for entry in layer.scan("")] == ["b"]
            assert read(layer, "b") == b"precious"
            assert layer.pending().entries == 1
        assert layer.flush_pending(30), layer.pending()
        assert remote.files() == {"b": b"precious"}
        assert [entry.name for entry in layer.scan("")] == ["b"]
    assert ["a could not be renamed to b" in message for message in warnings_of(caplog)] == [True]
    assert remote.journal_files() == []


def test_a_server_that_is_gone_fails_the_flush_and_the_next_one_succeeds(remote: Remote) -> None:
    with remote.layer(timeout_s=3.0) as layer:
        store(layer, "before", b"before")
        file = layer.create("x", 0o644, OWNER, whole=True)
        file.write(0, b"data")
        remote.server.stop()
        for _ in range(2):
            with pytest.raises(Transient):
                file.flush()
        assert file.read(ByteRange(0, 9)) == b"data"
        file.write(4, b" and more")
        remote.server.start()
        wait_until(lambda: flushed(file), limit_s=20)
        file.close()
        assert layer.pending().entries == 0
        assert read(layer, "x") == b"data and more"
    assert remote.files() == {"before": b"before", "x": b"data and more"}
    assert remote.journal_files() == []


def flushed(file: Any) -> bool:
    try:
        file.flush()
    except Transient:
        return False
    return True


def test_what_could_not_be_sent_is_kept_and_tried_again(
    remote: Remote, caplog: pytest.LogCaptureFixture
) -> None:
    with remote.layer(timeout_s=3.0) as layer:
        assert layer.scan("") == []
        file = layer.create("x", 0o644, OWNER, whole=True)
        file.write(0, b"precious")
        remote.server.stop()
        with pytest.raises(Transient):
            file.flush()
        file.close()
        assert [message for message in warnings_of(caplog) if "x could not be sent" in message]
        assert (layer.pending().entries, layer.pending().size_bytes) == (1, 8)
        assert read(layer, "x") == b"precious"
        assert not layer.flush_pending(0.5)
        wait_until(lambda: layer.pending().last_error, what="an error that is shown")
        with pytest.raises(Unavailable):
            layer.unlink("x")  # in order, or not at all
    assert len(remote.journal_files()) >= 2
    remote.server.start()
    with remote.layer() as layer:
        assert read(layer, "x") == b"precious"
        assert layer.flush_pending(30), layer.pending()
        wait_until(lambda: not remote.journal_files(), what="an empty journal")
    assert remote.files() == {"x": b"precious"}
    assert remote.journal_files() == []


def test_work_goes_on_behind_while_the_server_is_gone(
    remote: Remote, caplog: pytest.LogCaptureFixture
) -> None:
    with remote.layer(propagate=True, timeout_s=3.0) as layer:
        layer.mkdir("dir", 0o755, OWNER)
        store(layer, "dir/old", b"old")
        assert layer.flush_pending(30)
        assert {entry.name for entry in layer.scan("dir")} == {"old"}
        remote.server.stop()
        for number in range(20):
            store(layer, f"dir/{number}", str(number).encode())
        for number in range(0, 20, 2):
            layer.unlink(f"dir/{number}")
        layer.rename("dir/old", "dir/older")
        layer.mkdir("new", 0o755, OWNER)
        layer.rename("dir/1", "new/1")
        expected = {f"dir/{number}": str(number).encode() for number in range(3, 20, 2)}
        expected |= {"new/1": b"1", "dir/older": b"old"}
        assert {f"dir/{entry.name}" for entry in layer.scan("dir")} == {p for p in expected if p[0] == "d"}
        assert read(layer, "new/1") == b"1"
        wait_until(lambda: layer.pending().last_error, what="an error that is shown")
        pending = layer.pending()
        assert pending.entries > 20
        assert pending.oldest_s >= 0
        for secret in remote.fs_args.values():
            assert str(secret) not in pending.last_error
        remote.server.start()
        assert layer.flush_pending(60), layer.pending()
        assert {f"dir/{entry.name}" for entry in layer.scan("dir")} == {p for p in expected if p[0] == "d"}
    assert remote.files() == expected
    assert remote.journal_files() == []
    assert warnings_of(caplog) == []


@pytest.mark.parametrize("propagate", [False, True], ids=["direct", "behind"])
def test_two_machines_that_write_one_file_lose_neither_version(
    remote: Remote, propagate: bool, caplog: pytest.LogCaptureFixture
) -> None:
    remote.put(PICKS, b"before")
    remote.put("run.zarr/0/0", b"before")
    with (
        remote.layer("here", propagate=propagate) as ours,
        remote.layer("there") as theirs,
        contextlib.closing(ours.edit(PICKS, whole=True)) as our_picks,
        contextlib.closing(ours.edit("run.zarr/0/0", whole=True)) as our_chunk,
    ):
        for file in (our_picks, our_chunk):
            file.truncate(0)
            file.write(0, b"our version")
        for path in (PICKS, "run.zarr/0/0"):
            with contextlib.closing(theirs.edit(path, whole=True)) as file:
                file.truncate(0)
                file.write(0, b"their longer version")
                file.flush()
        our_picks.flush()
        our_chunk.flush()
        assert ours.flush_pending(30)
        assert read(ours, PICKS) == b"their longer version"
    found = remote.files()
    assert found.pop(PICKS) == b"their longer version"
    assert found.pop("run.zarr/0/0") == b"their longer version"
    assert list(found.values()) == [b"our version", b"our version"]
    picks, chunk = sorted(found)
    assert picks.startswith("ExperimentRuns/TS_1/Picks/me_1-conflict-")
    assert picks.endswith("_ribosome.json")
    assert chunk.startswith("run.zarr/0/.0.conflict-")
    warned = warnings_of(caplog)
    assert len(warned) == 2
    assert all(any(path in message and other in message for message in warned)
               for path, other in ((PICKS, picks), ("run.zarr/0/0", chunk)))  # fmt: skip
    assert remote.journal_files("here") == remote.journal_files("there") == []


def test_what_others_have_changed_meanwhile_is_neither_removed_nor_replaced(
    remote: Remote, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("removed", "target", "source"):
        remote.put(f"dir/{name}", b"before")
    with remote.layer(propagate=True, timeout_s=3.0) as layer:
        assert len(layer.scan("dir")) == 3
        remote.server.stop()
        layer.unlink("dir/removed")
        layer.rename("dir/source", "dir/target")
        assert {entry.name for entry in layer.scan("dir")} == {"target"}
    remote.server.start()
    remote.put("dir/removed", b"after all")
    remote.put("dir/target", b"another one")
    with remote.layer(propagate=True) as layer:
        assert layer.flush_pending(30)
    found = remote.files()
    assert found.pop("dir/removed") == b"after all"
    assert found.pop("dir/target") == b"another one"
    assert list(found.values()) == [b"before"]
    assert next(iter(found)).startswith("dir/target.conflict-")
    assert len(warnings_of(caplog)) == 2


def test_the_same_contents_are_no_conflict(remote: Remote, caplog: pytest.LogCaptureFixture) -> None:
    with remote.layer("here") as ours, remote.layer("there") as theirs:
        assert ours.scan("") == theirs.scan("") == []
        store(theirs, "x", b"the same")
        store(ours, "x", b"the same")
    assert remote.files() == {"x": b"the same"}
    assert warnings_of(caplog) == []


def test_a_damaged_entry_does_not_hold_up_the_others(
    remote: Remote, caplog: pytest.LogCaptureFixture
) -> None:
    with remote.layer(propagate=True, timeout_s=3.0) as layer:
        assert layer.scan("") == []
        remote.server.stop()
        for name in ("a", "b", "c"):
            store(layer, name, name.encode())
    entries = sorted(remote.journals.rglob("*.data"))
    entries[1].write_bytes(b"X")
    remote.server.start()
    with remote.layer(propagate=True) as layer:
        assert layer.flush_pending(30)
    assert remote.files() == {"a": b"a", "c": b"c"}
    assert len(warnings_of(caplog)) == 1
    assert [name.partition(".")[2] for name in remote.journal_files()] == ["data.damaged", "json.damaged"]


def test_no_secret_is_in_the_journal_or_the_log(remote: Remote, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with remote.layer(propagate=True, timeout_s=3.0) as layer:
        assert layer.scan("") == []
        remote.server.stop()
        store(layer, "x", b"x")
        wait_until(lambda: layer.pending().last_error, what="an error that is shown")
    kept = [path for path in remote.journals.rglob("*") if path.is_file()]
    told = [path.read_text() for path in kept] + [str(path) for path in kept]
    told += [record.getMessage() for record in caplog.records if record.name.startswith("copickfs")]
    for secret in ("open-sesame-4711", "writer-4711"):
        assert not [text for text in told if secret in text]
    remote.server.start()
    with remote.layer() as layer:
        assert layer.flush_pending(30)


@needs_root
@pytest.mark.parametrize("propagate", [False, True], ids=["direct", "behind"])
def test_a_full_disk_is_told_to_the_writer_and_harms_nothing(
    remote: Remote, tmp_path: Path, propagate: bool
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)], check=True)
    remote.journals = small
    try:
        remote.put("old", b"old version")
        with remote.layer(propagate=propagate) as layer:
            with contextlib.closing(layer.edit("old", whole=True)) as file:
                with pytest.raises(OSError, check=lambda error: error.errno == errno.ENOSPC):  # noqa: PT012
                    for offset in range(0, 4 << 20, 1 << 18):
                        file.write(offset, os.urandom(1 << 18))
                file.discard()
                file.flush()
            assert read(layer, "old") == b"old version"
            store(layer, "new", b"there is room again")
            assert layer.flush_pending(30)
        assert remote.files() == {"old": b"old version", "new": b"there is room again"}
        assert remote.journal_files() == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_two_daemons_share_a_journal_directory(remote: Remote) -> None:
    with remote.layer(propagate=True) as first, remote.layer(propagate=True) as second:
        for number in range(10):
            store(first, f"first-{number}", b"1")
            store(second, f"second-{number}", b"2")
        assert first.flush_pending(30)
        assert second.flush_pending(30)
    assert len(remote.files()) == 20
    assert remote.journal_files() == []


def test_many_threads_write_at_once_behind(remote: Remote) -> None:
    with remote.layer(propagate=True) as layer:
        begun_s = time.monotonic()

        def work(number: int) -> None:
            for turn in range(3):
                store(layer, f"{number}-{turn}", b"first")
                store(layer, f"{number}-{turn}", b"second")
                layer.rename(f"{number}-{turn}", f"done-{number}-{turn}")

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert layer.flush_pending(60), (layer.pending(), time.monotonic() - begun_s)
        assert len(layer.scan("")) == 18
    files = remote.files()
    assert set(files.values()) == {b"second"}
    assert len(files) == 18
    assert remote.journal_files() == []
