"""mknod(2): empty files, FIFOs and sockets work; devices are not for a mount of data."""

from __future__ import annotations

import errno
import os
import socket
import stat
from typing import TYPE_CHECKING

from tests.posix.calls import contents, fails, opened

if TYPE_CHECKING:
    from tests.posix.place import Place


def test_file(place: Place) -> None:
    os.mknod(place / "new", stat.S_IFREG | 0o640)
    status = os.stat(place / "new")
    assert (stat.S_ISREG(status.st_mode), status.st_size, status.st_nlink) == (True, 0, 1)
    with opened(place / "new", os.O_WRONLY) as fd:
        os.write(fd, b"data")
    assert contents(place / "new") == b"data"
    with fails(errno.EEXIST):
        os.mknod(place / "new", stat.S_IFREG | 0o640)


def test_fifo(place: Place) -> None:
    os.mkfifo(place / "fifo", 0o600)
    assert stat.S_ISFIFO(os.stat(place / "fifo").st_mode)
    if (pid := os.fork()) == 0:
        with opened(place / "fifo", os.O_WRONLY) as fd:
            os.write(fd, b"through the pipe")
        os._exit(0)
    with opened(place / "fifo") as fd:
        assert os.read(fd, 100) == b"through the pipe"
    os.waitpid(pid, 0)
    os.rename(place / "fifo", place / "other")
    os.chmod(place / "other", 0o640)
    os.unlink(place / "other")


def test_socket(place: Place) -> None:
    os.chdir(place.path)
    try:
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind("socket")
            server.listen()
            assert stat.S_ISSOCK(os.stat("socket").st_mode)
            client.connect("socket")
            peer, _ = server.accept()
            with peer:
                client.sendall(b"hello")
                assert peer.recv(10) == b"hello"
            with socket.socket(socket.AF_UNIX) as second, fails(errno.EADDRINUSE):
                second.bind("socket")
    finally:
        os.chdir("/")


def test_device(place: Place) -> None:
    if place.user.uid == 0:
        os.mknod(place / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        assert stat.S_ISCHR(os.stat(place / "null").st_mode)
    else:
        with fails(errno.EPERM):
            os.mknod(place / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        assert os.listdir(place.path) == []


def test_errors(place: Place) -> None:
    path = place.file()
    for number, new in (
        (errno.EEXIST, path),
        (errno.ENOENT, place / "nothing" / "new"),
        (errno.ENOTDIR, path / "new"),
        (errno.ENAMETOOLONG, place / ("x" * 256)),
    ):
        with fails(number):
            os.mkfifo(new)
