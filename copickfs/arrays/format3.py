"""Arrays of zarr format 3: https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from copickfs.arrays.chain import Chain
from copickfs.arrays.codecs import codec_of
from copickfs.arrays.documents import item, listed
from copickfs.arrays.metadata import ArrayMetadata, Keys, chunks_of, shape_of
from copickfs.arrays.shards import MAX_ENTRIES, Sharding, extra_bytes_of
from copickfs.arrays.values import dtype_3, fill_value_of
from copickfs.errors import Unreadable

if TYPE_CHECKING:
    import numpy as np

    from copickfs.arrays.codecs import Codec

_FORMAT = 3
_PREFIX = "numcodecs."
_BYTES_OF: dict[Any, Literal["<", ">"]] = {"little": "<", "big": ">"}
_TO_BYTES = frozenset({"bytes", "sharding_indexed", "numcodecs.pcodec", "numcodecs.zfpy"})
_FILTERS = frozenset({
    "numcodecs.delta", "numcodecs.bitround", "numcodecs.fixedscaleoffset", "numcodecs.quantize",
    "numcodecs.packbits", "numcodecs.astype",
})  # fmt: skip
_TO_OTHER_BYTES = frozenset({"blosc", "gzip", "zstd", "crc32c"})
_KEYS = frozenset({
    "zarr_format", "node_type", "shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value",
    "codecs", "attributes", "storage_transformers", "dimension_names",
})  # fmt: skip
"""Of arrays; what else has to be understood tells of something that changes what chunks mean."""

_MAX_NESTING = 4


def metadata_3(path: str, document: Any) -> ArrayMetadata:
    """What the ``zarr.json`` of an array says. Raises `Unreadable` if that is not enough, or not sound."""
    if item(document, "zarr_format") != _FORMAT or item(document, "node_type") != "array":
        raise Unreadable("this is no array of zarr format 3")
    for key, value in document.items():
        if key not in _KEYS and item(value, "must_understand") is not False:
            raise Unreadable(f"{key!r} is not known")
    shape = shape_of(item(document, "shape"), "shape")
    dtype = dtype_3(item(document, "data_type"))
    if _name(item(document, "chunk_grid")) != "regular":
        raise Unreadable("chunk_grid is not regular")
    if item(document, "storage_transformers") not in (None, []):
        raise Unreadable("storage_transformers are not known")
    chunks = chunks_of(
        item(document, "chunk_grid", "configuration", "chunk_shape"), "chunk_shape", len(shape)
    )
    chain = _chain(item(document, "codecs"), dtype, chunks, _MAX_NESTING)
    fill_value = fill_value_of(_required(document, "fill_value"), dtype)
    return ArrayMetadata(path, shape, dtype, chunks, fill_value, _keys(document), chain)


def _required(document: dict[str, Any], key: str) -> Any:
    if document.get(key) is None:
        raise Unreadable(f"{key} is missing")
    return document[key]


def _keys(document: Any) -> Keys:
    name = _name(item(document, "chunk_key_encoding"))
    separator = item(document, "chunk_key_encoding", "configuration", "separator")
    if separator is None:
        separator = "." if name == "v2" else "/"
    if name not in ("default", "v2") or separator not in (".", "/"):
        raise Unreadable("chunk_key_encoding is not known")
    return Keys("" if name == "v2" else f"c{separator}", separator)


def _chain(codecs: Any, dtype: np.dtype[Any], chunks: tuple[int, ...], nesting: int) -> Chain:
    """The codecs of a document, of chunks of the shape ``chunks``."""
    if not isinstance(codecs, list) or not all(isinstance(_name(each), str) for each in codecs):
        raise Unreadable("codecs is no list of codecs")
    names = [_name(each) for each in codecs]
    places = [number for number, name in enumerate(names) if name in _TO_BYTES]
    if len(places) != 1:
        raise Unreadable("codecs has not exactly one that makes bytes of an array")
    place = places[0]
    axes, filters = _before(codecs[:place], len(chunks))
    after = tuple(_to_bytes_codec(each) for each in codecs[place + 1 :])
    configuration = item(codecs[place], "configuration")
    if names[place] == "sharding_indexed":
        if filters:
            raise Unreadable("codecs has a filter before sharding_indexed")
        stored = tuple(chunks[axis] for axis in axes)
        return Chain(dtype, axes, after, _sharding(configuration, dtype, stored, nesting))
    if names[place] != "bytes":
        return Chain(dtype, axes, (*filters, _numcodec(codecs[place]), *after))
    stored_dtype = dtype.newbyteorder(_byte_order(configuration, dtype))
    if filters and not stored_dtype.isnative:
        raise Unreadable("codecs has a filter before bytes of another byte order than this machine's")
    return Chain(stored_dtype, axes, (*filters, *after))


def _name(codec: Any) -> Any:
    return codec if isinstance(codec, str) else item(codec, "name")


def _byte_order(configuration: Any, dtype: np.dtype[Any]) -> Literal["<", ">", "="]:
    endian = item(configuration, "endian")
    if endian is None and dtype.itemsize == 1:
        return "="
    if endian not in ("little", "big"):
        raise Unreadable("the codec bytes has no endian")
    return _BYTES_OF[endian]


def _before(codecs: list[Any], dimensions: int) -> tuple[tuple[int, ...], tuple[Codec, ...]]:
    """What changes an array before bytes are made of it: the order of its axes, then filters."""
    axes, filters = tuple(range(dimensions)), []
    for codec in codecs:
        name = _name(codec)
        if name in _FILTERS:
            filters.append(_numcodec(codec))
        elif name != "transpose":
            raise Unreadable(f"codec {name!r} is not known")
        elif filters:
            raise Unreadable("codecs has transpose after a filter")
        else:
            order = item(codec, "configuration", "order")
            if not isinstance(order, list) or sorted(order, key=repr) != sorted(range(dimensions), key=repr):
                raise Unreadable("the order of the codec transpose is none of the array's axes")
            axes = tuple(axes[int(number)] for number in order)
    return axes, tuple(filters)


def _to_bytes_codec(codec: Any) -> Codec:
    name = _name(codec)
    if name in _TO_OTHER_BYTES:
        return codec_of({"id": name})
    if name.startswith(_PREFIX) and name not in _TO_BYTES | _FILTERS:
        return _numcodec(codec)
    raise Unreadable(f"codec {name!r} is not known")


def _numcodec(codec: Any) -> Codec:
    configuration = item(codec, "configuration")
    return codec_of({
        **(configuration if isinstance(configuration, dict) else {}),
        "id": _name(codec).removeprefix(_PREFIX),
    })  # fmt: skip


def _sharding(configuration: Any, dtype: np.dtype[Any], shape: tuple[int, ...], nesting: int) -> Sharding:
    if nesting == 0:
        raise Unreadable("codecs has shards within shards within shards")
    inner = chunks_of(item(configuration, "chunk_shape"), "the chunk_shape of shards", len(shape))
    if any(n % m for n, m in zip(shape, inner, strict=True)):
        raise Unreadable("the chunk_shape of shards does not divide them")
    if math.prod(n // m for n, m in zip(shape, inner, strict=True)) > MAX_ENTRIES:
        raise Unreadable(f"shards have more than {MAX_ENTRIES:,} chunks")
    location = item(configuration, "index_location")
    if location not in (None, "start", "end"):
        raise Unreadable("index_location is neither start nor end")
    index = listed(configuration, "index_codecs")
    names = [_name(each) for each in index]
    extra_bytes = extra_bytes_of(names[1:])
    if names[:1] != ["bytes"] or extra_bytes is None:
        raise Unreadable("index_codecs of shards are not bytes and crc32c")
    order = item(index[0], "configuration", "endian")
    if order not in ("little", "big"):
        raise Unreadable("the codec bytes has no endian")
    return Sharding(
        inner,
        _chain(item(configuration, "codecs"), dtype, inner, nesting - 1),
        f"{_BYTES_OF[order]}u8",
        tuple(_to_bytes_codec(each) for each in index[1:]),
        extra_bytes,
        location != "start",
    )
