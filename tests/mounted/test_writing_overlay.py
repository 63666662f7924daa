"""The kernel's overlayfs is the reference: random changes of the tree are done in both, and both must agree.

Names are drawn from a few, so that things are removed, made again, renamed over each other and hidden by
things of another kind all the time. There are no stores here, which overlayfs does not know.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests import model
from tests.mounted.conftest import put
from tests.posix.calls import RENAME_EXCHANGE, RENAME_NOREPLACE, renameat2
from tests.sandbox import needs_root
from tests.writing import WritableStack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Mounter

STEPS = 1_200
SEEDS = [*range(4), *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(4, 40))]
NAMES = "abcd"
DEEPEST = 3
ALIKE = {errno.EEXIST: errno.ENOTEMPTY}
TWO_FAULTS = {"EXDEV", "ENOTEMPTY"}
"""Of a directory that cannot be renamed over one that is not empty, either may be said."""


class Step(NamedTuple):
    """One change, by name, that can be done below any root."""

    name: str
    paths: tuple[str, ...]
    value: int = 0


class Changes:
    """A random sequence of changes."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._calls: dict[str, Callable[[str, str, int], object]] = {
            "write": lambda a, _, n: self._write(a, os.O_CREAT | os.O_TRUNC, n),
            "exclusively": lambda a, _, n: self._write(a, os.O_CREAT | os.O_EXCL, n),
            "append": lambda a, _, n: self._write(a, os.O_APPEND, n),
            "mkdir": lambda a, _, n: os.mkdir(a, 0o700 | n % 64),
            "rmdir": lambda a, _, __: os.rmdir(a),
            "unlink": lambda a, _, __: os.unlink(a),
            "rename": lambda a, b, _: os.rename(a, b),
            "no replace": lambda a, b, _: renameat2(a, b, RENAME_NOREPLACE),
            "exchange": lambda a, b, _: renameat2(a, b, RENAME_EXCHANGE),
            "link": lambda a, b, _: os.link(a, b, follow_symlinks=False),
            "symlink": lambda a, _, n: os.symlink(f"nowhere/{n}", a),
            "chmod": lambda a, _, n: os.chmod(a, 0o700 | n % 64, follow_symlinks=True),
            "truncate": lambda a, _, n: os.truncate(a, n % 5_000),
            "fifo": lambda a, _, __: os.mkfifo(a, 0o600),
            "remove tree": lambda a, _, __: self._remove_tree(a),
        }

    def draw(self) -> Step:
        """The next change."""
        name = self._random.choice(list(self._calls))
        if name == "remove tree" and self._random.random() < 0.8:
            name = "mkdir"
        return Step(name, (self._path(), self._path()), self._random.randrange(1 << 16))

    def outcome(self, step: Step, root: Path) -> str:
        """Do it below a root: what came of it."""
        one, two = (os.path.join(root, path) for path in step.paths)
        try:
            self._calls[step.name](one, two, step.value)
        except OSError as error:
            number = error.errno or 0
            return errno.errorcode[ALIKE.get(number, number)]
        return "done"

    def _path(self) -> str:
        depth = self._random.randint(1, DEEPEST)
        return "/".join(self._random.choice(NAMES) for _ in range(depth))

    @staticmethod
    def _remove_tree(path: str) -> None:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK))
        shutil.rmtree(path)

    @staticmethod
    def _write(path: str, flags: int, value: int) -> None:
        fd = os.open(path, os.O_WRONLY | flags | os.O_NONBLOCK, 0o644)
        try:
            os.write(fd, b"%d" % value * (value % 2_000))
        finally:
            os.close(fd)


def prepare(root: Path) -> None:
    """What the layer below has: most of the names, of every kind, on every level."""
    put(root / "a/a/a", b"aaa")
    put(root / "a/b/a", b"aba" * 1_000)
    put(root / "a/b/b").chmod(0o600)
    put(root / "a/c")
    (root / "a/d").mkdir()
    put(root / "b/a/a/deep", b"deeper than the rest")
    (root / "b/b").symlink_to("nowhere at all")
    (root / "b/c/c").mkdir(parents=True)
    put(root / "c", b"a file")


@pytest.fixture
def reference(tmp_path: Path) -> Iterator[Path]:
    """An overlay of the kernel over the same lower files; skips where there is none."""
    directories = {name: tmp_path / "reference" / name for name in ("lower", "upper", "work", "merged")}
    for directory in directories.values():
        directory.mkdir(parents=True)
    prepare(directories["lower"])
    options = ",".join(f"{name}dir={directories[name]}" for name in ("lower", "upper", "work"))
    options += ",redirect_dir=off,index=off,metacopy=off"
    command = ["mount", "-t", "overlay", "-o", options, "overlay", directories["merged"]]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no overlayfs here: {done.stderr.strip()}")
    yield directories["merged"]
    subprocess.run(["umount", directories["merged"]], check=True)


def seen(root: Path) -> dict[str, model.Shape]:
    """All that both must agree in; times are not, for they were not done at the same moment."""
    tree = model.snapshot(root)
    return {path: shape._replace(mtime_ns=0) for path, shape in tree.items() if path}


def compare(reference: Path, point: Path, history: list[str]) -> None:
    wrong = model.differences(seen(reference), seen(point))
    assert not wrong, "\n".join([*wrong, "after", *history[-30:]])


@needs_root
@pytest.mark.parametrize("seed", SEEDS)
def test_random_changes(
    writable: WritableStack, reference: Path, mount: Mounter, tmp_path: Path, seed: int
) -> None:
    prepare(writable.lower[0])
    point = writable.mount()
    compare(reference, point, [])
    changes, history = Changes(seed), list[str]()
    done = 0
    for number in range(STEPS):
        step = changes.draw()
        wanted, found = changes.outcome(step, reference), changes.outcome(step, point)
        history.append(f"{number}: {step} {wanted}")
        assert found == wanted or {found, wanted} == TWO_FAULTS, "\n".join([found, *history[-30:]])
        done += found == "done"
        if number % 20 == 0:
            compare(reference, point, history)
        if number == STEPS // 2:
            point = writable.remount()
            compare(reference, point, history)
    assert done > STEPS // 10
    compare(reference, point, history)
    compare(reference, writable.remount(), history)
    below = WritableStack(mount, tmp_path / "another", [writable.mine, *writable.lower])
    writable.umount()
    compare(reference, below.mount(), ["the old write layer is stacked below another"])
    below.assert_lower_unchanged()
    below.umount()


def test_of_lower_hard_links_the_name_that_is_written_changes_alone(writable: WritableStack) -> None:
    lower = writable.lower[0]
    (lower / "dir").mkdir()
    (lower / "a").write_bytes(b"lower")
    os.link(lower / "a", lower / "b")
    os.link(lower / "a", lower / "dir" / "c")
    point = writable.mount()
    for _ in range(2):
        assert {name: (point / name).read_bytes() for name in ("a", "b", "dir/c")} == dict.fromkeys(
            ("a", "b", "dir/c"), b"lower"
        )
    with (point / "b").open("ab") as file:
        file.write(b" and more")
    for _ in range(2):
        assert (point / "a").read_bytes() == (point / "dir/c").read_bytes() == b"lower"
        assert (point / "b").read_bytes() == b"lower and more"
        assert not (writable.mine / "a").exists()
        assert not (writable.mine / "dir").exists()
        writable.umount()
        point = writable.mount(point=point)
    (point / "a").unlink()
    assert (point / "dir/c").read_bytes() == b"lower"
