"""The two speeds at which a layer can be asked: waiting, or answering only at once.

One set of functions for each, so that the rules of merging stand once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from copickfs.layers.base import Layer, LayerFile
    from copickfs.model import ByteRange, Entry


class Speed(NamedTuple):
    """How layers are asked.

    Attributes:
        stat: `Layer.stat` or its twin.
        scan: `Layer.scan` or its twin.
        open: `Layer.open` or its twin.
        read: `LayerFile.read` or its twin.
    """

    stat: Callable[[Layer, str], Entry]
    scan: Callable[[Layer, str], Sequence[Entry]]
    open: Callable[[Layer, str], LayerFile]
    read: Callable[[LayerFile, ByteRange], bytes | memoryview]


def _stat(layer: Layer, path: str) -> Entry:
    return layer.stat(path)


def _stat_nowait(layer: Layer, path: str) -> Entry:
    return layer.stat_nowait(path)


def _scan(layer: Layer, path: str) -> Sequence[Entry]:
    return layer.scan(path)


def _scan_nowait(layer: Layer, path: str) -> Sequence[Entry]:
    return layer.scan_nowait(path)


def _open(layer: Layer, path: str) -> LayerFile:
    return layer.open(path)


def _open_nowait(layer: Layer, path: str) -> LayerFile:
    return layer.open_nowait(path)


def _read(file: LayerFile, span: ByteRange) -> bytes | memoryview:
    return file.read(span)


def _read_nowait(file: LayerFile, span: ByteRange) -> bytes | memoryview:
    return file.read_nowait(span)


WAIT = Speed(_stat, _scan, _open, _read)
"""Wait for the layer's answer."""

NOWAIT = Speed(_stat_nowait, _scan_nowait, _open_nowait, _read_nowait)
"""Answer at once, or raise `copickfs.errors.WouldBlock`."""
