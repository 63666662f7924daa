"""What is in a store on a server that lists nothing: what its zarr documents tell of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copickfs import paths
from copickfs.arrays.documents import item, parsed
from copickfs.arrays.pyramid import MAX_DOCUMENT_BYTES
from copickfs.errors import AccessDenied, NotADirectory, NotFound
from copickfs.fetching.levels import levels_of
from copickfs.indexing.metadata import Metadata

if TYPE_CHECKING:
    from copickfs.model import Entry
    from copickfs.view import View


def entries_of(view: View, directory: str, store: str) -> list[Entry]:
    """The documents of the group ``directory``, and the groups and arrays in it that its store tells of.

    Raises:
        Transient: A layer is out of reach.
    """
    inner = levels_of(view, store) + _consolidated(view, store)
    start = len(directory) + 1
    names = {path[start:].partition("/")[0] for path in inner if path.startswith(f"{directory}/")}
    entries = []
    for name in sorted(names | paths.ARRAY_METADATA):
        try:
            entries.append(view.lookup(paths.join(directory, name)).entry)
        except (NotFound, NotADirectory, AccessDenied):
            continue  # what would make an array of it is refused where there is none
    return entries


def _consolidated(view: View, store: str) -> list[str]:
    """The paths in the tree of what the consolidated metadata of a store tell of."""
    found = []
    for name, keys in ((".zmetadata", ("metadata",)), ("zarr.json", ("consolidated_metadata", "metadata"))):
        data, _version = Metadata(view).document(f"{store}/{name}", None, MAX_DOCUMENT_BYTES)
        documents = item(parsed(data), *keys) if data else None
        if isinstance(documents, dict):
            found += [path for path in documents if isinstance(path, str)]
    inner = [paths.split(path)[0] if paths.split(path)[1] in paths.ARRAY_METADATA else path for path in found]
    return [f"{store}/{path}" for path in inner if path]
