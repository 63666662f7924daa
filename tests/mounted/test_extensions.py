"""A layer kind of another package, added by its entry point, with no change to copickfs."""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.sandbox import wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Mounter

ALPHABET = '''
"""A third-party kind of layer: a directory of files that hold one letter each."""

from copickfs.config import LayerConfig
from copickfs.layers.base import BaseLayer
from copickfs.layers.memory import MemoryLayer


class Config(LayerConfig):
    letters: str = "abc"


class Alphabet:
    config_model = Config

    @staticmethod
    def build(config, context):
        files = {f"Letters/{letter}.txt": letter.encode() * 1000 for letter in config.letters}
        return MemoryLayer(config.layer_name, config.priority, files)
'''

FAULTS = '''
"""A layer that plants a fault in every handler of the mount, for as long as the file 'armed' exists."""

import functools
import inspect
import os

from copickfs.layers.memory import MemoryLayer
from copickfs.ops import filesystem
from copickfs.ops.faults import handler


def planted(function, armed):
    @functools.wraps(function)
    async def faulty(*args):
        if os.path.exists(armed):
            raise RuntimeError(f"planted in {function.__name__}")
        return await function(*args)
    return handler(faulty)


class Faults:
    @staticmethod
    def build(config, context):
        for name, function in list(vars(filesystem.Filesystem).items()):
            inner = getattr(function, "__wrapped__", None)
            if inner is not None and inspect.iscoroutinefunction(inner):
                setattr(filesystem.Filesystem, name, planted(inner, config.armed))
        files = {"a/b.txt": b"hello", "x.zarr/0": b"chunk" * 50_000}
        return MemoryLayer(config.layer_name, config.priority, files)
'''


def configuration(root: Path, **special: object) -> dict[str, object]:
    root.mkdir()
    return {
        "config_type": "multilayer",
        "layers": ["special", "disk"],
        "layer_configs": {
            "special": {"layer_name": "special", "priority": 50, **special},
            "disk": {"config_type": "filesystem", "layer_name": "disk", "priority": 10, "root": str(root)},
        },
    }


def test_a_layer_of_another_package_is_mounted(
    mount: Mounter, install: Callable[[str, str], None], tmp_path: Path
) -> None:
    install("alphabet", ALPHABET)
    config = configuration(tmp_path / "disk", config_type="alphabet", letters="xyz")
    (tmp_path / "disk" / "Letters").mkdir()
    (tmp_path / "disk" / "Letters" / "more.txt").write_text("from the disk")
    point = mount(config)
    assert sorted(os.listdir(point / "Letters")) == ["more.txt", "x.txt", "y.txt", "z.txt"]
    assert (point / "Letters" / "z.txt").read_bytes() == b"z" * 1000
    assert os.getxattr(point / "Letters" / "z.txt", "user.copickfs.layer") == b"special"


def test_a_kind_that_nobody_has_is_refused_with_the_known_ones(
    copickfs: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, mount: Mounter
) -> None:
    del mount
    config = tmp_path / "config.json"
    config.write_text(json.dumps(configuration(tmp_path / "disk", config_type="alphabet")))
    done = copickfs("check", str(config))
    assert done.returncode != 0
    assert "unknown kind of layer" in done.stderr
    assert "filesystem" in done.stderr
    assert "Traceback" not in done.stderr


def _fail(call: Callable[..., object], *args: object) -> int:
    with pytest.raises(OSError, match=r"\S") as error:
        call(*args)
    return error.value.errno or 0


def test_every_handler_survives_every_exception(
    mount: Mounter, install: Callable[[str, str], None], tmp_path: Path
) -> None:
    install("faults", FAULTS)
    armed = tmp_path / "armed"
    mount.expect_warning("unforeseen error in")
    point = mount(configuration(tmp_path / "disk", config_type="faults", armed=str(armed)))
    pid = mount.pid(point)
    chunk = os.open(point / "x.zarr" / "0", os.O_RDONLY)
    directory = os.open(point / "a", os.O_RDONLY | os.O_DIRECTORY)
    armed.touch()
    try:
        assert _fail(os.stat, point / "missing") == errno.EIO  # lookup
        assert _fail(os.listdir, directory) == errno.EIO  # readdir
        assert _fail(os.listdir, point) == errno.EIO  # opendir
        assert _fail(os.pread, chunk, 10, 0) == errno.EIO  # read
        assert _fail(os.open, point / "a" / "b.txt", os.O_RDONLY) == errno.EIO  # lookup or open
        assert _fail(os.statvfs, point) == errno.EIO
        assert _fail(os.getxattr, point, "user.copickfs.layer") == errno.EIO
        assert _fail(os.listxattr, point) == errno.EIO
    finally:
        os.close(chunk)  # release
        os.close(directory)  # releasedir
    for late in ("release;", "releasedir;"):  # nobody waits for the answers to these
        wait_until(lambda late=late: f"unforeseen error in {late}" in mount.log(), what=late)
    armed.unlink()
    assert (point / "a" / "b.txt").read_bytes() == b"hello"
    assert (point / "x.zarr" / "0").read_bytes() == b"chunk" * 50_000
    assert mount.pid(point) == pid
    faults = {
        line.split("unforeseen error in ")[1].split(";")[0]
        for line in mount.log().splitlines()
        if "unforeseen error in " in line
    }
    assert faults >= {
        "lookup", "readdir", "opendir", "read", "statfs", "getxattr", "listxattr", "release", "releasedir",
    }  # fmt: skip
