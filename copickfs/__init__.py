"""copickfs: any number of copick project layers as one directory tree.

The public names are imported on first use, so that ``import copickfs`` stays cheap.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_EXPORTS = {
    "CopickConfigCache": "copickfs.config.models",
    "CopickConfigFS": "copickfs.config.models",
    "CopickConfigMultilayer": "copickfs.config.models",
    "CopickConfigPortal": "copickfs.config.models",
    "CopickConfigSQLiteDB": "copickfs.config.models",
    "CopickFeaturesMultilayer": "copickfs.api",
    "CopickFilamentsMultilayer": "copickfs.api",
    "CopickMeshMultilayer": "copickfs.api",
    "CopickObjectMultilayer": "copickfs.api",
    "CopickPicksMultilayer": "copickfs.api",
    "CopickRootMultilayer": "copickfs.api",
    "CopickRunMultilayer": "copickfs.api",
    "CopickSegmentationMultilayer": "copickfs.api",
    "CopickTomogramMultilayer": "copickfs.api",
    "CopickVoxelSpacingMultilayer": "copickfs.api",
    "LayerManager": "copickfs.api",
    "MemoryLayer": "copickfs.layers.memory",
    "ProxyFactory": "copickfs.api",
    "from_file": "copickfs.api",
    "from_string": "copickfs.api",
}

__all__ = ["__version__", *_EXPORTS]  # noqa: PLE0604 -- the keys are literal strings above


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    try:
        module = _EXPORTS[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
