"""Writing to a local layer: what only a disk has."""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest

from copickfs import MemoryLayer
from copickfs.errors import AccessDenied, NotFound, Unavailable
from copickfs.layers import localcalls
from copickfs.layers.kinds import BuildContext, build_layer
from copickfs.layers.local import LocalLayer
from copickfs.layers.localwrite import WritableLocalLayer
from copickfs.layers.writable import Change, Owner, is_writable
from copickfs.model import ByteRange, EntryKind
from tests.sandbox import needs_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from copickfs.layers.writable import WritableFile

    Connect = Callable[..., WritableLocalLayer]

ME = Owner(os.getuid(), os.getgid())
STAGING = ".copickfs/staging"
DEFAULT_ACL = struct.pack(
    "<I" + "HHI" * 5, 2, 0x01, 7, 0xFFFFFFFF, 0x02, 7, 12_345, 0x04, 7, 0xFFFFFFFF, 0x10, 7, 0xFFFFFFFF,
    0x20, 0, 0xFFFFFFFF,
)  # fmt: skip
"""user::rwx, user:12345:rwx, group::rwx, mask::rwx, other::---"""


@pytest.fixture
def connect() -> Iterator[Connect]:
    layers = []

    def connected(root: Path, **options: Any) -> WritableLocalLayer:
        layer = WritableLocalLayer("lab", root, **options)
        layer.connect()
        layers.append(layer)
        return layer

    threads, descriptors = threading.active_count(), set(os.listdir("/proc/self/fd"))
    yield connected
    for layer in layers:
        layer.close()
        layer.close()
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) == len(descriptors)


def put(layer: WritableLocalLayer, path: str, data: bytes, *, whole: bool = True, mode: int = 0o644) -> None:
    finish(layer.create(path, mode, ME, whole=whole), data)


def replace(layer: WritableLocalLayer, path: str, data: bytes) -> None:
    file = layer.edit(path, whole=True)
    file.truncate(0)
    finish(file, data)


def finish(file: WritableFile, data: bytes) -> None:
    try:
        if data:
            file.write(0, data)
        file.flush()
    finally:
        file.close()


def fill(file: WritableFile) -> None:
    """Write until the disk is full."""
    written = 0
    while written < 1 << 30:
        written += file.write(written, b"n" * (1 << 20))


def staged(root: Path) -> list[str]:
    """What lies in the staging directory, without the locks."""
    if not (root / STAGING).exists():
        return []
    return [name for name in os.listdir(root / STAGING) if not name.endswith(".lock")]


def test_only_a_layer_that_may_be_written_is_built_writable(tmp_path: Path) -> None:
    class Config:
        config_type, layer_name, priority, on_unavailable = "filesystem", "lab", 1, "wait"
        root, read_only = str(tmp_path), False

    class ReadOnly(Config):
        read_only = True

    for config, writable, expected in (
        (Config, frozenset(), False),
        (Config, frozenset({"other"}), False),
        (Config, frozenset({"lab"}), True),
        (ReadOnly, frozenset({"lab"}), False),
    ):
        layer = build_layer(config, BuildContext(writable=writable))
        assert is_writable(layer) is expected
        assert isinstance(layer, LocalLayer)


def test_a_version_being_written_has_no_name_and_a_number_of_its_own(
    tmp_path: Path, connect: Connect
) -> None:
    layer = connect(tmp_path)
    file = layer.create("new.json", 0o644, ME, whole=True)
    file.write(0, b"new")
    assert os.listdir(tmp_path) == []
    file.flush()
    assert (tmp_path / "new.json").stat().st_ino == file.entry.inode
    edited = layer.edit("new.json", whole=True)
    assert edited.entry.inode not in (0, file.entry.inode)
    assert edited.status().inode == edited.entry.inode
    edited.write(0, b"NEW")
    edited.flush()
    assert (tmp_path / "new.json").stat().st_ino == edited.entry.inode
    published = edited.entry.inode
    edited.write(0, b"again")
    assert edited.entry.inode == edited.status().inode != published
    edited.close()
    file.close()
    assert (tmp_path / "new.json").read_bytes() == b"NEW"
    assert staged(tmp_path) == []


