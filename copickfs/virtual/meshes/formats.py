"""STL, OBJ and PLY: records of fixed length, made of a surface when they are read.

So the length of a file follows from the numbers of its vertices and faces, and any range of it is made by
itself.

* STL, binary: 80 bytes of header, the number of triangles, and 50 bytes for each (normal, three corners, an
  attribute of 0), all little-endian (3D Systems, StereoLithography Interface Specification, 1988).
* PLY, ``binary_little_endian 1.0``: a header, 12 bytes a vertex, 13 bytes a face (Turk, The PLY Polygon File
  Format, 1994).
* OBJ: ``v`` lines with nine significant digits, which tell every float32 from the next, and ``f`` lines with
  indices from 1 (Wavefront, Advanced Visualizer, appendix B1). Coordinates begin with a sign or a zero, and
  lines of faces end with blanks, so that they are equally long; no reader minds either.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from copickfs.entities import EntityType
from copickfs.errors import Stale, Unreadable
from copickfs.virtual.meshes.container import container
from copickfs.virtual.rendering import Deferred, Renderer
from copickfs.virtual.sources import MAX_DOCUMENT_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from copickfs.layers.base import LayerFile
    from copickfs.model import ByteRange
    from copickfs.virtual.meshes.scene import Surface
    from copickfs.virtual.rendering import Contents
    from copickfs.virtual.sources import Source

_STL_HEADER_BYTES = 80
_STL_RECORD = [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")]
_STL_RECORD_BYTES = 50
_PLY_VERTEX_BYTES = 12
_PLY_FACE = [("corners", "u1"), ("vertices", "<i4", 3)]
_PLY_FACE_BYTES = 13
_OBJ_VERTEX = "v %015.8e %015.8e %015.8e\n"
_OBJ_VERTEX_BYTES = len(_OBJ_VERTEX % (0, 0, 0))
_ATTEMPTS = 3

_T = TypeVar("_T")


class Section(NamedTuple):
    """Records of one kind that follow each other in a file.

    Attributes:
        records: How many there are.
        record_bytes: Length of each.
        make: The bytes of the records ``start`` to ``stop`` of a surface.
    """

    records: int
    record_bytes: int
    make: Callable[[Surface, int, int], bytes]


class Layout(NamedTuple):
    """A file of a number of vertices and faces.

    Attributes:
        header: What it begins with.
        sections: What follows.
    """

    header: bytes
    sections: tuple[Section, ...]

    @property
    def size_bytes(self) -> int:
        """Length of the file."""
        return len(self.header) + sum(each.records * each.record_bytes for each in self.sections)


class _MeshRenderer(Renderer):
    """What the three formats share: a file for every mesh."""

    makes_of: ClassVar[Collection[EntityType | None]] = (EntityType.MESH,)

    def layout(self, vertices: int, faces: int) -> Layout:
        """How a file of so many vertices and faces is laid out."""
        raise NotImplementedError

    def size_bytes(self, source: Source, name: str) -> int:  # noqa: ARG002
        """See `Renderer.size_bytes`. Of a mesh that the index does not know the JSON is read."""
        known = source.known().get("drawn")
        vertices, faces = known or _retried(source, _count)
        return self.layout(vertices, faces).size_bytes

    def open(self, source: Source, name: str) -> Contents:  # noqa: ARG002
        """See `Renderer.open`. The surface is in memory until it is closed, at most 256 MiB of it."""
        surface = _retried(source, _load)
        return _Records(self.layout(len(surface.vertices), len(surface.faces)), surface)


class Stl(_MeshRenderer):
    """Binary STL."""

    suffix = ".stl"

    def layout(self, vertices: int, faces: int) -> Layout:  # noqa: ARG002
        """See `_MeshRenderer.layout`."""
        header = b"Binary STL by copickfs, unit angstrom".ljust(_STL_HEADER_BYTES) + faces.to_bytes(
            4, "little"
        )
        return Layout(header, (Section(faces, _STL_RECORD_BYTES, _stl_faces),))


class Ply(_MeshRenderer):
    """Binary, little-endian PLY."""

    suffix = ".ply"

    def layout(self, vertices: int, faces: int) -> Layout:
        """See `_MeshRenderer.layout`."""
        header = (
            "ply\nformat binary_little_endian 1.0\ncomment by copickfs, unit angstrom\n"
            f"element vertex {vertices}\nproperty float x\nproperty float y\nproperty float z\n"
            f"element face {faces}\nproperty list uchar int vertex_indices\nend_header\n"
        )
        sections = (
            Section(vertices, _PLY_VERTEX_BYTES, _ply_vertices),
            Section(faces, _PLY_FACE_BYTES, _ply_faces),
        )
        return Layout(header.encode(), sections)


class Obj(_MeshRenderer):
    """Wavefront OBJ, text."""

    suffix = ".obj"

    def layout(self, vertices: int, faces: int) -> Layout:
        """See `_MeshRenderer.layout`."""
        header = f"# by copickfs, unit angstrom\n# {vertices} vertices, {faces} faces\n"
        face_bytes = len(_obj_face(vertices, vertices, vertices)) + 1
        sections = (
            Section(vertices, _OBJ_VERTEX_BYTES, _obj_vertices),
            Section(faces, face_bytes, _obj_faces),
        )
        return Layout(header.encode(), sections)


class _Records(Deferred):
    """A file of a surface, made of it piece by piece."""

    def __init__(self, layout: Layout, surface: Surface) -> None:
        self._layout = layout
        self._surface = surface

    def read(self, span: ByteRange) -> bytes:
        """See `Contents.read`."""
        found = [self._layout.header[span.start : span.stop]]
        begin = len(self._layout.header)
        for count, size, make in self._layout.sections:
            start, stop = max(span.start - begin, 0), min(span.stop - begin, count * size)
            if start < stop:
                first = start // size
                data = make(self._surface, first, -(-stop // size))
                found.append(data[start - first * size : stop - first * size])
            begin += count * size
        return b"".join(found)


def _retried(source: Source, ask: Callable[[LayerFile, str], _T]) -> _T:
    """The answer of one version of a source's file."""
    for attempt in range(_ATTEMPTS):
        try:
            with contextlib.closing(source.open()) as file:
                size_bytes = file.entry.size_bytes
                if size_bytes > MAX_DOCUMENT_BYTES:
                    raise Unreadable(f"{source.path}: has {size_bytes:,} bytes, which is too much to read")
                return ask(file, source.path)
        except Stale:
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError


