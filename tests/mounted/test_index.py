"""Finding and searching by the command line, on mounts and on configurations, while things change."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests import model
from tests.mounted.conftest import put
from tests.sandbox import needs_root, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Mounter
    from tests.mounted.conftest import Demo, Stack
    from tests.sandbox import Sandbox
    from tests.writing import WritableStack

PICKS = b'{"pickable_object_name": "ribosome", "user_id": "u", "session_id": "s", "points": []}'
RUN = "ExperimentRuns/TS_001"


class Asker:
    """Asks by the command line, and knows what the layers hold."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def find(self, target: Path, *options: str) -> list[str]:
        done = self._sandbox.run("find", target, *options, "--json", check=True)
        return self._paths(done.stdout)

    def search(self, target: Path, *words: str) -> list[str]:
        done = self._sandbox.run("search", target, *words, "--json", check=True)
        return self._paths(done.stdout)

    def index(self, config: Path, *options: str) -> subprocess.CompletedProcess[str]:
        return self._sandbox.run("index", config, *options, check=True)

    def try_index(self, config: Path, *options: str) -> subprocess.CompletedProcess[str]:
        return self._sandbox.run("index", config, *options)

    def without_index(self, config: Path, *options: str) -> list[str]:
        """What is found when all layers are gone through."""
        env = {**self._sandbox.env, "XDG_CACHE_HOME": "/dev/null"}
        done = self._sandbox.finish([*self._sandbox.command("find", config, *options), "--json"], env=env)
        assert done.returncode == 0, done.stderr
        return self._paths(done.stdout)

    def _paths(self, output: str) -> list[str]:
        return [entity["path"] for entities in json.loads(output).values() for entity in entities]


@pytest.fixture
def ask(sandbox: Sandbox) -> Asker:
    return Asker(sandbox)


def configuration(roots: list[Path], **more: Any) -> dict[str, Any]:
    return {**model.configuration(roots, [root.name for root in roots]), **more}


def is_looked_at(mount: Mounter, mountpoint: Path) -> bool:
    """True once the daemon has been through what a run has stored."""
    index = mount.status(mountpoint)["index"]
    return bool(index["indexed_ns"]) and not index["pending"]


