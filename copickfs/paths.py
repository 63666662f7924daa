"""The grammar of paths in a copick tree: what is a container, a store or a file.

Paths are relative and ``/``-separated, ``""`` is the root. The layout is copick's (1.31)::

    ExperimentRuns/<run>/VoxelSpacing<%.3f>/<tomo_type>.zarr
    ExperimentRuns/<run>/{Picks,Filaments}/<user>_<session>_<object>.json
    ExperimentRuns/<run>/Meshes/<user>_<session>_<object>.glb
    ExperimentRuns/<run>/{Segmentations,InstanceSegmentations,PanopticSegmentations}/<name>.zarr
    Objects/<object>.zarr
"""

from __future__ import annotations

from copickfs.errors import InvalidName

STORE_SUFFIX = ".zarr"
RESERVED_PREFIX = ".copickfs"
"""Names that begin so belong to copickfs itself and are never shown from a layer."""

CONTROL_DIRECTORY = ".copickfs"
CONFIG_NAME = "copick_config.json"
ARRAY_METADATA = frozenset({".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json"})
NAME_MAX_BYTES = 255


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
