"""What metadata tells, of documents as copick and others write them and of broken and hostile ones."""

from __future__ import annotations

import json
import os
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from copickfs import MemoryLayer
from copickfs.arrays import levels_document, levels_of
from copickfs.arrays import multiscales as arrays
from copickfs.arrays.pyramid import MAX_DOCUMENT_BYTES, array_2, array_3
from copickfs.entities import identify
from copickfs.errors import AccessDenied, Stale, Unavailable
from copickfs.indexing import documents
from copickfs.indexing.metadata import MAX_POINTS_BYTES, Known, Metadata
from copickfs.layers.local import LocalLayer
from copickfs.view import View

if TYPE_CHECKING:
    from pathlib import Path

    from copickfs.layers.base import LayerFile

RUN = "ExperimentRuns/TS_1"
TOMOGRAM = f"{RUN}/VoxelSpacing10.000/wbp.zarr"
PICKS = f"{RUN}/Picks/u_s_o.json"
FILAMENTS = f"{RUN}/Filaments/u_s_o.json"
MESH = f"{RUN}/Meshes/u_s_o.glb"
AXES = [{"name": name, "type": "space", "unit": "angstrom"} for name in "zyx"]
ARRAY_2 = {"zarr_format": 2, "shape": [4, 5, 6], "chunks": [4, 5, 2], "dtype": "<f4"}
ARRAY_3 = {
    "zarr_format": 3,
    "node_type": "array",
    "shape": [4, 5, 6],
    "data_type": "float32",
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [4, 5, 6]}},
    "codecs": [{"name": "sharding_indexed", "configuration": {"chunk_shape": [2, 5, 3]}}],
}
NAMED_2 = {"shape": [4, 5, 6], "chunks": [4, 5, 2], "dtype": "<f4"}
NAMED_3 = {"shape": [4, 5, 6], "chunks": [2, 5, 3], "dtype": "float32", "shards": [4, 5, 6]}
HOSTILE = (
    b"", b"\0", b"{", b"null", b"[]", b'"x"', b"NaN", b"\xff\xfe", b"[" * 200_000, b'{"a":' * 100_000,
    b"9" * 5_000, b'{"multiscales": 5}', b'{"points": {"a": 1}}', b'{"shape": "4"}', b'"\\ud800"',
)  # fmt: skip


def encoded(document: Any) -> bytes:
    return json.dumps(document).encode()


