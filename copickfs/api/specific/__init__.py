"""What single layers can do besides holding data (specification, 2.4): a class for each kind.

A kind of layer that has something of its own gets a module here, and a line in `_KINDS`: a class that is made
with the `copickfs.api.root.LayerRoot`, whose ``layer`` is the layer itself and whose ``config`` is its
configuration. All other kinds have what every layer has: paths, files and directories.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from copickfs.api.specific.cache import CacheFeatures
from copickfs.api.specific.filesystem import FilesystemFeatures
from copickfs.api.specific.index import IndexFeatures
from copickfs.api.specific.portal import PortalFeatures

if TYPE_CHECKING:
    from collections.abc import Callable

    from copickfs.api.root import LayerRoot

__all__ = ["CacheFeatures", "FilesystemFeatures", "IndexFeatures", "PortalFeatures", "specific_of"]

_KINDS: dict[str, Callable[[LayerRoot], Any]] = {
    "filesystem": FilesystemFeatures,
    "cryoet_data_portal": PortalFeatures,
}


def specific_of(root: LayerRoot) -> Any:
    """What the data layer of ``root`` can do."""
    return _KINDS.get(root.config.config_type, FilesystemFeatures)(root)
