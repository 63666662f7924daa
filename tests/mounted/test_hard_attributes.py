"""Attributes, inode numbers and extended attributes of a mount, and its answer to every kind of write."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from tests import model
from tests.mounted.conftest import put

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.mounted.conftest import Stack

PICKS = "ExperimentRuns/TS_001/Picks/user_1_ribosome.json"


def attributes(path: Path) -> dict[str, str]:
    """The ``user.copickfs.*`` attributes of a path."""
    names = os.listxattr(path)
    return {name.removeprefix("user.copickfs."): os.getxattr(path, name).decode() for name in names}


@pytest.mark.parametrize("options", [(), ("--read-only",)], ids=["writable", "read-only"])
def test_attributes_are_those_of_the_source(stack: Stack, options: tuple[str, ...]) -> None:
    put(stack.low / "file", b"x" * 5_000).chmod(0o640)
    put(stack.low / "set-id").chmod(0o4755)
    put(stack.low / "sticky/inner")
    (stack.low / "sticky").chmod(0o1777)
    (stack.low / "dangling").symlink_to("nowhere")
    os.utime(stack.low / "file", ns=(123_456_789_012_345_678, 987_654_321_098_765_432))
    os.utime(stack.low / "set-id", ns=(-86_400 * 10**9, -1))  # before 1970
    os.chown(stack.low / "file", 1234, 5678)
    os.link(stack.low / "file", stack.low / "second name")
    mountpoint = stack.mount(*options)
    for path, node in model.merge(stack.roots).items():
        if not path:
            continue
        found, wanted = os.lstat(mountpoint / path), os.lstat(node.source)
        assert (found.st_mode, found.st_uid, found.st_gid) == (wanted.st_mode, wanted.st_uid, wanted.st_gid)
        assert (found.st_mtime_ns, found.st_ctime_ns) == (wanted.st_mtime_ns, wanted.st_ctime_ns)
        assert found.st_atime_ns == wanted.st_atime_ns
        if node.kind != "directory":
            assert (found.st_size, found.st_blocks) == (wanted.st_size, wanted.st_blocks)
            assert found.st_nlink == (wanted.st_nlink if options else 1)  # copied up name by name
        assert found.st_dev == os.stat(mountpoint).st_dev
        assert found.st_blksize >= 4096


def test_links_of_a_directory_are_counted_right_or_not_at_all(stack: Stack) -> None:
    """1 says "not counted"; any other number must be two more than the subdirectories, or find skips some."""
    for root, name in ((stack.top, "one"), (stack.low, "two"), (stack.low, "three")):
        (root / "dir" / name).mkdir(parents=True)
    mountpoint = stack.mount()
    assert os.stat(mountpoint / "dir").st_nlink in (1, 5)
    assert os.stat(mountpoint).st_nlink in (1, 3)


def test_merged_directory_shows_the_highest_layer(stack: Stack) -> None:
    for number, root in enumerate(stack.roots):
        (root / "dir").mkdir()
        os.utime(root / "dir", ns=(0, (number + 1) * 10**18))
    (stack.top / "dir").chmod(0o700)
    (stack.low / "dir").chmod(0o777)
    found = os.stat(stack.mount() / "dir")
    assert (stat.S_IMODE(found.st_mode), found.st_mtime_ns) == (0o700, 10**18)


def test_inode_numbers_are_unique_and_survive_a_remount(stack: Stack, mount: Callable[..., Path]) -> None:
    for number in range(300):
        put(stack.roots[number % 3] / f"runs/{number % 20}/Picks/{number}.json", str(number).encode())
        put(stack.low / f"s.zarr/{number % 7}/{number}")

    def numbers(mountpoint: Path) -> dict[str, int]:
        return {
            os.path.relpath(os.path.join(directory, name), mountpoint): os.lstat(
                os.path.join(directory, name)
            ).st_ino
            for directory, directories, files in os.walk(mountpoint)
            for name in directories + files
        }

    first = stack.mount()
    before = numbers(first)
    assert len(set(before.values())) == len(before)
    listed = {entry.name: entry.inode() for entry in os.scandir(first / "runs/3/Picks")}
    assert listed == {name: before[f"runs/3/Picks/{name}"] for name in listed}
    mount.umount(first)  # type: ignore[attr-defined]
    # In another order, so that numbers given out one by one would come out otherwise.
    second = stack.mount()
    for path in sorted(before, reverse=True):
        assert os.lstat(second / path).st_ino == before[path]
    assert numbers(second) == before


def test_xattrs_tell_where_a_path_comes_from(stack: Stack) -> None:
    for root in stack.roots:
        put(root / PICKS)
        put(root / "wbp.zarr/.zgroup")
    put(stack.middle / "only")
    put(stack.middle / "run/a")
    put(stack.low / "run/b")
    (stack.low / "dangling").symlink_to("nowhere")
    mountpoint = stack.mount()
    assert attributes(mountpoint / PICKS).items() >= {
        ("layer", "top"),
        ("shadows", "middle,low"),
        ("path", str(stack.top / PICKS)),
    }
    store = attributes(mountpoint / "wbp.zarr")
    assert store.items() >= {("layer", "top"), ("shadows", "middle,low")}
    assert "layers" not in store
    chunk = attributes(mountpoint / "wbp.zarr/.zgroup")
    assert (chunk["layer"], "shadows" in chunk) == ("top", False)
    only = attributes(mountpoint / "only")
    assert (only["layer"], only["path"]) == ("middle", str(stack.middle / "only"))
    assert not only.keys() & {"shadows", "layers"}
    assert attributes(mountpoint / "run").items() >= {("layer", "middle"), ("layers", "middle,low")}
    assert attributes(mountpoint)["layers"] == "top,middle,low"
    assert attributes(mountpoint / "ExperimentRuns")["layers"] == "top,middle,low"


def test_xattrs_of_a_file_between_directories(stack: Stack) -> None:
    put(stack.top / "thing/a")
    put(stack.middle / "thing", b"a file")
    put(stack.low / "thing/b")
    mountpoint = stack.mount()
    found = attributes(mountpoint / "thing")
    assert (found["layers"], found["shadows"]) == ("top", "middle,low")


def test_unknown_and_unsized_xattrs(stack: Stack) -> None:
    put(stack.low / "file")
    os.setxattr(stack.low / "file", "user.other", b"of the source")
    mountpoint = stack.mount()
    assert os.getxattr(mountpoint / "file", "user.other") == b"of the source"
    for name in ("user.copickfs.nothing", "user.another", "security.selinux", "system.posix_acl_access"):
        with pytest.raises(OSError, match=r"No data available|not supported"):
            os.getxattr(mountpoint / "file", name)
    assert ctypes_getxattr(mountpoint / "file", b"user.copickfs.layer", 1) == -errno.ERANGE
    assert ctypes_getxattr(mountpoint / "file", b"user.copickfs.layer", 0) == len("low")


def ctypes_getxattr(path: Path, name: bytes, size: int) -> int:
    """getxattr(2) with a buffer of ``size``, which Python's own call would retry with a larger one."""
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.getxattr(os.fsencode(path), name, ctypes.create_string_buffer(max(size, 1)), size)
    return -ctypes.get_errno() if done < 0 else int(done)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        os.chdir(path.parent)
        made.bind(path.name)


