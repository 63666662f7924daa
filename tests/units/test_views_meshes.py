"""STL, OBJ and PLY of meshes: what trimesh reads of the views is what it reads of copick's own file."""

from __future__ import annotations

import io
import itertools
import json
import struct
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from copickfs.entities import identify
from copickfs.errors import Stale, Unreadable
from copickfs.indexing import documents
from copickfs.layers.local import LocalLayer
from copickfs.model import ByteRange
from copickfs.view import View
from copickfs.virtual.meshes import Obj, Ply, Stl, gltf
from copickfs.virtual.project import Project
from copickfs.virtual.sources import Source
from tests.projects import copick_root
from tests.viewfacts import NoFacts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from copickfs.virtual.meshes.formats import _MeshRenderer

RENDERERS: tuple[_MeshRenderer, ...] = (Stl(), Obj(), Ply())
PATH = "ExperimentRuns/TS_001/Meshes/alice_1_membrane.glb"
BOX = trimesh.creation.box((3, 4, 5))
BALL = trimesh.creation.icosphere(subdivisions=2, radius=70.5)


class IndexFacts(NoFacts):
    """What the index would know of the mesh."""

    def known(self, path: str, _entry: Any, _layer: Any) -> tuple[str, dict[str, Any]] | None:
        data = (self._view.open(path))[0].read(ByteRange(0, 1 << 20))
        stop = documents.GLB_HEADER_BYTES + documents.glb_json_bytes(data)
        return "mark", documents.mesh(data[documents.GLB_HEADER_BYTES : stop])


