"""A sandbox whose commands run as an ordinary user, for tests that run as root.

The interpreter, its packages or the checkout may lie where only root may look (``/root``). They are then
bound to a directory that everybody may enter, for as long as the tests run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import site
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

_UID = _GID = 65534  # nobody
IDENTITY = {"user": _UID, "group": _GID, "extra_groups": []}


class Interpreter(NamedTuple):
    """A Python that an ordinary user can run, with what it needs in the environment."""

    executable: str
    env: dict[str, str]


@contextlib.contextmanager
def reachable_interpreter() -> Iterator[Interpreter]:
    """The interpreter of the tests, at a place where any user can run it."""
    plain = Interpreter(sys.executable, {})
    if _runs(plain):
        yield plain
        return
    base = Path(sys.base_prefix)
    sources = {"python": base, "packages": Path(site.getsitepackages()[0]), "checkout": _checkout()}
    with _bound(sources) as places:
        executable = places["python"] / Path(os.path.realpath(sys.executable)).relative_to(base)
        bound = Interpreter(
            str(executable),
            {
                "PYTHONHOME": str(places["python"]),
                "PYTHONPATH": f"{places['packages']}:{places['checkout']}",
                "LD_LIBRARY_PATH": str(places["python"] / "lib"),
            },
        )
        assert _runs(bound), "no ordinary user can run this Python, even bound to another place"
        yield bound


@contextlib.contextmanager
def user_sandbox(interpreter: Interpreter) -> Iterator[Sandbox]:
    """A sandbox in a directory of the ordinary user."""
    directory = Path(tempfile.mkdtemp(prefix="copickfs-user-"))
    directory.chmod(0o755)
    try:
        sandbox = Sandbox(directory)
        sandbox.python = interpreter.executable
        sandbox.identity = IDENTITY
        sandbox.env |= interpreter.env
        sandbox.give_away()
        yield sandbox
    finally:
        shutil.rmtree(directory)


def _runs(interpreter: Interpreter) -> bool:
    try:
        done = subprocess.run(
            [interpreter.executable, "-c", "import copickfs.cli.mount, pyfuse3"],
            env={**os.environ, **interpreter.env}, capture_output=True, check=False, cwd="/", **IDENTITY,
        )  # fmt: skip
    except PermissionError:
        return False
    return done.returncode == 0


def _checkout() -> Path:
    import copickfs

    return Path(copickfs.__file__).parent.parent


@contextlib.contextmanager
def _bound(sources: dict[str, Path]) -> Iterator[dict[str, Path]]:
    with contextlib.ExitStack() as stack:
        top = Path(tempfile.mkdtemp(prefix="copickfs-python-"))
        top.chmod(0o755)
        stack.callback(top.rmdir)
        places = {}
        for name, source in sources.items():
            place = places[name] = top / name
            place.mkdir()
            stack.callback(place.rmdir)
            subprocess.run(["mount", "--bind", source, place], check=True)
            stack.callback(subprocess.run, ["umount", "-l", place], check=True)
            # Whatever goes wrong with the cleaning of temporary directories, this is safe from it.
            subprocess.run(["mount", "-o", "remount,bind,ro", place], check=True)
        yield places
