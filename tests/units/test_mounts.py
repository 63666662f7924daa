"""The mount table, paths without symbolic links, options of fstab: what needs no mount."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from copickfs.daemon import mounts as table
from copickfs.daemon import unmount
from copickfs.daemon.detach import Busy
from copickfs.daemon.mounts import Mount, is_within, mount_above, mounts, parse_line, resolve
from copickfs.daemon.options import parse_options
from copickfs.errors import MountError

if TYPE_CHECKING:
    from pathlib import Path

LINE = (
    r"99 28 0:57 / /mnt/a\040b\134c\011\012ü rw,nosuid,nodev,relatime shared:1 master:2 - fuse.copickfs "
    r"/etc/copick\040fs.json rw,user_id=1000,group_id=1000,allow_other"
)


def test_a_line_of_mountinfo() -> None:
    mount = parse_line(LINE)
    assert mount.device == "0:57"
    assert mount.mountpoint == "/mnt/a b\\c\t\nü"
    assert mount.source == "/etc/copick fs.json"
    assert mount.is_copickfs
    assert mount.user_id == 1000
    assert "allow_other" in mount.super_options


def test_a_line_without_optional_fields() -> None:
    mount = parse_line("22 1 8:1 / / rw - ext4 /dev/sda1 rw")
    assert mount == Mount("8:1", "/", "ext4", "/dev/sda1", ("rw",))
    assert not mount.is_copickfs
    assert mount.user_id is None


def test_this_machine_has_a_root() -> None:
    assert "/" in [mount.mountpoint for mount in mounts()]


@pytest.mark.parametrize(
    ("path", "directory", "within"),
    [("/a", "/a", True), ("/a/b", "/a", True), ("/ab", "/a", False), ("/", "/a", False), ("/a", "/", True)],
)
def test_is_within(path: str, directory: str, *, within: bool) -> None:
    assert is_within(path, directory) is within


def test_resolve_is_the_kernels_walk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "file").touch()
    (tmp_path / "relative").symlink_to("real/deep")
    (tmp_path / "absolute").symlink_to(tmp_path / "relative")
    (tmp_path / "real" / "deep" / "up").symlink_to("../../relative/..")
    monkeypatch.chdir(tmp_path)
    for path in (
        ".", "relative", "absolute", "./absolute//", "absolute/..", "absolute/up", "absolute/up/deep/up",
        "relative/../../file", "not/there", "/", "..", "/../..", str(tmp_path / "absolute" / "new"),
    ):  # fmt: skip
        assert resolve(path) == os.path.realpath(path)


def test_resolve_gives_up_on_a_loop(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        resolve(str(tmp_path / "a"))


def test_no_call_on_a_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the mount point nor what lies below it is looked at."""
    point = tmp_path / "real" / "mnt"
    point.mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    (point / "link").symlink_to("/elsewhere")
    here = Mount("0:57", str(point), "fuse.copickfs", "config.json", ())
    monkeypatch.setattr(table, "mounts", lambda: [here])
    looked_at: list[str] = []
    readlink = os.readlink

    def recorded(path: str) -> str:
        looked_at.append(path)
        return readlink(path)

    monkeypatch.setattr(table.os, "readlink", recorded)
    assert resolve(str(tmp_path / "link" / "mnt" / "link" / "file")) == str(point / "link" / "file")
    assert resolve(str(tmp_path / "link" / "mnt" / "..")) == str(tmp_path / "real")
    assert looked_at
    assert not [path for path in looked_at if path.startswith(str(point))]
    assert mount_above(str(point / "x" / "y")) == here
    assert mount_above(str(tmp_path)) is None


def test_options() -> None:
    fields = parse_options(("rw,noauto,nofail,user=me,x-systemd.device-timeout=9,_netdev", "ro,allow_other"))
    assert fields == {"read_only": True, "allow_other": True}
    assert parse_options(("ro", "rw")) == {"read_only": False}
    assert parse_options(("user,noexec,nosuid,nodev",)) == {"no_exec": True}
    assert parse_options(("",)) == {}
    assert parse_options(("log_level=DEBUG",)) == {"log_level": "debug"}


@pytest.mark.parametrize(
    "option", ["roo", "ro=1", "allow_root", "log_file", "log_file=", "log_level=loud", "uid=3"]
)
def test_options_that_are_refused(option: str) -> None:
    with pytest.raises(MountError):
        parse_options((f"ro,{option}",))
    if "level" not in option:
        assert parse_options((f"ro,{option}",), sloppy=True) == {"read_only": True}


class Held:
    """A mount that is busy for some tries, and who is seen to use it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tries: float, users: list[str]) -> None:
        self.left = tries
        monkeypatch.setattr(unmount, "detach", self.detach)
        monkeypatch.setattr(unmount, "users_of", lambda _mountpoint: users)
        monkeypatch.setattr(unmount, "_LETTING_GO_S", 0.2)

    def detach(self, _mountpoint: str, *, lazy: bool) -> None:
        assert not lazy
        if self.left > 0:
            self.left -= 1
            raise Busy


def test_a_mount_that_is_just_being_let_go_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch, 2, [])
    unmount._detach_unused("/mnt")
    assert held.left == 0


def test_a_mount_in_use_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch, 2, ["vi (12)"])
    with pytest.raises(MountError, match=r"/mnt: is in use by vi \(12\); end them first"):
        unmount._detach_unused("/mnt")
    assert held.left == 1


def test_users_that_cannot_be_seen_are_told_of_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    Held(monkeypatch, float("inf"), [])
    with pytest.raises(MountError, match="is in use by processes that this user cannot see"):
        unmount._detach_unused("/mnt")
