"""What a crash leaves in a local layer: nothing half-written, and no file for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from copickfs.layers.localwrite import WritableLocalLayer
from copickfs.layers.writable import Owner

if TYPE_CHECKING:
    from pathlib import Path

ME = Owner(os.getuid(), os.getgid())

PROGRAM = """
import errno, os, sys
from copickfs.layers.localwrite import WritableLocalLayer
from copickfs.layers.writable import Owner

root, unnamed = sys.argv[1], sys.argv[2] == "unnamed"
if not unnamed:
    plain_open = os.open
    def refusing_open(path, flags, *rest, **options):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "no unnamed files")
        return plain_open(path, flags, *rest, **options)
    os.open = refusing_open
layer = WritableLocalLayer("lab", root)
layer.connect()
me = Owner(os.getuid(), os.getgid())
for number in range(1_000_000):
    data = b"%d " % number * 5_000
    file = layer.create(f"{number % 3}.json", 0o644, me, whole=True)
    for offset in range(0, len(data), 8_192):
        file.write(offset, data[offset : offset + 8_192])
    file.flush()
    file.close()
    print(number, flush=True)
"""


def staged(root: Path) -> list[str]:
    directory = root / ".copickfs/staging"
    return sorted(os.listdir(directory)) if directory.exists() else []


@pytest.mark.parametrize("kind", ["unnamed", "named"])
def test_a_process_killed_at_any_moment_leaves_whole_files_only(tmp_path: Path, kind: str) -> None:
    for turn in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path), kind], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        with process.stdout:
            acknowledged = [int(process.stdout.readline()) for _ in range(5 + turn)]
            time.sleep(turn * 0.003)
            process.send_signal(signal.SIGKILL)
            acknowledged += [int(line) for line in process.stdout if line.endswith("\n")]
        process.wait()
        assert staged(tmp_path), "the lock of the session that was killed"
        layer = WritableLocalLayer("lab", tmp_path)
        layer.connect()
        assert staged(tmp_path) == []
        assert {name for name in os.listdir(tmp_path) if name != ".copickfs"} == {
            "0.json", "1.json", "2.json",
        }  # fmt: skip
        for slot in range(3):
            data = (tmp_path / f"{slot}.json").read_bytes()
            number = int(data.split()[0])
            assert data == b"%d " % number * 5_000
            assert number >= max(done for done in acknowledged if done % 3 == slot)
        layer.close()


def test_what_a_living_session_keeps_is_left_alone(tmp_path: Path) -> None:
    first = WritableLocalLayer("lab", tmp_path)
    first.connect()
    for _ in range(2):
        file = first.create("x.json", 0o644, ME, whole=True)
        file.write(0, b"x")
        file.flush()
        file.close()
    (lock,) = staged(tmp_path)
    session = lock.removesuffix(".lock")
    (tmp_path / ".copickfs/staging" / f"{session}.99").write_text("being published")
    (tmp_path / ".copickfs/staging/0123456789abcdef.0").write_text("left by a session without a lock")
    second = WritableLocalLayer("lab", tmp_path)
    second.connect()
    assert staged(tmp_path) == [f"{session}.99", lock]
    first.close()
    third = WritableLocalLayer("lab", tmp_path)
    third.connect()
    assert staged(tmp_path) == []
    for layer in (second, third):
        layer.close()


def test_a_staging_directory_that_somebody_removes_is_made_again(tmp_path: Path) -> None:
    layer = WritableLocalLayer("lab", tmp_path)
    layer.connect()
    for text in (b"1", b"2", b"3"):
        file = layer.create("x.json", 0o644, ME, whole=True)
        file.write(0, text)
        file.flush()
        file.close()
        assert (tmp_path / "x.json").read_bytes() == text
        for path, _, names in os.walk(tmp_path / ".copickfs", topdown=False):
            for name in names:
                os.unlink(os.path.join(path, name))
            os.rmdir(path)
    layer.close()
    assert os.listdir(tmp_path) == ["x.json"]


def test_a_layer_that_is_only_read_leaves_no_trace(tmp_path: Path) -> None:
    layer = WritableLocalLayer("lab", tmp_path)
    layer.connect()
    layer.scan("")
    file = layer.create("x.json", 0o644, ME, whole=True)
    file.write(0, b"given up")
    file.close()
    layer.close()
    assert os.listdir(tmp_path) == []
