"""The measured writing, run as a program of its own as ``worker.py`` is.

``write_worker.py WORK ROOT LIST SIZE`` does one work below ROOT and prints a JSON object with ``seconds``,
``operations`` and ``bytes``. LIST names a file with one path a line, relative to ROOT. Only the work is
timed, not the start of the interpreter and not the making of what is written. The works ``check-*`` end
with a message and a non-zero status unless what was written is there. It uses the standard library alone,
but for the works that are copick's.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

OLD, NEW = "old", "new"
PATCH_BYTES = 4096
VOXEL_SIZE = 10.0
_NOISE = random.Random(7).randbytes(33 << 20)
_HEADER_BYTES = 32

Result = tuple[float, int, int]
"""Seconds, operations done, bytes written."""


def contents(path: str, version: str, size: int) -> bytes:
    """Incompressible contents of a file that no other path and no other version has."""
    header = hashlib.sha256(f"{version}:{path}".encode(errors="surrogateescape")).digest()
    return (header + _NOISE[: size - _HEADER_BYTES])[:size]


def write(root: str, paths: list[str], size: int) -> Result:
    """Open, write and close each file, new or not; missing directories are made."""
    made: set[str] = set()
    seconds = 0.0
    for path in paths:
        data = contents(path, NEW, size)
        directory = os.path.dirname(f"{root}/{path}")  # noqa: PTH120
        started = time.perf_counter()
        if directory not in made:
            os.makedirs(directory, exist_ok=True)  # noqa: PTH103
            made.add(directory)
        with open(f"{root}/{path}", "wb") as file:  # noqa: PTH123 -- what zarr and copick call
            file.write(data)
        seconds += time.perf_counter() - started
    return seconds, len(paths), len(paths) * size


def patch(root: str, paths: list[str], _size: int) -> Result:
    """Change a few bytes in the middle of each file."""
    started = time.perf_counter()
    for path in paths:
        with open(f"{root}/{path}", "r+b") as file:  # noqa: PTH123
            file.seek(PATCH_BYTES)
            file.write(bytes(PATCH_BYTES))
    return time.perf_counter() - started, len(paths), len(paths) * PATCH_BYTES


def delete(root: str, paths: list[str], size: int) -> Result:
    """Remove whole directories, which hold ``size`` files together."""
    started = time.perf_counter()
    for path in paths:
        shutil.rmtree(f"{root}/{path}")
    return time.perf_counter() - started, size, 0


def tomogram(root: str, paths: list[str], size: int) -> Result:
    """Have copick store a volume of ``size`` bytes, as one level of a new tomogram of each run."""
    project, data = _project(root), _volume(size)
    started = time.perf_counter()
    for run in paths:
        made = project.new_run(run).new_voxel_spacing(VOXEL_SIZE).new_tomogram("wbp")
        made.from_numpy(data, levels=1)
    return time.perf_counter() - started, len(paths), len(paths) * size


def check_write(root: str, paths: list[str], size: int) -> Result:
    """All files hold what `write` has written."""
    for path, data in _read(root, paths):
        _require(data == contents(path, NEW, size), f"{path} is not what was written")
    return 1.0, len(paths), 0


def check_patch(root: str, paths: list[str], size: int) -> Result:
    """All files hold what `patch` has made of the old ones."""
    for path, data in _read(root, paths):
        expected = bytearray(contents(path, OLD, size))
        expected[PATCH_BYTES : 2 * PATCH_BYTES] = bytes(PATCH_BYTES)
        _require(data == expected, f"{path} is not what was written")
    return 1.0, len(paths), 0


def check_old(root: str, paths: list[str], size: int) -> Result:
    """All files hold what they held before."""
    for path, data in _read(root, paths):
        _require(data == contents(path, OLD, size), f"{path} has changed")
    return 1.0, len(paths), 0


def check_delete(root: str, paths: list[str], _size: int) -> Result:
    """Nothing is there any more."""
    for path in paths:
        above, _, name = f"{root}/{path}".rpartition("/")
        gone = not os.path.lexists(f"{root}/{path}") and name not in os.listdir(above)  # noqa: PTH208
        _require(gone, f"{path} is still there")
    return 1.0, len(paths), 0


def check_tomogram(root: str, paths: list[str], size: int) -> Result:
    """Copick reads the volumes back."""
    project, data = _project(root), _volume(size)
    for run in paths:
        (found,) = project.get_run(run).get_voxel_spacing(VOXEL_SIZE).get_tomograms("wbp")
        _require((found.numpy() == data).all(), f"{run}: the tomogram is not what was written")
    return 1.0, len(paths), 0


def _read(root: str, paths: list[str]) -> Iterator[tuple[str, bytes]]:
    for path in paths:
        yield path, Path(root, path).read_bytes()


def _require(condition: object, message: str) -> None:
    if not condition:
        raise SystemExit(message)


def _project(root: str) -> Any:
    from copick.impl.filesystem import CopickConfigFSSpec, CopickRootFSSpec

    config = CopickConfigFSSpec(
        pickable_objects=[], overlay_root=f"local://{root}", overlay_fs_args={"auto_mkdir": True}
    )
    return CopickRootFSSpec(config)


def _volume(size: int) -> Any:
    """Noise of ``size`` bytes, a cube of float32 or nearly one."""
    import numpy as np

    depth = size // 4 // 256 // 256
    return np.random.default_rng(7).standard_normal((depth, 256, 256), dtype=np.float32)


WORKS = {
    "write": write,
    "patch": patch,
    "delete": delete,
    "tomogram": tomogram,
    "check-write": check_write,
    "check-patch": check_patch,
    "check-old": check_old,
    "check-delete": check_delete,
    "check-tomogram": check_tomogram,
}


def main() -> None:
    work, root, listing, size = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    paths = Path(listing).read_text().splitlines()
    seconds, operations, written = WORKS[work](root, paths, size)
    print(json.dumps({"seconds": seconds, "operations": operations, "bytes": written}))


if __name__ == "__main__":
    main()
