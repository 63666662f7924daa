"""copickfs: any number of copick project layers as one directory tree.

The public names are imported on first use, so that ``import copickfs`` stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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


if TYPE_CHECKING:  # the same names for type checkers, which do not call `__getattr__`
    from copickfs.api import CopickFeaturesMultilayer as CopickFeaturesMultilayer
    from copickfs.api import CopickFilamentsMultilayer as CopickFilamentsMultilayer
    from copickfs.api import CopickMeshMultilayer as CopickMeshMultilayer
    from copickfs.api import CopickObjectMultilayer as CopickObjectMultilayer
    from copickfs.api import CopickPicksMultilayer as CopickPicksMultilayer
    from copickfs.api import CopickRootMultilayer as CopickRootMultilayer
    from copickfs.api import CopickRunMultilayer as CopickRunMultilayer
    from copickfs.api import CopickSegmentationMultilayer as CopickSegmentationMultilayer
    from copickfs.api import CopickTomogramMultilayer as CopickTomogramMultilayer
    from copickfs.api import CopickVoxelSpacingMultilayer as CopickVoxelSpacingMultilayer
    from copickfs.api import LayerManager as LayerManager
    from copickfs.api import ProxyFactory as ProxyFactory
    from copickfs.api import from_file as from_file
    from copickfs.api import from_string as from_string
    from copickfs.config.models import CopickConfigCache as CopickConfigCache
    from copickfs.config.models import CopickConfigFS as CopickConfigFS
    from copickfs.config.models import CopickConfigMultilayer as CopickConfigMultilayer
    from copickfs.config.models import CopickConfigPortal as CopickConfigPortal
    from copickfs.config.models import CopickConfigSQLiteDB as CopickConfigSQLiteDB
    from copickfs.layers.memory import MemoryLayer as MemoryLayer
else:

    def __getattr__(name: str) -> Any:
        """Import a public name when it is first asked for."""
        try:
            module = _EXPORTS[name]
        except KeyError:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
        return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
