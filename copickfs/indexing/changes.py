"""Which directories of entities a change in the tree is about."""

from __future__ import annotations

import re

from copickfs import paths
from copickfs.entities import OBJECTS_DIRECTORY, RUNS_DIRECTORY, holds_entities, naming

ROOTS = (RUNS_DIRECTORY, OBJECTS_DIRECTORY)
"""The directories at the root of the tree that hold entities."""

_CHUNK = re.compile(r"(c\.)?[0-9]+(\.[0-9]+)*|c")
_RUN_DEPTH = 2


def directories_of(path: str) -> list[str]:
    """The directories whose entities may be others since ``path`` came, went or changed.

    ``path`` itself is among them if it may be such a directory; then those below it are, too, and are
    not named. ``""`` stands for everything. Of what lies in a store only what may be its metadata
    matters.
    """
    if not path:
        return list(ROOTS)
    store = paths.store_of(path)
    if store is not None and len(store) < len(path):
        if not _may_be_metadata(path[len(store) + 1 :]):
            return []
        path = store
    directory, leaf = paths.split(path)
    concerned = []
    parse = naming(directory)
    if parse is not None and (parse(leaf, True) or parse(leaf, False)):  # noqa: FBT003 -- a directory's or a file's
        concerned.append(directory)
    if holds_entities(path):
        # What is missing of a run is noticed when the run's own directory is looked at.
        if not concerned and path.count("/") == _RUN_DEPTH:
            concerned.append(directory)
        concerned.append(path)
    return concerned


def _may_be_metadata(inner: str) -> bool:
    """True unless a path inside of a store is that of a chunk, or of what it is written under at first."""
    *above, name = inner.split("/")
    if not above or name in paths.ARRAY_METADATA:
        return True
    # A level deeper down, which came or went as a whole.
    return "." not in name and not any(_CHUNK.fullmatch(part) for part in (*above[1:], name))
