"""State files: what is believed of them, and what is not."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from copickfs.daemon import registry, userdirs
from copickfs.daemon.process import Process
from copickfs.daemon.registry import Record, Registration
from copickfs.daemon.transient_directory import make_directory, remove_directories
from copickfs.errors import MountError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runtime directory of this test only."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(userdirs, "_SYSTEM_RUNTIME", tmp_path / "none")
    monkeypatch.setattr(userdirs.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    return tmp_path / "copickfs"


@pytest.fixture
def process() -> Iterator[Process]:
    with subprocess.Popen(["sleep", "60"]) as child:
        yield Process.of(child.pid)
        child.kill()


def record_of(process: Process, mountpoint: str = "/mnt/a") -> Record:
    return Record(process, mountpoint, "/etc/c.json", None, time.time(), private=False, uid=os.getuid())


def mine(records: list[Record]) -> list[Record]:
    """Those of this test; root sees the daemons of others, too."""
    return [record for record in records if record.configuration == "/etc/c.json"]


def test_round_trip(process: Process, runtime: Path) -> None:
    record = record_of(process, "/mnt/ü \udcff")
    registration = Registration(record)
    (found,) = mine(registry.living())
    assert found == registry.find("/mnt/ü \udcff") == dataclasses.replace(record, socket=found.socket)
    assert Path(found.socket) == Path(registration.socket)
    assert registry.find("/mnt/b") is None
    assert [file.stat().st_mode & 0o777 for file in runtime.iterdir()] == [0o600]
    assert runtime.stat().st_mode & 0o777 == 0o700
    registration.remove()
    registration.remove()
    assert mine(registry.living()) == []


def test_a_reused_process_id_is_not_the_daemon(process: Process, runtime: Path) -> None:
    Registration(record_of(Process(process.pid, process.start_ticks - 1)))
    assert mine(registry.living()) == []
    assert list(runtime.iterdir()) == []


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"process": [1]}', "null", "\0", '{"process": ["a", 2]}']
)
def test_what_is_no_state_file_is_removed(text: str, runtime: Path) -> None:
    runtime.mkdir(mode=0o700)
    (runtime / "1.json").write_text(text)
    assert mine(registry.living()) == []
    assert list(runtime.iterdir()) == []


def test_a_pipe_or_a_link_is_not_read(process: Process, runtime: Path, tmp_path: Path) -> None:
    runtime.mkdir(mode=0o700)
    os.mkfifo(runtime / "1.json")
    (tmp_path / "elsewhere").write_text(record_of(process).to_json())
    (runtime / "2.json").symlink_to(tmp_path / "elsewhere")
    assert mine(registry.living()) == []


def test_a_file_speaks_for_its_owners_processes_only(process: Process, runtime: Path) -> None:
    """Root must not end a process because a user wrote its number down."""
    if os.getuid() != 0:
        pytest.skip("only root can give a file away")
    runtime.mkdir(mode=0o700)
    file = runtime / "1.json"
    file.write_text(record_of(process).to_json())
    assert len(mine(registry.living())) == 1
    os.chown(file, 65534, 65534)
    assert mine(registry.living()) == []


def test_a_directory_that_others_write_to_is_not_used(
    process: Process, runtime: Path, tmp_path: Path
) -> None:
    runtime.mkdir(mode=0o700)
    runtime.chmod(0o777)
    (runtime / "1.json").write_text(record_of(process).to_json())
    assert mine(registry.living()) == []
    Registration(record_of(process))  # falls back to the next place
    assert (tmp_path / "tmp" / f"copickfs-{os.getuid()}").is_dir()
    (runtime / "1.json").unlink()


def test_files_of_others_are_let_alone(tmp_path: Path, runtime: Path) -> None:
    runtime.mkdir(mode=0o700)
    (runtime / "project.json").write_text("{}")
    stranger = tmp_path / "tmp" / "copickfs-1234"
    stranger.mkdir(mode=0o700)
    (stranger / "1.json").write_text("{}")
    assert mine(registry.living()) == []
    assert (runtime / "project.json").exists()
    assert (stranger / "1.json").exists()


def test_no_place_at_all(process: Process, runtime: Path, tmp_path: Path) -> None:
    runtime.touch()
    (tmp_path / "tmp" / f"copickfs-{os.getuid()}").symlink_to("/etc")
    with pytest.raises(MountError, match="XDG_RUNTIME_DIR"):
        Registration(record_of(process))


def test_logs_without_a_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nowhere")
    file = userdirs.default_log_file("/mnt/a b")
    assert file == tmp_path / "tmp" / f"copickfs-log-{os.getuid()}" / "mnt-a b.log"
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_processes(process: Process) -> None:
    assert process.alive()
    assert process.user_id() == os.getuid()
    assert not process.wait(0.05)
    process.send(9)
    assert process.wait(10)
    assert not process.alive()
    process.send(9)
    with pytest.raises(ProcessLookupError):
        Process.of(2**22 + 1)


def test_json_is_plain(process: Process) -> None:
    assert json.loads(record_of(process).to_json())["process"] == [process.pid, process.start_ticks]


def test_a_directory_is_removed_by_who_has_it_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "deep" / "mnt")
    first, second = make_directory(path), make_directory(path)
    assert first.made == (path, str(tmp_path / "deep"))
    assert second.made == ()
    remove_directories(first.made, first.lock)
    assert os.path.isdir(path)  # the second still mounts there
    os.close(second.lock)
    remove_directories(first.made, first.lock)
    assert not (tmp_path / "deep").exists()
    os.close(first.lock)


def test_a_directory_that_was_made_anew_is_not_removed(tmp_path: Path) -> None:
    """A job's two processes both clean up; in between the next job has made the directory again."""
    path = str(tmp_path / "mnt")
    first = make_directory(path)
    remove_directories(first.made, first.lock)
    second = make_directory(path)
    os.close(second.lock)  # as if the second had not locked it yet
    remove_directories(first.made, first.lock)
    assert os.path.isdir(path)
    os.close(first.lock)


def test_many_make_and_remove_at_once(tmp_path: Path) -> None:
    """Whoever has the directory finds it there until letting go of it."""
    path = str(tmp_path / "deep" / "er" / "mnt")

    def job(_number: int) -> bool:
        directory = make_directory(path)
        there = os.path.isdir(path)
        time.sleep(0.001)
        there = there and os.path.isdir(path)
        remove_directories(directory.made, directory.lock)
        os.close(directory.lock)
        return there

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(job, range(300)))
