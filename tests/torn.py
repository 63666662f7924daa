"""Writers and readers of files that are published whole: picks of 2,000 points, and chunks of one value.

``python -m tests.torn write-picks|write-plain|write-new|write-chunk PATH VERSIONS`` writes one version after
the other; ``... read-picks|read-chunk COUNT PATH...`` reads until it has read COUNT times and prints what it
found as JSON; ``... read-new COUNT DIRECTORY...`` looks at new names as they come. ``... half PATH`` writes
half of a file, says so, and waits to be killed.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

POINTS = 2_000
CHUNK_BYTES = 1 << 20
_MOST_PROBLEMS = 10


class Found(NamedTuple):
    """What a reader saw: how often it read, how many versions there were, and what was wrong."""

    reads: int
    versions: int
    problems: list[str]


def picks_document(version: int) -> dict[str, Any]:
    """A picks file as copick has it; every point says which version it is of."""
    point = {
        "location": {"x": version + 0.25, "y": 1.5, "z": 2.75},
        "transformation_": [
            [1.0, 0.0, 0.0, 0.0],
            [0.0, 1.0, 0.0, 0.0],
            [0.0, 0.0, 1.0, 0.0],
            [0.0, 0.0, 0.0, 1.0],
        ],
        "instance_id": version,
        "score": 1.0,
    }
    return {
        "pickable_object_name": "ribosome",
        "user_id": "user",
        "session_id": "1",
        "run_name": "TS_001",
        "voxel_spacing": 10.0,
        "unit": "angstrom",
        "points": [point] * POINTS,
        "trust_orientation": True,
    }


def version_of_picks(data: bytes) -> int:
    """The version of a whole picks file; raises ValueError if it is no whole one."""
    points = json.loads(data)["points"]
    (version,) = {point["instance_id"] for point in points}
    if len(points) != POINTS:
        raise ValueError(f"{len(points)} points")
    return int(version)


def version_of_chunk(data: bytes) -> int:
    """The value that a whole chunk has in every place."""
    if len(data) != CHUNK_BYTES:
        raise ValueError(f"{len(data)} bytes")
    if data != data[:4] * (CHUNK_BYTES // 4):
        raise ValueError("a mixture")
    return int.from_bytes(data[:4], "little")


def write_plain(path: str, versions: int) -> None:
    """What most programs do."""
    for version in range(1, versions + 1):
        with open(path, "w") as file:
            json.dump(picks_document(version), file, indent=4)


def write_picks(path: str, versions: int) -> None:
    """What copick does."""
    from copick.impl.filesystem import CopickConfigFSSpec, CopickRootFSSpec
    from copick.models import CopickPicksFile

    run_directory = Path(path).parent.parent
    objects = [{"name": "ribosome", "is_particle": True, "label": 1}]
    config = CopickConfigFSSpec(
        overlay_root=f"local://{run_directory.parent.parent}",
        overlay_fs_args={"auto_mkdir": True},
        pickable_objects=objects,
    )
    run = CopickRootFSSpec(config).get_run(run_directory.name)
    (picks,) = run.get_picks("ribosome", user_id="user", session_id="1")
    for version in range(1, versions + 1):
        picks.meta = CopickPicksFile(**picks_document(version))
        picks.store()


def write_chunk(path: str, versions: int) -> None:
    """A chunk of a tomogram, by zarr as copick calls it."""
    import numpy as np
    import zarr

    store, _, key = path.partition(".zarr/")
    root = zarr.storage.FSStore(f"{store}.zarr", mode="w", dimension_separator="/", create=False)
    array = zarr.open(root)[key.partition("/")[0]]
    for version in range(1, versions + 1):
        array[...] = np.uint32(version)


def write_new(directory: str, versions: int) -> None:
    """New files, one after the other."""
    for version in range(1, versions + 1):
        with open(f"{directory}/user_{version}_ribosome.json", "w") as file:
            json.dump(picks_document(version), file)


def half(path: str) -> None:
    """Write half of a file, and wait to be killed in the middle."""
    with open(path, "w") as file:
        text = json.dumps(picks_document(7))
        file.write(text[: len(text) // 2])
        file.flush()
        say("half")
        time.sleep(600)


def read(paths: Sequence[str], count: int, version_of: Callable[[bytes], int]) -> Found:
    """Read the paths in turn, ``count`` times in all. A version that is seen again is not parsed again."""
    known: dict[bytes, int] = {}
    problems: list[str] = []
    for number in range(count):
        path = paths[number % len(paths)]
        try:
            with open(path, "rb", buffering=0) as file:
                data = file.readall()
            digest = hashlib.blake2b(data, digest_size=16).digest()
            if digest not in known:
                known[digest] = version_of(data)
        except (OSError, ValueError) as error:
            problems.append(f"read {number} of {path}: {type(error).__name__}: {error}"[:300])
            if len(problems) == _MOST_PROBLEMS:
                break
    return Found(count, len(known), problems)


def read_new(directories: Sequence[str], count: int) -> Found:
    """Look for the next files until there are ``count``: each is absent or whole, and stays."""
    problems: list[str] = []
    looks = 0
    last = dict.fromkeys(directories, 0)
    while min(last.values()) < count and len(problems) < _MOST_PROBLEMS:
        for directory in directories:
            looks += 1
            for version, data in _next_files(directory, last[directory] + 1):
                try:
                    if version_of_picks(data) != version:
                        problems.append(f"{directory}: another version in {version}")
                except ValueError as error:
                    problems.append(f"{directory}: {version} has {len(data)} bytes: {error}"[:300])
                last[directory] = max(last[directory], version)
    return Found(looks, min(last.values()), problems)


def _next_files(directory: str, version: int) -> Iterator[tuple[int, bytes]]:
    """The file of a version if it can be opened, and what the listing has from there on."""
    wanted = {f"user_{version}_ribosome.json"} | set(os.listdir(directory))
    for name in wanted:
        number = int(name.split("_")[1])
        if number >= version:
            try:
                yield number, Path(directory, name).read_bytes()
            except FileNotFoundError:
                if name != f"user_{version}_ribosome.json":
                    raise


def say(line: str) -> None:
    """Tell the test."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> None:
    """Do what the command line says."""
    action, *rest = arguments
    if action == "half":
        half(rest[0])
    elif action.startswith("write-"):
        writers = {"picks": write_picks, "plain": write_plain, "new": write_new, "chunk": write_chunk}
        writers[action.removeprefix("write-")](rest[0], int(rest[1]))
    elif action == "read-new":
        say(json.dumps(read_new(rest[1:], int(rest[0]))))
    else:
        version_of = {"read-picks": version_of_picks, "read-chunk": version_of_chunk}[action]
        say(json.dumps(read(rest[1:], int(rest[0]), version_of)))


if __name__ == "__main__":
    main(sys.argv[1:])
