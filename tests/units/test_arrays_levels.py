"""What levels a store has, where their voxels are, and how that is kept."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copickfs.arrays import Level, levels_document, levels_of, pyramid
from copickfs.errors import Unavailable, Unreadable
from tests.arrays import Files, reader

ORIGIN = (0.0, 0.0, 0.0)
ZYX = ("z", "y", "x")
AXES = [{"name": name, "type": "space", "unit": "angstrom"} for name in ZYX]
CZYX = [{"name": "c", "type": "channel"}, *AXES]


def scale(*numbers: Any) -> dict[str, Any]:
    return {"type": "scale", "scale": list(numbers)}


def translation(*numbers: Any) -> dict[str, Any]:
    return {"type": "translation", "translation": list(numbers)}


def multiscale(*datasets: list[Any], **fields: Any) -> dict[str, Any]:
    levels = [{"path": str(n), "coordinateTransformations": own} for n, own in enumerate(datasets)]
    return {"multiscales": [{"axes": AXES, "datasets": levels, **fields}]}


def array_2(*shape: int, **fields: Any) -> dict[str, Any]:
    return {"zarr_format": 2, "shape": list(shape), "chunks": list(shape), "dtype": "<f4", **fields}


def array_3(*shape: int, **fields: Any) -> dict[str, Any]:
    return {"zarr_format": 3, "node_type": "array", "shape": list(shape), "data_type": "float32", **fields}


def levels(documents: dict[str, Any]) -> list[Level]:
    files: Files = {
        name: data if isinstance(data, bytes) else json.dumps(data).encode()
        for name, data in documents.items()
    }
    found = pyramid(reader(files))
    kept = json.loads(json.dumps(levels_document(found), allow_nan=False))
    assert levels_of(kept) == found
    return found


def first(attributes: Any, *shape: int) -> Level:
    return levels({".zattrs": attributes, "0/.zarray": array_2(*(shape or (4, 5, 6)))})[0]


def test_a_pyramid_of_format_2() -> None:
    attributes = multiscale([scale(10, 10, 10)], [scale(20, 20, 20), translation(5, 5, 5)])
    documents = {".zattrs": attributes, "0/.zarray": array_2(4, 5, 6), "1/.zarray": array_2(2, 3, 3)}
    assert levels(documents) == [
        Level("0", (4, 5, 6), "<f4", ZYX, (10.0, 10.0, 10.0), ORIGIN),
        Level("1", (2, 3, 3), "<f4", ZYX, (20.0, 20.0, 20.0), (5.0, 5.0, 5.0)),
    ]


@pytest.mark.parametrize("is_ome", [True, False])
def test_a_pyramid_of_format_3(is_ome: bool) -> None:
    attributes = multiscale([scale(10, 11, 12)], [scale(20, 22, 24)])
    root = {"node_type": "group", "attributes": {"ome": attributes} if is_ome else attributes}
    documents = {"zarr.json": root, "0/zarr.json": array_3(4, 5, 6), "1/zarr.json": array_3(2, 3, 3)}
    assert levels(documents) == [
        Level("0", (4, 5, 6), "float32", ZYX, (10.0, 11.0, 12.0), ORIGIN),
        Level("1", (2, 3, 3), "float32", ZYX, (20.0, 22.0, 24.0), ORIGIN),
    ]


@pytest.mark.parametrize(
    ("documents", "path"),
    [
        ({".zarray": array_2(4, 5, 6)}, ""), ({".zgroup": {}, "0/.zarray": array_2(4, 5, 6)}, "0"),
        ({".zattrs": {"x": 1}, ".zarray": array_2(4, 5, 6)}, ""), ({"zarr.json": array_3(4, 5, 6)}, ""),
        ({"zarr.json": {"node_type": "group"}, "0/zarr.json": array_3(4, 5, 6)}, "0"),
    ],
)  # fmt: skip
def test_without_multiscales(documents: dict[str, Any], path: str) -> None:
    (level,) = levels(documents)
    assert level[:2] == (path, (4, 5, 6))
    assert level[3:] == (ZYX, None, ORIGIN)


def test_axes_before_those_in_space() -> None:
    attributes = multiscale([scale(1, 7.5, 8, 9), translation(0, -1, 0, 2)], axes=CZYX)
    assert first(attributes, 3, 4, 5, 6)[3:] == (("c", *ZYX), (7.5, 8.0, 9.0), (-1.0, 0.0, 2.0))
    assert first(multiscale([]), 3, 4, 5, 6).axes == ("c", *ZYX)
    assert first(multiscale([]), 2, 3, 4, 5, 6).axes == ("t", "c", *ZYX)
    assert first(multiscale([]), 1, 2, 3, 4, 5, 6).axes == ("dim_0", "t", "c", *ZYX)
    assert first(multiscale([]), 5, 6).axes == ("y", "x")


@pytest.mark.parametrize(
    ("own", "fields", "placed"),
    [
        ([], {}, (None, ORIGIN)), ([scale(1, 2, 3)], {"axes": None}, ((1.0, 2.0, 3.0), ORIGIN)),
        ([scale(1, 2, 3)], {"axes": ["z", "y", "x"]}, ((1.0, 2.0, 3.0), ORIGIN)),
        ([scale(1, 2, 3)], {"axes": [{"name": n, "type": "space", "unit": "nanometer"} for n in "zyx"]},
         ((10.0, 20.0, 30.0), ORIGIN)),
        ([scale(1, 2, 3)], {"axes": [{"name": n, "type": "space", "unit": "parsec"} for n in "abc"]},
         ((1.0, 2.0, 3.0), ORIGIN)),
        ([scale(1, 2, 3)], {"axes": [{"name": n} for n in "abc"]}, (None, ORIGIN)),
        ([scale(1, 2, 3)], {"axes": CZYX}, (None, ORIGIN)),
        ([scale(1, 2, 3), translation(1, 1, 1)],
         {"coordinateTransformations": [scale(2, 2, 2), translation(0, 5, 0)]},
         ((2.0, 4.0, 6.0), (2.0, 7.0, 2.0))),
        ([scale(1, 2, 3)], {"coordinateTransformations": [scale(-2, 2, 2)]}, (None, ORIGIN)),
        ([scale(1, 2)], {}, (None, ORIGIN)), ([scale(1, 2, 0)], {}, (None, ORIGIN)),
        ([scale(1, 2, "3")], {}, (None, ORIGIN)), ([scale(1, 2, 10**400)], {}, (None, ORIGIN)),
        ([scale(1, 2, float("nan"))], {}, (None, ORIGIN)), ([{"type": "identity"}], {}, (None, ORIGIN)),
        ([{"type": "scale", "path": "scales"}], {}, (None, ORIGIN)),
        ([scale(1, 1, 1), translation(1, None, 1)], {}, ((1.0, 1.0, 1.0), ORIGIN)),
        ([scale(1, 1, 1), translation(1e18, 1, 1)], {"coordinateTransformations": [scale(99, 1, 1)]},
         (None, ORIGIN)),
    ],
)  # fmt: skip
def test_where_the_voxels_are(own: list[Any], fields: dict[str, Any], placed: Any) -> None:
    assert first(multiscale(own, **fields))[4:] == placed


def test_levels_that_are_missing() -> None:
    attributes = multiscale([], [], [], [])
    attributes["multiscales"][0]["datasets"][2]["path"] = "../../other.zarr/0"
    documents = {".zattrs": attributes, "0/.zarray": array_2(8, 8, 8), "3/.zarray": array_2(1, 1, 1)}
    assert [level.path for level in levels(documents)] == ["0", "3"]
    del documents["0/.zarray"]
    with pytest.raises(Unreadable, match=r"0/\.zarray is missing"):
        levels(documents)
    attributes["multiscales"][0]["datasets"] *= 1000
    documents["0/.zarray"] = array_2(8, 8, 8)
    assert [level.path for level in levels(documents)] == ["0", "3"]


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[" * 100_000, b"null", b"\xff", b'{"shape": [1, 2, -3]}', b" " * (2 << 20)]
)
@pytest.mark.parametrize("name", [".zarray", "zarr.json", "0/.zarray"])
def test_what_is_no_array(name: str, data: bytes) -> None:
    with pytest.raises(Unreadable, match=r"^no zarr array: [^\n]*$"):
        levels({name: data})


def test_an_outage_is_no_answer() -> None:
    def read(path: str) -> bytes:
        raise Unavailable(path)

    with pytest.raises(Unavailable):
        pyramid(read)


@pytest.mark.parametrize(
    "document",
    [None, [], {}, [1], [["0"]], [["..", [1], "<f4", 0, 0, 0]], [["0", [-1], "<f4", 0, 0, 0]],
     [["0", [1], 5, 0, 0, 0]], [["0", [1], "<f4", ["a", "b"], 0, 0]], [["0", [1], "<f4", [5], 0, 0]],
     [["0", [1], "<f4", 0, [1, 2], 0]], [["0", [1], "<f4", 0, [1, 2, -3], 0]], [["0", [1], "<f4", 0, 0, "x"]],
     [["0", [1], "<f4", 0, {"a": 1}, 0]], [["0", [1], "<f4", 0, 0, 0, 0]], [["0", [1], "<f4", 0, 0, 0]] * 33,
     [["0", [1], "<f4", 0, 0, 0], None], [["0", [1], "<f4", 0, [1, 2, 10**400], 0]]],
)  # fmt: skip
def test_what_levels_were_not_kept_as(document: Any) -> None:
    assert levels_of(document) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(("0", "<f4", "z", "scale",
    "space")),
    lambda inner: st.lists(inner, max_size=7)
    | st.dictionaries(
        st.sampled_from(("multiscales", "datasets", "path", "axes", "name", "type", "scale", "ome", "shape",
                         "node_type", "attributes", "coordinateTransformations", "translation", "dtype")),
        inner, max_size=5,
    ),
    max_leaves=30,
)  # fmt: skip


@given(JSON, JSON)
@settings(max_examples=150, deadline=None)
def test_no_document_raises_anything_else(document: Any, other: Any) -> None:
    levels_of(document)
    levels_of([[document, other, document, other, document, other]])
    for documents in (
        {".zattrs": document, "0/.zarray": other}, {"zarr.json": document, "0/zarr.json": other},
        {".zattrs": {"multiscales": [{"axes": document, "datasets": other}]}, "0/.zarray": array_2(4, 5, 6)},
        {".zattrs": multiscale([scale(document, other, document)]), "0/.zarray": array_2(4, 5, 6)},
    ):  # fmt: skip
        with contextlib.suppress(Unreadable):
            levels(documents)
