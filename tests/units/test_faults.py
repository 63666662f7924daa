"""No exception gets past a handler: walked through all of them, without a mount."""

from __future__ import annotations

import errno
import inspect
import os
from types import SimpleNamespace
from typing import Any

import pyfuse3
import pytest
import trio

from copickfs import MemoryLayer, errors
from copickfs.ops import Filesystem
from copickfs.ops.faults import Counters, answer
from copickfs.view import View

HANDLERS = sorted(
    name
    for name, function in inspect.getmembers(pyfuse3.Operations, inspect.iscoroutinefunction)
    if name != "poll"
)
CALLER = SimpleNamespace(pid=0, uid=1, gid=1, umask=0)


def test_every_operation_of_pyfuse3_has_a_handler_of_ours() -> None:
    ours = {name for name in HANDLERS if hasattr(getattr(Filesystem, name), "__wrapped__")}
    assert ours == set(HANDLERS)


@pytest.mark.parametrize("name", HANDLERS)
@pytest.mark.parametrize("fault", [RuntimeError("planted"), KeyError("planted"), AssertionError()])
def test_an_unforeseen_exception_becomes_eio(
    name: str, fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    class Exploding:
        def __getattribute__(self, _name: str) -> Any:
            raise fault

    filesystem = Filesystem(View([MemoryLayer("a")]))
    parts = ("directories", "files", "view", "inodes", "writer", "_xattrs", "_writing", "_names")
    for part in parts:
        setattr(filesystem, part, Exploding())
    arguments: list[Any] = [
        [(2, 1)] if parameter == "inode_list" else 0
        for parameter in list(inspect.signature(getattr(pyfuse3.Operations, name)).parameters)[1:]
    ]
    if name == "getxattr":
        arguments[1] = b"user.copickfs.layer"
    if name == "setattr":
        fields = SimpleNamespace(
            **dict.fromkeys(
                ("update_mode", "update_uid", "update_gid", "update_atime", "update_mtime"), False
            ),
            update_size=True,
        )
        arguments = [1, SimpleNamespace(st_size=0), fields, None, CALLER]
    if "ctx" in inspect.signature(getattr(pyfuse3.Operations, name)).parameters:
        arguments[-1] = CALLER

    async def call() -> None:
        await getattr(filesystem, name)(*arguments)

    with pytest.raises(pyfuse3.FUSEError) as refusal:
        trio.run(call)
    assert refusal.value.errno == errno.EIO
    assert filesystem.counters.faults == {name: 1}
    assert [record.exc_info is not None for record in caplog.records] == [True]


ERRNOS = {
    errors.NotFound: errno.ENOENT,
    errors.NotADirectory: errno.ENOTDIR,
    errors.IsADirectory: errno.EISDIR,
    errors.AccessDenied: errno.EACCES,
    errors.ReadOnly: errno.EROFS,
    errors.NotWritable: errno.EROFS,
    errors.InvalidName: errno.EINVAL,
    errors.Stale: errno.ESTALE,
    errors.Unreadable: errno.EIO,
    errors.Unavailable: errno.EIO,
    errors.DeadlineExceeded: errno.ETIMEDOUT,
    errors.NoAnswer: errno.EIO,
    errors.IndexUnavailable: errno.EIO,
    errors.IndexBusy: errno.EIO,
    errors.IndexFull: errno.EIO,
    errors.CacheUnavailable: errno.EIO,
    errors.WouldBlock: errno.EAGAIN,
    errors.LayerError: errno.EIO,
    errors.Transient: errno.EIO,
    errors.UserError: errno.EINVAL,
    errors.ConfigError: errno.EINVAL,
    errors.NoBucket: errno.EINVAL,
    errors.MountError: errno.EINVAL,
    errors.CopickfsError: errno.EIO,
}


def test_every_exception_of_the_tree_has_its_errno() -> None:
    tree = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, Exception)]
    assert set(tree) == set(ERRNOS)
    for kind in tree:
        assert errors.errno_of(kind("x")) == ERRNOS[kind]
        assert answer(Counters(), "lookup", kind("x")).errno == ERRNOS[kind]


def test_a_file_that_was_used_after_it_was_closed_is_a_fault(caplog: pytest.LogCaptureFixture) -> None:
    counters = Counters()
    assert answer(counters, "open", OSError(errno.EBADF, os.strerror(errno.EBADF))).errno == errno.EBADF
    assert answer(counters, "open", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))).errno == errno.ENOSPC
    assert counters.faults == {"open": 1}
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_other_exceptions() -> None:
    assert errors.errno_of(PermissionError(errno.EPERM, "no")) == errno.EPERM
    assert errors.errno_of(OSError("no number")) == errno.EIO
    assert errors.errno_of(ZeroDivisionError()) == errno.EIO
    shown = str(errors.ConfigError("no such directory; make it", file="c.json", key="root", value="/x"))
    assert shown == "c.json: root: no such directory; make it (got '/x')"
