"""The grammar of paths in a copick tree: what is a container, a store or a file.

Paths are relative and ``/``-separated, ``""`` is the root. The layout is copick's (1.31)::

    ExperimentRuns/<run>/VoxelSpacing<%.3f>/<tomo_type>.zarr
    ExperimentRuns/<run>/{Picks,Filaments}/<user>_<session>_<object>.json
    ExperimentRuns/<run>/Meshes/<user>_<session>_<object>.glb
    ExperimentRuns/<run>/{Segmentations,InstanceSegmentations,PanopticSegmentations}/<name>.zarr
    Objects/<object>.zarr
"""

from __future__ import annotations

import re

from copickfs.errors import InvalidName

STORE_SUFFIX = ".zarr"
RESERVED_PREFIX = ".copickfs"
"""Names that begin so belong to copickfs itself and are never shown from a layer."""

CONTROL_DIRECTORY = ".copickfs"
"""At the root of a layer: what copickfs keeps there. A layer without it has no marks anywhere."""

WHITEOUT_DIRECTORY = ".copickfs-whiteouts"
"""In a directory of a layer: an empty file for each name of it that lower layers do not show."""

PARTIAL_DIRECTORY = ".copickfs-partial"
"""In a directory of a layer: partial copies of lower stores, under the names of the stores."""

ORIGIN_NAME = ".copickfs-origin"
"""In a partial copy: what it is a copy of."""

CONFIG_NAME = "copick_config.json"
ARRAY_METADATA = frozenset({".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json"})
NAME_MAX_BYTES = 255

_CHUNK = re.compile(r"(c\.)?[0-9]+(\.[0-9]+)*|c")
_WHOLE = {"Picks": ".json", "Filaments": ".json", "Meshes": ".glb"}


def join(directory: str, name: str) -> str:
    """``directory/name``, where the root is ``""``."""
    return f"{directory}/{name}" if directory else name


def split(path: str) -> tuple[str, str]:
    """The directory of ``path`` and its last component."""
    directory, _, name = path.rpartition("/")
    return directory, name


def normalise(path: str) -> str:
    """``path`` as the core wants it: relative, no empty component.

    Raises:
        InvalidName: A component is ``.``, ``..``, contains NUL or is longer than 255 bytes.
    """
    parts = [part for part in path.split("/") if part]
    for part in parts:
        if part in (".", "..") or "\0" in part:
            raise InvalidName(f"not a path of the tree: {path!r}")
        if len(part) * 4 > NAME_MAX_BYTES and len(part.encode(errors="surrogateescape")) > NAME_MAX_BYTES:
            raise InvalidName(f"a name in {path!r} is longer than {NAME_MAX_BYTES} bytes")
    return "/".join(parts)


def store_of(path: str) -> str | None:
    """The outermost store that ``path`` is, or lies in; None outside of stores."""
    if STORE_SUFFIX not in path:
        return None
    end = 0
    while True:
        end = path.find(STORE_SUFFIX, end)
        if end < 0:
            return None
        end += len(STORE_SUFFIX)
        if end == len(path) or path[end] == "/":
            return path[:end]


def is_store(name: str) -> bool:
    """True if a *directory* of this name is a store."""
    return name.endswith(STORE_SUFFIX)


def array_of(path: str) -> str | None:
    """The directory of the zarr array whose metadata document ``path`` is; None for other paths."""
    directory, name = split(path)
    return directory if name in (".zarray", "zarr.json") and store_of(directory) else None


def is_reserved(path: str) -> bool:
    """True if a component of ``path`` belongs to copickfs itself."""
    return RESERVED_PREFIX in path and any(part.startswith(RESERVED_PREFIX) for part in path.split("/"))


def is_published_whole(path: str) -> bool:
    """True for a file of which readers see one version or another, never a part of one.

    These are picks, filaments and meshes, and in stores the zarr metadata documents and the chunks
    (``0``, ``0.1.2``, ``c/0/1``), but not the temporary names under which some programs write them.
    """
    directory, name = split(path)
    if store_of(directory):
        return name in ARRAY_METADATA or _CHUNK.fullmatch(name) is not None
    suffix = _WHOLE.get(split(directory)[1])
    return suffix is not None and name.endswith(suffix) and not name.startswith(".")


def shown_as(path: str) -> str | None:
    """The path in the merged tree that a change of ``path`` in a layer is about.

    A mark is about the name that it stands for, a file of a partial copy about that of the store.
    None if nothing in the tree can have changed; ``""`` if anything may have.
    """
    if RESERVED_PREFIX not in path:
        return path
    parts = path.split("/")
    if parts[0] == CONTROL_DIRECTORY:
        return "" if len(parts) == 1 else None
    shown = [part for part in parts if part not in (WHITEOUT_DIRECTORY, PARTIAL_DIRECTORY)]
    if shown and shown[-1] == ORIGIN_NAME:
        shown.pop()
    return None if is_reserved("/".join(shown)) else "/".join(shown)
