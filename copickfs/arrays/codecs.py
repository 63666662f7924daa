"""Codecs of chunks: from the bytes of a file back to those of an array, never to more than were expected.

A chunk is of unknown origin. What decodes to another length than it has to, or asks for more room than
there may be, is refused. The codecs are those of numcodecs by their names there, those of zarr 3
(https://zarr-specs.readthedocs.io/en/latest/v3/codecs/) by what they are in numcodecs. Thread-safe; no
state of a library is changed.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from typing import TYPE_CHECKING, Any, Protocol, Self

from copickfs.arrays.blosc import BLOSC_ID, checked
from copickfs.arrays.values import dtype_2
from copickfs.errors import Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Buffer = bytes | memoryview | Any

_OF_NUMCODECS = frozenset({
    "astype", "delta", "quantize", "fixedscaleoffset", "packbits", "base64", "shuffle", "bitround", "crc32",
    "adler32", "jenkins_lookup3", "fletcher32", "zfpy", "pcodec",
})  # fmt: skip
"""Those of numbers. Others make Python objects: ``pickle`` runs whatever program a chunk holds."""

_TYPES = ("dtype", "astype", "encode_dtype", "decode_dtype")
"""Parameters that are types: one of Python objects has no room here."""

_CRC_BYTES = 4
_LENGTH_BYTES = 4
_GROWTH = 16
"""No filter makes more of a byte: the longest numbers have 16."""

_ROOM_BYTES = 1 << 16


class Codec(Protocol):
    """One step from the bytes of a file to those of an array."""

    def decode(self, data: Buffer, size_bytes: int | None, limit_bytes: int) -> Buffer:
        """What ``data`` is the coded form of.

        Args:
            data: Coded.
            size_bytes: The length that it has to have; None if that is not known.
            limit_bytes: More is never made.

        Raises:
            Exception: Any, if it cannot be decoded.
        """
        ...


def codec_of(configuration: Any) -> Codec:
    """The codec of a configuration of numcodecs: an object with an ``id``.

    Raises:
        Unreadable: There is no such codec, or not with these parameters.
    """
    name = configuration.get("id") if isinstance(configuration, dict) else None
    if not isinstance(name, str):
        raise Unreadable("a codec has no name")
    if name in _READERS:
        return _Stream(_READERS[name], configuration)
    if name in _OWN:
        return _OWN[name]()
    return _Foreign(name, configuration)


def decoded(codecs: tuple[Codec, ...], data: Buffer, size_bytes: int) -> Buffer:
    """``size_bytes`` bytes, of which ``data`` was made by applying ``codecs`` one after the other.

    Raises:
        Exception: Any, if it cannot be decoded, or comes to another length.
    """
    limit_bytes = most_bytes_of(size_bytes)
    for number in range(len(codecs) - 1, -1, -1):
        is_last = number == 0
        data = codecs[number].decode(data, size_bytes if is_last else None, limit_bytes)
    found = memoryview(data).nbytes
    if found != size_bytes:
        raise ValueError(f"has {found:,} bytes instead of {size_bytes:,}")
    return data


def most_bytes_of(size_bytes: int) -> int:
    """What ``size_bytes`` of voxels are never more than in any coded form."""
    return size_bytes * _GROWTH + _ROOM_BYTES


class _Stream:
    """A codec of the standard library, read no further than it may be."""

    def __init__(
        self, opened: Callable[[io.BytesIO, Mapping[str, Any]], Any], options: Mapping[str, Any]
    ) -> None:
        self._opened = opened
        self._options = options

    def decode(self, data: Buffer, size_bytes: int | None, limit_bytes: int) -> Buffer:
        limit_bytes = limit_bytes if size_bytes is None else size_bytes
        with self._opened(io.BytesIO(data), self._options) as stream:
            found = stream.read(limit_bytes + 1)
        if len(found) > limit_bytes:
            raise ValueError(f"has more than {limit_bytes:,} bytes")
        return found


class _ZlibFile:
    """As much of `gzip.GzipFile` for zlib as is needed here."""

    def __init__(self, file: io.BytesIO) -> None:
        self._file = file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()

    def read(self, most_bytes: int) -> bytes:
        stream = zlib.decompressobj()
        found = stream.decompress(self._file.getbuffer(), most_bytes)
        if len(found) < most_bytes and not stream.eof:
            raise ValueError("is cut short")
        return found


def _lzma_file(file: io.BytesIO, options: Mapping[str, Any]) -> lzma.LZMAFile:
    kind, filters = options.get("format", lzma.FORMAT_XZ), options.get("filters")
    return lzma.LZMAFile(file, format=kind, filters=filters)


_READERS: dict[str, Callable[[io.BytesIO, Mapping[str, Any]], Any]] = {
    "gzip": lambda file, _options: gzip.GzipFile(fileobj=file),
    "zlib": lambda file, _options: _ZlibFile(file),
    "bz2": lambda file, _options: bz2.BZ2File(file),
    "lzma": _lzma_file,
}


class _Zstandard:
    """Zstandard; numcodecs refuses frames that do not tell their length, as some writers make them."""

    def decode(self, data: Buffer, size_bytes: int | None, limit_bytes: int) -> Buffer:
        import zstandard

        limit_bytes = limit_bytes if size_bytes is None else size_bytes
        told = zstandard.frame_content_size(data)
        if told > limit_bytes:
            raise ValueError(f"has {told:,} bytes instead of {limit_bytes:,}")
        return zstandard.ZstdDecompressor().decompress(
            data, max_output_size=limit_bytes, allow_extra_data=False
        )


class _Lz4:
    """LZ4 as numcodecs has it: the length, then one block."""

    def decode(self, data: Buffer, size_bytes: int | None, limit_bytes: int) -> Buffer:
        import numcodecs

        told = int.from_bytes(memoryview(data)[:_LENGTH_BYTES], "little")
        if len(data) <= _LENGTH_BYTES or not 0 < told <= (size_bytes or limit_bytes):
            raise ValueError(f"has {told:,} bytes instead of {size_bytes or limit_bytes:,}")
        return numcodecs.LZ4().decode(data)


class Blosc:
    """Blosc 1."""

    def decode(self, data: Buffer, size_bytes: int | None, limit_bytes: int) -> Buffer:
        """See `Codec.decode`."""
        import numcodecs

        header = checked(memoryview(data), memoryview(data).nbytes)
        if header.decoded_bytes > (limit_bytes if size_bytes is None else size_bytes):
            raise ValueError(f"has {header.decoded_bytes:,} bytes")
        return numcodecs.Blosc().decode(data)


class _Crc32c:
    """A checksum after the data."""

    def decode(self, data: Buffer, size_bytes: int | None, limit_bytes: int) -> Buffer:  # noqa: ARG002
        import crc32c

        view = memoryview(data).cast("B")
        told = int.from_bytes(view[-_CRC_BYTES:], "little")
        if len(view) < _CRC_BYTES or crc32c.crc32c(view[:-_CRC_BYTES]) != told:
            raise ValueError("its checksum is wrong")
        return view[:-_CRC_BYTES]


_OWN: dict[str, Callable[[], Codec]] = {
    "zstd": _Zstandard, "lz4": _Lz4, BLOSC_ID: Blosc, "crc32c": _Crc32c,
}  # fmt: skip


class _Foreign:
    """A codec of numcodecs, or of a package that has added it to those."""

    def __init__(self, name: str, configuration: Mapping[str, Any]) -> None:
        import numcodecs.registry

        if name not in _OF_NUMCODECS and name not in numcodecs.registry.entries:
            raise Unreadable(f"codec {name!r} is not known, or does not hold numbers")
        for key in _TYPES:
            if key in configuration:
                dtype_2(configuration[key])
        try:
            self._codec = numcodecs.registry.get_codec(dict(configuration))
        except Exception as error:  # of any package, for whatever parameters
            raise Unreadable(f"codec {name!r} cannot be used here: {error}") from error

    def decode(self, data: Buffer, size_bytes: int | None, limit_bytes: int) -> Buffer:  # noqa: ARG002
        import numpy as np

        with np.errstate(all="ignore"):
            found = np.asarray(self._codec.decode(data)).reshape(-1, order="A")  # as zarr 2 does
        if found.dtype.hasobject or found.nbytes > limit_bytes:
            raise ValueError(f"has {found.nbytes:,} bytes of {found.dtype}")
        return np.ascontiguousarray(found).view("u1")