def multiscales(*scales: Any, **fields: Any) -> dict[str, Any]:
    datasets = [
        {"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        for level, scale in enumerate(scales)
    ]
    return {"multiscales": [{"axes": AXES, "datasets": datasets, **fields}]}


def known(view: View, path: str) -> Known:
    found = view.lookup(path)
    identity = identify(path, is_dir=found.entry.is_dir)
    assert identity is not None
    merged = Metadata(view).read(identity, found.entry, None)
    assert Metadata(view).read(identity, found.entry, found.layer) == merged
    return merged


def told(path: str, files: dict[str, bytes]) -> dict[str, Any]:
    return known(View([MemoryLayer("a", 1, files, directories=(TOMOGRAM,))]), path).detail


def whole_store(**files: Any) -> dict[str, Any]:
    """What a tomogram with these documents tells."""
    return told(
        TOMOGRAM,
        {
            f"{TOMOGRAM}/{name}": data if isinstance(data, bytes) else encoded(data)
            for name, data in files.items()
        },
    )


def store(**files: Any) -> dict[str, Any]:
    """The same, but for its pyramid."""
    return {name: value for name, value in whole_store(**files).items() if name != "pyramid"}


def glb(document: Any, *, length: int | None = None) -> bytes:
    data = document if isinstance(document, bytes) else encoded(document)
    header = struct.pack(
        "<4sIIII", b"glTF", 2, 20 + len(data), len(data) if length is None else length, 0x4E4F534A
    )
    return header + data + b"\0" * 64


def test_a_tomogram_as_copick_writes_it() -> None:
    attributes = multiscales([10.0] * 3, [20.0] * 3, [40.0] * 3)
    assert store(**{".zattrs": attributes, "0/.zarray": ARRAY_2}) == {
        **NAMED_2,
        "levels": 3,
        "voxel_size": 10.0,
    }


def test_a_store_that_zarr_has_written(tmp_path: Path) -> None:
    array = zarr.open(str(tmp_path / TOMOGRAM), mode="w", shape=(7, 8, 9), chunks=(7, 4, 9), dtype="u1")
    array[:] = np.ones((7, 8, 9), "u1")
    layer = LocalLayer("a", tmp_path)
    layer.connect()
    assert known(View([layer]), TOMOGRAM).detail == {
        "shape": [7, 8, 9], "chunks": [7, 4, 9], "dtype": "|u1", "pyramid": [["", [7, 8, 9], "|u1", 0, 0, 0]],
    }  # fmt: skip


def test_an_ome_zarr_of_version_3() -> None:
    root = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": multiscales([5.0] * 3, [10.0] * 3)}}
    assert store(**{"zarr.json": root, "0/zarr.json": ARRAY_3}) == {**NAMED_3, "levels": 2, "voxel_size": 5.0}


def test_arrays_without_multiscales() -> None:
    assert store(**{".zarray": ARRAY_2}) == NAMED_2
    assert store(**{".zattrs": {"x": 1}, ".zarray": ARRAY_2}) == NAMED_2
    assert store(**{"zarr.json": ARRAY_3}) == NAMED_3
    assert store(**{"zarr.json": {**ARRAY_3, "codecs": None}}) == {
        "shape": [4, 5, 6], "chunks": [4, 5, 6], "dtype": "float32",
    }  # fmt: skip


def test_the_pyramid_of_a_store() -> None:
    attributes = multiscales([10.0] * 3, [20.0] * 3)
    documents = {".zattrs": attributes, "0/.zarray": ARRAY_2, "1/.zarray": {**ARRAY_2, "shape": [2, 3, 3]}}
    pyramid = [["0", [4, 5, 6], "<f4", 0, [10.0] * 3, 0], ["1", [2, 3, 3], "<f4", 0, [20.0] * 3, 0]]
    assert whole_store(**documents)["pyramid"] == pyramid
    assert levels_document(levels_of(pyramid) or []) == pyramid
    root = {"node_type": "group", "attributes": {"ome": attributes}}
    assert [level[0] for level in whole_store(**{"zarr.json": root, "0/zarr.json": ARRAY_3})["pyramid"]] == [
        "0"
    ]
    assert "pyramid" not in whole_store(**{".zattrs": attributes})
    assert "pyramid" not in whole_store(**{"zarr.json": root})


def test_a_level_that_has_changed() -> None:
    attributes = encoded(multiscales([10.0] * 3, [20.0] * 3))
    files = {".zattrs": attributes, "0/.zarray": encoded(ARRAY_2), "1/.zarray": encoded(ARRAY_2)}
    layer = MemoryLayer("a", 1, {f"{TOMOGRAM}/{name}": data for name, data in files.items()})
    view = View([layer])
    before = known(view, TOMOGRAM)
    layer.put(f"{TOMOGRAM}/1/.zarray", encoded({**ARRAY_2, "shape": [2, 3, 3]}))
    entry = view.lookup(TOMOGRAM).entry
    assert not Metadata(view).is_store_unchanged(TOMOGRAM, before.version, entry, layer)
    assert known(view, TOMOGRAM).detail["pyramid"][1][1] == [2, 3, 3]


def test_a_store_of_very_many_levels() -> None:
    attributes = multiscales(*[[10.0] * 3] * 2000)
    files = {f"{level}/.zarray": ARRAY_2 for level in range(100)}
    layer = MemoryLayer(
        "a",
        1,
        {f"{TOMOGRAM}/{name}": encoded(data) for name, data in {".zattrs": attributes, **files}.items()},
    )
    found = known(View([layer]), TOMOGRAM)
    assert len(found.detail["pyramid"]) == 32
    assert found.version.count("\n") < 40


def test_a_store_that_is_being_written() -> None:
    assert store() == {}
    assert store(**{".zgroup": {}, "0/.zarray": ARRAY_2}) == NAMED_2
    assert store(**{".zattrs": multiscales([10.0] * 3)}) == {"levels": 1, "voxel_size": 10.0}


def test_levels_are_where_the_attributes_say() -> None:
    attributes = multiscales([10.0] * 3)
    for path, place in (("scale0/image", "scale0/image/"), ("./0", "0/"), ("", ""), (".", "")):
        attributes["multiscales"][0]["datasets"][0]["path"] = path
        assert store(**{".zattrs": attributes, f"{place}.zarray": ARRAY_2})["shape"] == [4, 5, 6]


@pytest.mark.parametrize(
    "path", ["..", "0/../../x", "\0", "a\nb", "\ud800", "x" * 256, ".copickfs-partial/x", 5, None, ["0"]]
)
def test_levels_are_nowhere_else(path: Any) -> None:
    attributes = multiscales([10.0] * 3)
    attributes["multiscales"][0]["datasets"][0]["path"] = path
    assert store(**{".zattrs": attributes, "0/.zarray": ARRAY_2}) == NAMED_2


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({}, 10.0),
        ({"axes": [{**axis, "unit": "nanometer"} for axis in AXES]}, 100.0),
        ({"axes": [{"name": "c", "type": "channel"}, *AXES]}, None),
        ({"axes": None}, 10.0),
        ({"axes": ["z", "y", "x"]}, 10.0),
        ({"axes": [{"name": name} for name in "abc"]}, None),
        ({"axes": [{"name": [], "unit": {}}] * 3}, None),
        ({"coordinateTransformations": [{"type": "scale", "scale": [2.0, 2.0, 2.0]}]}, 20.0),
        ({"coordinateTransformations": [{"type": "scale", "scale": [2.0, 1.0, 2.0]}]}, None),
        ({"coordinateTransformations": [{"type": "scale", "scale": [2.0]}]}, None),
        ({"coordinateTransformations": 7}, 10.0),
    ],
)
def test_the_size_of_a_voxel(fields: dict[str, Any], size: float | None) -> None:
    found = arrays.levels(multiscales([10.0] * 3, **fields))
    assert found is not None
    assert found.detail.get("voxel_size") == size


