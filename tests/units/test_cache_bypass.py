"""Writing around the page cache: the same files as in the ordinary way, or none."""

from __future__ import annotations

import errno
import os
import random
import threading
from typing import TYPE_CHECKING

import pytest

from copickfs.cache import bypass
from copickfs.cache.bypass import LEAST_BYTES, Bypass
from copickfs.cache.files import Files

if TYPE_CHECKING:
    from pathlib import Path

SIZES = (LEAST_BYTES, LEAST_BYTES + 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 4097, (2 << 20) + 13)


def contents(size_bytes: int) -> bytes:
    return random.Random(size_bytes).randbytes(size_bytes)


def made(tmp_path: Path) -> Files:
    return Files(tmp_path, tmp_path)


@pytest.mark.parametrize("size_bytes", [0, 1, 4096, *SIZES])
def test_a_file_has_what_was_given_and_no_more(tmp_path: Path, size_bytes: int) -> None:
    files = made(tmp_path)
    for _ in range(2):  # the second time over what the first has left in the buffer
        assert files.read(files.write(contents(size_bytes)), size_bytes) == contents(size_bytes)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("size_bytes", SIZES)
def test_it_is_written_around_the_page_cache_where_that_is_possible(tmp_path: Path, size_bytes: int) -> None:
    file = tmp_path / "file"
    if Bypass().write(str(file), contents(size_bytes)):
        assert file.read_bytes() == contents(size_bytes)
        assert file.stat().st_mode & 0o777 == 0o666 & ~current_umask()
    else:
        assert not file.exists()


def test_small_files_go_the_ordinary_way(tmp_path: Path) -> None:
    assert not Bypass().write(str(tmp_path / "file"), contents(LEAST_BYTES - 1))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("call", ["open", "write"])
def test_a_file_system_that_cannot_do_it_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    asked: list[str] = []
    faults = [OSError(errno.EINVAL, "refused")]
    real_open, real_write = os.open, os.write

    def refusing_open(path: str, flags: int, mode: int = 0o777) -> int:
        descriptor = real_open(path, flags & ~os.O_DIRECT, mode)
        if flags & os.O_DIRECT:
            asked.append(path)
            if call == "open":  # Linux has made the file by then
                os.close(descriptor)
                raise faults.pop()
        return descriptor

    def refusing_write(descriptor: int, data: memoryview) -> int:
        if call == "write" and faults:
            raise faults.pop()
        return real_write(descriptor, data)

    monkeypatch.setattr(bypass.os, "open", refusing_open)
    monkeypatch.setattr(bypass.os, "write", refusing_write)
    files = made(tmp_path)
    for _ in range(3):
        assert files.read(files.write(contents(SIZES[-1])), SIZES[-1]) == contents(SIZES[-1])
    assert len(asked) == 1
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("written_bytes", [None, 4096])
def test_a_full_disk_is_an_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written_bytes: int | None
) -> None:
    real_open, real_write = os.open, os.write

    def plain_open(path: str, flags: int, mode: int) -> int:
        return real_open(path, flags & ~os.O_DIRECT, mode)

    def full(descriptor: int, data: memoryview) -> int:
        if written_bytes is None:
            raise OSError(errno.ENOSPC, "full")
        return real_write(descriptor, data[:written_bytes])

    monkeypatch.setattr(bypass.os, "open", plain_open)
    monkeypatch.setattr(bypass.os, "write", full)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC) if written_bytes else "full") as caught:
        Bypass().write(str(tmp_path / "file"), contents(SIZES[-1]))
    assert caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())


def test_what_is_there_already_stays(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        Bypass().write(str(file), contents(LEAST_BYTES))
    assert file.read_bytes() == b"mine"


def test_writers_at_the_same_time_do_not_meet(tmp_path: Path) -> None:
    files = made(tmp_path)
    wrong: list[str] = []

    def work(number: int) -> None:
        size_bytes = LEAST_BYTES + 1000 * number
        written = [files.write(contents(size_bytes)) for _ in range(8)]
        wrong.extend(file for file in written if files.read(file, size_bytes) != contents(size_bytes))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
