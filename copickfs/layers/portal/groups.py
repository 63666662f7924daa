"""What is in a zarr group of a server that lists nothing: the portal's mirrors are such servers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from copickfs.errors import AccessDenied
from copickfs.layers.sources import DIRECTORY, FILE, Found
from copickfs.model import ByteRange
from copickfs.paths import ARRAY_METADATA

if TYPE_CHECKING:
    from copickfs.layers.connection import Connection

_LONGEST_DOCUMENT_BYTES = 16 << 20


def listing_of(place: str, connection: Connection) -> list[Found]:
    """The documents of an OME-Zarr group, and the arrays that they name.

    Args:
        place: The group: see `copickfs.layers.sources.places`.
        connection: Asks for it.

    Raises:
        AccessDenied: It is no such group.
        Transient: The server cannot be asked.
    """
    documents = [found for found in connection.files(place, sorted(ARRAY_METADATA)) if found.kind == FILE]
    names = {found.name for found in documents}
    if ".zarray" in names:
        raise AccessDenied(place)
    for found in documents:
        if found.name in (".zattrs", "zarr.json") and 0 < found.size_bytes <= _LONGEST_DOCUMENT_BYTES:
            text = connection.read(f"{place}/{found.name}", ByteRange(0, found.size_bytes), found)
            arrays = _arrays(text)
            if arrays:
                return documents + [Found(name, DIRECTORY) for name in sorted(arrays)]
    raise AccessDenied(place)


def _arrays(text: bytes) -> set[str]:
    """First names of the paths of a multiscale image's arrays."""
    try:
        document = json.loads(text)
        attributes = document.get("attributes", document)
        attributes = attributes.get("ome", attributes)
        paths = [level["path"] for one in attributes["multiscales"] for level in one["datasets"]]
        return {path.partition("/")[0] for path in paths if path}
    except (ValueError, TypeError, KeyError, AttributeError):
        return set()