class Place:
    """A project with one mesh, of which ``of_copick`` is what copick has written."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / PATH
        self.of_copick = self.file.read_bytes()
        self.layer = LocalLayer("lab", directory)
        self.layer.connect()
        self.view = View((self.layer,))

    def source(self, data: bytes, *, is_indexed: bool = False) -> Source:
        self.file.write_bytes(data)
        self.layer.refresh()
        facts = IndexFacts(self.view) if is_indexed else NoFacts(self.view)
        return Source(Project(self.view, facts, {}), identify(PATH, is_dir=False))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("meshes")
    root = copick_root(directory)
    mesh = root.new_run("TS_001").new_mesh("membrane", "1", user_id="alice")
    mesh.mesh = BALL
    mesh.store()
    place = Place(directory)
    yield place
    place.layer.close()


def rendered(renderer: _MeshRenderer, source: Source) -> bytes:
    """The whole file; its length is the one that was announced, and its pieces are its parts."""
    [name] = renderer.files(source)
    size_bytes = renderer.size_bytes(source, name)
    contents = renderer.open(source, name)
    data = contents.read(ByteRange(0, size_bytes + 10))
    assert len(data) == size_bytes
    bounds = [0, *sorted({*range(0, size_bytes, 1 + size_bytes // 7), min(79, size_bytes), size_bytes})]
    pieces = [contents.read(ByteRange(start, stop)) for start, stop in itertools.pairwise(bounds)]
    assert b"".join(pieces) == data
    assert contents.read(ByteRange(size_bytes, size_bytes + 5)) == b""
    contents.close()
    return bytes(data)


def loaded(renderer: _MeshRenderer, source: Source) -> Any:
    data = rendered(renderer, source)
    return trimesh.load_mesh(io.BytesIO(data), file_type=renderer.suffix[1:], process=False)


def glb(document: Any, binary: bytes = b"") -> bytes:
    """A binary glTF."""
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
    if binary:
        chunks += struct.pack("<II", len(binary), 0x004E4942) + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def described(
    positions: np.ndarray[Any, Any], indices: np.ndarray[Any, Any] | None = None, **changes: Any
) -> tuple[dict[str, Any], bytes]:
    """The document and the binary chunk of one primitive; ``changes`` are made to the primitive."""
    kinds = {"|i1": 5120, "|u1": 5121, "<i2": 5122, "<u2": 5123, "<u4": 5125, "<f4": 5126, "<f8": 5130}
    arrays = [positions, *([] if indices is None else [indices])]
    views, accessors, data = [], [], b""
    for array in arrays:
        views.append({"buffer": 0, "byteOffset": len(data), "byteLength": array.nbytes})
        accessors.append({
            "bufferView": len(views) - 1, "componentType": kinds[array.dtype.str], "count": len(array),
            "type": "VEC3" if array.ndim == 2 else "SCALAR",
        })  # fmt: skip
        data += array.tobytes()
    primitive = {"attributes": {"POSITION": 0}, **({} if indices is None else {"indices": 1}), **changes}
    document = {
        "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive]}], "accessors": accessors, "bufferViews": views,
        "buffers": [{"byteLength": len(data)}],
    }  # fmt: skip
    return document, data


CORNERS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0.5], [0, 2, 0], [1, 2, 7]], "<f4")
ORDER = np.array([0, 1, 2, 3, 2, 1], "<u2")


@pytest.mark.parametrize("is_indexed", [True, False])
def test_a_mesh_of_copick(place: Place, *, is_indexed: bool) -> None:
    exact = BALL.vertices.astype(np.float32)
    for renderer in RENDERERS:
        source = place.source(place.of_copick, is_indexed=is_indexed)
        assert renderer.files(source) == [f"alice_1_membrane{renderer.suffix}"]
        found = loaded(renderer, source)
        if isinstance(renderer, Stl):
            assert np.array_equal(found.triangles, exact[BALL.faces])
            assert np.allclose(found.face_normals, BALL.face_normals, atol=1e-6)
        else:
            assert np.array_equal(found.vertices.astype(np.float32), exact)
            assert np.array_equal(found.faces, BALL.faces)
        assert found.area == pytest.approx(BALL.area)
        merged = found.copy()
        merged.merge_vertices()
        assert merged.is_watertight
        assert merged.volume == pytest.approx(BALL.volume)
        assert source.mtime_ns == place.file.stat().st_mtime_ns


def test_normals_in_stl_are_those_of_the_triangles(place: Place) -> None:
    flat = np.array([0, 1, 2, 1, 1, 1], "<u2")
    data = rendered(Stl(), place.source(glb(*described(CORNERS, flat))))
    records = np.frombuffer(data, [("n", "<f4", 3), ("v", "<f4", (3, 3)), ("a", "<u2")], offset=84)
    assert np.array_equal(records["n"], [[0, 0, 1], [0, 0, 0]])
    assert not data.startswith(b"solid")


def test_all_parts_of_a_scene_stand_where_its_nodes_put_them(place: Place) -> None:
    scene = trimesh.Scene()
    turned = trimesh.transformations.rotation_matrix(0.7, [1, 2, 3], [4, 5, 6])
    scene.add_geometry(BOX, node_name="a", transform=turned)
    mirrored = np.diag([-2.0, 1, 0.5, 1])
    mirrored[:3, 3] = [100, 0, -7]
    scene.add_geometry(BALL, node_name="b", parent_node_name="a", transform=mirrored)
    scene.graph.update(frame_from="b", frame_to="c", geometry=next(iter(scene.geometry)), matrix=turned)
    data = trimesh.exchange.gltf.export_glb(scene)
    wanted = trimesh.load(io.BytesIO(data), file_type="glb").to_mesh()
    assert len(wanted.faces) == 2 * len(BOX.faces) + len(BALL.faces)
    for renderer, is_indexed in itertools.product(RENDERERS, (True, False)):
        found = loaded(renderer, place.source(data, is_indexed=is_indexed))
        assert len(found.faces) == len(wanted.faces)
        assert np.allclose(found.bounds, wanted.bounds, atol=1e-4)
        assert found.area == pytest.approx(wanted.area, rel=1e-5)
        assert found.volume == pytest.approx(wanted.volume, rel=1e-5)
        assert found.volume > 0


def test_places_by_translation_rotation_and_scale(place: Place) -> None:
    document, binary = described(CORNERS, ORDER)
    document["nodes"] = [
        {"translation": [1, 2, 3], "children": [1]},
        {"mesh": 0, "rotation": [0.5, 0.5, -0.5, 0.5], "scale": [2, 3, -4], "translation": [0, -1, 0]},
    ]
    data = glb(document, binary)
    wanted = trimesh.load(io.BytesIO(data), file_type="glb").to_mesh()
    found = loaded(Ply(), place.source(data))
    assert np.allclose(found.vertices, wanted.vertices, atol=1e-6)
    assert np.array_equal(found.faces, wanted.faces)


def test_only_the_scene_that_is_shown_is_drawn(place: Place) -> None:
    document, binary = described(CORNERS, ORDER)
    document |= {"scenes": [{"nodes": [0]}, {"nodes": [1, 2]}], "scene": 1}
    document["nodes"] = [{"mesh": 0}, {"mesh": 0}, {"mesh": 0, "scale": [9, 9, 9]}]
    assert loaded(Ply(), place.source(glb(document, binary))).vertices.max() == 63
    assert documents.mesh(json.dumps(document).encode()) == {"vertices": 6, "faces": 2, "drawn": [12, 4]}


@pytest.mark.parametrize(
    ("mode", "indices", "faces"),
    [
        (4, [0, 1, 2, 3, 2, 1], [[0, 1, 2], [3, 2, 1]]),
        (4, None, [[0, 1, 2], [3, 4, 5]]),
        (4, [0, 1, 2, 3], [[0, 1, 2]]),
        (5, [0, 1, 2, 3, 4], [[0, 1, 2], [1, 3, 2], [2, 3, 4]]),
        (5, None, [[0, 1, 2], [1, 3, 2], [2, 3, 4], [3, 5, 4]]),
        (6, [5, 0, 1, 2], [[0, 1, 5], [1, 2, 5]]),
        (6, [1, 0], []),
    ],
)  # fmt: skip
def test_triangles_strips_and_fans(
    mode: int, indices: list[int] | None, faces: list[list[int]], place: Place
) -> None:
    """The corners, and their order, of section 3.7.2.1 of the specification."""
    order = None if indices is None else np.array(indices, "<u4")
    source = place.source(glb(*described(CORNERS, order, mode=mode)))
    text = rendered(Obj(), source).decode().splitlines()
    assert [[int(n) - 1 for n in line.split()[1:]] for line in text if line.startswith("f ")] == faces
    assert sum(line.startswith("v ") for line in text) == 6
    assert len({len(line) for line in text if line.startswith("f ")}) <= 1


def test_points_and_lines_are_no_surface(place: Place) -> None:
    document, binary = described(CORNERS, ORDER)
    primitive = document["meshes"][0]["primitives"][0]
    document["meshes"][0]["primitives"] = [{**primitive, "mode": mode} for mode in (0, 1, 3, 4)]
    assert len(loaded(Ply(), place.source(glb(document, binary))).vertices) == 6
    document["meshes"][0]["primitives"].pop()
    source = place.source(glb(document, binary))
    assert rendered(Stl(), source) == rendered(Stl(), source)[:80] + bytes(4)


def test_a_document_without_scenes_draws_nothing(place: Place) -> None:
    source = place.source(glb({"asset": {"version": "2.0"}}))
    assert b"element vertex 0\n" in rendered(Ply(), source)


@pytest.mark.parametrize(
    ("dtype", "normalized"), [("i1", False), ("u1", True), ("<i2", True), ("<u2", False)]
)
def test_quantized_positions(dtype: str, place: Place, *, normalized: bool) -> None:
    corners = np.array([[0, 1, 2], [120, 3, 4], [5, 6, 127], [np.iinfo(dtype).min] * 3], dtype)
    document, binary = described(corners, np.array([0, 1, 2, 3, 2, 1], "u1"))
    document["accessors"][0]["normalized"] = normalized
    found = loaded(Ply(), place.source(glb(document, binary))).vertices
    divisor = np.iinfo(dtype).max if normalized else 1
    assert np.allclose(found, np.maximum(corners / divisor, -1 if normalized else -1e9))


def test_interleaved_and_offset_arrays(place: Place) -> None:
    table = np.zeros(6, [("other", "<u4"), ("position", "<f4", 3), ("normal", "<f4", 3)])
    table["position"] = CORNERS
    table["other"], table["normal"] = 0xFFFFFFFF, np.nan
    document, _ = described(CORNERS, ORDER)
    document["bufferViews"] = [
        {"buffer": 0, "byteOffset": 8, "byteLength": table.nbytes, "byteStride": 28},
        {"buffer": 0, "byteOffset": 8 + table.nbytes, "byteLength": 2 + ORDER.nbytes},
    ]
    document["accessors"][0]["byteOffset"], document["accessors"][1]["byteOffset"] = 4, 2
    binary = bytes(8) + table.tobytes() + bytes(2) + ORDER.tobytes()
    document["buffers"][0]["byteLength"] = len(binary)
    found = loaded(Ply(), place.source(glb(document, binary)))
    assert np.array_equal(found.vertices, CORNERS)
    assert np.array_equal(found.faces.ravel(), ORDER)


def refusal(place: Place, data: bytes) -> str:
    """Why the views of a file cannot be read; all say the same."""
    said = set()
    for renderer in RENDERERS:
        with pytest.raises(Unreadable) as caught:
            renderer.open(place.source(data), "any")
        said.add(str(caught.value))
    [why] = said
    assert why.startswith(f"{PATH}: ")
    assert "\n" not in why
    return why.removeprefix(f"{PATH}: ")


def changed(*path: Any, **fields: Any) -> bytes:
    """A good file in which some fields of one object are others; None leaves them out."""
    document, binary = described(CORNERS, ORDER)
    place = document
    for key in path:
        place = place[key]
    place.update(fields)
    for key in [key for key, value in fields.items() if value is None]:
        del place[key]
    return glb(document, binary)


PRIMITIVE = ("meshes", 0, "primitives", 0)
DRACO = {"KHR_draco_mesh_compression": {}}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is no binary glTF"),
        (b"glTF", "is no binary glTF"),
        (b"solid mesh" * 9, "is no binary glTF"),
        (struct.pack("<4sIIII", b"glTF", 1, 30, 10, 0) + b" " * 10, "version 1"),
        (struct.pack("<4sIIII", b"glTF", 2, 30, 0xFFFFFFF0, 0x4E4F534A), "4,294,967,280 bytes of JSON"),
        (struct.pack("<4sIIII", b"glTF", 2, 30, 1 << 20, 0x4E4F534A), "is cut short"),
        (glb(b"[" * 100_000), "JSON cannot be parsed"),
        (glb(b"[]"), "is no glTF"),
        (changed("buffers", 0, byteLength=10**9), "is cut short"),
        (changed("buffers", 0, uri="data:;base64,AAAA"), "outside of its binary chunk"),
        (changed("bufferViews", 0, buffer=1), "outside of its binary chunk"),
        (changed("bufferViews", 0, byteLength=10**9), "accessor 0 does not fit"),
        (changed("bufferViews", 0, byteStride=0), "12 bytes every 0"),
        (changed("bufferViews", 0, byteStride=1 << 20), "12 bytes every 1048576"),
        (changed("bufferViews", 1, extensions={"EXT_meshopt_compression": {}}), "EXT_meshopt_compression"),
        (changed("accessors", 0, count=10**9), "accessor 0 does not fit"),
        (changed("accessors", 0, count=-1), "-1 stands for a size"),
        (changed("accessors", 0, count=10**400), "stands for a size"),
        (changed("accessors", 0, count=True), "True stands for a size"),
        (changed("accessors", 0, componentType=5125), "'VEC3' of 5125"),
        (changed("accessors", 0, type="VEC2"), "'VEC2' of 5126"),
        (changed("accessors", 0, sparse={"count": 1}), "is sparse"),
        (changed("accessors", 1, componentType=5126), "'SCALAR' of 5126"),
        (changed("accessors", 1, bufferView=None), "accessor 1 has no data"),
        (changed(*PRIMITIVE, extensions=DRACO, indices=7), "accessors[7]"),
        (changed("nodes", 0, mesh=-1), "meshes[-1]"),
        (changed("nodes", 0, children=[0]), "node 0 at two places"),
        (changed("nodes", 0, children=5), "no JSON array"),
        (changed("nodes", 0, scale=[1, 1]), "a node is placed by [1, 1]"),
        (changed("nodes", 0, scale=[1, 1, 10**400]), "placed"),
        (changed("nodes", 0, matrix=[float("inf")] * 16), "a node is placed by"),
        (changed("nodes", 0, scale=[1e300, 1, 1]), "no finite numbers"),
        (changed("nodes", 0, extensions={"EXT_mesh_gpu_instancing": {}}), "EXT_mesh_gpu_instancing"),
        (changed(scene=3), "scenes[3]"),
        (glb(*described(CORNERS, np.array([0, 1, 6], "<u2"))), "a triangle at vertex 6 of 6"),
        (glb(*described(CORNERS * np.float32("nan"), ORDER)), "no finite numbers"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_why(data: bytes, why: str, place: Place) -> None:
    assert why in refusal(place, data)


def test_compressed_meshes_are_named(place: Place) -> None:
    document, binary = described(CORNERS, ORDER)
    document["meshes"][0]["primitives"][0]["extensions"] = DRACO
    del document["accessors"][0]["bufferView"]
    assert "KHR_draco_mesh_compression" in refusal(place, glb(document, binary))


def test_scenes_without_end_are_refused_at_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    document, binary = described(CORNERS, ORDER)
    document["nodes"] = [{"mesh": 0}] * 70_000
    document["scenes"] = [{"nodes": list(range(70_000))}]
    assert "65,536 nodes" in refusal(place, glb(document, binary))
    monkeypatch.setattr(gltf, "MAX_GEOMETRY_BYTES", 12 * 8 * 3)
    document["scenes"] = [{"nodes": [0, 1, 2]}]
    assert len(loaded(Ply(), place.source(glb(document, binary))).faces) == 6
    document["scenes"] = [{"nodes": [0, 1, 2, 3]}]
    assert "more than 24 vertices and faces" in refusal(place, glb(document, binary))
    assert "drawn" not in documents.mesh(json.dumps(document).encode())


def test_a_deep_tree_of_nodes_is_walked(place: Place) -> None:
    document, binary = described(CORNERS, ORDER)
    chain: list[dict[str, Any]] = [{"children": [n + 1], "translation": [1, 0, 0]} for n in range(20_000)]
    document["nodes"] = [*chain, {"mesh": 0}]
    found = loaded(Ply(), place.source(glb(document, binary)))
    assert np.array_equal(found.vertices, CORNERS + np.float32([20_000, 0, 0]))


def test_every_cut_is_noticed(place: Place) -> None:
    whole = glb(*described(CORNERS, ORDER))
    for length in range(0, len(whole), 3):
        refusal(place, whole[:length])


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_files_are_read_or_refused(place: Place, data: st.DataObject) -> None:
    whole = bytearray(glb(*described(CORNERS, ORDER)))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    for renderer in RENDERERS:
        try:
            rendered(renderer, place.source(bytes(whole)))
        except Unreadable as refused:
            assert str(refused).startswith(PATH)  # noqa: PT017


@settings(max_examples=40, deadline=None)
@given(
    vertices=st.integers(1, 1100),
    faces=st.integers(0, 50),
    exponent=st.integers(-44, 37),
    seed=st.integers(0, 1 << 20),
)
def test_lengths_follow_from_counts(
    place: Place, vertices: int, faces: int, exponent: int, seed: int
) -> None:
    """Also where a number has a sign, an exponent of any size, or none at all."""
    random = np.random.default_rng(seed)
    positions = (random.normal(size=(vertices, 3)) * 10.0**exponent).astype("<f4")
    positions[random.random((vertices, 3)) < 0.1] = -0.0
    order = random.integers(0, vertices, 3 * faces).astype("<u2")
    data = glb(*described(positions, order))
    for renderer, is_indexed in itertools.product(RENDERERS, (True, False)):
        rendered(renderer, place.source(data, is_indexed=is_indexed))
    text = rendered(Obj(), place.source(data)).decode().splitlines()
    numbers = [[float(n) for n in line.split(" ")[1:]] for line in text if line.startswith("v ")]
    assert np.array_equal(np.array(numbers, np.float32), positions)


def test_the_length_is_known_without_reading_the_numbers(place: Place) -> None:
    document, binary = described(CORNERS, ORDER)
    data = glb(document, binary)
    source = place.source(data)
    asked: list[ByteRange] = []
    opened = source.open

    def watched(inner: str = "") -> Any:
        file = opened(inner)
        reading = file.read

        def read(span: ByteRange) -> bytes:
            asked.append(span)
            return reading(span)

        file.read = read  # type: ignore[method-assign]
        return file

    source.open = watched  # type: ignore[method-assign]
    assert Stl().size_bytes(source, "any") == 84 + 50 * 2
    assert max(span.stop for span in asked) <= len(data) - len(binary)
    asked.clear()
    document["images"] = [{"bufferView": 2}]
    document["bufferViews"].append({"buffer": 0, "byteOffset": len(binary), "byteLength": 1 << 20})
    document["buffers"][0]["byteLength"] += 1 << 20
    place.file.write_bytes(glb(document, binary + bytes(1 << 20)))
    place.layer.refresh()
    Stl().open(source, "any").close()
    assert sum(span.size_bytes for span in asked) < 4096


def test_a_file_that_changes_is_read_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    source = place.source(glb(*described(CORNERS, ORDER)))
    opened = source.open
    faults = [Stale("changed"), Stale("changed")]

    def changing() -> Any:
        if faults:
            raise faults.pop()
        return opened()

    monkeypatch.setattr(source, "open", changing)
    assert Stl().size_bytes(source, "any") == 184
    faults[:] = [Stale("changed")] * 3
    with pytest.raises(Stale):
        Stl().open(source, "any")


def test_trimesh_is_not_imported() -> None:
    program = (
        "import sys, copickfs.virtual.meshes, copickfs.virtual.meshes.scene; "
        "print([name for name in ('trimesh', 'copick', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
