"""Picks made of a portal's points: what copick makes of them, or an error that names a line."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from copickfs.errors import Unreadable
from copickfs.layers.portal.picks import copick_picks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from copick.models import CopickPicksFile

POINT = b'{"type": "point", "location": {"x": 1, "y": 2, "z": 3}}'
ORIENTED = (
    b'{"type": "orientedPoint", "location": {"x": 1.3, "y": 2.6, "z": 3.8}, "xyz_rotation_matrix": '
    b"[[0.0, -0.7071067811865475, 0.7071067811865475], [1.0, 0.0, 0.0], [0.0, 0.7071067811865475, -0.0]]}"
)
INSTANCE = b'{"type": "instancePoint", "location": {"x": 1.0, "y": 2.0, "z": 3.0}, "instance_id": 4}'


def made(ndjson: bytes, shape_type: str = "Point", spacing: float = 13.48) -> bytes:
    return copick_picks(
        ndjson, run="15094", object_name="ribosome", session="17",
        voxel_spacing_angstrom=spacing, shape_type=shape_type,
    )  # fmt: skip


def model(picks: bytes) -> CopickPicksFile:
    from copick.models import CopickPicksFile

    return CopickPicksFile(**json.loads(picks))


def of_copick(ndjson: bytes, shape_type: str, spacing: float) -> list[dict[str, Any]]:
    """What copick's own code makes of a file that is in its bucket."""
    import s3fs
    from copick.impl.cryoet_data_portal import CopickPicksFileCDP, PortalAnnotationMeta

    meta = PortalAnnotationMeta(
        portal_annotation_shape={"shape_type": shape_type}, portal_annotation_file={"s3_path": "s3://b/k"},
        voxel_spacing=spacing,
    )  # fmt: skip

    class Bucket:
        def __init__(self, **_: object) -> None: ...

        def open(self, _path: str, _mode: str) -> io.StringIO:
            return io.StringIO(ndjson.decode())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(s3fs, "S3FileSystem", Bucket)
        return [point.model_dump() for point in CopickPicksFileCDP._load_points_from_s3(meta)]


numbers = st.one_of(st.integers(-(10**6), 10**6), st.floats(-1e9, 1e9))
triples = st.lists(numbers, min_size=3, max_size=3)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(triples, st.lists(triples, min_size=3, max_size=3)), min_size=1, max_size=5),
    st.floats(0.5, 100),
    st.sampled_from(["Point", "OrientedPoint"]),
)
def test_the_points_are_those_of_copick(
    points: Sequence[tuple[Any, Any]], spacing: float, shape_type: str
) -> None:
    lines = [
        {"location": dict(zip("xyz", location, strict=True)), "xyz_rotation_matrix": matrix}
        for location, matrix in points
    ]
    ndjson = "\n".join(map(json.dumps, lines)).encode()
    picks = model(made(ndjson, shape_type, spacing))
    assert picks.points is not None
    ours = [point.model_dump() for point in picks.points]
    assert repr(ours) == repr(of_copick(ndjson, shape_type, spacing))  # -0.0 is not 0.0 here


def test_the_document_around_the_points() -> None:
    picks = made(ORIENTED, "OrientedPoint")
    assert model(picks).model_dump(exclude={"points"}) == {
        "pickable_object_name": "ribosome", "user_id": "data-portal", "session_id": "17", "run_name": "15094",
        "voxel_spacing": 13.48, "unit": "angstrom", "trust_orientation": True,
    }  # fmt: skip
    assert model(made(POINT)).trust_orientation is False
    assert model(made(INSTANCE, "InstancePoint")).trust_orientation is False
    assert made(ORIENTED, "OrientedPoint") == picks
    assert made(b"").endswith(b'"points":[\n\n],"trust_orientation":false}\n')
    assert model(made(b"")).points == []


def test_a_point_is_a_line() -> None:
    line = (
        b'{"location":{"x":10.0,"y":20.0,"z":30.0},"transformation_":[[1.0,0.0,0.0,0.0],[0.0,1.0,0.0,0.0],'
        b'[0.0,0.0,1.0,0.0],[0.0,0.0,0.0,1.0]],"instance_id":%d,"score":1.0}'
    )
    lines = made(POINT + b"\n" + INSTANCE, spacing=10.0).split(b"\n")
    assert lines[1:3] == [line % 0 + b",", line % 4]


