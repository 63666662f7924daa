"""Arrays of zarr format 2: https://zarr-specs.readthedocs.io/en/latest/v2/v2.0.html."""

from __future__ import annotations

from typing import Any

from copickfs.arrays.chain import Chain
from copickfs.arrays.codecs import codec_of
from copickfs.arrays.documents import item
from copickfs.arrays.metadata import ArrayMetadata, Keys, chunks_of, shape_of
from copickfs.arrays.values import dtype_2, fill_value_of
from copickfs.errors import Unreadable

_FORMAT = 2


def metadata_2(path: str, document: Any) -> ArrayMetadata:
    """What a ``.zarray`` says. Raises `Unreadable` if that is not enough, or not sound."""
    if item(document, "zarr_format") != _FORMAT:
        raise Unreadable("zarr_format is not 2")
    shape = shape_of(item(document, "shape"), "shape")
    chunks = chunks_of(item(document, "chunks"), "chunks", len(shape))
    dtype = dtype_2(item(document, "dtype"))
    filters, compressor = item(document, "filters"), item(document, "compressor")
    if filters is not None and not isinstance(filters, list):
        raise Unreadable("filters is no list")
    configurations = [*(filters or ()), *(() if compressor is None else (compressor,))]
    told = item(document, "dimension_separator")
    separator = "." if told is None else told
    if separator not in (".", "/"):
        raise Unreadable("dimension_separator is neither . nor /")
    axes = tuple(range(len(shape)))
    order = item(document, "order")
    if order not in ("C", "F"):
        raise Unreadable("order is neither C nor F")
    chain = Chain(
        dtype, axes if order == "C" else axes[::-1], tuple(codec_of(each) for each in configurations)
    )
    fill_value = fill_value_of(item(document, "fill_value"), dtype)
    return ArrayMetadata(path, shape, dtype.newbyteorder("="), chunks, fill_value, Keys("", separator), chain)
