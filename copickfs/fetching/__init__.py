"""Fetching parts of the merged tree into the cache, before anybody asks.

* `copickfs.fetching.looking`: listing directories of the tree, several at a time
* `copickfs.fetching.selection`: which paths are meant, and what programs look at beside them
* `copickfs.fetching.unlisted`: what a store tells of itself where the server lists nothing
* `copickfs.fetching.levels`: the levels of a pyramid
* `copickfs.fetching.targets`: the files below the paths that come from layers that are cached
* `copickfs.fetching.fetcher`: having them on the disk

Everything goes through the merged view, so that only what a mount would show is fetched. The layers
must keep their listings first (`copickfs.layers.remote.FsspecLayer.keep_listings`): what was listed on the
way is what a mount without a network lists.
"""

from copickfs.fetching.fetcher import Fetcher, Outcome
from copickfs.fetching.looking import Looking
from copickfs.fetching.selection import found, named, surroundings
from copickfs.fetching.targets import Target, Targets

__all__ = ["Fetcher", "Looking", "Outcome", "Target", "Targets", "found", "named", "surroundings"]