def test_the_size_of_a_voxel_of_several_channels() -> None:
    axes = [{"name": "c", "type": "channel"}, *AXES]
    assert arrays.levels(multiscales([1.0, 7.5, 7.5, 7.5], axes=axes)) == (
        "0",
        {"levels": 1, "voxel_size": 7.5},
    )
    assert arrays.levels(multiscales([1.0, 7.5, 7.5, 7.5], axes=None)) == (
        "0",
        {"levels": 1, "voxel_size": 7.5},
    )


@pytest.mark.parametrize(
    "scale", [[0.0] * 3, [-1.0] * 3, ["1"] * 3, [float("nan")] * 3, [float("inf")] * 3, [10**1000] * 3,
              [True] * 3, [1.0] * 100, [], None, 5, [1.0, 2.0, 1.0], [1.0, 1.0]],
)  # fmt: skip
def test_sizes_of_voxels_that_are_none(scale: Any) -> None:
    found = arrays.levels(multiscales(scale))
    assert found is None or found.detail == {"levels": 1}


@pytest.mark.parametrize("bad", [-1, 10**1000, 1.5, "4", None, True, [[4]]])
def test_shapes_that_are_none(bad: Any) -> None:
    assert array_2({**ARRAY_2, "shape": [4, bad], "chunks": [bad]}) == {"dtype": "<f4"}
    assert array_2({**ARRAY_2, "shape": bad}).keys() == {"chunks", "dtype"}
    assert "dtype" not in array_2({**ARRAY_2, "dtype": [["r", "<i4"]] * 99})
    assert array_3({**ARRAY_3, "codecs": bad, "chunk_grid": bad}) == {
        "shape": [4, 5, 6], "dtype": "float32",
    }  # fmt: skip