@pytest.mark.parametrize(
    ("fields", "instance", "score"),
    [
        ({"instance_id": 4, "score": 0.5}, 4, 0.5),
        ({"instance_id": 4.0, "confidence": 1}, 4, 1.0),
        ({"score": 0.25, "confidence": 0.75}, 0, 0.25),
        ({"instance_id": None, "score": None, "confidence": 0.75}, 0, 0.75),
        ({}, 0, 1.0),
    ],
)
def test_instances_and_scores_are_kept(fields: dict[str, Any], instance: int, score: float) -> None:
    line = json.dumps({"location": {"x": 1, "y": 2, "z": 3}, **fields}).encode()
    (point,) = model(made(line)).points or []
    assert (point.instance_id, point.score) == (instance, score)


def test_empty_lines_ends_of_lines_and_a_mark_of_byte_order_do_not_matter() -> None:
    plain = made(POINT + b"\n" + INSTANCE)
    assert made(b"\xef\xbb\xbf" + POINT + b"\r\n\r\n \t\n" + INSTANCE + b"\r\n\n") == plain


BAD: list[tuple[bytes, str]] = [
    (b"{", "EOF while parsing an object at column 1$"),
    (b"nonsense", "expected"),
    (POINT + POINT, "trailing characters"),
    (POINT + b"\r" + POINT, "trailing characters"),
    (b"[1, 2, 3]", "its parts are not those of a point"),
    (b"null", "its parts"),
    (b'"text"', "its parts"),
    (b"{}", "it has no location"),
    (b'{"location": null}', "its parts"),
    (b'{"location": [1, 2, 3]}', "its parts"),
    (b'{"location": {"x": 1, "y": 2}}', "it has no z"),
    (b'{"location": {"x": 1, "y": 2, "z": null}}', "something else where a number has to be"),
    (b'{"location": {"x": 1, "y": 2, "z": "3"}}', "something else"),
    (b'{"location": {"x": 1, "y": 2, "z": true}}', "something else"),
    (b'{"location": {"x": 1, "y": 2, "z": NaN}}', "expected value"),
    (b'{"location": {"x": 1, "y": 2, "z": -Infinity}}', "invalid number"),
    (b'{"location": {"x": 1, "y": 2, "z": 1e999}}', "too large"),
    (b'{"location": {"x": 1, "y": 2, "z": 1e308}}', "too large"),
    (b'{"location": {"x": 1, "y": 2, "z": 1' + b"0" * 400 + b"}}", "too large"),
    (b'{"location": {"x": 1, "y": 2, "z": 3}, "instance_id": 1.5}', "instance is not a whole number"),
    (b'{"location": {"x": 1, "y": 2, "z": 3}, "instance_id": "1"}', "instance is not"),
    (b'{"location": {"x": 1, "y": 2, "z": 3}, "instance_id": 1' + b"0" * 30 + b"}", "instance is not"),
    (b'{"location": {"x": 1, "y": 2, "z": 3}, "score": "good"}', "something else"),
    (b"[" * 5000, "recursion"),
    (POINT.replace(b"point", b"\xff"), "unicode"),
    (POINT.decode().encode("utf-16-le"), "key must be a string"),
    (b"\0", "expected"),
]


@pytest.mark.parametrize(("line", "reason"), BAD)
def test_a_line_that_is_no_point_is_named(line: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=rf"^line 3 is not a point: .*{reason}"):
        made(POINT + b"\n\n" + line + b"\n" + POINT)


@pytest.mark.parametrize(
    "matrix",
    [None, [], [1, 2, 3], [[1, 2, 3]] * 2, [[1, 2, 3]] * 4, [[1, 2]] * 3, [[[1, 2, 3]]] * 3, ["abc"] * 3],
)
def test_a_rotation_is_three_by_three(matrix: Any) -> None:
    line = json.dumps({"location": {"x": 1, "y": 2, "z": 3}, "xyz_rotation_matrix": matrix}).encode()
    with pytest.raises(Unreadable, match="line 1 is not a point: its rotation is not a matrix of 3 x 3"):
        made(line, "OrientedPoint")
    assert model(made(line)).points  # where nobody asks for it, as in copick


def test_a_point_without_orientation_is_none_where_it_must_have_one() -> None:
    with pytest.raises(Unreadable, match="line 2 is not a point: it has no xyz_rotation_matrix"):
        made(ORIENTED + b"\n" + POINT, "OrientedPoint")


@pytest.mark.parametrize("spacing", [0.0, -1.0, float("nan"), float("inf")])
def test_without_a_size_of_voxels_there_are_no_points(spacing: float) -> None:
    with pytest.raises(Unreadable, match="the voxel spacing is"):
        made(POINT, spacing=spacing)


@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf")
def test_any_bytes_are_points_or_unreadable(ndjson: bytes) -> None:
    try:
        picks = made(ndjson)
    except Unreadable:
        return
    lines = ndjson.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    assert len(json.loads(picks)["points"]) == sum(not line.isspace() for line in lines if line)