def test_without_unnamed_files_versions_lie_in_the_staging_directory(
    tmp_path: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File systems without O_TMPFILE are those of other machines: here the kernel's answer is replaced."""
    plain_open = os.open

    def no_unnamed(path: Any, flags: int, *rest: Any, **options: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return plain_open(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", no_unnamed)
    layer = connect(tmp_path)
    (tmp_path / "Picks").mkdir()
    file = layer.create("Picks/a.json", 0o640, ME, whole=True)
    file.write(0, b"first")
    assert (os.listdir(tmp_path / "Picks"), len(staged(tmp_path))) == ([], 1)
    file.flush()
    assert (tmp_path / "Picks/a.json").read_bytes() == b"first"
    assert stat.S_IMODE((tmp_path / "Picks/a.json").stat().st_mode) == 0o640
    file.write(0, b"FIRST")
    file.close()
    replace(layer, "Picks/a.json", b"second")
    given_up = layer.create("Picks/b.json", 0o640, ME, whole=True)
    given_up.write(0, b"x")
    given_up.discard()
    given_up.flush()
    given_up.close()
    copied = layer.create(
        "Picks/c.json", 0o640, ME, whole=False, source=MemoryLayer("m", files={"x": b"lower"}).open("x")
    )
    copied.close()
    assert sorted(os.listdir(tmp_path / "Picks")) == ["a.json", "c.json"]
    assert (tmp_path / "Picks/a.json").read_bytes() == b"second"
    assert (tmp_path / "Picks/c.json").read_bytes() == b"lower"
    assert staged(tmp_path) == []


@pytest.mark.parametrize("whole", [False, True])
def test_a_large_file_with_holes_is_copied_with_its_holes(
    tmp_path: Path, connect: Connect, whole: bool
) -> None:
    size = (8 << 20) + 17
    (tmp_path / "lower").mkdir()
    (tmp_path / "root").mkdir()
    with open(tmp_path / "lower/x.mrc", "wb") as file:
        file.write(b"begin")
        file.seek(5 << 20)
        file.write(b"middle")
        file.truncate(size)
    lower = MemoryLayer("lower", files={"x.mrc": (tmp_path / "lower/x.mrc").read_bytes()})
    layer = connect(tmp_path / "root")
    copied = layer.create("x.mrc", 0o644, ME, whole=whole, source=lower.open("x.mrc"))
    copied.flush()
    copied.close()
    status = (tmp_path / "root/x.mrc").stat()
    assert (tmp_path / "root/x.mrc").read_bytes() == (tmp_path / "lower/x.mrc").read_bytes()
    assert status.st_blocks * 512 < size / 2
    disk = LocalLayer("disk", tmp_path / "lower")
    disk.connect()
    copied = layer.create("y.mrc", 0o644, ME, whole=whole, source=disk.open("x.mrc"))
    copied.write(0, b"BEGIN")
    copied.flush()
    copied.close()
    assert (tmp_path / "root/y.mrc").read_bytes()[5:] == (tmp_path / "lower/x.mrc").read_bytes()[5:]
    disk.close()


def test_nobody_sees_a_part_of_a_file_that_is_copied_in(tmp_path: Path, connect: Connect) -> None:
    layer = connect(tmp_path)

    class Failing:
        entry = MemoryLayer("lower", files={"x": bytes(3 << 20)}).stat("x")
        closed = False

        def read(self, span: ByteRange) -> bytes:
            assert os.listdir(tmp_path) == []
            if span.start:
                raise Unavailable("gone")
            return b"x" * span.size_bytes

        read_nowait = read

        def close(self) -> None:
            self.closed = True

    with pytest.raises(Unavailable):
        layer.create("x", 0o644, ME, whole=False, source=Failing())
    source = Failing()
    file = layer.create("x", 0o644, ME, whole=True, source=source)
    for _ in range(2):
        with pytest.raises(Unavailable):
            file.write(5, b"y")
    with pytest.raises(OSError, match="Input/output error"):
        file.flush()
    file.close()
    assert source.closed
    assert os.listdir(tmp_path) == []


def test_symbolic_links_are_marked_on_the_disk_and_mean_the_same(tmp_path: Path, connect: Connect) -> None:
    (tmp_path / "root/dir").mkdir(parents=True)
    (tmp_path / "elsewhere").write_text("else")
    (tmp_path / "root/file").write_text("text")
    for confined in (False, True):
        layer = connect(tmp_path / "root", confined=confined)
        texts = {
            "a": str(tmp_path / "elsewhere"),
            "b": "../elsewhere",
            "dir/c": "../file",
            "d": "//etc/hosts",
        }
        for path, text in texts.items():
            assert layer.symlink(path, text, ME).kind is EntryKind.SYMLINK
            assert (layer.stat(path).kind, layer.readlink(path)) == (EntryKind.SYMLINK, text)
            assert layer.stat_nowait(path).size_bytes == len(text)
        assert os.readlink(tmp_path / "root/a") == f"/{tmp_path}/elsewhere"
        assert os.readlink(tmp_path / "root/b") == ".//../elsewhere"
        assert (tmp_path / "root/a").read_text() == (tmp_path / "root/b").read_text() == "else"
        assert (tmp_path / "root/dir/c").read_text() == "text"
        with pytest.raises(OSError, match="Too many levels"):
            layer.edit("dir/c", whole=True)
        layer.rename("a", "dir/a")
        assert layer.readlink("dir/a") == texts["a"]
        for path in ("dir/a", "b", "dir/c", "d"):
            layer.unlink(path)
    reader = LocalLayer("reader", tmp_path / "root")
    (tmp_path / "root/e").symlink_to(".//file")
    assert reader.readlink("e") == "file"


@pytest.mark.parametrize("whole", [False, True])
def test_a_link_that_others_have_made_is_written_through(
    tmp_path: Path, connect: Connect, whole: bool
) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere/picks.json"
    target.write_text("old")
    (tmp_path / "root/picks.json").symlink_to(target)
    layer = connect(tmp_path / "root")
    file = layer.edit("picks.json", whole=whole)
    file.truncate(0)
    finish(file, b"new")
    layer.change("picks.json", Change(mode=0o600))
    assert (tmp_path / "root/picks.json").is_symlink()
    assert target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert os.listdir(tmp_path / "elsewhere") == ["picks.json"]
    confined = connect(tmp_path / "root", confined=True)
    with pytest.raises(OSError, match="Too many levels"):
        confined.edit("picks.json", whole=whole)
    with pytest.raises(AccessDenied):
        confined.create("../elsewhere/x", 0o644, ME, whole=whole)
    assert target.read_text() == "new"


def test_a_directory_behind_a_link_is_removed_when_it_is_empty(tmp_path: Path, connect: Connect) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/x").write_text("x")
    (tmp_path / "root/run").symlink_to(tmp_path / "elsewhere")
    layer = connect(tmp_path / "root")
    with pytest.raises(OSError, match="not empty"):
        layer.rmdir("run")
    layer.unlink("run/x")
    layer.rmdir("run")
    assert os.listdir(tmp_path / "root") == os.listdir(tmp_path / "elsewhere") == []


def test_a_confined_layer_is_not_left_through_a_directory_that_becomes_a_link(
    tmp_path: Path, connect: Connect
) -> None:
    (tmp_path / "secret/inner").mkdir(parents=True)
    (tmp_path / "secret/key").write_text("k")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/file").write_text("")
    layer = connect(tmp_path / "root", confined=True)
    (tmp_path / "root/d").symlink_to(tmp_path / "secret")  # it was a directory when the kernel asked for it
    for refused in (
        lambda: layer.create("d/new", 0o644, ME, whole=True),
        lambda: layer.create("d/new", 0o644, ME, whole=False),
        lambda: layer.edit("d/key", whole=False),
        lambda: layer.mkdir("d/new", 0o755, ME),
        lambda: layer.mknod("d/new", 0o644, 0, ME),
        lambda: layer.symlink("d/new", "x", ME),
        lambda: layer.link("d/key", "stolen"),
        lambda: layer.link("file", "d/new"),
        lambda: layer.unlink("d/key"),
        lambda: layer.rmdir("d/inner"),
        lambda: layer.rename("d/key", "stolen"),
        lambda: layer.rename("file", "d/new"),
        lambda: layer.exchange("file", "d/key"),
        lambda: layer.change("d/key", Change(mode=0o777)),
        lambda: layer.set_xattr("d/key", "user.x", b""),
        lambda: layer.get_xattr("d/key", "user.x"),
        lambda: layer.sync_directory("d/inner"),
    ):
        with pytest.raises(AccessDenied):
            refused()
    assert sorted(os.listdir(tmp_path / "secret")) == ["inner", "key"]
    assert sorted(os.listdir(tmp_path / "root")) == ["d", "file"]


def test_extended_attributes_that_are_not_the_users_are_neither_stored_nor_shown(
    tmp_path: Path, connect: Connect
) -> None:
    layer = connect(tmp_path)
    put(layer, "x", b"x")
    with pytest.raises(PermissionError):
        layer.set_xattr("x", "user.copickfs.layer", b"me")
    with pytest.raises(OSError, match="not supported"):
        layer.set_xattr("x", "trusted.overlay.opaque", b"y")
    os.setxattr(tmp_path / "x", "user.copickfs.layer", b"from elsewhere")
    os.setxattr(tmp_path / "x", "user.mine", b"1")
    assert layer.list_xattrs("x") == ["user.mine"]
    for name in ("user.copickfs.layer", "security.capability"):
        with pytest.raises(OSError, match="No data"):
            layer.get_xattr("x", name)
    layer.symlink("link", "x", ME)
    assert layer.list_xattrs("link") == []
    with pytest.raises(NotFound):
        layer.list_xattrs("absent")


def test_what_a_file_system_call_cannot_do_in_one_step_is_done_in_two(
    tmp_path: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Network file systems know no flags of rename: the kernel's answer is replaced."""

    def refuse(*_arguments: object) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(localcalls, "rename", refuse)
    layer = connect(tmp_path)
    put(layer, "a", b"a")
    put(layer, "b", b"b")
    with pytest.raises(FileExistsError):
        layer.rename("a", "b", replace=False)
    layer.rename("a", "c", replace=False)
    assert sorted(os.listdir(tmp_path)) == ["b", "c"]
    with pytest.raises(OSError, match="Invalid argument"):
        layer.exchange("b", "c")


def test_a_root_that_is_gone_is_an_outage_and_nothing_is_written_in_its_place(
    tmp_path: Path, connect: Connect
) -> None:
    (tmp_path / "root/Picks").mkdir(parents=True)
    layer = connect(tmp_path / "root")
    (tmp_path / "root").rename(tmp_path / "aside")
    for call in (
        lambda: layer.create("x", 0o644, ME, whole=True),
        lambda: layer.create("Picks/x", 0o644, ME, whole=False),
        lambda: layer.mkdir("run", 0o755, ME),
        lambda: layer.unlink("Picks/x"),
    ):
        with pytest.raises(Unavailable):
            call()
    assert not (tmp_path / "root").exists()


def test_files_open_in_a_directory_that_is_renamed_are_published_in_it(
    tmp_path: Path, connect: Connect
) -> None:
    layer = connect(tmp_path)
    layer.mkdir("run", 0o755, ME)
    put(layer, "run/old.json", b"old")
    files = [layer.create("run/new.json", 0o644, ME, whole=True), layer.edit("run/old.json", whole=True)]
    for file in files:
        file.write(0, b"written")
    layer.rename("run", "renamed")
    os.rename(tmp_path / "renamed", tmp_path / "by others")
    for file in files:
        file.flush()
        file.close()
    assert sorted(os.listdir(tmp_path)) == [".copickfs", "by others"]
    for name in ("new.json", "old.json"):
        assert (tmp_path / "by others" / name).read_bytes() == b"written"


def test_a_socket_and_a_fifo_are_not_waited_for(tmp_path: Path, connect: Connect) -> None:
    layer = connect(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    for name in ("fifo", "socket"):
        with pytest.raises(OSError, match="No such device"):
            layer.edit(name, whole=True)


def test_a_setgid_directory_gives_its_group(tmp_path: Path, connect: Connect) -> None:
    group = next((gid for gid in os.getgroups() if gid != os.getgid()), 12_345 if os.getuid() == 0 else None)
    if group is None:
        pytest.skip("no other group to give")
    (tmp_path / "shared").mkdir()
    os.chown(tmp_path / "shared", -1, group)
    (tmp_path / "shared").chmod(0o2775)
    layer = connect(tmp_path)
    put(layer, "shared/whole.json", b"")
    replace(layer, "shared/whole.json", b"again")
    put(layer, "shared/in place", b"", whole=False)
    assert stat.S_IMODE(layer.mkdir("shared/run", 0o750, ME).mode) == 0o2750
    layer.mkdir("shared/run/inner", 0o755, ME)
    for path in ("whole.json", "in place", "run", "run/inner"):
        assert (tmp_path / "shared" / path).stat().st_gid == group
    assert stat.S_IMODE((tmp_path / "shared/run/inner").stat().st_mode) == 0o2755


@needs_root
def test_root_gives_what_it_makes_to_the_caller(tmp_path: Path, connect: Connect) -> None:
    layer = connect(tmp_path)
    caller = Owner(1_234, 5_678)
    finish(layer.create("whole", 0o640, caller, whole=True), b"x")
    finish(layer.create("in place", 0o4755, caller, whole=False), b"x")
    layer.mkdir("dir", 0o700, caller)
    layer.mknod("fifo", stat.S_IFIFO | 0o620, 0, caller)
    layer.symlink("link", "whole", caller)
    for name in ("whole", "in place", "dir", "fifo", "link"):
        status = os.lstat(tmp_path / name)
        assert (status.st_uid, status.st_gid) == caller
    assert stat.S_IMODE((tmp_path / "fifo").stat().st_mode) == 0o620
    replace(layer, "whole", b"by root")
    assert layer.stat("whole")[9:11] == caller
    layer.change("link", Change(uid=1))
    assert (os.lstat(tmp_path / "link").st_uid, layer.stat("whole").uid) == (1, caller.uid)


def test_a_default_access_control_list_decides(tmp_path: Path, connect: Connect) -> None:
    (tmp_path / "shared").mkdir()
    try:
        os.setxattr(tmp_path / "shared", "system.posix_acl_default", DEFAULT_ACL)
    except OSError:
        pytest.skip("this file system has no access control lists")
    with open(tmp_path / "shared/by the kernel", "x", opener=lambda p, f: os.open(p, f, 0o664)):
        expected = os.stat(tmp_path / "shared/by the kernel").st_mode
    layer = connect(tmp_path)
    put(layer, "shared/whole.json", b"x", mode=0o664)
    put(layer, "shared/in place", b"x", mode=0o664, whole=False)
    for name in ("whole.json", "in place"):
        path = tmp_path / "shared" / name
        assert path.stat().st_mode == expected
        assert os.getxattr(path, "system.posix_acl_access") == os.getxattr(
            tmp_path / "shared/by the kernel", "system.posix_acl_access"
        )
    os.removexattr(tmp_path / "shared/whole.json", "system.posix_acl_access")
    replace(layer, "shared/whole.json", b"y")
    assert "system.posix_acl_access" not in os.listxattr(tmp_path / "shared/whole.json")
    layer.mkdir("shared/run", 0o775, ME)
    assert "system.posix_acl_default" in os.listxattr(tmp_path / "shared/run")


@needs_root
@pytest.mark.parametrize("whole", [False, True])
def test_a_full_disk_leaves_the_version_before(tmp_path: Path, connect: Connect, whole: bool) -> None:
    (tmp_path / "root").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", tmp_path / "root"], check=True)
    try:
        layer = connect(tmp_path / "root")
        old = bytes(range(256)) * 4_096
        put(layer, "old.json", old)
        replace(layer, "old.json", old)
        file = layer.edit("old.json", whole=True)
        file.truncate(0)
        with pytest.raises(OSError, match="No space"):
            fill(file)
        for _ in range(2):
            with pytest.raises(OSError, match="No space"):
                file.flush()
        assert (tmp_path / "root/old.json").read_bytes() == old
        file.truncate(0)
        file.write(0, b"enough")
        file.flush()
        file.close()
        assert (tmp_path / "root/old.json").read_bytes() == b"enough"
        new = layer.create("new", 0o644, ME, whole=whole)
        with pytest.raises(OSError, match="No space"):
            fill(new)
        new.close()
        assert sorted(os.listdir(tmp_path / "root")) == [".copickfs", *([] if whole else ["new"]), "old.json"]
        layer.close()
    finally:
        subprocess.run(["umount", tmp_path / "root"], check=True)


@needs_root
def test_a_file_on_another_file_system_behind_a_link_is_published_whole(
    tmp_path: Path, connect: Connect
) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "other").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", tmp_path / "other"], check=True)
    try:
        (tmp_path / "root/run").symlink_to(tmp_path / "other")
        layer = connect(tmp_path / "root")
        put(layer, "run/a.json", b"first")
        reader = layer.open("run/a.json")
        replace(layer, "run/a.json", b"second")
        assert reader.read(ByteRange(0, 100)) == b"first"
        reader.close()
        put(layer, "b.json", b"")
        with pytest.raises(OSError, match="cross-device"):
            layer.rename("b.json", "run/b.json")
        assert os.listdir(tmp_path / "other") == ["a.json"]
        assert (tmp_path / "other/a.json").read_bytes() == b"second"
        layer.close()
    finally:
        subprocess.run(["umount", tmp_path / "other"], check=True)