def test_numbers_of_points() -> None:
    point = {
        "location": {"x": 1, "y": 2, "z": 3},
        "transformation_": [[1, 0], [0, 1]],
        "location2": '"location"',
    }
    for indent in (None, 4):
        data = json.dumps({"user_id": '"location": [{', "points": [point] * 7}, indent=indent).encode()
        assert told(PICKS, {PICKS: data}) == {"points": 7}
    assert told(PICKS, {PICKS: encoded({"points": []})}) == {"points": 0}
    assert told(PICKS, {PICKS: encoded({"points": None})}) == {}
    assert told(PICKS, {PICKS: b'{"user_id": "\\ud800", "points": [1, 2]}'}) == {"points": 2}


def test_points_of_filaments() -> None:
    data = {"filaments": [{"points": [[1, 2, 3]] * 4}, {"points": [[1, 2, 3]] * 2}, {"points": 5}, 6]}
    assert told(FILAMENTS, {FILAMENTS: encoded(data)}) == {"filaments": 4, "points": 6}
    assert told(FILAMENTS, {FILAMENTS: b"{}"}) == {}


def test_vertices_and_faces_of_a_mesh() -> None:
    primitive = {"attributes": {"POSITION": 0}, "indices": 1}
    gltf = {
        "accessors": [{"count": 100}, {"count": 600}, {"count": 9}],
        "meshes": [{"primitives": [primitive, {**primitive, "mode": 1}]},
                   {"primitives": [{"attributes": {"POSITION": 2}}]}],
    }  # fmt: skip
    assert told(MESH, {MESH: glb(gltf)}) == {"vertices": 109, "faces": 203, "drawn": [0, 0]}
    long = {**gltf, "extras": "x" * 100_000}
    assert told(MESH, {MESH: glb(long)}) == {"vertices": 109, "faces": 203, "drawn": [0, 0]}
    assert told(MESH, {MESH: glb({**gltf, "extras": "x" * MAX_DOCUMENT_BYTES})}) == {}


