"""Extended attributes go to the write layer."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from tests.posix.calls import contents, fails, getxattr_into, opened
from tests.posix.place import OTHER, run_as

if TYPE_CHECKING:
    from pathlib import Path

    from tests.posix.place import Place

NAME = "user.copick.test"


def names(path: Path | int) -> set[str]:
    """The attributes that are no answers of copickfs."""
    return {name for name in os.listxattr(path) if not name.startswith("user.copickfs.")}


def test_set_get_list_remove(place: Place) -> None:
    for path in (place.file("file", b"data"), place.directory()):
        assert names(path) == set()
        os.setxattr(path, NAME, b"value")
        os.setxattr(path, "user.empty", b"")
        os.setxattr(path, "user.binary", bytes(range(256)))
        assert names(path) == {NAME, "user.empty", "user.binary"}
        assert os.getxattr(path, NAME) == b"value"
        assert os.getxattr(path, "user.empty") == b""
        assert os.getxattr(path, "user.binary") == bytes(range(256))
        os.setxattr(path, NAME, b"another")
        assert os.getxattr(path, NAME) == b"another"
        os.removexattr(path, NAME)
        assert names(path) == {"user.empty", "user.binary"}
    assert contents(place / "file") == b"data"


def test_flags(place: Place) -> None:
    path = place.file()
    with fails(errno.ENODATA):
        os.setxattr(path, NAME, b"x", os.XATTR_REPLACE)
    os.setxattr(path, NAME, b"one", os.XATTR_CREATE)
    with fails(errno.EEXIST):
        os.setxattr(path, NAME, b"two", os.XATTR_CREATE)
    os.setxattr(path, NAME, b"three", os.XATTR_REPLACE)
    assert os.getxattr(path, NAME) == b"three"


def test_sizes(place: Place) -> None:
    path = place.file()
    os.setxattr(path, NAME, b"x" * 2_000)
    assert getxattr_into(path, NAME, 0) == 2_000
    assert getxattr_into(path, NAME, 2_000) == 2_000
    with fails(errno.ERANGE):
        getxattr_into(path, NAME, 1_999)
    with fails(errno.E2BIG):
        os.setxattr(path, NAME, b"x" * 65_537)
    with fails(errno.ENOSPC):
        os.setxattr(path, NAME, b"x" * 65_536)
    with fails(errno.ERANGE):
        os.setxattr(path, "user." + "x" * 251, b"")
    os.setxattr(path, "user." + "x" * 250, b"")


def test_descriptor(place: Place) -> None:
    with opened(place.file(), os.O_RDWR) as fd:
        os.setxattr(fd, NAME, b"value")
        assert os.getxattr(fd, NAME) == b"value"
        assert names(fd) == {NAME}
        os.removexattr(fd, NAME)
        assert names(fd) == set()
    assert names(place / "file") == set()


def test_stay_with_the_file(place: Place) -> None:
    path = place.file("file", b"data")
    os.setxattr(place.source / "file" if place.kind == "ext4" else path, NAME, b"value")
    with opened(path, os.O_WRONLY) as fd:
        os.write(fd, b"DATA")
    os.chmod(path, 0o600)
    os.rename(path, place / "new")
    os.link(place / "new", place / "second")
    assert os.getxattr(place / "new", NAME) == os.getxattr(place / "second", NAME) == b"value"


def test_change_time(place: Place) -> None:
    path = place.file()
    os.utime(path, ns=(1, 1))
    before = os.stat(path).st_ctime_ns
    os.setxattr(path, NAME, b"value")
    after = os.stat(path)
    assert (after.st_mtime_ns, after.st_ctime_ns >= before) == (1, True)


def test_errors(place: Place) -> None:
    path = place.file()
    os.symlink("file", place / "link")
    for call in (os.getxattr, os.removexattr):
        with fails(errno.ENODATA):
            call(path, NAME)
        with fails(errno.ENOENT):
            call(place / "nothing", NAME)
    with fails(errno.ENOENT):
        os.setxattr(place / "nothing", NAME, b"")
    with fails(errno.ENOTDIR):
        os.setxattr(path / "inner", NAME, b"")
    with fails(errno.EPERM):
        os.setxattr(place / "link", NAME, b"", follow_symlinks=False)
    with fails(errno.EOPNOTSUPP):
        os.setxattr(path, "nonsense.name", b"")
    with fails(errno.EOPNOTSUPP):
        os.setxattr(path, "without-a-dot", b"")


def test_trusted_attributes_are_for_root(place: Place) -> None:
    path = place.file()
    if place.user.uid == 0:
        os.setxattr(path, "trusted.test", b"value")
        assert os.getxattr(path, "trusted.test") == b"value"
    else:
        with fails(errno.EPERM):
            os.setxattr(path, "trusted.test", b"value")
        assert names(path) == set()


def test_access_control_list(place: Place) -> None:
    """Version 2; owner, one named user, group, mask, others."""
    entries = [(1, 6, -1), (2, 4, 12345), (4, 4, -1), (16, 4, -1), (32, 0, -1)]
    value = (2).to_bytes(4, "little") + b"".join(
        tag.to_bytes(2, "little") + bits.to_bytes(2, "little") + (who & 0xFFFFFFFF).to_bytes(4, "little")
        for tag, bits, who in entries
    )
    path = place.file("file", b"data", 0o640)
    os.setxattr(path, "system.posix_acl_access", value)
    assert os.getxattr(path, "system.posix_acl_access") == value


def test_permission(shared: Place) -> None:
    path = shared.file("file", b"data", 0o644)
    os.setxattr(path, NAME, b"value")
    hidden = shared.file("hidden", b"data", 0o600)

    def attempt() -> None:
        assert os.getxattr(path, NAME) == b"value"
        with fails(errno.EACCES):
            os.setxattr(path, NAME, b"other")
        with fails(errno.EACCES):
            os.removexattr(path, NAME)
        with fails(errno.EACCES):
            os.getxattr(hidden, NAME)

    run_as(OTHER, attempt)
    assert os.getxattr(path, NAME) == b"value"


def test_other_names_of_the_mount_are_not_for_writing(place: Place) -> None:
    path = place.file()
    if not place.mounted:
        return
    with fails(errno.EPERM, errno.EROFS, errno.EACCES, errno.EOPNOTSUPP):
        os.setxattr(path, "user.copickfs.new", b"x")
    with fails(errno.EPERM, errno.EROFS, errno.EACCES, errno.ENODATA, errno.EOPNOTSUPP):
        os.removexattr(path, "user.copickfs.new")
    assert NAME not in os.listxattr(path)


def test_what_the_mount_says_of_a_path_is_not_changed(place: Place) -> None:
    """Programs that copy attributes try to: it is passed over, for the copy has its own."""
    path = place.file()
    if not place.mounted:
        return
    before = {name: os.getxattr(path, name) for name in os.listxattr(path)}
    assert "user.copickfs.layer" in before
    for name in ("layer", "path", "kind", "layers", "shadows"):
        os.setxattr(path, f"user.copickfs.{name}", b"elsewhere")
        os.removexattr(path, f"user.copickfs.{name}")
    assert {name: os.getxattr(path, name) for name in os.listxattr(path)} == before
