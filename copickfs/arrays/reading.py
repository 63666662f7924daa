"""Reading the metadata of one array."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copickfs.arrays.documents import parsed
from copickfs.arrays.format2 import metadata_2
from copickfs.arrays.format3 import metadata_3
from copickfs.arrays.pyramid import MAX_DOCUMENT_BYTES
from copickfs.errors import NotADirectory, NotFound, Unreadable

if TYPE_CHECKING:
    from copickfs.arrays.metadata import ArrayMetadata
    from copickfs.arrays.pyramid import Documents


def array_metadata(read: Documents, path: str) -> ArrayMetadata:
    """What has to be known to decode the array at ``path`` in a store.

    Args:
        read: Gives documents; other errors than that there is none pass through.
        path: Of the array in the store, ``""`` if it is the store.

    Raises:
        Unreadable: There is no array, its document is not sound, or its chunks are coded in a way that
            is not known; one line that names the document and says why.
    """
    for leaf, understand in ((".zarray", metadata_2), ("zarr.json", metadata_3)):
        name = f"{path}/{leaf}" if path else leaf
        try:
            data = read(name)
        except (NotFound, NotADirectory):
            continue
        document = parsed(data) if len(data) <= MAX_DOCUMENT_BYTES else None
        if not isinstance(document, dict):
            raise Unreadable(f"{name}: is no JSON object")
        try:
            return understand(path, document)
        except Unreadable as error:
            raise Unreadable(f"{name}: {error}") from error
    raise Unreadable(f"{path or 'the store'}: no zarr array, neither .zarray nor zarr.json is there")
