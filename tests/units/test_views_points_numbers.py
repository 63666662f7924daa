"""Any points: a file is as long as the number of them says, and every number is read as it was."""

from __future__ import annotations

import csv
import io
import json
import warnings
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import dynamotable
import emfile
import numpy as np
import pytest
import starfile
from copick.models import CopickPicksFile
from copick.util.formats import copick_to_dynamo_transform, copick_to_em_transform
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from copickfs.errors import Unreadable
from copickfs.virtual.points import Cmm, Csv, Em, Mod, Star, Tbl, angles
from copickfs.virtual.points.text import Decimals, exact
from tests.pointviews import OBJECTS, Place, made, matrices

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATH = "ExperimentRuns/TS_1/Picks/alice_1_actin.json"
RENDERERS: tuple[Any, ...] = (Star(), Csv(), Cmm(), Mod(), Tbl(), Em())

FLOATS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(-5000, 5000),
    st.sampled_from(
        [0.0, -0.0, 5e-324, -2.2250738585072014e-308, 1.7976931348623157e308, 9e7, -99999999.9999996]
    ),
    st.integers(-(10**6), 10**6).map(lambda number: number / 1000),
)
TURN = st.one_of(
    st.lists(FLOATS, min_size=9, max_size=9).map(lambda numbers: np.array(numbers).reshape(3, 3).tolist()),
    st.integers(0, 100).map(lambda seed: Rotation.random(rng=seed).as_matrix().tolist()),
)


@st.composite
def points(draw: st.DrawFn) -> dict[str, Any]:
    turn, shift = draw(TURN), draw(st.lists(FLOATS, min_size=3, max_size=3))
    point: dict[str, Any] = {
        "location": dict(zip("xyz", draw(st.lists(FLOATS, min_size=3, max_size=3)), strict=True))
    }
    if draw(st.booleans()):
        point["transformation_"] = [[*row, part] for row, part in zip(turn, shift, strict=True)] + [
            [0, 0, 0, 1.0]
        ]
        point["instance_id"] = draw(st.one_of(st.integers(0, 9), st.integers(-(2**63), 2**63 - 1)))
        point["score"] = draw(FLOATS)
    return point


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("numbers"))
    metadata = {"zarr_format": 2, "shape": [10, 20, 30], "chunks": [10, 20, 30], "dtype": "<f4", "order": "C",
                "compressor": None, "filters": None, "fill_value": 0}  # fmt: skip
    place.write("ExperimentRuns/TS_1/VoxelSpacing10.000/wbp.zarr/.zarray", json.dumps(metadata).encode())
    yield place
    place.layer.close()


def parsed(data: bytes, read: Any, suffix: str, directory: Path) -> Any:
    (directory / f"view{suffix}").write_bytes(data)
    return read(str(directory / f"view{suffix}"))


@settings(deadline=None, max_examples=60)
@given(document=st.lists(points(), max_size=6))
def test_any_points(place: Place, document: list[dict[str, Any]]) -> None:
    place.write(PATH, json.dumps({"points": document}).encode())
    known = {PATH: {"points": len(document)}}
    objects = {**OBJECTS, "actin": OBJECTS["actin"]._replace(is_filament=False)}
    contents = {}
    for renderer in RENDERERS:
        source = place.source(PATH, known, objects)
        size_bytes = renderer.size_bytes(source, "")
        try:
            contents[renderer.suffix] = made(renderer, source)
        except Unreadable:
            assert renderer.suffix in (".tbl", ".em")  # a matrix that has no angles
            continue
        assert len(contents[renderer.suffix]) == size_bytes
    own = CopickPicksFile(pickable_object_name="a", user_id="b", session_id="c", points=document).points or []
    check_text(contents, own)
    if document:
        check_columns(contents, own, place.directory)


def check_text(contents: dict[str, bytes], own: list[Any]) -> None:
    rows = list(csv.reader(io.StringIO(contents[".csv"].decode())))[1:]
    assert len(rows) == len(own)
    markers = list(ET.fromstring(contents[".cmm"]))  # noqa: S314 -- it is ours
    for row, marker, point in zip(rows, markers, own, strict=True):
        place = [point.location.x, point.location.y, point.location.z]
        numbers = [*place, *np.ravel(point.transformation), point.score]
        assert [float(field) for field in row[1:21]] == numbers
        assert int(row[21]) == point.instance_id
        with np.errstate(over="ignore"):
            center = np.array(place) + point.transformation[:3, 3]
        assert [float(marker.attrib[axis]) for axis in "xyz"] == center.tolist()


