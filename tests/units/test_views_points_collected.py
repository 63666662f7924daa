"""The STAR files of a run, of an object in all runs, and of all tomograms."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import starfile
from copick.ops.export import export_relion_particles
from copick.util.formats import read_relion_tomograms
from copick.util.handlers.picks.star import star_handler

from copickfs.errors import NotFound, Stale, Unavailable, Unreadable
from copickfs.model import ByteRange
from copickfs.virtual.points import Star, joined
from copickfs.virtual.points.joined import Joined, Part
from tests.pointviews import (
    ACTIN,
    ACTIN_OBJECT,
    FULL,
    LOST,
    PLAIN,
    RIBOSOME,
    SHAPE,
    SPACED,
    VOXEL,
    Place,
    made,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STAR = Star()
RUN = "ExperimentRuns/TS_001"
POINTS = {FULL: 30, PLAIN: 3, ACTIN: 8, SPACED: 5, LOST: 4}
KNOWN: dict[str, dict[str, Any]] = {path: {"points": points} for path, points in POINTS.items()}


class Collection(Place):
    def __init__(self, directory: Path) -> None:
        self.root = written(directory / "project")
        self.out = directory
        super().__init__(directory / "project")

    def file(self, name: str, path: str | None = None, **more: Any) -> str:
        file = self.out / name
        file.write_bytes(made(STAR, self.source(path, **more), name))
        return str(file)

    def exported(self, uri: str, runs: list[str]) -> pd.DataFrame:
        file = str(self.out / "copick.star")
        export_relion_particles(self.root, uri, file, voxel_spacing=None, run_names=runs)
        frame: pd.DataFrame = starfile.read(file)
        return frame


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    place = Collection(tmp_path_factory.mktemp("collected"))
    yield place
    place.layer.close()


@pytest.fixture
def changed(project: Collection) -> Iterator[Collection]:
    """The project, for tests that change picks."""
    kept = {path: (project.directory / path).read_bytes() for path in POINTS}
    yield project
    for path, data in kept.items():
        project.write(path, data)


def sorted_rows(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sort_values(list(frame.columns)).reset_index(drop=True)


def comments(file: str) -> list[str]:
    with open(file) as lines:
        return [line[2:].rstrip("\n") for line in lines if line.startswith("# ")]


def test_which_files_there_are(project: Collection) -> None:
    assert STAR.files(project.source(None)) == [
        "tomograms.star", "particles_actin.star", "particles_proteasome.star", "particles_ribosome.star",
    ]  # fmt: skip
    assert STAR.files(project.source(RUN)) == ["particles.star"]
    assert STAR.files(project.source("ExperimentRuns/TS_003")) == []


def test_of_an_object_in_all_runs_that_have_a_tomogram(project: Collection) -> None:
    file = project.file("particles_ribosome.star")
    own = project.exported("ribosome:*/*", ["TS_001", "TS 2, b"])
    found = starfile.read(file)
    assert list(found) == list(own)
    pd.testing.assert_frame_equal(sorted_rows(found.round(5)), sorted_rows(own.round(5)), rtol=0, atol=1.1e-5)
    assert list(found.rlnTomoName) == ["TS 2, b"] * 5 + ["TS_001"] * 33
    assert comments(file) == [
        f"5 particles of {SPACED}",
        f"30 particles of {FULL}",
        f"3 particles of {PLAIN}",
        f"left out, for its run has no tomogram: 4 particles of {LOST}",
    ]


def test_of_a_run(project: Collection) -> None:
    file = project.file("particles.star", RUN)
    found = starfile.read(file)
    # Filaments and particles together are particles, as in copick's export.
    assert len(found) == 41
    assert "rlnHelicalTubeID" not in found
    assert comments(file) == [f"{POINTS[path]} particles of {path}" for path in (ACTIN, FULL, PLAIN)]
    begin = 0
    for path in (ACTIN, FULL, PLAIN):
        _, _, user, session, of = path.removesuffix(".json").replace("/", "_").rsplit("_", 4)
        own = project.exported(f"{of}:{user}/{session}", ["TS_001"])
        rows = found.iloc[begin : begin + len(own)].reset_index(drop=True)
        columns = [column for column in own if "Coordinate" in column]
        pd.testing.assert_frame_equal(rows[columns], own[columns], rtol=0, atol=1.1e-6)
        begin += len(own)


def test_of_filaments(project: Collection) -> None:
    found = starfile.read(project.file("particles_actin.star"))
    pd.testing.assert_frame_equal(found, project.exported("actin:*/*", ["TS_001"]), rtol=0, atol=1.1e-6)
    assert set(found.rlnAnglePsiFlipRatio) == {0.0, 0.5}


def test_of_an_object_that_is_nowhere(project: Collection) -> None:
    found = starfile.read(project.file("particles_proteasome.star"))
    assert len(found) == 0
    assert list(found) == list(starfile.read(project.file("particles_ribosome.star")))


def test_tomograms_and_particles_together_give_the_positions(project: Collection) -> None:
    tomograms = read_relion_tomograms(project.file("tomograms.star"))
    assert set(tomograms) == {"TS_001", "TS 2, b"}
    assert tomograms["TS_001"].center_angstrom == pytest.approx(np.array(SHAPE[::-1]) / 2 * VOXEL)
    table = starfile.read(project.out / "tomograms.star").set_index("rlnTomoName")
    assert table.loc["TS_001", ["rlnTomoSizeX", "rlnTomoSizeY", "rlnTomoSizeZ"]].tolist() == [20, 16, 12]
    assert table.rlnTomoReconstructedTomogram.to_dict() == {
        "TS_001": "TS_001/VoxelSpacing10.012/wbp.mrc",
        "TS 2, b": "TS 2, b/VoxelSpacing8.500/wbp.mrc",
    }
    file = project.file("particles_ribosome.star")
    found = star_handler.read_grouped(file, None, {}, tomograms=tomograms)
    own = project.root.get_run("TS 2, b").picks[0].full_positions()
    np.testing.assert_allclose(found["TS 2, b"][0], own, atol=1e-6)


@pytest.mark.parametrize("name", ["particles_ribosome.star", "tomograms.star"])
def test_a_length_is_told_from_counts(project: Collection, name: str) -> None:
    source = project.source(None, KNOWN)
    size_bytes = STAR.size_bytes(source, name)
    assert not [path for path in source.seen if path[0] not in "*?"]  # what is read is seen
    assert size_bytes == len(made(STAR, source, name))


def test_any_range_is_that_of_the_whole(project: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joined, "KEPT_BYTES", 1000)  # so that parts are made again
    source = project.source(None, KNOWN)
    whole = made(STAR, source, "particles_ribosome.star")
    contents = STAR.open(source, "particles_ribosome.star")
    random = np.random.default_rng(1)
    for start, stop in random.integers(0, len(whole) + 10, (60, 2)).tolist():
        assert contents.read(ByteRange(start, stop)) == whole[start:stop]


def test_only_what_a_range_touches_is_made_and_it_is_kept_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(joined, "KEPT_BYTES", 25)
    wrote: list[int] = []

    def part(number: int) -> Part:
        return Part(10, lambda: (wrote.append(number), b"%d" % number * 10)[1])

    contents = Joined([part(number) for number in range(5)])
    assert contents.read(ByteRange(15, 25)) == b"1" * 5 + b"2" * 5
    assert contents.read(ByteRange(12, 22)) == b"1" * 8 + b"2" * 2
    assert wrote == [1, 2]
    contents.read(ByteRange(45, 99))
    contents.read(ByteRange(29, 30))
    contents.read(ByteRange(10, 11))
    assert wrote == [1, 2, 4, 1]


def test_picks_that_change_while_they_are_read_are_stale(changed: Collection) -> None:
    source = changed.source(None, KNOWN)
    contents = STAR.open(source, "particles_ribosome.star")
    document = json.loads((changed.directory / PLAIN).read_bytes())
    document["points"][0]["location"]["x"] += 1
    changed.write(PLAIN, json.dumps(document).encode())
    begin = contents.read(ByteRange(0, 1000))
    assert begin.startswith(b"# 5 particles")
    with pytest.raises(Stale, match="bob_2_ribosome"):
        contents.read(ByteRange(0, 100_000))


def test_picks_with_another_number_of_points_than_was_told_are_stale(project: Collection) -> None:
    known = KNOWN | {PLAIN: {"points": 2}}
    contents = STAR.open(project.source(None, known), "particles_ribosome.star")
    with pytest.raises(Stale, match=r"bob_2_ribosome.json: has 3 points, and was said to have 2"):
        contents.read(ByteRange(0, 100_000))
    with pytest.raises(Stale):
        STAR.open(project.source(PLAIN, known), "bob_2_ribosome.star")


def test_one_broken_file_makes_the_collected_ones_unreadable(changed: Collection) -> None:
    changed.write(PLAIN, b'{"points": [')
    for path, name in ((None, "particles_ribosome.star"), (RUN, "particles.star")):
        with pytest.raises(Unreadable, match=r"bob_2_ribosome.json: is no JSON document"):
            STAR.size_bytes(changed.source(path), name)
    # What is not of it stays.
    assert len(starfile.read(changed.file("particles_actin.star"))) == 8


def test_picks_that_are_gone(changed: Collection) -> None:
    source = changed.source(None, KNOWN)
    contents = STAR.open(source, "particles_ribosome.star")
    (changed.directory / PLAIN).unlink()
    changed.layer.refresh()
    with pytest.raises(NotFound):
        contents.read(ByteRange(0, 100_000))
    assert "TS_001" in set(starfile.read(changed.file("particles_ribosome.star")).rlnTomoName)


def test_an_outage_is_none_of_the_picks(changed: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = STAR.open(changed.source(None, KNOWN), "particles_ribosome.star")

    def down(_path: str) -> Any:
        raise Unavailable("lab is down")

    with monkeypatch.context() as patch:
        patch.setattr(changed.layer, "open", down)
        with pytest.raises(Unavailable):
            contents.read(ByteRange(0, 100_000))
    assert contents.read(ByteRange(0, 100_000)).count(b"\nTS_001 ") == 33


def test_a_filament_that_is_not_there(changed: Collection) -> None:
    document = json.loads((changed.directory / ACTIN).read_bytes())
    for instance, message in ((3, "does not have: 3"), (0, r"points\[1\].instance_id: is 0")):
        document["points"][1]["instance_id"] = instance
        changed.write(ACTIN, json.dumps(document).encode())
        with pytest.raises(Unreadable, match=message):
            made(STAR, changed.source(ACTIN))


def test_filaments_that_nobody_has_drawn(project: Collection) -> None:
    """Of points whose filaments are of unknown polarity, the order says nothing."""
    objects = {"ribosome": RIBOSOME._replace(is_filament=True), "actin": ACTIN_OBJECT}
    file = project.out / "undrawn.star"
    file.write_bytes(made(STAR, project.source(FULL, objects=objects)))
    found = starfile.read(file)
    assert set(found.rlnAnglePsiFlipRatio) == {0.5}
    assert list(found.rlnHelicalTubeID) == list(range(1, 31))


@pytest.mark.parametrize("name", ['a"b', "a\nb", "a\tb"])
def test_a_run_that_no_star_file_can_name(project: Collection, name: str) -> None:
    path = f"ExperimentRuns/{name}/Picks/alice_1_odd.json"
    store = project.directory / f"ExperimentRuns/{name}/VoxelSpacing10.000/wbp.zarr"
    store.mkdir(parents=True)
    project.write(path, b'{"points": []}')
    with pytest.raises(Unreadable, match="no STAR file can have a name"):
        STAR.size_bytes(project.source(path), "alice_1_odd.star")
    (project.directory / path).unlink()
    store.rmdir()


@pytest.mark.parametrize("name", ["_x", "#1", "data_1", "loop_", "ünder score", "1234"])
def test_names_that_are_like_parts_of_the_language(project: Collection, name: str, tmp_path: Path) -> None:
    place = Place(tmp_path)
    store = f"ExperimentRuns/{name}/VoxelSpacing10.000/wbp.zarr"
    place.write(
        f"{store}/.zarray", (project.directory / RUN / f"VoxelSpacing{VOXEL}/wbp.zarr/0/.zarray").read_bytes()
    )
    path = f"ExperimentRuns/{name}/Picks/alice_1_ribosome.json"
    place.write(path, (project.directory / PLAIN).read_bytes())
    (tmp_path / "view.star").write_bytes(made(STAR, place.source(path)))
    assert [str(found) for found in starfile.read(tmp_path / "view.star").rlnTomoName] == [name] * 3
    place.layer.close()
