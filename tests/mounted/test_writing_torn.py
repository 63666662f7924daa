"""Readers of files that are being rewritten see one whole version or another: never a part, never nothing.

Four readers make 10,000 reads in all, in turn through the mount and of the write layer itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import zarr

from tests import torn
from tests.mounted.conftest import put
from tests.sandbox import wait_until
from tests.torn import Found

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.writing import WritableStack

CHECKOUT = Path(__file__).parents[2]
RUN = "ExperimentRuns/TS_001"
PICKS = f"{RUN}/Picks/user_1_ribosome.json"
STORE = f"{RUN}/VoxelSpacing10.000/wbp.zarr"
CHUNK = f"{STORE}/0/0/0/0"
READERS = 4
FOR_EVER = 1_000_000
LIMIT_S = 100


class Programs:
    """Writers and readers in processes of their own, ended with the test."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        """Start a program of `tests.torn`."""
        command = [sys.executable, "-m", "tests.torn", *map(str, arguments)]
        process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
        self._started.append(process)
        return process

    def finish(self, process: subprocess.Popen[str]) -> Found:
        """What a reader found."""
        output, _ = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0
        return Found(*json.loads(output))

    def kill(self, process: subprocess.Popen[str]) -> None:
        """End a writer as a crash would."""
        assert process.poll() is None, "the writer ended by itself"
        process.kill()
        process.communicate()

    def close(self) -> None:
        """End what a failed test has left."""
        for process in self._started:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


@pytest.fixture(params=[800, pytest.param(10_000, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])])
def reads(request: pytest.FixtureRequest) -> int:
    """How often is read while others write."""
    return int(request.param)


@pytest.fixture
def programs() -> Iterator[Programs]:
    made = Programs()
    yield made
    made.close()


@pytest.fixture
def project(writable: WritableStack) -> WritableStack:
    """Picks and a tomogram of one chunk in the write layer, and other picks below."""
    document = json.dumps(torn.picks_document(0)).encode()
    put(writable.lower[0] / PICKS, document)
    put(writable.lower[0] / RUN / ".meta", b"meta")
    put(writable.mine / PICKS, document)
    store = zarr.storage.FSStore(str(writable.mine / STORE), auto_mkdir=True, dimension_separator="/")
    group = zarr.group(store)
    array = group.create_dataset("0", shape=(64, 64, 64), chunks=(64, 64, 64), dtype="u4", compressor=None)
    array[...] = 0
    array.fill_value = None
    assert (writable.mine / CHUNK).stat().st_size == torn.CHUNK_BYTES
    writable.mount()
    return writable


def check(found: list[Found]) -> None:
    problems = [problem for one in found for problem in one.problems]
    assert not problems, "\n".join(problems)
    assert any(one.versions > 1 for one in found), "nothing was written meanwhile"


@pytest.mark.parametrize(
    ("writer", "path", "reader"),
    [
        ("write-picks", PICKS, "read-picks"),
        ("write-plain", PICKS, "read-picks"),
        ("write-chunk", CHUNK, "read-chunk"),
    ],
)
def test_readers_in_other_processes(
    project: WritableStack, programs: Programs, writer: str, path: str, reader: str, reads: int
) -> None:
    paths = (project.point / path, project.mine / path)
    before = paths[1].read_bytes()
    writing = programs.start(writer, paths[0], FOR_EVER)
    # What it writes with takes seconds to load.
    wait_until(lambda: paths[1].read_bytes() != before, 60, "the first version")
    readers = [programs.start(reader, reads // READERS, *paths) for _ in range(READERS)]
    found = [programs.finish(process) for process in readers]
    programs.kill(writing)
    check(found)
    assert sum(one.reads for one in found) == reads
    data = (project.point / path).read_bytes()
    assert data == (project.mine / path).read_bytes()
    (torn.version_of_picks if path == PICKS else torn.version_of_chunk)(data)


@pytest.mark.parametrize("path", [PICKS, CHUNK])
def test_readers_in_the_process_of_the_writer(project: WritableStack, path: str, reads: int) -> None:
    paths = [str(project.point / path), str(project.mine / path)]
    version_of = torn.version_of_picks if path == PICKS else torn.version_of_chunk
    found: list[Found] = []
    readers = [
        threading.Thread(target=lambda: found.append(torn.read(paths, reads // READERS, version_of)))
        for _ in range(READERS)
    ]
    for thread in readers:
        thread.start()
    version = 0
    while any(thread.is_alive() for thread in readers):
        version += 1
        if path == PICKS:
            with open(paths[0], "w") as file:
                json.dump(torn.picks_document(version), file)
        else:
            with open(paths[0], "wb", buffering=0) as chunk:
                half = version.to_bytes(4, "little") * (torn.CHUNK_BYTES // 8)
                chunk.write(half)
                chunk.write(half)
    for thread in readers:
        thread.join()
    check(found)
    assert version_of(Path(paths[0]).read_bytes()) == version


def test_new_files_are_absent_or_whole(project: WritableStack, programs: Programs) -> None:
    count = 20
    directories = [root / RUN / "New" / "Picks" for root in (project.point, project.mine)]
    directories[0].mkdir(parents=True)
    readers = [programs.start("read-new", count, *directories) for _ in range(READERS)]
    writing = programs.start("write-new", directories[0], count)
    found = [programs.finish(process) for process in readers]
    assert writing.wait(LIMIT_S) == 0
    problems = [problem for one in found for problem in one.problems]
    assert not problems, "\n".join(problems)
    for directory in directories:
        assert len(os.listdir(directory)) == count


@pytest.mark.parametrize("path", [PICKS, f"{RUN}/Picks/user_2_new.json", f"{STORE}/0/1/0/0"])
def test_a_killed_writer_publishes_nothing(project: WritableStack, programs: Programs, path: str) -> None:
    seen = (project.point / path, project.mine / path)
    before = [each.read_bytes() if each.exists() else None for each in seen]
    listed = [sorted(os.listdir(each.parent)) for each in seen if each.parent.exists()]
    if not seen[0].parent.exists():
        seen[0].parent.mkdir(parents=True)
        listed = [[], []]
    for _ in range(2):
        writing = programs.start("half", seen[0])
        assert writing.stdout
        assert writing.stdout.readline() == "half\n"
        programs.kill(writing)
    wait_until(lambda: not leftovers_of(project), what="the end of the killed writers' versions")
    assert [each.read_bytes() if each.exists() else None for each in seen] == before
    assert [sorted(os.listdir(each.parent)) for each in seen] == listed


def leftovers_of(project: WritableStack) -> list[str]:
    from tests.writing import leftovers

    return leftovers(project.mine)


def test_a_killed_writer_of_a_plain_file_leaves_what_it_wrote(
    project: WritableStack, programs: Programs
) -> None:
    """As on a local disk."""
    path = project.point / "notes.json"
    writing = programs.start("half", path)
    assert writing.stdout
    assert writing.stdout.readline() == "half\n"
    programs.kill(writing)
    text = json.dumps(torn.picks_document(7))
    assert path.read_text() == text[: len(text) // 2]


def test_a_reader_keeps_the_version_that_it_has_open(project: WritableStack) -> None:
    for root in (project.point, project.mine):
        with open(root / PICKS, "rb", buffering=0) as old:
            before = old.read(1_000)
            with open(project.point / PICKS, "w") as file:
                json.dump(torn.picks_document(3), file)
                file.flush()
                # The writing thread itself sees what it has written so far; nobody else does.
                with ThreadPoolExecutor(1) as other:
                    seen = other.submit((root / PICKS).read_bytes).result()
                assert torn.version_of_picks(seen) != 3
            assert torn.version_of_picks((root / PICKS).read_bytes()) == 3
            assert torn.version_of_picks(before + old.readall()) != 3
        with open(project.point / PICKS, "w") as file:
            json.dump(torn.picks_document(0), file)
