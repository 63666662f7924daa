"""Views on a real mount: what changes is seen, what is not read costs nothing, an outage is no zeros."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import mrcfile
import numpy as np
import pytest
import zarr

from tests.mounted.stores import STORE, asked, tomogram, with_local
from tests.mounted.stores import cached as without_views
from tests.objectstore import ObjectStore
from tests.projects import Project, copick_root, write_templates
from tests.sandbox import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Mounter
    from tests.sandbox import Run

VOLUME = "Views/TS_1/VoxelSpacing10.000/wbp.mrc"
PICKS = "ExperimentRuns/TS_1/Picks/alice_1_ribosome.json"
STAR = "Views/TS_1/Picks/alice_1_ribosome.star"


def cached(store: ObjectStore, directory: Path, **options: Any) -> dict[str, Any]:
    return {**without_views(store, directory, **options), "views": True}


def picks(number: int) -> bytes:
    points = [{"location": {"x": 1.0 * n, "y": 2.0, "z": 3.0}} for n in range(number)]
    document = {"pickable_object_name": "ribosome", "user_id": "alice", "session_id": "1", "points": points}
    return json.dumps(document).encode()


def particles(star: Path) -> int:
    text = star.read_text()
    assert len(text) == star.stat().st_size
    return sum(line.startswith("TS_1 ") for line in text.splitlines())


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    with ObjectStore() as opened:
        yield opened


@pytest.fixture
def lab(store: ObjectStore, tmp_path: Path) -> np.ndarray[Any, Any]:
    """A tomogram and picks in an object store; the voxels."""
    voxels, objects = tomogram(tmp_path / "made")
    store.fill({**objects, PICKS: picks(3)})
    return voxels


def test_what_changes_is_seen(mount: Mounter, tmp_path: Path) -> None:
    project = Project(write_templates(tmp_path / "templates"), tmp_path)
    point = mount(project.file)
    directory = point / "ExperimentRuns/TS_001/Picks"
    star = point / "Views/TS_001/Picks/bob_9_ribosome.star"
    assert not star.exists()
    for number in range(1, 12):  # through the mount: at once, each time
        (directory / "bob_9_ribosome.json").write_bytes(picks(number))
        assert star.read_text().count("\nTS_001 ") == number
        assert (point / "Views/TS_001/particles.star").read_text().count("\nTS_001 ") == number + 5
    other = project.path("mine", "ExperimentRuns/TS_001/Picks/bob_9_ribosome.json")
    other.write_bytes(picks(99))  # by another program, in the layer
    wait_until(lambda: star.read_text().count("\nTS_001 ") == 99, what="99 particles")
    (directory / "bob_9_ribosome.json").unlink()
    assert not star.exists()

    volume = point / "Views/TS_001/VoxelSpacing10.000/wbp.mrc"
    array = zarr.open_group(str(point / "ExperimentRuns/TS_001/VoxelSpacing10.000/wbp.zarr"))["0"]
    with mrcfile.open(volume) as opened:
        assert np.array_equal(opened.data, array[:])
    for number in range(5):
        array[3, 4, 5] = number
        with mrcfile.mmap(volume) as mapped:
            assert mapped.data[3, 4, 5] == number
            assert np.array_equal(mapped.data, array[:])


def test_views_are_chosen(mount: Mounter, copickfs: Run, tmp_path: Path) -> None:
    project = Project(write_templates(tmp_path / "templates"), tmp_path)
    point = mount(project.configure(views=False))
    assert sorted(os.listdir(point)) == ["ExperimentRuns", "Objects", "copick_config.json"]
    mount.umount(point)
    point = mount(project.configure(views=["star", "stl"]))
    assert sorted(os.listdir(point / "Views/TS_001")) == ["Meshes", "Picks", "particles.star"]
    assert os.listdir(point / "Views/TS_001/Meshes") == ["alice_1_membrane.stl"]
    refused = copickfs("check", project.configure(views=["sta"]))
    assert refused.returncode
    (line,) = refused.stderr.splitlines()
    assert "views.formats: no renderer 'sta' is installed; did you mean 'star'?" in line


def test_a_listing_asks_for_nothing_that_the_index_knows(
    store: ObjectStore, lab: np.ndarray[Any, Any], mount: Mounter, copickfs: Run, tmp_path: Path
) -> None:
    runs = 20
    objects = store.objects()
    for number in range(2, runs + 1):
        store.fill({key.replace("TS_1", f"TS_{number}"): data for key, data in objects.items()})
    config = mount.config_file(cached(store, tmp_path, ttl=3600))
    copickfs("index", config, check=True)
    point = mount(config)
    with store.recorded() as requests:
        listed = subprocess.run(
            ["ls", "-lR", str(point / "Views")], capture_output=True, text=True, check=True
        ).stdout
        assert asked(requests) == Counter()
    assert listed.count("wbp.mrc") == runs
    assert listed.count(f" {1024 + lab.nbytes} ") == runs
    with store.recorded() as requests:
        assert particles(point / STAR) == 3
        # numpy's own reading would hold up the threads of the store.
        with (point / VOLUME).open("rb", buffering=0) as file:
            plane = os.pread(file.fileno(), 24 * 24 * 4, 1024 + 9 * 24 * 24 * 4)
        assert np.array_equal(np.frombuffer(plane, np.float32).reshape(24, 24), lab[9])
        known = asked(requests)
    assert not known[f"GET {PICKS}"]  # indexing has read it, so it is in the cache
    chunks = {key for key in known if key.startswith(f"GET {STORE}/0/") and not key.endswith(".zarray")}
    # The plane's own nine, and those behind them, which a reader that goes on would ask for.
    assert {f"GET {STORE}/0/1/{y}/{x}" for y in range(3) for x in range(3)} <= chunks
    assert all(known[key] == 1 for key in chunks)


def test_readers_share_what_was_fetched_and_decoded(
    store: ObjectStore, lab: np.ndarray[Any, Any], mount: Mounter, tmp_path: Path
) -> None:
    point = mount(cached(store, tmp_path))
    found: list[bytes] = []
    with store.recorded() as requests:
        readers = [
            threading.Thread(target=lambda: found.append((point / VOLUME).read_bytes())) for _ in range(4)
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        counts = asked(requests)
    assert found == [found[0]] * 4
    assert np.array_equal(np.frombuffer(found[0], np.float32, offset=1024).reshape(lab.shape), lab)
    contents = {key: count for key, count in counts.items() if key.startswith(f"GET {STORE}/0/")}
    assert set(contents.values()) == {1}


def test_an_outage_is_no_zeros(
    store: ObjectStore, lab: np.ndarray[Any, Any], mount: Mounter, tmp_path: Path
) -> None:
    """`on_unavailable: error`: the reader is told. Otherwise it waits, and nobody else does."""
    config = with_local(cached(store, tmp_path, on_unavailable="error", timeout=1), tmp_path / "mine")
    shutil.copytree(
        tmp_path / "made/wbp.zarr", tmp_path / "mine/ExperimentRuns/TS_2/VoxelSpacing10.000/wbp.zarr"
    )
    mount.expect_warning("lab")
    point = mount(config)
    size = (point / VOLUME).stat().st_size
    store.stop()
    with pytest.raises(OSError, match=r"Input/output|timed out"):
        (point / VOLUME).read_bytes()
    near = np.frombuffer((point / VOLUME.replace("TS_1", "TS_2")).read_bytes(), np.float32, offset=1024)
    assert np.array_equal(near.reshape(lab.shape), lab)
    store.start()

    def whole() -> bytes | None:
        try:
            return (point / VOLUME).read_bytes()
        except OSError:
            return None

    wait_until(lambda: whole() is not None, what="the store to be back")
    data = whole()
    assert data is not None
    assert len(data) == size
    assert np.array_equal(np.frombuffer(data, np.float32, offset=1024).reshape(lab.shape), lab)


def test_exact_statistics_on_request(mount: Mounter, copickfs: Run, tmp_path: Path) -> None:
    project = Project(write_templates(tmp_path / "templates"), tmp_path)
    voxels = np.random.default_rng(1).random((96, 96, 96), dtype=np.float32)
    spacing = copick_root(project.path("lab")).get_run("TS_001").get_voxel_spacing(10.0)
    spacing.new_tomogram("big").from_numpy(voxels, levels=2)
    point = mount(project.file)
    volume = "Views/TS_001/VoxelSpacing10.000/big.mrc"
    assert not mrcfile.validate(point / volume, print_file=io.StringIO())  # an estimate
    mount.umount(point)
    said = copickfs("index", "--statistics", project.file, check=True).stdout
    assert "13 volumes have exact statistics" in said
    point = mount(project.file)
    for path in sorted((point / "Views").rglob("*.mrc")):
        assert mrcfile.validate(path, print_file=io.StringIO()), path
