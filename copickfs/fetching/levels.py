"""The levels of an OME-Zarr pyramid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copickfs.arrays.documents import item, parsed
from copickfs.arrays.multiscales import level_paths
from copickfs.arrays.pyramid import MAX_DOCUMENT_BYTES
from copickfs.indexing.metadata import Metadata

if TYPE_CHECKING:
    from copickfs.view import View


def levels_of(view: View, store: str) -> list[str]:
    """The paths in the tree of a store's levels, the finest first; none if the store tells of none.

    Raises:
        Transient: A layer is out of reach.
    """
    attributes = _document(view, f"{store}/.zattrs")
    found = level_paths(attributes) or level_paths(item(_document(view, f"{store}/zarr.json"), "attributes"))
    return [f"{store}/{path}" for path in found]


def _document(view: View, path: str) -> object:
    data, _version = Metadata(view).document(path, None, MAX_DOCUMENT_BYTES)
    return parsed(data) if data else None
