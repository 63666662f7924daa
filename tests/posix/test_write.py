"""write(2) and its relatives: offsets, gaps, appending, what others see, times."""

from __future__ import annotations

import errno
import os
import resource
import signal
from typing import TYPE_CHECKING

import pytest

from tests.posix.calls import contents, fails, make, opened, permissions
from tests.posix.place import OTHER, run_as

if TYPE_CHECKING:
    from tests.posix.place import Place

BEYOND_4_GIB = (1 << 32) + 12_345


def test_overwrite_in_the_middle(place: Place) -> None:
    path = place.file("file", b"0123456789" * 1_000)
    with opened(path, os.O_WRONLY) as fd:
        assert os.pwrite(fd, b"abc", 4_998) == 3
    wanted = bytearray(b"0123456789" * 1_000)
    wanted[4_998:5_001] = b"abc"
    assert contents(path) == wanted


@pytest.mark.parametrize("offset", [0, 1, 4_095, 4_096, 131_071, 1 << 20])
def test_gap_reads_as_zeros(place: Place, offset: int) -> None:
    path = place.file("file", b"head")
    with opened(path, os.O_RDWR) as fd:
        os.pwrite(fd, b"tail", 4 + offset)
        assert os.pread(fd, offset, 4) == bytes(offset)
    assert contents(path) == b"head" + bytes(offset) + b"tail"


def test_far_out(place: Place) -> None:
    with opened(place / "new", os.O_RDWR | os.O_CREAT) as fd:
        os.pwrite(fd, b"far out", BEYOND_4_GIB)
        assert os.fstat(fd).st_size == BEYOND_4_GIB + 7
        assert os.pread(fd, 20, BEYOND_4_GIB - 5) == bytes(5) + b"far out"
        assert os.pread(fd, 20, 0) == bytes(20)
    assert os.stat(place / "new").st_blocks < 1 << 16, "the gap takes no room"


@pytest.mark.parametrize("size", [1, 4_096, 4_097, 131_073, (3 << 20) + 17])
def test_one_large_write(place: Place, size: int) -> None:
    data = os.urandom(size)
    path = place.file("file", b"head")
    with opened(path, os.O_RDWR) as fd:
        assert os.pwrite(fd, data, 3) == size
        assert os.pread(fd, size + 10, 0) == b"hea" + data
    assert contents(path) == b"hea" + data


def test_many_small_writes(place: Place) -> None:
    with opened(place / "new", os.O_WRONLY | os.O_CREAT) as fd:
        for number in range(3_000):
            os.write(fd, b"%04d\n" % number)
    assert contents(place / "new") == b"".join(b"%04d\n" % number for number in range(3_000))


def test_vectors(place: Place) -> None:
    with opened(place.file("file"), os.O_RDWR) as fd:
        assert os.writev(fd, [b"one", b"", b"two"]) == 6
        assert os.pwritev(fd, [b"x"] * 1_000, 6) == 1_000
        first, second = bytearray(3), bytearray(4)
        assert os.preadv(fd, [first, second], 0) == 7
    assert (first, second) == (b"one", b"twox")


def test_position(place: Place) -> None:
    with opened(place.file("file", b"0123456789"), os.O_RDWR) as fd:
        os.lseek(fd, -2, os.SEEK_END)
        os.write(fd, b"abcd")
        assert os.lseek(fd, 0, os.SEEK_CUR) == 12
        os.pwrite(fd, b"X", 0)
        assert os.lseek(fd, 0, os.SEEK_CUR) == 12
        os.lseek(fd, 0, os.SEEK_SET)
        assert os.read(fd, 20) == b"X1234567abcd"


def test_pwrite_of_an_appending_descriptor_appends(place: Place) -> None:
    """As Linux has it, against POSIX."""
    path = place.file("file", b"0123")
    with opened(path, os.O_WRONLY | os.O_APPEND) as fd:
        os.pwrite(fd, b"x", 0)
    assert contents(path) == b"0123x"


def test_others_see_it_at_once(place: Place) -> None:
    path = place.file("file", b"before")
    with opened(path, os.O_RDWR) as writer, opened(path) as reader:
        assert os.pread(reader, 20, 0) == b"before"
        os.pwrite(writer, b"after and more", 0)
        assert os.pread(reader, 20, 0) == b"after and more"
        assert os.stat(path).st_size == os.fstat(reader).st_size == 14
        assert contents(path) == b"after and more"
        with opened(path, os.O_WRONLY) as second:
            os.pwrite(second, b"A", 0)
        assert os.pread(writer, 20, 0) == b"After and more"


