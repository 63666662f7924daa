"""What the JSON of a glTF says of its triangles: where their numbers are, and how many.

Follows the glTF 2.0 specification (Khronos, ISO/IEC 12113:2022). Nobody has checked what lies in a layer:
whatever is used of a document has been compared with the length of its buffer, and with the limits here.
Materials, normals, skins, morph targets and cameras are not looked at; points and lines are no surface.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from copickfs.errors import Unreadable
from copickfs.model import ByteRange

MAX_GEOMETRY_BYTES = 256 << 20
"""Vertices and faces of a scene that come to more, at 12 bytes each, are not loaded."""

MAX_NODES = 1 << 16
"""A scene with more nodes, or more primitives to draw, is not loaded."""

_RECORD_BYTES = 12
_TRIANGLES, _STRIP, _FAN = 4, 5, 6
_CORNERS = 3
_MAX_STRIDE_BYTES = 252  # section 5.11.5
_PLACES = {"matrix": 16, "translation": 3, "rotation": 4, "scale": 3}
_POSITION_TYPES = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5126: "<f4"}
_INDEX_TYPES = {5121: "u1", 5123: "<u2", 5125: "<u4"}
_INSTANCING = "EXT_mesh_gpu_instancing"
_DRACO = "KHR_draco_mesh_compression"
_MESHOPT = "meshopt_compression"  # with EXT_ and KHR_ before it


class Accessor(NamedTuple):
    """An array in the binary chunk.

    Attributes:
        start: Of its first element, in bytes from the start of the chunk.
        stride: From one element to the next, in bytes.
        elements: How many there are.
        width: Numbers in an element.
        dtype: Of the numbers, as numpy names it.
        is_normalized: Integers stand for fractions of their largest value.
    """

    start: int
    stride: int
    elements: int
    width: int
    dtype: str
    is_normalized: bool

    @property
    def span(self) -> ByteRange:
        """Its bytes in the chunk."""
        last = (self.elements - 1) * self.stride + self.width * int(self.dtype[-1])
        return ByteRange(self.start, self.start + (last if self.elements else 0))


class Part(NamedTuple):
    """A primitive of triangles at its place in the scene.

    Attributes:
        positions: Of its vertices.
        indices: Of the corners of its triangles among these; None if the vertices are in their order.
        mode: 4, 5 or 6: triangles, a strip, a fan.
        node: What puts it into the scene.
    """

    positions: Accessor
    indices: Accessor | None
    mode: int
    node: int

    @property
    def faces(self) -> int:
        """Number of triangles; corners that are too few for one more are left out."""
        corners = (self.indices or self.positions).elements
        return corners // _CORNERS if self.mode == _TRIANGLES else max(0, corners - _CORNERS + 1)


class Scene:
    """The surfaces of the scene that a glTF shows.

    Args:
        gltf: The document.
        path: Of the file, for messages.
        room_bytes: Length of the binary chunk; None if it is not known.

    Attributes:
        parts: In the order in which a walk of the scene meets them.
        vertices: How many all parts have.
        faces: How many triangles all parts have.
        parents: Of each node of the scene the one above it, which stands before it here; None for a root.

    Raises:
        Unreadable: It contradicts itself or the specification, or has what is not read here.
    """

    def __init__(self, gltf: Any, path: str, room_bytes: int | None = None) -> None:
        self._path = path
        self._gltf = self._object(gltf, "its document")
        self._room_bytes = self._binary_bytes(room_bytes)
        self.parents: dict[int, int | None] = {}
        self._primitives: dict[int, list[Part]] = {}
        self.parts: list[Part] = []
        self.vertices = self.faces = 0
        self._walk()

    def placed(self, node: int) -> dict[str, list[float]]:
        """How a node places what it holds in the one above it.

        Returns:
            Whichever there are of ``matrix`` (16 numbers, column by column), ``translation`` (x, y, z),
            ``rotation`` (a unit quaternion x, y, z, w) and ``scale`` (x, y, z).
        """
        found = self._entry("nodes", node)
        return {name: self._numbers(found[name], size) for name, size in _PLACES.items() if name in found}

    def refused(self, why: str) -> Unreadable:
        """The exception that says why the file is not read."""
        return Unreadable(f"{self._path}: {why}")

    def _binary_bytes(self, room_bytes: int | None) -> int | None:
        """Length of the first buffer; what is not the binary chunk of the file is none."""
        buffers = self._gltf.get("buffers")
        if not isinstance(buffers, list) or not buffers:
            return 0
        length = self._size(self._object(buffers[0], "a buffer").get("byteLength"))
        if room_bytes is not None and length > room_bytes and "uri" not in buffers[0]:
            raise self.refused(f"is cut short: its buffer has {length:,} bytes, and {room_bytes:,} are there")
        return length

    def _walk(self) -> None:
        """Find the parts of all nodes of the scene."""
        scenes = self._gltf.get("scenes", [])
        roots = self._entry("scenes", self._gltf.get("scene", 0)).get("nodes", []) if scenes else []
        waiting: list[tuple[int | None, Any]] = [(None, each) for each in reversed(self._list(roots))]
        while waiting:
            above, index = waiting.pop()
            node = self._entry("nodes", index)
            if index in self.parents:
                raise self.refused(f"has node {index} at two places: the nodes of a glTF are a tree")
            if max(len(self.parents), len(self.parts)) >= MAX_NODES:
                raise self.refused(f"has more than {MAX_NODES:,} nodes, which is too much")
            self.parents[index] = above
            if _INSTANCING in self._extensions(node):
                raise self.refused(f"has {_INSTANCING}, which is not supported")
            if "mesh" in node:
                self._draw(index, node["mesh"])
            waiting += [(index, each) for each in reversed(self._list(node.get("children", [])))]

    def _draw(self, node: int, mesh: Any) -> None:
        found = self._entry("meshes", mesh)
        if mesh not in self._primitives:
            listed = self._list(found.get("primitives"))
            parts = (self._part(self._object(each, "a primitive"), node) for each in listed[:MAX_NODES])
            self._primitives[mesh] = [part for part in parts if part is not None and part.positions.elements]
        for part in self._primitives[mesh]:
            self.parts.append(part._replace(node=node))
            self.vertices += part.positions.elements
            self.faces += part.faces
            if (self.vertices + self.faces) * _RECORD_BYTES > MAX_GEOMETRY_BYTES:
                most = MAX_GEOMETRY_BYTES // _RECORD_BYTES
                raise self.refused(f"has more than {most:,} vertices and faces, which is too much")

    def _part(self, primitive: dict[str, Any], node: int) -> Part | None:
        """A primitive; None if it is not made of triangles."""
        mode = primitive.get("mode", _TRIANGLES)
        position = self._object(primitive.get("attributes"), "the attributes of a primitive").get("POSITION")
        if mode not in (_TRIANGLES, _STRIP, _FAN) or position is None:
            return None
        is_packed = _DRACO in self._extensions(primitive)
        vertices = self._accessor(position, _POSITION_TYPES, "VEC3", is_packed=is_packed)
        if "indices" not in primitive:
            return Part(vertices, None, mode, node)
        indices = self._accessor(primitive["indices"], _INDEX_TYPES, "SCALAR", is_packed=is_packed)
        return Part(vertices, indices, mode, node)

    def _accessor(self, index: Any, types: dict[int, str], shape: str, *, is_packed: bool) -> Accessor:
        found = self._entry("accessors", index)
        dtype = types.get(self._size(found.get("componentType")))
        if dtype is None or found.get("type") != shape:
            kind = f"{found.get('type')!r:.20} of {found['componentType']}"
            raise self.refused(f"accessor {index} is {kind}, and has to be {shape} of one of {sorted(types)}")
        if "sparse" in found:
            raise self.refused(f"accessor {index} is sparse, which is not supported")
        if "bufferView" not in found:
            why = f"is compressed by {_DRACO}, which is not supported" if is_packed else "has no data"
            raise self.refused(f"accessor {index} {why}")
        view = self._view(found["bufferView"])
        width = 3 if shape == "VEC3" else 1
        element = width * int(dtype[-1])
        stride = self._size(view.get("byteStride", element))
        if not element <= stride <= max(element, _MAX_STRIDE_BYTES):
            raise self.refused(f"accessor {index} has elements of {element} bytes every {stride}")
        offset, start = self._size(found.get("byteOffset", 0)), self._size(view.get("byteOffset", 0))
        accessor = Accessor(
            start + offset,
            stride,
            self._size(found.get("count")),
            width,
            dtype,
            found.get("normalized") is True,
        )
        end = start + self._size(view.get("byteLength"))
        if accessor.span.stop > end or (self._room_bytes is not None and end > self._room_bytes):
            raise self.refused(f"accessor {index} does not fit into its buffer")
        return accessor

    def _view(self, index: Any) -> dict[str, Any]:
        view = self._entry("bufferViews", index)
        packed = next((name for name in self._extensions(view) if name.endswith(_MESHOPT)), None)
        if packed is not None:
            raise self.refused(f"is compressed by {packed}, which is not supported")
        # Only the first buffer can be in the file itself (section 4.4.3.3), and it has no URI then.
        number = self._size(view.get("buffer"))
        if number or "uri" in self._entry("buffers", number):
            raise self.refused("keeps its numbers outside of its binary chunk, which is not supported")
        return view

    def _entry(self, key: str, index: Any) -> dict[str, Any]:
        """What is at an index of one of the document's arrays."""
        entries = self._gltf.get(key)
        if type(index) is not int or not isinstance(entries, list) or not 0 <= index < len(entries):
            raise self.refused(f"refers to {key}[{index!r:.20}], which is not there")
        return self._object(entries[index], f"{key}[{index}]")

    def _object(self, value: Any, what: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.refused(f"is no glTF: {what} is no JSON object")
        return value

    def _list(self, value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise self.refused("is no glTF: there is no JSON array where one has to be")
        return value

    def _extensions(self, value: dict[str, Any]) -> dict[str, Any]:
        return self._object(value.get("extensions", {}), "what is called extensions")

    def _size(self, value: Any) -> int:
        if type(value) is not int or not 0 <= value < 1 << 48:
            raise self.refused(f"is no glTF: {value!r:.20} stands for a size")
        return value

    def _numbers(self, value: Any, size: int) -> list[float]:
        numbers = self._list(value)
        if len(numbers) != size or not all(type(n) in (int, float) and abs(n) < math.inf for n in numbers):
            raise self.refused(f"is no glTF: a node is placed by {value!r:.60}")
        try:
            return [float(n) for n in numbers]
        except OverflowError:
            raise self.refused("is no glTF: a node is placed out of the world") from None