WRITES: dict[str, Callable[[Path], object]] = {
    "create": lambda m: os.close(os.open(m / "new", os.O_CREAT | os.O_WRONLY)),
    "create exclusively": lambda m: os.close(os.open(m / "new", os.O_CREAT | os.O_EXCL | os.O_RDWR)),
    "open to write": lambda m: os.close(os.open(m / "file", os.O_WRONLY)),
    "open to read and write": lambda m: os.close(os.open(m / "file", os.O_RDWR)),
    "open to append": lambda m: os.close(os.open(m / "file", os.O_WRONLY | os.O_APPEND)),
    "open and truncate": lambda m: os.close(os.open(m / "file", os.O_WRONLY | os.O_TRUNC)),
    "truncate": lambda m: os.truncate(m / "file", 0),
    "mkdir": lambda m: os.mkdir(m / "new"),
    "rmdir": lambda m: os.rmdir(m / "dir/empty"),
    "unlink": lambda m: os.unlink(m / "file"),
    "rename": lambda m: os.rename(m / "file", m / "new"),
    "rename over": lambda m: os.replace(m / "file", m / "dir/inner"),
    "rename directory": lambda m: os.rename(m / "dir", m / "new"),
    "link": lambda m: os.link(m / "file", m / "new"),
    "symlink": lambda m: os.symlink("file", m / "new"),
    "mkfifo": lambda m: os.mkfifo(m / "new"),
    "mknod": lambda m: os.mknod(m / "new", stat.S_IFREG | 0o600),
    "bind a socket": lambda m: make_socket(m / "new"),
    "chmod": lambda m: os.chmod(m / "file", 0o600),
    "chown": lambda m: os.chown(m / "file", 1, 1),
    "utime": lambda m: os.utime(m / "file"),
    "setxattr": lambda m: os.setxattr(m / "file", "user.x", b"1"),
    "set our xattr": lambda m: os.setxattr(m / "file", "user.copickfs.layer", b"1"),
    "removexattr": lambda m: os.removexattr(m / "file", "user.copickfs.layer"),
    "in the control directory": lambda m: (m / ".copickfs/new").write_bytes(b""),
    "over the generated configuration": lambda m: (m / "copick_config.json").write_bytes(b""),
}


def test_every_kind_of_write_answers_erofs(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    put(stack.low / "file", b"as it was")
    put(stack.low / "dir/inner")
    (stack.low / "dir/empty").mkdir()
    mountpoint = stack.mount("--read-only")
    monkeypatch.chdir(stack.directory)
    answers = {}
    for name, write in WRITES.items():
        try:
            write(mountpoint)
        except OSError as error:
            answers[name] = errno.errorcode[error.errno]
        else:
            answers[name] = "done"
    os.chdir(stack.directory)
    assert answers == dict.fromkeys(WRITES, "EROFS")
    assert not stack.wrong()


def test_access(stack: Stack) -> None:
    put(stack.low / "script").chmod(0o755)
    put(stack.low / "plain").chmod(0o644)
    mountpoint = stack.mount("--read-only")
    assert os.access(mountpoint / "plain", os.R_OK)
    assert not os.access(mountpoint / "plain", os.X_OK)
    assert os.access(mountpoint / "script", os.X_OK)
    for path in ("plain", "script", ""):
        assert not os.access(mountpoint / path, os.W_OK)


def test_statvfs(stack: Stack) -> None:
    put(stack.low / "file")
    found, wanted = os.statvfs(stack.mount("--read-only")), os.statvfs(stack.top)
    assert found.f_flag & os.ST_RDONLY
    assert (found.f_namemax, found.f_frsize, found.f_blocks) == (255, wanted.f_frsize, wanted.f_blocks)
    assert os.statvfs(stack.mountpoint / "file").f_blocks == wanted.f_blocks
