"""The arrays of a store: the levels of its pyramid, or the array that it is.

One reader of what the documents of both formats say, for the index and for all who open a store.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from copickfs.arrays.documents import MAX_SIZE, item, listed, parsed, sizes
from copickfs.arrays.multiscales import (
    SPACE,
    axes_of,
    inner_path,
    levels,
    multiscale_of,
    placed,
)
from copickfs.errors import NotADirectory, NotFound, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable

Documents = Callable[[str], bytes]
"""The contents of a document in a store, by its path there; raises `NotFound`."""

MAX_LEVELS = 32
"""Further levels of a pyramid are not looked at."""

MAX_DOCUMENT_BYTES = 1 << 20
"""Longer metadata documents are not read."""

_MAX_NAME = 64
_FIELDS = 6
_ORIGIN = (0.0, 0.0, 0.0)


class Level(NamedTuple):
    """One level of a pyramid, or the array that a store is.

    Attributes:
        path: Of the array in the store, ``""`` if the store itself is the array.
        shape: Its shape.
        dtype: As the metadata names it: ``<f4``, ``float32``.
        axes: The names of its axes; where the metadata says nothing, the last three are ``z y x``.
        scale_angstrom: The size of a voxel, ``(z, y, x)``; None if it is not known.
        translation_angstrom: The position of the first voxel, ``(z, y, x)``.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    axes: tuple[str, ...]
    scale_angstrom: tuple[float, float, float] | None
    translation_angstrom: tuple[float, float, float]


class _Root(NamedTuple):
    """What the documents of the store itself say.

    Attributes:
        attributes: Those that have multiscales; None if none have.
        leaf: The name of the documents of its arrays.
        array: The document of the array that the store is; None if it is a group.
    """

    attributes: Any
    leaf: str
    array: Any


def pyramid(read: Documents) -> list[Level]:
    """The levels of a store, the finest first.

    Of zarr formats 2 and 3, OME-Zarr 0.1 to 0.5, arrays and groups without multiscales (the array ``0``
    is looked for). Levels below the first whose array cannot be found are left out.

    Args:
        read: Gives documents; other errors than that there is none pass through.

    Raises:
        Unreadable: This is no array, or its documents are not sound.
    """
    return pyramid_of(lambda path: _parsed(read, path))


def pyramid_of(load: Callable[[str], Any]) -> list[Level]:
    """Like `pyramid`, of documents that are parsed; None where there is none."""
    root = _root(load)
    multiscale = multiscale_of(root.attributes)
    datasets: list[Any] = listed(multiscale, "datasets")[:MAX_LEVELS] or [
        {"path": "" if root.array is not None else "0"}
    ]
    found: dict[str, Level] = {}
    for number, dataset in enumerate(datasets):
        path = inner_path(item(dataset, "path"))
        told = {} if path is None else _told(load, root, path)
        if path is not None and "shape" in told and "dtype" in told:
            shape = tuple(told["shape"])
            where = placed(multiscale, dataset, len(shape))
            found.setdefault(path, Level(path, shape, told["dtype"], axes_of(multiscale, len(shape)), *where))
        elif number == 0:
            name = f"{path}/{root.leaf}" if path else root.leaf
            raise Unreadable(f"no zarr array: {name} is missing, or does not tell shape and type of one")
    return list(found.values())


def summary_of(load: Callable[[str], Any]) -> dict[str, Any]:
    """What is told of a store in short: ``levels``, ``voxel_size``, and of the first level its
    ``shape``, ``chunks``, ``dtype``, ``shards``, as far as they are known; never an exception.
    """  # noqa: D205 - one sentence
    root = _root(load)
    found = levels(root.attributes)
    path = found.finest if found else "" if root.array is not None else "0"
    return {**(found.detail if found else {}), **_told(load, root, path)}


