"""One stack for all users of a configuration in a process, another one in each other process."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
from typing import TYPE_CHECKING

import pytest

from copickfs.config import load
from copickfs.errors import ConfigError
from copickfs.index import open_database
from copickfs.layers.writable import Owner
from copickfs.model import ByteRange
from copickfs.stack import Shared, StackOptions
from tests.objectstore import ObjectStore
from tests.overlays import fill
from tests.webserver import WebServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def configured(tmp_path: Path) -> Path:
    fill(tmp_path / "lab", {"ExperimentRuns/A/notes.txt": b"lab"})
    (tmp_path / "mine").mkdir()
    layers = {
        name: {"config_type": "filesystem", "priority": priority, "root": name}
        for name, priority in (("mine", 2), ("lab", 1))
    }
    document = {
        "config_type": "multilayer", "layers": list(layers), "layer_configs": layers,
        "default_write_layer": "mine", "db_config": {"db_path": "index.db", "auto_index": False},
    }  # fmt: skip
    file = tmp_path / "config.json"
    file.write_text(json.dumps(document))
    return file


def shown(shared: Shared) -> list[str]:
    return sorted(entry.name for entry in shared.get().view.listing("ExperimentRuns/A").entries)


def own_threads() -> list[str]:
    names = (thread.name for thread in threading.enumerate())
    return [name for name in names if name.startswith(("copickfs", "watch-"))]


def test_users_of_one_configuration_share_a_stack_until_it_is_closed(tmp_path: Path) -> None:
    file = configured(tmp_path)
    first, second = Shared(load(file)), Shared(load(file))
    assert first == second
    stack = first.get()
    assert stack is second.get()
    assert stack.writer is not None
    assert Shared(load(file), StackOptions(read_only=True)).get().writer is None
    Shared(load(file), StackOptions(read_only=True)).close()
    second.close()
    assert stack.closed
    assert own_threads() == []
    assert shown(first) == ["notes.txt"]  # opens another one
    first.close()


def test_what_is_pickled_opens_its_own_stack(tmp_path: Path) -> None:
    shared = Shared(load(configured(tmp_path)))
    assert shown(shared) == ["notes.txt"]
    program = (
        "import pickle, sys; shared = pickle.load(sys.stdin.buffer); "
        "print(*[e.name for e in shared.get().view.listing('ExperimentRuns/A').entries])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=pickle.dumps(shared), capture_output=True, check=True
    )
    assert done.stdout.split() == [b"notes.txt"]
    assert done.stderr == b""
    assert pickle.loads(pickle.dumps(shared)).get() is shared.get()  # noqa: S301
    shared.close()


def in_child(work: Callable[[], object]) -> int:
    """Do ``work`` in a forked child; its exit status, 0 if it raised nothing."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(60)
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_forked_child_opens_its_own_stack(tmp_path: Path) -> None:
    shared = Shared(load(configured(tmp_path)))
    before = shared.get()

    def work() -> None:
        stack = shared.get()
        assert stack is not before
        assert stack.writer is not None
        stack.writer.mkdir("ExperimentRuns/B", 0o755, Owner(os.getuid(), os.getgid()))
        shared.close()

    assert in_child(work) == 0
    assert shared.get() is before
    assert {"A", "B"} == {entry.name for entry in before.view.listing("ExperimentRuns").entries}
    shared.close()
    assert own_threads() == []


def test_a_fork_waits_for_those_who_use_sqlite(tmp_path: Path) -> None:
    """Its locks would be held for ever in the child; and obstore's threads are not there any more."""
    database = open_database(tmp_path / "index.db")
    ending = threading.Event()

    def use() -> None:
        while not ending.is_set():
            open_database(tmp_path / "other.db").close()
            with database.writing() as connection:
                connection.execute("PRAGMA user_version").fetchall()

    users = [threading.Thread(target=use) for _ in range(3)]
    for user in users:
        user.start()
    try:
        for _ in range(4):
            assert in_child(lambda: open_database(tmp_path / "other.db").close()) == 0
    finally:
        ending.set()
        for user in users:
            user.join()
        database.close()


def test_a_forked_child_reads_what_its_parent_read_by_obstore(tmp_path: Path) -> None:
    file = configured(tmp_path)
    with WebServer(tmp_path / "lab") as server:
        document = json.loads(file.read_text())
        document["layer_configs"]["lab"]["root"] = server.url
        file.write_text(json.dumps(document))
        shared = Shared(load(file))

        def work() -> None:
            opened, _layer = shared.get().view.open("ExperimentRuns/A/notes.txt")
            assert opened.read(ByteRange(0, 10)) == b"lab"
            opened.close()

        work()
        assert in_child(work) == 0
        shared.close()


def test_a_stack_that_cannot_be_opened_leaves_nothing(tmp_path: Path) -> None:
    file = configured(tmp_path)
    (tmp_path / "lab").rename(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=r"layer_configs\.lab\.root"):
        Shared(load(file)).get()
    assert own_threads() == []


def test_a_forked_child_reads_an_object_store_by_fsspecs_own_package(tmp_path: Path) -> None:
    file = configured(tmp_path)
    with ObjectStore() as store:
        document = json.loads(file.read_text())
        document["layer_configs"]["lab"] |= {"root": store.url, "fs_args": store.fs_args}
        document["cache_config"] = {"root": str(tmp_path / "cache"), "min_free_bytes": 0}
        file.write_text(json.dumps(document))
        store.fill({"ExperimentRuns/A/notes.txt": b"lab"})
        shared = Shared(load(file))

        def work() -> None:
            opened, _layer = shared.get().view.open("ExperimentRuns/A/notes.txt")
            assert opened.read(ByteRange(0, 10)) == b"lab"
            opened.close()

        work()
        assert in_child(work) == 0
        shared.close()
