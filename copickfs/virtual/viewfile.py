"""An open file under ``Views``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from copickfs.errors import Stale, WouldBlock
from copickfs.model import ByteRange

if TYPE_CHECKING:
    from copickfs.layers.base import Layer
    from copickfs.model import Entry
    from copickfs.virtual.rendering import Contents

_log = logging.getLogger(__name__)


class ViewFile:
    """One version of a file that a renderer makes. Thread-safe, as its contents are.

    Args:
        entry: Its entry.
        contents: What the renderer has opened.
        layer: The layer that it is made of: reads wait for that one.
        lane: The lane of its reads: not that of the layer, which others need while this is computed.

    Attributes:
        entry: As given.
        layer: As given.
        lane: As given.
    """

    def __init__(self, entry: Entry, contents: Contents, layer: Layer, lane: str) -> None:
        self.entry = entry
        self.layer = layer
        self.lane = lane
        self._contents = contents

    def read(self, span: ByteRange) -> bytes:
        """See `LayerFile.read`."""
        wanted = self._within(span)
        return bytes(self._whole(self._contents.read(wanted), wanted))

    def read_nowait(self, span: ByteRange) -> bytes | memoryview:
        """See `LayerFile.read_nowait`."""
        wanted = self._within(span)
        try:
            return self._whole(self._contents.read_nowait(wanted), wanted)
        except WouldBlock:
            raise WouldBlock(self.lane) from None

    def close(self) -> None:
        """See `LayerFile.close`."""
        try:
            self._contents.close()
        except Exception as error:  # noqa: BLE001 -- another package's code may raise anything
            _log.warning("%s cannot be closed: %r", self.entry.name, error)

    def _within(self, span: ByteRange) -> ByteRange:
        size_bytes = self.entry.size_bytes
        start = min(span.start, size_bytes)
        return ByteRange(start, max(start, min(span.stop, size_bytes)))

    def _whole(self, data: bytes | memoryview, span: ByteRange) -> bytes | memoryview:
        """``data``, if it is as long as it was said to be: the kernel would fill up the rest with zeros."""
        if len(data) != span.size_bytes:
            raise Stale(f"{self.entry.name}: what it is made of has changed")
        return data