def test_a_new_file_is_seen_while_it_is_written(place: Place) -> None:
    with opened(place / "new", os.O_WRONLY | os.O_CREAT) as fd:
        assert os.listdir(place.path) == ["new"]
        os.write(fd, b"half")
        assert contents(place / "new") == b"half"
        os.write(fd, b" and half")
        assert contents(place / "new") == b"half and half"


def test_empty_write_changes_nothing(place: Place) -> None:
    path = place.file("file", b"data")
    os.utime(path, ns=(1, 1))
    with opened(path, os.O_WRONLY) as fd:
        assert os.pwrite(fd, b"", 100) == 0
    status = os.stat(path)
    assert (status.st_size, status.st_mtime_ns) == (4, 1)


def test_times(place: Place) -> None:
    path = place.file("file", b"data")
    os.utime(path, ns=(1, 1))
    before = os.stat(path)
    with opened(path, os.O_WRONLY) as fd:
        os.write(fd, b"D")
        assert os.fstat(fd).st_mtime_ns > 1
    after = os.stat(path)
    assert after.st_mtime_ns > 1
    assert after.st_ctime_ns >= before.st_ctime_ns
    os.utime(path, ns=(2, 2))
    assert os.stat(path).st_mtime_ns == 2, "nothing that was written before changes it again"


def test_time_set_while_it_is_open_for_writing_stays(place: Place) -> None:
    """What cp -p and rsync do before they close."""
    with opened(place / "new", os.O_WRONLY | os.O_CREAT) as fd:
        os.write(fd, b"data")
        os.utime(fd, ns=(10**18, 10**18))
        os.fchmod(fd, 0o604)
    status = os.stat(place / "new")
    assert (status.st_mtime_ns, permissions(place / "new")) == (10**18, 0o604)


def test_copy_file_range(place: Place) -> None:
    data = os.urandom(300_000)
    place.file("source", data)
    with opened(place / "source") as source, opened(place / "copy", os.O_RDWR | os.O_CREAT) as copy:
        done = 0
        while done < len(data):
            moved = os.copy_file_range(source, copy, len(data) - done)
            assert moved
            done += moved
    assert contents(place / "copy") == data


def test_sendfile(place: Place) -> None:
    place.file("source", b"x" * 100_000)
    with opened(place / "source") as source, opened(place / "copy", os.O_WRONLY | os.O_CREAT) as copy:
        sent = 0
        while sent < 100_000:
            sent += os.sendfile(copy, source, sent, 100_000)
    assert contents(place / "copy") == b"x" * 100_000


def test_limit_of_the_process(place: Place) -> None:
    path = place.file("file", b"data")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, before[1]))
        with opened(path, os.O_WRONLY) as fd:
            assert os.pwrite(fd, b"x" * 2_000, 0) == 1_000
            with fails(errno.EFBIG):
                os.pwrite(fd, b"x", 1_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert contents(path) == b"x" * 1_000


def test_negative_offset(place: Place) -> None:
    with opened(place.file(), os.O_RDWR) as fd:
        with fails(errno.EINVAL):
            os.pwrite(fd, b"x", -1)
        with fails(errno.EINVAL):
            os.lseek(fd, -1, os.SEEK_SET)


def test_a_child_shares_the_position(place: Place) -> None:
    with opened(place / "new", os.O_WRONLY | os.O_CREAT) as fd:
        os.write(fd, b"parent ")
        if (pid := os.fork()) == 0:
            os.write(fd, b"child ")
            os._exit(0)
        os.waitpid(pid, 0)
        os.write(fd, b"parent")
    assert contents(place / "new") == b"parent child parent"


def test_a_descriptor_outlives_the_close_of_another(place: Place) -> None:
    fd = os.open(place / "new", os.O_WRONLY | os.O_CREAT)
    second = os.dup(fd)
    os.write(fd, b"one ")
    os.close(fd)
    os.write(second, b"two")
    os.close(second)
    assert contents(place / "new") == b"one two"


@pytest.mark.parametrize("bits", [0o4755, 0o2755, 0o6777])
def test_another_user_writes_and_the_set_id_bits_go(shared: Place, bits: int) -> None:
    path = shared.file("file", b"data", bits | 0o022)
    shared.path.chmod(0o777)

    def write() -> None:
        with opened(path, os.O_WRONLY) as fd:
            os.write(fd, b"D")

    run_as(OTHER, write)
    assert permissions(path) == (bits | 0o022) & 0o777
    assert contents(path) == b"Data"


def test_a_read_only_descriptor_outlives_its_permission(place: Place) -> None:
    make(place / "new", b"data")
    with opened(place / "new", os.O_RDWR) as fd:
        os.chmod(place / "new", 0)
        assert os.pwrite(fd, b"D", 0) == 1
        assert os.pread(fd, 4, 0) == b"Data"