@pytest.mark.parametrize(
    "data",
    [b"", b"glTF", b"gl", glb({}), glb(b"["), glb({}, length=0), glb({}, length=1 << 31), glb({}, length=70),
     glb({"meshes": [5, {"primitives": [5]}], "accessors": [{"count": 1}]}),
     glb({"meshes": [{"primitives": [{"attributes": {"POSITION": -1}}]}], "accessors": [{"count": 1}]}),
     glb({"meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}], "accessors": [{"count": 10**400}]}),
     glb({"meshes": [{"primitives": [{"attributes": {"POSITION": [0]}}]}], "accessors": [{"count": 4}]})],
)  # fmt: skip
def test_meshes_that_are_none(data: bytes) -> None:
    assert told(MESH, {MESH: data}) == {}


@pytest.mark.parametrize("data", HOSTILE)
def test_hostile_documents_tell_nothing(data: bytes) -> None:
    assert told(PICKS, {PICKS: data}) == {}
    assert told(FILAMENTS, {FILAMENTS: data}) == {}
    assert told(MESH, {MESH: glb(data)}) == {}
    assert store(**{".zattrs": data, ".zarray": data, "zarr.json": data, "0/.zarray": data}) == {}
    assert store(**{".zattrs": data, "0/.zarray": ARRAY_2}) == NAMED_2


KEYS = (
    "multiscales", "datasets", "path", "axes", "name", "type", "scale", "ome", "unit", "shape", "node_type",
    "codecs", "points", "filaments", "meshes", "primitives", "accessors", "attributes", "POSITION", "count",
    "chunk_grid", "coordinateTransformations",
)  # fmt: skip
WORDS = ("0", "scale", "array", "z", "x")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=30,
)


@given(JSON)
@settings(max_examples=150, deadline=None)
def test_no_document_raises_anything(document: Any) -> None:
    data = encoded(document)
    found = [documents.picks(data), documents.filaments(data), documents.mesh(data), array_2(document),
             array_3(document), arrays.levels(document), arrays.levels({"multiscales": [document]}),
             arrays.levels({"multiscales": [{"datasets": [{"path": "0"}], "axes": document}]})]  # fmt: skip
    json.dumps(found, allow_nan=False)


def test_huge_documents_are_not_read() -> None:
    assert told(PICKS, {PICKS: b'{"points": []}' + b" " * MAX_POINTS_BYTES}) == {}
    assert store(**{".zattrs": encoded({}) + b" " * MAX_DOCUMENT_BYTES, ".zarray": ARRAY_2}) == NAMED_2


class Failing(MemoryLayer):
    """A layer whose opens fail while there are failures left."""

    failures: list[Exception]

    def open(self, path: str) -> LayerFile:
        if self.failures:
            raise self.failures.pop()
        return super().open(path)


def test_an_outage_is_told_and_other_failures_are_not() -> None:
    files = {PICKS: b'{"points": [1]}', f"{TOMOGRAM}/.zarray": encoded(ARRAY_2)}
    layer = Failing("a", 1, files)
    layer.failures = []
    view = View([layer])
    usual = known(view, PICKS)
    for path in (PICKS, TOMOGRAM):
        entry = view.lookup(path).entry
        identity = identify(path, is_dir=entry.is_dir)
        assert identity is not None
        layer.failures = [Unavailable("down")]
        with pytest.raises(Unavailable):
            Metadata(view).read(identity, entry, layer)
        for error in (AccessDenied(13, "no"), PermissionError(13, "no"), OSError(5, "bad disk")):
            layer.failures = [error] * 9
            refused = Metadata(view).read(identity, entry, layer)
            assert refused.detail == {}
            assert refused.version != usual.version
            assert not Metadata(view).is_store_unchanged(path, refused.version, entry, layer)
    layer.failures = [Stale("changed")]
    assert known(view, PICKS) == usual


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    (tmp_path / PICKS).parent.mkdir(parents=True)
    os.mkfifo(tmp_path / PICKS)
    layer = LocalLayer("a", tmp_path)
    layer.connect()
    assert known(View([layer]), PICKS).detail == {}


def test_which_stores_are_unchanged() -> None:
    layer = MemoryLayer(
        "a", 1, {f"{TOMOGRAM}/.zattrs": encoded(multiscales([1.0] * 3)), f"{TOMOGRAM}/0/0": b""}
    )
    view = View([layer])
    metadata = Metadata(view)
    before = known(view, TOMOGRAM).version

    def unchanged() -> list[bool]:
        entry = view.lookup(TOMOGRAM).entry
        return [metadata.is_store_unchanged(TOMOGRAM, before, entry, asked) for asked in (layer, None)]

    assert unchanged() == [True, True]
    layer.put(f"{TOMOGRAM}/0/0", b"chunk")
    assert unchanged() == [True, True]
    layer.put(f"{TOMOGRAM}/0/.zarray", encoded(ARRAY_2))  # was looked for, and not there
    assert unchanged() == [False, False]
    before = known(view, TOMOGRAM).version
    layer.put(f"{TOMOGRAM}/.zattrs", encoded({}))
    assert unchanged() == [False, False]
    before = known(view, TOMOGRAM).version
    layer.remove(f"{TOMOGRAM}/0")
    assert unchanged() == [False, False]


def test_a_file_changed_just_now_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = tmp_path / PICKS
    full.parent.mkdir(parents=True)
    full.write_bytes(b'{"points": [1]}')
    layer = LocalLayer("a", tmp_path)
    layer.connect()
    view = View([layer])
    monkeypatch.setattr("copickfs.indexing.metadata._TICK_NS", -1)
    assert known(view, PICKS) == Known(view.lookup(PICKS).entry.version, {"points": 1})
    monkeypatch.setattr("copickfs.indexing.metadata._TICK_NS", 1 << 62)
    assert known(view, PICKS) == Known(view.lookup(PICKS).entry.version + "~", {"points": 1})
