"""A mount of a layer that leaves lengths out of listings, and that tells what it knows of its files."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests import telling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Mounter

RUN = "ExperimentRuns/17"
PICKS = f"{RUN}/Picks"
LONG = 300_000
FILES: dict[str, str | int] = {
    f"{PICKS}/data_1_ribosome.json": '{"points": []}',
    f"{PICKS}/data_2_long.json": LONG,
    f"{PICKS}/data_3_copied.json": 5_000,
    f"{PICKS}/notes.sized": "eleven chars",
}
READERS = ("read_at_once", "read_at_the_end", "read_by_cat", "read_as_a_file", "read_mapped")
READS = {
    f"Reads/{reader}/{name}": size
    for reader in READERS
    for name, size in (("long.json", LONG), ("short.json", 9))
}
PORTAL = {"run_name": "TS_026", "dataset": 10_000, "authors": ["Jane Doe", "Zoë Ünal"]}
DESCRIBED = {
    RUN: {"portal.run_name": "TS_026", "portal.dataset": "10000"},
    f"{PICKS}/data_1_ribosome.json": {"portal.authors": "Jane Doe, Zoë \ud800", "undotted": "no"},
}
KNOWN = {
    RUN: {"portal": PORTAL},
    f"{PICKS}/data_1_ribosome.json": {"points": 12, "portal": PORTAL},
    f"{PICKS}/data_2_long.json": {},
    f"{PICKS}/data_3_copied.json": {},
}
MAPS = """
import ctypes, os, sys
path, size = sys.argv[1], int(sys.argv[2])
os.listdir(os.path.dirname(path))
descriptor = os.open(path, os.O_RDONLY)
mmap = ctypes.CDLL(None).mmap
mmap.restype = ctypes.c_void_p
mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
address = mmap(None, size, 1, 2, descriptor, 0)
first = ctypes.string_at(address, size)
os.listdir(os.path.dirname(path))
assert ctypes.string_at(address, size) == first
sys.stdout.buffer.write(first)
"""


class Told:
    """A mount of the layer over one on a disk, which is written."""

    def __init__(self, mount: Mounter, directory: Path, *, is_forgetful: bool = False) -> None:
        self.disk = directory / "disk"
        self.disk.mkdir()
        self._log = directory / "asked"
        self._mounter = mount
        self.config: dict[str, Any] = {
            "config_type": "multilayer",
            "layers": ["disk", "portal"],
            "default_write_layer": "disk",
            "layer_configs": {
                "disk": {
                    "config_type": "filesystem", "layer_name": "disk", "priority": 50, "root": str(self.disk),
                    "read_only": False,
                },
                "portal": {
                    "config_type": "telling", "layer_name": "portal", "priority": 10, "read_only": True,
                    "files": {**FILES, **READS}, "described": DESCRIBED, "known": KNOWN,
                    "log": str(self._log), "is_forgetful": is_forgetful,
                },
            },
        }  # fmt: skip
        self.point = mount(self.config)

    def asked(self) -> list[str]:
        """What the layer was asked since the last call."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        self._log.write_text("")
        return [line for line in lines if line.endswith((".json", ".sized"))]

    def requests(self, operation: str) -> int:
        """How many requests of a kind the kernel has made."""
        return int(self._mounter.status(self.point)["operations"].get(operation, 0))


@pytest.fixture
def told(mount: Mounter, install: Callable[[str, str], None], tmp_path: Path) -> Told:
    with open(telling.__file__) as file:
        install("telling", file.read())
    return Told(mount, tmp_path)


def expected(path: str) -> bytes:
    data = {**FILES, **READS}[path]
    return bytes(i * 7 % 251 for i in range(data)) if isinstance(data, int) else data.encode()