def test_the_demo_without_and_with_an_index(
    demo: Demo, ask: Asker, copickfs: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = copickfs("find", demo.config, "--type", "runs")
    assert "not indexed yet" in done.stderr
    assert "copickfs index" in done.stderr
    runs = [f"ExperimentRuns/TS_00{number}" for number in range(1, 5)]
    assert ask.find(demo.config, "--type", "runs") == runs
    everything = ask.find(demo.config)
    done = ask.index(demo.config)
    assert f"{len(everything)} entities" in done.stdout
    assert ask.find(demo.config) == everything
    done = copickfs("find", demo.config, "--type", "runs")
    assert done.stderr == ""
    assert all(run in done.stdout for run in runs)
    again = copickfs("index", demo.config, "--quiet")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert copickfs("index", demo.config, "--full", "--layer", "mine").returncode == 0
    assert ask.find(demo.config) == everything


def test_a_mount_answers_with_paths_below_it(
    demo: Demo, mount: Mounter, ask: Asker, copickfs: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    ask.index(demo.config)
    mountpoint = mount(demo.config)
    done = copickfs("search", mountpoint, "ribo", "--json")
    found = [entity for entities in json.loads(done.stdout).values() for entity in entities]
    assert found
    for entity in found:
        assert entity["file"] == f"{mountpoint}/{entity['path']}"
        assert os.path.lexists(entity["file"])
        assert "ribosome" in entity["path"]
    table = copickfs("find", mountpoint, "--object", "ribosome", "--type", "picks").stdout
    assert str(mountpoint) in table
    assert mount.status(mountpoint)["index"]["entities"] == len(ask.find(demo.config))


def test_what_is_written_is_found_at_once(writable_demo: WritableStack, sandbox: Sandbox, ask: Asker) -> None:
    mountpoint = writable_demo.mount()
    config = sandbox.directory / "config0.json"
    ask.index(config)
    new = f"{RUN}/Picks/newcomer_1_ribosome.json"
    assert ask.find(mountpoint, "--user", "newcomer") == []
    put(mountpoint / new, PICKS)
    assert ask.find(mountpoint, "--user", "newcomer") == [new]
    assert ask.search(mountpoint, "newcomer ribosome") == [new]
    moved = f"{RUN}/Picks/newcomer_2_ribosome.json"
    os.rename(mountpoint / new, mountpoint / moved)
    assert ask.find(mountpoint, "--user", "newcomer") == [moved]
    os.unlink(mountpoint / moved)
    assert ask.find(mountpoint, "--user", "newcomer") == []
    (mountpoint / "ExperimentRuns/TS_900/Picks").mkdir(parents=True)
    put(mountpoint / "ExperimentRuns/TS_900/Picks/a_1_x.json", PICKS)
    assert len(ask.find(mountpoint, "--run", "TS_900")) == 2
    shutil.rmtree(mountpoint / "ExperimentRuns/TS_900")
    assert ask.find(mountpoint, "--run", "TS_900") == []
    lower = ask.find(mountpoint, "--run", "TS_001", "--type", "tomograms")
    shutil.rmtree(mountpoint / lower[0])
    assert ask.find(mountpoint, "--run", "TS_001", "--type", "tomograms") == lower[1:]
    assert ask.find(mountpoint) == ask.without_index(config)


def test_what_others_change_is_found_within_a_second(stack: Stack, mount: Mounter, ask: Asker) -> None:
    put(stack.low / RUN / "Picks/a_1_ribosome.json", PICKS)
    put(stack.top / RUN / "Picks/a_1_ribosome.json", PICKS)
    mountpoint = stack.mount()
    config = stack.directory / "config0.json"
    ask.index(config)
    wait_until(lambda: is_looked_at(mount, mountpoint))
    with stack.changing():
        put(stack.low / RUN / "Picks/b_1_ribosome.json", PICKS)
        wait_until(lambda: ask.find(mountpoint, "--user", "b"), limit_s=5)
        put(stack.middle / "ExperimentRuns/TS_002/VoxelSpacing10.000/wbp.zarr/.zgroup", b"{}")
        wait_until(lambda: len(ask.find(mountpoint, "--run", "TS_002")) == 3, limit_s=5)
        (stack.top / RUN / "Picks/a_1_ribosome.json").unlink()
        wait_until(lambda: ask.find(mountpoint, "--user", "a", "--layer", "top") == [], limit_s=5)
        assert ask.find(mountpoint, "--user", "a", "--layer", "low") != []
        shutil.rmtree(stack.middle / "ExperimentRuns")
        wait_until(lambda: ask.find(mountpoint, "--run", "TS_002") == [], limit_s=5)
    assert ask.find(mountpoint) == ask.without_index(config)


def test_a_mount_indexes_by_itself(stack: Stack, mount: Mounter, ask: Asker) -> None:
    put(stack.low / RUN / "Picks/a_1_ribosome.json", PICKS)
    database = stack.directory / "index" / "here.db"
    config = configuration(
        stack.roots, db_config={"config_type": "sqlite_db", "db_path": str(database), "index_interval": 0.5}
    )
    mountpoint = mount(config)
    wait_until(lambda: mount.status(mountpoint)["index"]["entities"] == 2, limit_s=20)
    assert mount.status(mountpoint)["index"]["database"] == str(database)
    assert ask.find(mountpoint) == [RUN, f"{RUN}/Picks/a_1_ribosome.json"]


def test_the_index_as_a_layer_of_the_stack(stack: Stack, mount: Mounter, ask: Asker) -> None:
    put(stack.low / RUN / "Picks/a_1_ribosome.json", PICKS)
    config = configuration(stack.roots)
    config["layers"].insert(0, "db")
    config["layer_configs"]["db"] = {
        "config_type": "sqlite_db", "db_path": "here.db", "priority": 1000, "auto_index": False,
    }  # fmt: skip
    mountpoint = mount(config)
    assert os.listdir(mountpoint / RUN / "Picks") == ["a_1_ribosome.json"]
    ask.index(stack.directory / "config0.json")
    assert ask.find(mountpoint) == [RUN, f"{RUN}/Picks/a_1_ribosome.json"]
    assert (stack.directory / "here.db").is_file()


def test_two_mounts_and_a_run_use_one_database(
    writable_demo: WritableStack, mount: Mounter, sandbox: Sandbox, ask: Asker
) -> None:
    first = writable_demo.mount()
    config = sandbox.directory / "config0.json"
    second = mount(config, "--read-only")
    runs = [sandbox.start(sandbox.command("index", config, "--full")) for _ in range(2)]
    for number in range(20):
        put(first / RUN / f"Picks/busy_{number}_ribosome.json", PICKS)
    for run in runs:
        output, errors = run.communicate(timeout=60)
        assert (run.returncode, errors) == (0, ""), output
    expected = ask.without_index(config)
    assert len([path for path in expected if "busy_" in path]) == 20
    assert ask.find(first) == expected
    wait_until(lambda: ask.find(second) == expected, limit_s=5)
    assert ask.find(config) == expected


def test_killed_runs_and_daemons_leave_a_sound_index(
    writable: WritableStack, mount: Mounter, sandbox: Sandbox, ask: Asker
) -> None:
    for run in range(150):
        for user in range(8):
            put(writable.lower[0] / f"ExperimentRuns/TS_{run:03d}/Picks/u{user}_1_ribosome.json", PICKS)
    mountpoint = writable.mount()
    config = sandbox.directory / "config0.json"
    path = sandbox.directory / ".sandbox/cache/copickfs/index.db"
    stored = []
    for _ in range(6):
        process = sandbox.start(sandbox.command("index", config))
        before = entities_in(path)
        while entities_in(path) == before and process.poll() is None:
            pass
        process.kill()
        process.communicate()
        stored.append(entities_in(path))
    assert stored == sorted(stored), "an interrupted run goes on"
    ask.index(config)
    for number in range(3):
        put(mountpoint / RUN / f"Picks/killed_{number}_ribosome.json", PICKS)
        os.kill(mount.pid(mountpoint), signal.SIGKILL)
        sandbox.run("umount", "--force", mountpoint)
        mount(config, mountpoint=mountpoint)
        ask.index(config)
        expected = ask.without_index(config)
        assert f"{RUN}/Picks/killed_{number}_ribosome.json" in expected
        assert ask.find(mountpoint) == expected
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def entities_in(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("SELECT count(*) FROM entity").fetchone()[0])
    finally:
        connection.close()


def damaged(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + b"no database at all" * 1_000)


def notes(path: Path) -> None:
    path.write_bytes(b"a user's own notes")


def newer(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 999")
    connection.execute("CREATE TABLE theirs (data)")
    connection.commit()
    connection.close()


def a_directory(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (damaged, "it is made anew"),
        (newer, "is used instead"),
        (notes, "is left as it is"),
        (a_directory, "copickfs goes on without it"),
    ],
)
def test_a_database_that_cannot_be_used_is_no_reason_not_to_mount(
    stack: Stack, mount: Mounter, ask: Asker, prepare: Callable[[Path], None], message: str
) -> None:
    put(stack.low / RUN / "Picks/a_1_ribosome.json", PICKS)
    path = stack.directory / "index.db"
    prepare(path)
    mount.expect_warning(message)
    mountpoint = mount(
        configuration(stack.roots, db_config={"config_type": "sqlite_db", "db_path": str(path)})
    )
    assert message in mount.log()
    assert os.listdir(mountpoint / RUN / "Picks") == ["a_1_ribosome.json"]
    assert ask.find(mountpoint, "--user", "a") == [f"{RUN}/Picks/a_1_ribosome.json"]
    if prepare is notes:
        done = ask.try_index(stack.directory / "config0.json")
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert f"{path}: is no SQLite database" in done.stderr
        assert path.read_bytes() == b"a user's own notes"


def test_a_mount_does_not_wait_for_who_locks_the_index(stack: Stack, mount: Mounter, ask: Asker) -> None:
    put(stack.low / RUN / "Picks/a_1_ribosome.json", PICKS)
    path = stack.directory / "index.db"
    config = configuration(stack.roots, db_config={"config_type": "sqlite_db", "db_path": str(path)})
    ask.index(mount.config_file(config))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        mount.expect_warning("keeps it locked.*copickfs goes on without it")
        begun_s = time.monotonic()
        mountpoint = mount(config)
        assert time.monotonic() - begun_s < 5
        done = ask.try_index(stack.directory / "config0.json")
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert "another process keeps it locked; try again when that has ended" in done.stderr
    assert ask.find(mountpoint, "--user", "a") == [f"{RUN}/Picks/a_1_ribosome.json"]


@needs_root
def test_a_disk_that_gets_full_disturbs_nothing(stack: Stack, mount: Mounter, ask: Asker) -> None:
    small = stack.directory / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=True)
    try:
        put(stack.low / RUN / "Picks/a_1_ribosome.json", PICKS)
        config = configuration(
            stack.roots, db_config={"config_type": "sqlite_db", "db_path": str(small / "index.db")}
        )
        mount.expect_warning("copickfs goes on without it")
        mountpoint = mount(config)
        ask.index(stack.directory / "config0.json")
        assert ask.find(mountpoint, "--user", "a") != []
        with stack.changing(), (small / "fill").open("wb", buffering=0) as fill:
            os.posix_fallocate(fill.fileno(), 0, os.statvfs(small).f_bavail * 4096)
            for number in range(400):
                put(stack.low / RUN / f"Picks/b{number}_{'x' * 100}_ribosome.json", PICKS)
        wait_until(lambda: mount.status(mountpoint)["index"]["message"], limit_s=10)
        assert len(os.listdir(mountpoint / RUN / "Picks")) == 401
        mount.umount(mountpoint)
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_mistakes_are_told_in_one_line(
    demo: Demo, tmp_path: Path, copickfs: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    for arguments, message in [
        (["find", tmp_path / "nothing.json"], "nothing.json: there is no such configuration file or mount"),
        (["find", tmp_path], "is not mounted; name a mount point of copickfs, or a configuration file"),
        (["find", ""], "the empty name is neither a configuration file nor a mount point"),
        (["search", "", "x"], "the empty name is neither a configuration file nor a mount point"),
        (["find", demo.config, "--type", "cats"], "no kind of entities"),
        (["search", demo.config, "x", "--type", "cats"], "no kind of entities"),
        (["index", demo.config, "--layer", "min"], "no layer 'min'"),
    ]:
        done = copickfs(*arguments)
        assert done.returncode != 0
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1
