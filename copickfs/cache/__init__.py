"""What was read from remote layers, kept in memory and on a local disk. Knows nothing of layers.

* `copickfs.cache.piece`: the unit, a whole small object or a block of a big one, in one version
* `copickfs.cache.memory`: the last pieces, and those that were fetched on a guess
* `copickfs.cache.disk`: the directory: files under the layers' own paths, never more than the limit
* `copickfs.cache.ledger`: the database of what the directory holds
* `copickfs.cache.cache`: both tiers, and the thread that writes

Concurrency: any number of threads and processes of one machine share a directory. Every change of it is made
within a write transaction of its database (`copickfs.index.Database.writing`), the only lock that
processes share; room is booked there before a byte is written. What a process had booked when it was
killed is given back by the next one that opens the directory. Nothing read from the disk is given out
before its length and its digest were compared, so that whatever else happens to a file makes it a miss.
"""

from copickfs.cache.cache import Cache, CacheCounts
from copickfs.cache.disk import Disk
from copickfs.cache.memory import Memory
from copickfs.cache.piece import Piece

__all__ = ["Cache", "CacheCounts", "Disk", "Memory", "Piece"]
