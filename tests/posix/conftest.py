"""The places of `tests.posix.place`: made once for all tests, and looked after between them.

Each mount is one of two local layers, ``mine`` (written) over ``lab`` (read-only). A WARNING in a daemon's
log, or a change of the read-only layer, fails the test that caused it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests import model
from tests.conftest import Mounter, fail_on_leftovers
from tests.ordinary_user import reachable_interpreter, user_sandbox
from tests.posix.differences import DIFFERENCES
from tests.posix.place import OF_PERMISSIONS, ORDINARY, VARIANTS, Place, User, run_as
from tests.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

_DISK_FILE_SYSTEMS = ("ext2/ext3", "xfs", "btrfs")


class Mounted(NamedTuple):
    """One mount and its layers."""

    mounter: Mounter
    point: Path
    mine: Path
    lab: Path


class Grounds:
    """Makes places, and the mounts that they are in when the first one is asked for."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._number = 0
        self._plain: Path | None = None
        self._mounts: dict[bool, Mounted] = {}

    def place(self, kind: str, *, ordinary: bool) -> Place:
        """A new empty directory."""
        self._number += 1
        name = f"t{self._number}"
        user = ORDINARY if ordinary else User(os.getuid(), os.getgid())
        if kind == "ext4":
            path = source = self._directory() / name
        else:
            mounted = self.mounted(ordinary=ordinary)
            path = mounted.point / name
            source = (mounted.mine if kind == "mount" else mounted.lab) / name
        source.mkdir(mode=0o755)
        os.chown(source, user.uid, user.gid)
        return Place(kind, path, source, user)

    def mounted(self, *, ordinary: bool) -> Mounted:
        """The mount of root, for everybody, or the ordinary user's own."""
        if ordinary not in self._mounts:
            sandbox = self._user_sandbox() if ordinary else self._own_sandbox()
            self._mounts[ordinary] = self._mount(sandbox, *(() if ordinary else ("--allow-other",)))
        return self._mounts[ordinary]

    def faults(self) -> list[str]:
        """Unexpected lines in the logs of all daemons."""
        return [line for mounted in self._mounts.values() for line in mounted.mounter.faults()]

    def _directory(self) -> Path:
        if self._plain is None:
            self._plain = Path(tempfile.mkdtemp(prefix="copickfs-posix-"))
            self._plain.chmod(0o755)
            self._stack.callback(shutil.rmtree, self._plain)
            kind = subprocess.run(
                ["stat", "-f", "-c", "%T", self._plain], check=True, capture_output=True, text=True
            ).stdout.strip()
            self._is_disk = kind in _DISK_FILE_SYSTEMS
        if not self._is_disk:
            pytest.skip("the temporary directory is not on a disk's file system")
        return self._plain

    def _own_sandbox(self) -> Sandbox:
        directory = Path(tempfile.mkdtemp(prefix="copickfs-posix-"))
        directory.chmod(0o755)
        self._stack.callback(shutil.rmtree, directory)
        sandbox = Sandbox(directory)
        self._stack.callback(fail_on_leftovers, sandbox)
        return sandbox

    def _user_sandbox(self) -> Sandbox:
        interpreter = self._stack.enter_context(reachable_interpreter())
        sandbox = self._stack.enter_context(user_sandbox(interpreter))
        self._stack.callback(fail_on_leftovers, sandbox)
        return sandbox

    def _mount(self, sandbox: Sandbox, *options: str) -> Mounted:
        mounter = Mounter(sandbox)
        self._stack.callback(mounter.close)
        mine, lab, point = (sandbox.directory / name for name in ("mine", "lab", "mnt"))
        for path in (mine, lab, point):
            path.mkdir(mode=0o755)
        config = mounter.config_file(model.configuration([mine, lab], ["mine", "lab"]))
        sandbox.give_away()
        return Mounted(mounter, mounter(config, *options, mountpoint=point), mine, lab)


@pytest.fixture(scope="session")
def grounds() -> Iterator[Grounds]:
    """Makes places; see `Grounds`."""
    with contextlib.ExitStack() as stack:
        yield Grounds(stack)


@pytest.fixture(params=[*VARIANTS, *(f"{kind}-user" for kind in VARIANTS)])
def place(request: pytest.FixtureRequest, grounds: Grounds) -> Iterator[Place]:
    """An empty directory, in each variant; the test runs as the place's user."""
    kind, _, who = request.param.partition("-")
    if who and os.getuid() != 0:
        pytest.skip("these tests run as an ordinary user already")
    yield from _looked_after(grounds, kind, ordinary=bool(who))


@pytest.fixture(params=VARIANTS)
def shared(request: pytest.FixtureRequest, grounds: Grounds) -> Iterator[Place]:
    """An empty directory that several users can reach (see `run_as`); the test runs as root."""
    if os.getuid() != 0:
        pytest.skip("only root can be several users")
    yield from _looked_after(grounds, request.param, ordinary=False)


def _looked_after(grounds: Grounds, kind: str, *, ordinary: bool) -> Iterator[Place]:
    made = grounds.place(kind, ordinary=ordinary)
    before = len(grounds.faults())
    yield made
    assert not grounds.faults()[before:], "unexpected in the daemon's log"


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run the test as the user of its place, and look at the layer below afterwards."""
    place = pyfuncitem.funcargs.get("place", pyfuncitem.funcargs.get("shared"))
    if not isinstance(place, Place):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}

    def body() -> None:
        pyfuncitem.obj(**arguments)
        place.assert_lower_unchanged()

    if place.user.uid == os.getuid():
        body()
    else:
        run_as(place.user, body)
    return True


@pytest.hookimpl(tryfirst=True)  # before long runs are taken out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A known difference must be one: the test has to fail. An ordinary user's runs may be long ones."""
    for item in items:
        if not isinstance(item, pytest.Function) or not item.path.is_relative_to(Path(__file__).parent):
            continue
        variant, key = _identify(item)
        if variant.endswith("-user") and item.path.stem not in OF_PERMISSIONS:
            item.add_marker(pytest.mark.soak)
        known = DIFFERENCES.get(key)
        if known and variant in known.variants:
            item.add_marker(pytest.mark.xfail(reason=known.reason, strict=True))


def _identify(item: pytest.Function) -> tuple[str, str]:
    """The variant that an item is for, and the key of its test in the table of differences."""
    name = "::".join(part.removeprefix("test_") for part in (item.path.stem, item.originalname))
    if not hasattr(item, "callspec"):
        return "", name
    params = dict(item.callspec.params)
    variant = str(params.pop("place", params.pop("shared", "")))
    others = [part for part in item.callspec.id.split("-") if part not in (*VARIANTS, "user")]
    return variant, f"{name}[{'-'.join(others)}]" if params else name
