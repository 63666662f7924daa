"""Where a test of one operation takes place: a directory of a plain file system, or one in a writable mount.

A test is written once and runs in each of these variants:

* ``ext4``: a directory of the machine's own file system, which says what is right;
* ``mount``: a directory of the write layer, seen through a mount;
* ``lower``: a directory of the read-only layer below, seen through the mount: everything that a test
  finds there (`Place.file`, `Place.directory`) is brought up to the write layer by the operation;

and each as root (or whoever runs the tests) and as an ordinary user with a daemon of its own (``-user``).
The user makes a difference where permissions are asked: `OF_PERMISSIONS`. The others of its runs are for
``pytest -m soak``.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VARIANTS = ("ext4", "mount", "lower")
OF_PERMISSIONS = frozenset(
    f"test_{name}"
    for name in ("chmod", "chown", "open", "permissions", "setgid", "sticky", "umask", "utimens", "xattr")
)
"""Modules whose tests an ordinary user always runs too."""


class User(NamedTuple):
    """A user and the groups it is in."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


ORDINARY = User(65534, 65534)
OTHER = User(12345, 12345)
COLLEAGUE = User(12346, 12346, (12345, 12400))
"""A member of the other's group, and of one more."""


class Place:
    """An empty directory for one test.

    Attributes:
        kind: One of `VARIANTS`.
        path: The directory, as programs see it.
        source: The same directory where what the test is to find is made.
        user: As whom the test runs.
    """

    def __init__(self, kind: str, path: Path, source: Path, user: User) -> None:
        self.kind = kind
        self.path = path
        self.source = source
        self.user = user
        self._lower = fingerprint(source) if kind == "lower" else {}

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def mounted(self) -> bool:
        """True in a mount."""
        return self.kind != "ext4"

    def file(
        self, name: str = "file", data: bytes = b"", mode: int = 0o644, user: User | None = None
    ) -> Path:
        """A file that is there when the test begins."""
        self.assert_lower_unchanged()
        fd = os.open(self.source / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)
        return self._placed(name, mode, user)

    def directory(self, name: str = "dir", mode: int = 0o755, user: User | None = None) -> Path:
        """A directory that is there when the test begins."""
        self.assert_lower_unchanged()
        (self.source / name).mkdir()
        return self._placed(name, mode, user)

    def _placed(self, name: str, mode: int, user: User | None) -> Path:
        if user is not None:
            os.chown(self.source / name, user.uid, user.gid)
        (self.source / name).chmod(mode)
        if self.kind == "lower":
            self._lower = fingerprint(self.source)
        return self.path / name

    def assert_lower_unchanged(self) -> None:
        """The read-only layer is as it was after the last thing was placed there."""
        if self.kind == "lower":
            assert fingerprint(self.source) == self._lower


def fingerprint(directory: Path) -> dict[str, tuple[int, ...]]:
    """The attributes of everything in a bare directory; no change leaves all the ctimes as they are."""
    found = {"": directory.lstat()}
    for parent, directories, files in os.walk(directory):
        for name in directories + files:
            path = os.path.join(parent, name)
            found[os.path.relpath(path, directory)] = os.lstat(path)
    return {
        path: (s.st_mode, s.st_ino, s.st_nlink, s.st_uid, s.st_gid, s.st_size, s.st_mtime_ns, s.st_ctime_ns)
        for path, s in found.items()
    }


def run_as(user: User, call: Callable[[], Any]) -> Any:
    """What ``call`` returns or raises in a child process of another user."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of the other threads
        pid = os.fork()
    if pid == 0:
        _child(user, call, reading, writing)
    os.close(writing)
    with open(reading, "rb") as stream:
        answer = stream.read()
    os.waitpid(pid, 0)
    if not answer:
        pytest.fail("the process that ran the test died")
    outcome, value = pickle.loads(answer)  # noqa: S301 -- from our own child
    if outcome == "returned":
        return value
    if outcome == "skipped":
        pytest.skip(value)
    if outcome == "raised":
        raise value
    return pytest.fail(value, pytrace=False)


def _child(user: User, call: Callable[[], Any], reading: int, writing: int) -> None:
    try:
        os.close(reading)
        os.setgroups(user.groups)
        os.setgid(user.gid)
        os.setuid(user.uid)
        answer = _outcome(call)
        while answer:
            answer = answer[os.write(writing, answer) :]
    finally:
        sys.stdout.flush()
        os._exit(0)


def _outcome(call: Callable[[], Any]) -> bytes:
    try:
        return pickle.dumps(("returned", call()))
    except pytest.skip.Exception as skipped:
        return pickle.dumps(("skipped", str(skipped)))
    except OSError as error:
        error.add_note(traceback.format_exc())
        return pickle.dumps(("raised", error))
    except BaseException:  # noqa: BLE001 -- whatever it is, the parent shows it
        return pickle.dumps(("failed", traceback.format_exc()))