def test_names_cost_no_lengths_and_lengths_are_asked_for_once(told: Told) -> None:
    directory = told.point / PICKS
    told.asked()
    with os.scandir(directory) as entries:
        assert {entry.name: entry.is_file() for entry in entries} == {
            os.path.basename(path): True for path in FILES
        }
    subprocess.run(["ls", "-U", directory], check=True, capture_output=True)
    assert told.asked() == []
    with opened(directory) as descriptor:
        before = told.requests("getattr")
        for _ in range(500):
            assert os.stat("notes.sized", dir_fd=descriptor).st_size == 12
        assert told.requests("getattr") - before < 100  # those of the question itself
    numbers = {name: os.stat(directory / name).st_ino for name in os.listdir(directory)}
    for path in FILES:
        status = os.stat(told.point / path)
        assert status.st_size == len(expected(path))
        assert status.st_blocks == -(-status.st_size // 512)
    stats = [f"stat {path}" for path in FILES if path.endswith(".json")]
    assert sorted(told.asked()) == sorted(stats)
    with os.scandir(directory) as entries:
        assert {entry.name: entry.inode() for entry in entries} == numbers
    listed = subprocess.run(["ls", "-l", directory], check=True, capture_output=True, text=True).stdout
    assert {line.split()[4] for line in listed.splitlines()[1:]} == {str(len(expected(p))) for p in FILES}


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_at_once(path: Path, size: int) -> bytes:
    with opened(path) as descriptor:
        return os.read(descriptor, size + 10)


def read_at_the_end(path: Path, size: int) -> bytes:
    with opened(path) as descriptor:
        end = os.pread(descriptor, 1_000, size - 7)
        return os.pread(descriptor, size - len(end), 0) + end


def read_by_cat(path: Path, _size: int) -> bytes:
    return subprocess.run(["cat", path], check=True, capture_output=True).stdout


def read_as_a_file(path: Path, _size: int) -> bytes:
    return path.read_bytes()


def read_mapped(path: Path, size: int) -> bytes:
    command = [sys.executable, "-c", MAPS, path, str(size)]
    return subprocess.run(command, check=True, capture_output=True).stdout


def test_what_was_only_listed_is_read_whole(told: Told) -> None:
    for read in (read_at_once, read_at_the_end, read_by_cat, read_as_a_file, read_mapped):
        directory = f"Reads/{read.__name__}"
        assert sorted(os.listdir(told.point / directory)) == ["long.json", "short.json"]
        for name in ("long.json", "short.json"):
            data = expected(f"{directory}/{name}")
            assert read(told.point / directory / name, len(data)) == data


def test_what_was_only_listed_is_appended_to(told: Told) -> None:
    path = f"{PICKS}/data_3_copied.json"
    os.listdir(told.point / PICKS)
    with (told.point / path).open("ab") as file:
        file.write(b"more")
    assert (told.disk / path).read_bytes() == expected(path) + b"more"
    assert (told.point / path).read_bytes() == expected(path) + b"more"


def test_a_listing_cuts_nothing_that_is_mapped(
    mount: Mounter, install: Callable[[str, str], None], tmp_path: Path
) -> None:
    with open(telling.__file__) as file:
        install("telling", file.read())
    told = Told(mount, tmp_path, is_forgetful=True)
    for path in FILES:
        assert read_mapped(told.point / path, len(expected(path))) == expected(path)


def test_what_layers_say_of_a_path_are_its_attributes(told: Told) -> None:
    file, run = told.point / PICKS / "data_1_ribosome.json", told.point / RUN
    assert os.getxattr(file, "user.copickfs.portal.authors").decode() == "Jane Doe, Zoë ?"
    assert "user.copickfs.portal.authors" in os.listxattr(file)
    assert not {"user.copickfs.undotted", "user.copickfs.portal.run_name"} & set(os.listxattr(file))
    for absent in ("user.copickfs.portal.run_name", "user.copickfs.undotted"):
        with pytest.raises(OSError, match=r"\[Errno 61\]"):
            os.getxattr(file, absent)
    (told.point / RUN / "Meshes").mkdir()  # from now on the run merges
    shown = {name: os.getxattr(run, name) for name in os.listxattr(run) if ".portal." in name}
    assert shown == {"user.copickfs.portal.run_name": b"TS_026", "user.copickfs.portal.dataset": b"10000"}
    assert os.getxattr(run, "user.copickfs.layers") == b"disk,portal"


def test_what_layers_say_is_copied_by_nobody(told: Told, tmp_path: Path) -> None:
    file = told.point / PICKS / "data_1_ribosome.json"
    os.setxattr(file, "user.copickfs.portal.authors", b"me")
    os.removexattr(file, "user.copickfs.portal.authors")
    os.setxattr(file, "user.copickfs.portal.new", b"mine")
    assert os.getxattr(file, "user.copickfs.portal.authors").startswith(b"Jane")
    with pytest.raises(PermissionError):
        os.setxattr(file, "user.copickfs.new", b"mine")
    assert not (told.disk / PICKS).exists()
    other = file.with_name("me_1_ribosome.json")
    done = subprocess.run(["cp", "-a", file, other], check=True, capture_output=True, text=True)
    assert done.stderr == ""
    os.chmod(file, 0o600)
    for name in (file.name, other.name):
        assert (told.disk / PICKS / name).read_text() == FILES[f"{PICKS}/{file.name}"]
        assert [x for x in os.listxattr(told.disk / PICKS / name) if x.startswith("user.copickfs")] == []
    copied = tmp_path / "elsewhere.json"
    subprocess.run(["cp", "--preserve=xattr", told.point / PICKS / "data_3_copied.json", copied], check=True)
    assert copied.stat().st_size == 5_000


def test_runs_are_found_by_the_names_that_people_know(
    told: Told, copickfs: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    (told.point / PICKS / "me_1_ribosome.json").write_text('{"points": []}')
    (told.point / "ExperimentRuns" / "TS_099").mkdir()
    told.asked()
    answer = copickfs("find", str(told.point), "--run-name", "TS_02*", "--json", check=True)
    found = json.loads(answer.stdout)
    (run,) = found["runs"]
    assert (run["run"], run["run_name"], run["metadata"]) == ("17", "TS_026", {"portal": PORTAL})
    sizes = {picks["path"]: picks["size_bytes"] for picks in found["picks"]}
    assert sizes[f"{PICKS}/me_1_ribosome.json"] == 14
    assert sizes[f"{PICKS}/data_1_ribosome.json"] is None
    assert {picks["run_name"] for picks in found["picks"]} == {"TS_026"}
    both = copickfs(
        "find", told.point, "--run-name", "TS_02?", "--run-name", "TS_099", "--type", "run", check=True
    )
    assert "run name" in both.stdout
    assert "TS_099" in both.stdout
    mine = copickfs("find", told.point, "--run-name", "TS_026", "--user", "me", "--paths", check=True).stdout
    assert mine.splitlines() == [f"{told.point}/{PICKS}/me_1_ribosome.json"]
    searched = copickfs("search", told.point, '"Jane Doe"', "--type", "picks", "--paths", check=True).stdout
    assert searched.splitlines() == [f"{told.point}/{PICKS}/data_1_ribosome.json"]
    asked = [line for line in told.asked() if "data_1_ribosome" in line]
    assert asked == []