def levels_document(found: Iterable[Level]) -> list[Any]:
    """Levels as JSON, in short: the axes, scale and translation that everything has are 0."""
    return [
        [
            level.path,
            list(level.shape),
            level.dtype,
            0 if level.axes == axes_of(None, len(level.shape)) else list(level.axes),
            0 if level.scale_angstrom is None else list(level.scale_angstrom),
            0 if level.translation_angstrom == _ORIGIN else list(level.translation_angstrom),
        ]
        for level in found
    ]


def levels_of(document: Any) -> list[Level] | None:
    """The levels that `levels_document` has made this of; None for anything else."""
    if not isinstance(document, list) or not 0 < len(document) <= MAX_LEVELS:
        return None
    found = [_level(each) for each in document]
    sound = [level for level in found if level is not None]
    return sound if len(sound) == len(found) else None


def array_2(document: Any) -> dict[str, Any]:
    """What a ``.zarray`` says: ``shape``, ``chunks``, ``dtype``."""
    return _known(item(document, "shape"), item(document, "chunks"), item(document, "dtype"))


def array_3(document: Any) -> dict[str, Any]:
    """What the ``zarr.json`` of an array says: ``shape``, ``chunks``, ``dtype``, ``shards`` if there are."""
    if item(document, "node_type") != "array":
        return {}
    chunks = item(document, "chunk_grid", "configuration", "chunk_shape")
    shards = None
    for codec in listed(document, "codecs"):
        if item(codec, "name") == "sharding_indexed":
            chunks, shards = item(codec, "configuration", "chunk_shape"), chunks
    known = _known(item(document, "shape"), chunks, item(document, "data_type"))
    return known if sizes(shards) is None else {**known, "shards": shards}


def _root(load: Callable[[str], Any]) -> _Root:
    attributes = load(".zattrs")
    if levels(attributes) is not None:
        return _Root(attributes, ".zarray", None)
    root = load("zarr.json")
    if root is not None:
        attributes = item(root, "attributes")
        is_array = item(root, "node_type") == "array"
        return _Root(
            attributes if levels(attributes) is not None else None, "zarr.json", root if is_array else None
        )
    return _Root(None, ".zarray", load(".zarray"))  # of a group the attributes are written last


def _told(load: Callable[[str], Any], root: _Root, path: str) -> dict[str, Any]:
    document = root.array
    if path or document is None:
        document = load(f"{path}/{root.leaf}" if path else root.leaf)
    return array_2(document) if root.leaf == ".zarray" else array_3(document)


def _parsed(read: Documents, path: str) -> Any:
    try:
        data = read(path)
    except (NotFound, NotADirectory):
        return None
    return parsed(data) if 0 < len(data) <= MAX_DOCUMENT_BYTES else None


def _known(shape: Any, chunks: Any, dtype: Any) -> dict[str, Any]:
    known: dict[str, Any] = {}
    if sizes(shape) is not None:
        known["shape"] = shape
    if sizes(chunks) is not None:
        known["chunks"] = chunks
    if isinstance(dtype, str) and 0 < len(dtype) <= _MAX_NAME and dtype.isprintable():
        known["dtype"] = dtype
    return known


def _level(document: Any) -> Level | None:
    if not isinstance(document, list) or len(document) != _FIELDS:
        return None
    path, shape, dtype, axes, scale, translation = document
    known = _known(shape, None, dtype)
    inner = inner_path(path)
    if inner is None or known.keys() != {"shape", "dtype"}:
        return None
    names = axes_of({"axes": axes}, len(shape)) if axes else axes_of(None, len(shape))
    size, place = _triple(scale), _triple(translation)
    if (axes and list(names) != axes) or (scale and (size is None or min(size) <= 0)):
        return None
    if translation and place is None:
        return None
    return Level(inner, tuple(shape), dtype, names, size, place or _ORIGIN)


def _triple(value: Any) -> tuple[float, float, float] | None:
    if not isinstance(value, list) or len(value) != len(SPACE):
        return None
    if not all(type(n) in (int, float) and abs(n) < MAX_SIZE for n in value):
        return None
    return float(value[0]), float(value[1]), float(value[2])
