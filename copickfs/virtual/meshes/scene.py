"""The arrays of a scene: vertices at their places, and the triangles between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from copickfs.model import ByteRange
from copickfs.virtual.meshes.container import container

if TYPE_CHECKING:
    from copickfs.layers.base import LayerFile
    from copickfs.virtual.meshes.container import Read
    from copickfs.virtual.meshes.gltf import Accessor, Part, Scene

_BLOCK = 1 << 18
"""Vertices that are placed at a time: what is computed in double precision stays small."""

_TRIANGLES, _STRIP = 4, 5


class Surface(NamedTuple):
    """A surface of triangles.

    Attributes:
        vertices: Shape (vertex, xyz), float32, in angstrom.
        faces: Shape (face, corner), int32: indices of vertices, counter-clockwise seen from outside.
    """

    vertices: np.ndarray[Any, np.dtype[np.float32]]
    faces: np.ndarray[Any, np.dtype[np.int32]]


def surface(file: LayerFile, path: str) -> Surface:
    """The surface that is in a binary glTF; only what it is made of is read.

    Raises:
        Unreadable: See `copickfs.virtual.meshes.gltf`.
        Stale: The source has changed since the file was opened.
        Transient: The source is out of reach.
    """
    scene, start = container(file.read, file.entry.size_bytes, path)

    def read(span: ByteRange) -> bytes:
        return file.read(ByteRange(start + span.start, start + span.stop))

    vertices = np.empty((scene.vertices, 3), np.float32)
    faces = np.empty((scene.faces, 3), np.int32)
    matrices = _matrices(scene)
    vertex = face = 0
    for part in scene.parts:
        matrix = matrices[part.node]
        stop = vertex + part.positions.elements
        _place(_positions(scene, part.positions, read), matrix, vertices[vertex:stop])
        own = faces[face : face + part.faces]
        own[:] = _triangles(scene, part, read)
        own += vertex
        if np.linalg.det(matrix[:3, :3]) < 0:  # a mirror turns triangles around (section 3.7.4)
            own[:] = own[:, ::-1].copy()
        vertex, face = stop, face + part.faces
    if not np.isfinite(vertices).all():
        raise scene.refused("has vertices that are nowhere: their coordinates are no finite numbers")
    return Surface(vertices, faces)


def _elements(scene: Scene, accessor: Accessor, read: Read) -> np.ndarray[Any, Any]:
    """The numbers of an accessor, shape (element, number), as they stand in the file."""
    span = accessor.span
    data = read(span) if accessor.elements else b""
    if len(data) < span.size_bytes:
        raise scene.refused("is cut short: its numbers are not all there")
    dtype = np.dtype(accessor.dtype)
    return np.ndarray(
        (accessor.elements, accessor.width), dtype, data, strides=(accessor.stride, dtype.itemsize)
    )


def _positions(scene: Scene, accessor: Accessor, read: Read) -> np.ndarray[Any, Any]:
    found = _elements(scene, accessor, read)
    if not accessor.is_normalized or found.dtype.kind == "f":
        return found
    # Section 3.6.2.2: the least signed number is -1, too.
    fractions: np.ndarray[Any, Any] = np.maximum(
        found / np.float32(np.iinfo(found.dtype).max), np.float32(-1)
    )
    return fractions


def _triangles(scene: Scene, part: Part, read: Read) -> np.ndarray[Any, Any]:
    """The corners of a primitive's triangles, shape (face, corner), among its own vertices.

    See section 3.7.2.1.
    """
    if part.indices is None:
        corners = np.arange(part.positions.elements, dtype=np.int64)
    else:
        corners = _elements(scene, part.indices, read)[:, 0]
        if len(corners) and int(corners.max()) >= part.positions.elements:
            raise scene.refused(f"has a triangle at vertex {corners.max()} of {part.positions.elements}")
    faces = part.faces
    if part.mode == _TRIANGLES:
        return corners[: 3 * faces].reshape(faces, 3)
    first = np.arange(faces)
    if part.mode == _STRIP:
        odd = first % 2
        return corners[np.stack([first, first + 1 + odd, first + 2 - odd], axis=1)]
    return corners[np.stack([first + 1, first + 2, np.zeros_like(first)], axis=1)]


def _matrices(scene: Scene) -> dict[int, np.ndarray[Any, Any]]:
    """From the coordinates of each node to those of the scene, shape (4, 4), float64."""
    matrices: dict[int, np.ndarray[Any, Any]] = {}
    with np.errstate(all="ignore"):  # what becomes infinite is found in the vertices
        for node, above in scene.parents.items():
            own = _matrix(scene.placed(node))
            matrices[node] = own if above is None else matrices[above] @ own
    return matrices


def _matrix(told: dict[str, list[float]]) -> np.ndarray[Any, Any]:
    """A node's own: a matrix, or a translation after a rotation after a scale (section 3.5.3)."""
    if "matrix" in told:
        return np.array(told["matrix"]).reshape(4, 4).T
    matrix = np.eye(4)
    x, y, z, w = told.get("rotation", [0.0, 0.0, 0.0, 1.0])
    length = x * x + y * y + z * z + w * w
    if length:
        axis = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        matrix[:3, :3] += 2 / length * (w * axis + axis @ axis)
    matrix[:3, :3] *= told.get("scale", [1.0, 1.0, 1.0])
    matrix[:3, 3] = told.get("translation", [0.0, 0.0, 0.0])
    return matrix


def _place(positions: np.ndarray[Any, Any], matrix: np.ndarray[Any, Any], out: np.ndarray[Any, Any]) -> None:
    if np.array_equal(matrix, np.eye(4)):
        out[:] = positions
        return
    with np.errstate(all="ignore"):
        for start in range(0, len(out), _BLOCK):
            block = slice(start, start + _BLOCK)
            out[block] = positions[block].astype(np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