def check_columns(contents: dict[str, bytes], own: list[Any], directory: Path) -> None:
    places = np.array([[point.location.x, point.location.y, point.location.z] for point in own])
    shifts = np.array([point.transformation[:3, 3] for point in own])
    table = parsed(contents[".star"], starfile.read, ".star", directory)
    with np.errstate(over="ignore"):
        centered = places + shifts - np.array([150.0, 100.0, 50.0])
    found = table[[f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ"]].to_numpy()
    np.testing.assert_allclose(found, centered, rtol=1e-8, atol=1e-6)
    assert np.isfinite(table[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].to_numpy()).all()
    if ".tbl" in contents:
        dynamo = parsed(contents[".tbl"], dynamotable.read, ".tbl", directory)
        np.testing.assert_allclose(dynamo[["x", "y", "z"]], places / 10, rtol=1e-15)
        np.testing.assert_allclose(dynamo[["dx", "dy", "dz"]], shifts / 10, rtol=1e-15)
        np.testing.assert_array_equal(dynamo.cc, [point.score for point in own])
    if ".em" in contents:
        with np.errstate(over="ignore"):
            expected = (places / 10 + 1).astype(np.float32)
        motives = parsed(contents[".em"], emfile.read, ".em", directory)[1][0]
        np.testing.assert_array_equal(motives[:, 7:10], expected)


TURNS = np.array([Rotation.from_euler("ZYZ", turn, degrees=True).as_matrix() for turn in (
    (0, 0, 0), (30, 0, 0), (0, 180, 0), (40, 180, 0), (90, 90, 90), (-90, 90, 180), (180, 0, 0), (0, 90, 0),
    (10, 1e-6, 20), (10, 179.999, 20), (0, 45, -180), (1e-9, 1e-9, 0),
)])  # fmt: skip


def turned(convention: str, degrees: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return Rotation.from_euler(convention, degrees, degrees=True).as_matrix()


def test_angles_are_copicks() -> None:
    transforms = matrices(11, 500)
    transforms[:, :3, :3] *= np.linspace(0.5, 2, 500)[:, None, None]  # copick makes rotations of them
    transforms[400:, :3, :3] += np.random.default_rng(5).normal(0, 1e-3, (100, 3, 3))
    rotations, places = transforms[:, :3, :3], np.zeros((500, 3))
    relion = Rotation.from_matrix(rotations).inv().as_euler("ZYZ", degrees=True)
    np.testing.assert_allclose(angles.relion(rotations).degrees, relion, atol=1e-8)
    dynamo = copick_to_dynamo_transform(places, transforms, 1.0)[1]
    np.testing.assert_allclose(angles.dynamo(rotations).degrees, dynamo, atol=1e-8)
    tom = copick_to_em_transform(places, transforms, 1.0)[1]
    np.testing.assert_allclose(angles.tom(rotations).degrees, tom, atol=1e-8)


def test_angles_where_only_their_sum_is_determined() -> None:
    """They may be others than scipy's there; they are of the same rotation, and the third is 0."""
    locked = np.array([True] * 4 + [False] * 2 + [True] + [False] * 5)
    locked[-1] = True
    for found, convention, inverse in (
        (angles.relion(TURNS), "ZYZ", True),
        (angles.dynamo(TURNS), "zxz", True),
        (angles.tom(TURNS), "zxz", False),
    ):
        again = turned(convention, found.degrees)
        np.testing.assert_allclose(again.transpose(0, 2, 1) if inverse else again, TURNS, atol=1e-7)
        assert (found.degrees[locked, 2] == 0).all()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scipy's, of gimbal lock
            rotation = Rotation.from_matrix(TURNS[locked])
            own = (rotation.inv() if inverse else rotation).as_euler(convention, degrees=True)
        apart = np.abs(found.degrees[locked] - own) % 360
        assert np.minimum(apart, 360 - apart).max() < 1e-5


def test_what_is_no_rotation_has_no_angles() -> None:
    bad = np.array([np.diag([1, 1, -1]), np.zeros((3, 3)), np.full((3, 3), 1e300), np.eye(3)], dtype=float)
    for found in (angles.relion(bad), angles.dynamo(bad), angles.tom(bad)):
        assert found.is_rotation.tolist() == [False, False, False, True]
        assert not found.degrees.any()


def test_a_reflection_is_refused_where_copick_refuses_it(place: Place) -> None:
    mirror = np.diag([1.0, 1.0, -1.0, 1.0]).tolist()
    point = {"location": {"x": 1.0, "y": 2.0, "z": 3.0}}
    place.write(PATH, json.dumps({"points": [point, {**point, "transformation_": mirror}]}).encode())
    for renderer in (Tbl(), Em()):
        with pytest.raises(
            Unreadable, match=r"alice_1_actin.json: points\[1\].transformation_: is no rotation"
        ):
            made(renderer, place.source(PATH))
    plain = place.source(PATH, objects={})
    assert b" 0.000000    0.000000    0.000000" in made(Star(), plain).splitlines()[-2]


BROKEN = [
    (b"[1, 2", "is no JSON document"),
    (b"[" * 100_000, "is no JSON document"),
    (b"[]", "is no JSON object"),
    (b'{"points": {}}', "points: is no list"),
    (b'{"points": [3]}', r"points\[0\]: has something else"),
    (b'{"points": [{}]}', r"points\[0\]: has no location"),
    (b'{"points": [{"location": {"x": 1, "y": 2}}]}', r"points\[0\]: has no z"),
    (b'{"points": [{"location": {"x": 1, "y": 2, "z": NaN}}]}', r"points\[0\].location: is not finite"),
    (b'{"points": [{"location": {"x": 1, "y": 2, "z": null}}]}', r"points\[0\]"),
    (b'{"points": [{"location": {"x": 1, "y": 2, "z": [3]}}]}', r"points\[0\]"),
    (b'{"points": [{"location": {"x": 1, "y": 2, "z": "three"}}]}', r"points\[0\]"),
]
WHOLE = {"location": {"x": 1.0, "y": 2.0, "z": 3.0}}
BAD: list[tuple[dict[str, Any], str]] = [
    ({"transformation_": np.eye(3).tolist()}, "transformation_: is no 4x4 matrix"),
    ({"transformation_": [[1, 0, 0, 0]] * 3 + [[1]]}, "transformation_: is no 4x4 matrix"),
    ({"transformation_": None}, r"points\[1\]: has something else"),
    ({"transformation_": (np.eye(4) * 2).tolist()}, "transformation_: its last row"),
    (
        {"transformation_": [[float("inf"), 0, 0, 0], *np.eye(4)[1:].tolist()]},
        "transformation_: is not finite",
    ),
    ({"score": float("nan")}, "score: is not finite"),
    ({"score": "good"}, r"points\[1\]"),
    ({"instance_id": 1.5}, "instance_id: is no whole number"),
    ({"instance_id": 2**63}, r"points\[1\]"),
    ({"instance_id": [1]}, r"points\[1\]"),
]


@pytest.mark.parametrize(
    ("data", "message"),
    BROKEN + [(json.dumps({"points": [WHOLE, {**WHOLE, **bad}]}).encode(), message) for bad, message in BAD],
)
def test_what_copick_does_not_write_is_named(place: Place, data: bytes, message: str) -> None:
    place.write(PATH, data)
    with pytest.raises(
        Unreadable, match=f"alice_1_actin.json: {message}|alice_1_actin.json: points.*{message}"
    ):
        made(Csv(), place.source(PATH))


def test_what_copick_takes_for_a_number_is_one(place: Place) -> None:
    point = {"location": {"x": "1.5", "y": 2, "z": True}, "instance_id": 3.0, "score": None}
    place.write(PATH, json.dumps({"points": [point], "user_id": "\ud800"}).encode())
    row = made(Csv(), place.source(PATH)).decode().splitlines()[1].split(",")
    assert row[1:4] == ["1.5", "2.0", "1.0"]
    assert (row[20], row[21].rstrip()) == ("1.0", "3")


@settings(deadline=None, max_examples=300)
@given(st.lists(FLOATS, min_size=2, max_size=2))
def test_exact_is_what_repr_writes(numbers: list[float]) -> None:
    assert exact(np.array([numbers])) == [",".join(map(repr, numbers))]


@settings(deadline=None, max_examples=300)
@given(FLOATS, st.floats(-180, 180), st.integers(-(2**63), 2**63 - 1))
def test_decimals_are_of_one_length(length: float, angle: float, number: int) -> None:
    decimals = Decimals("length", "angle", "integer")
    (row,) = decimals.rows(np.array([length]), np.array([angle]), np.array([number]))
    assert len(row) == decimals.row_bytes
    found = row.split()
    assert float(found[0]) == pytest.approx(length, rel=1e-8, abs=1e-6)
    assert float(found[1]) == pytest.approx(angle, abs=1e-6)
    assert int(found[2]) == number
