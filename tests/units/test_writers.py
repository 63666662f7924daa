"""Whether a process has been killed, and whether it has a file open: asked of real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from copickfs.ops.writers import process_of, still_writes, was_killed

if TYPE_CHECKING:
    from pathlib import Path


def test_a_thread_belongs_to_its_process() -> None:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(process_of(threading.get_native_id())))
    thread.start()
    thread.join()
    assert found == [os.getpid()]
    assert process_of(0) == 0
    assert process_of(2**22 + 1) == 0


def test_only_a_process_that_ends_by_a_signal_was_killed() -> None:
    """A zombie that nobody has waited for yet is as far as a process that is closing its files."""
    for code, killed in (("os._exit(3)", False), ("os.kill(os.getpid(), 9)", True), ("os.abort()", True)):
        child = subprocess.Popen([sys.executable, "-c", f"import os; {code}"])
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert was_killed(child.pid) is killed
        child.wait()
        assert not was_killed(child.pid)
    assert not was_killed(os.getpid())


def test_descriptors_are_found_by_inode_name_and_kind(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with path.open("w") as writer:
        number = os.fstat(writer.fileno()).st_ino
        assert still_writes(os.getpid(), number, b"a.json")
        assert not still_writes(os.getpid(), number + 1, b"a.json")
        assert not still_writes(os.getpid(), number, b"b.json")
        assert not still_writes(0, number, b"a.json")
        path.unlink()
        assert still_writes(os.getpid(), number, b"a.json")
    path.touch()
    with path.open("r") as reader:
        assert not still_writes(os.getpid(), os.fstat(reader.fileno()).st_ino, b"a.json")


def test_a_process_that_is_gone_writes_nothing() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    child.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not still_writes(child.pid, 1, b"x")
    child.communicate()
    assert not still_writes(child.pid, 1, b"x")
