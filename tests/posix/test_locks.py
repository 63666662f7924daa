"""flock(2) and fcntl(2) locks, between descriptors and between processes."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from typing import TYPE_CHECKING

import pytest

from tests.posix.calls import fails, opened

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.posix.place import Place

NOW = fcntl.LOCK_NB
_FLOCK = "hhqqi4x"


def in_child(call: Callable[[], object]) -> int:
    """The errno with which ``call`` fails in another process; 0 if it succeeds."""
    if (pid := os.fork()) == 0:
        try:
            call()
        except OSError as error:
            os._exit(error.errno or 255)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_flock_between_descriptors(place: Place) -> None:
    path = place.file()
    with opened(path) as one, opened(path) as two:
        fcntl.flock(one, fcntl.LOCK_EX)
        for kind in (fcntl.LOCK_EX, fcntl.LOCK_SH):
            with fails(errno.EWOULDBLOCK):
                fcntl.flock(two, kind | NOW)
        fcntl.flock(one, fcntl.LOCK_UN)
        fcntl.flock(two, fcntl.LOCK_EX | NOW)


def test_flock_shared(place: Place) -> None:
    path = place.file()
    with opened(path, os.O_RDWR) as one, opened(path, os.O_RDWR) as two:
        fcntl.flock(one, fcntl.LOCK_SH | NOW)
        fcntl.flock(two, fcntl.LOCK_SH | NOW)
        with fails(errno.EWOULDBLOCK):
            fcntl.flock(one, fcntl.LOCK_EX | NOW)
    with opened(path) as three:
        fcntl.flock(three, fcntl.LOCK_EX | NOW)


def test_flock_ends_with_the_last_descriptor(place: Place) -> None:
    path = place.file()
    one = os.open(path, os.O_RDWR)
    copy = os.dup(one)
    fcntl.flock(one, fcntl.LOCK_EX)
    os.close(one)
    with opened(path) as two:
        with fails(errno.EWOULDBLOCK):
            fcntl.flock(two, fcntl.LOCK_EX | NOW)
        os.close(copy)
        fcntl.flock(two, fcntl.LOCK_EX | NOW)


def test_flock_between_processes(place: Place) -> None:
    path = place.file()

    def attempt() -> None:
        with opened(path) as fd:
            fcntl.flock(fd, fcntl.LOCK_EX | NOW)

    with opened(path) as one:
        fcntl.flock(one, fcntl.LOCK_EX)
        assert in_child(attempt) == errno.EWOULDBLOCK
    assert in_child(attempt) == 0


def test_flock_waits(place: Place) -> None:
    path = place.file("file", b"first")
    with opened(path, os.O_RDWR) as one:
        fcntl.flock(one, fcntl.LOCK_EX)
        reading, writing = os.pipe()
        if (pid := os.fork()) == 0:
            with opened(path, os.O_RDWR) as fd:
                os.write(writing, b"waiting")
                fcntl.flock(fd, fcntl.LOCK_EX)
                os._exit(0 if os.pread(fd, 10, 0) == b"second" else 1)
        os.read(reading, 10)
        os.pwrite(one, b"second", 0)
        fcntl.flock(one, fcntl.LOCK_UN)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        os.close(reading)
        os.close(writing)


def test_flock_of_a_directory(place: Place) -> None:
    path = place.directory()
    with opened(path) as one, opened(path) as two:
        fcntl.flock(one, fcntl.LOCK_EX)
        with fails(errno.EWOULDBLOCK):
            fcntl.flock(two, fcntl.LOCK_EX | NOW)


@pytest.mark.parametrize("written", [False, True])
def test_record_locks(place: Place, written: bool) -> None:
    path = place.file("file", b"x" * 100)

    def lock(start: int, length: int) -> Callable[[], None]:
        def attempt() -> None:
            with opened(path, os.O_RDWR) as fd:
                fcntl.lockf(fd, fcntl.LOCK_EX | NOW, length, start)

        return attempt

    with opened(path, os.O_RDWR) as fd:
        if written:
            os.write(fd, b"y")
        fcntl.lockf(fd, fcntl.LOCK_EX, 10, 20)
        assert in_child(lock(0, 20)) == 0
        assert in_child(lock(30, 70)) == 0
        assert in_child(lock(29, 1)) in (errno.EAGAIN, errno.EACCES)
        assert in_child(lock(0, 0)) in (errno.EAGAIN, errno.EACCES)
        fcntl.lockf(fd, fcntl.LOCK_UN, 5, 25)
        assert in_child(lock(25, 10)) == 0
    assert in_child(lock(0, 0)) == 0


def test_who_holds_a_record_lock(place: Place) -> None:
    path = place.file("file", b"x" * 100)
    parent = os.getpid()

    def ask() -> None:
        with opened(path, os.O_RDWR) as fd:
            wanted = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, _, start, length, pid = struct.unpack(_FLOCK, fcntl.fcntl(fd, fcntl.F_GETLK, wanted))
            assert (kind, start, length, pid) == (fcntl.F_WRLCK, 20, 10, parent)

    with opened(path, os.O_RDWR) as fd:
        fcntl.lockf(fd, fcntl.LOCK_EX, 10, 20)
        assert in_child(ask) == 0


def test_record_locks_go_with_any_descriptor_of_the_process(place: Place) -> None:
    path = place.file("file", b"x" * 100)

    def attempt() -> None:
        with opened(path, os.O_RDWR) as fd:
            fcntl.lockf(fd, fcntl.LOCK_EX | NOW)

    with opened(path, os.O_RDWR) as fd:
        fcntl.lockf(fd, fcntl.LOCK_EX)
        assert in_child(attempt) in (errno.EAGAIN, errno.EACCES)
        os.close(os.open(path, os.O_RDONLY))
        assert in_child(attempt) == 0


def test_access_that_a_record_lock_needs(place: Place) -> None:
    path = place.file()
    with opened(path) as fd:
        fcntl.lockf(fd, fcntl.LOCK_SH | NOW)
        with fails(errno.EBADF):
            fcntl.lockf(fd, fcntl.LOCK_EX | NOW)
    with opened(path, os.O_WRONLY) as fd, fails(errno.EBADF):
        fcntl.lockf(fd, fcntl.LOCK_SH | NOW)