def _count(file: LayerFile, path: str) -> tuple[int, int]:
    scene, _start = container(file.read, file.entry.size_bytes, path)
    return scene.vertices, scene.faces


def _load(file: LayerFile, path: str) -> Surface:
    from copickfs.virtual.meshes.scene import surface

    return surface(file, path)


def _stl_faces(surface: Surface, start: int, stop: int) -> bytes:
    import numpy as np

    corners = surface.vertices[surface.faces[start:stop]]
    exact = corners.astype(np.float64)
    normals = np.cross(exact[:, 1] - exact[:, 0], exact[:, 2] - exact[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    records = np.zeros(len(corners), _STL_RECORD)
    # A triangle without an area has no normal: zeros, as readers take for "none".
    records["normal"] = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)
    records["corners"] = corners
    return records.tobytes()


def _ply_vertices(surface: Surface, start: int, stop: int) -> bytes:
    return surface.vertices[start:stop].astype("<f4").tobytes()


def _ply_faces(surface: Surface, start: int, stop: int) -> bytes:
    import numpy as np

    records = np.empty(stop - start, _PLY_FACE)
    records["corners"] = 3
    records["vertices"] = surface.faces[start:stop]
    return records.tobytes()


def _obj_vertices(surface: Surface, start: int, stop: int) -> bytes:
    numbers: list[Any] = surface.vertices[start:stop].ravel().tolist()
    return (_OBJ_VERTEX * (stop - start) % tuple(numbers)).encode()


def _obj_faces(surface: Surface, start: int, stop: int) -> bytes:
    count = len(surface.vertices)
    width = len(_obj_face(count, count, count))
    lines = (_obj_face(*each).ljust(width) for each in (surface.faces[start:stop] + 1).tolist())
    return "".join(f"{line}\n" for line in lines).encode()


def _obj_face(first: int, second: int, third: int) -> str:
    return f"f {first} {second} {third}"
