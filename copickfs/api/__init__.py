"""The copick API of a stack of layers: copick's own objects, each of the whole stack.

`from_file` gives a `CopickRootMultilayer`, whose runs, tomograms, picks, ... are subclasses of copick's. What
they read and write is the merged tree (`copickfs.view`), by the rules of a mount; ``source_*`` and
``primary_*`` tell which layers have an object, as an object of a root of that layer alone.

* `copickfs.api.tree`, `trees`, `stores`: whole files, directories and zarr stores of a tree
* `copickfs.api.entity`, `volumes`, `segmentations`, `points`, `run`, `root`: copick's classes on any tree
* `copickfs.api.sources`, `proxies`, `factory`, `multilayer`: those of the merged tree
* `copickfs.api.manager`, `specific`: the layers, and what single ones can do besides holding data
* `copickfs.api.finding`: from answers of the index to objects
"""

from copickfs.api.factory import ProxyFactory
from copickfs.api.manager import LayerManager
from copickfs.api.multilayer import CopickRootMultilayer, from_file, from_string
from copickfs.api.proxies import (
    CopickFeaturesMultilayer,
    CopickFilamentsMultilayer,
    CopickMeshMultilayer,
    CopickObjectMultilayer,
    CopickPicksMultilayer,
    CopickRunMultilayer,
    CopickSegmentationMultilayer,
    CopickTomogramMultilayer,
    CopickVoxelSpacingMultilayer,
)
from copickfs.api.root import LayerRoot
from copickfs.api.specific import CacheFeatures, FilesystemFeatures, IndexFeatures, PortalFeatures

__all__ = [
    "CacheFeatures",
    "CopickFeaturesMultilayer",
    "CopickFilamentsMultilayer",
    "CopickMeshMultilayer",
    "CopickObjectMultilayer",
    "CopickPicksMultilayer",
    "CopickRootMultilayer",
    "CopickRunMultilayer",
    "CopickSegmentationMultilayer",
    "CopickTomogramMultilayer",
    "CopickVoxelSpacingMultilayer",
    "FilesystemFeatures",
    "IndexFeatures",
    "LayerManager",
    "LayerRoot",
    "PortalFeatures",
    "ProxyFactory",
    "from_file",
    "from_string",
]
