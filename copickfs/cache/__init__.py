"""What was read from remote layers, kept in memory and on a local disk. Knows nothing of layers.

* `copickfs.cache.piece`: the unit, a whole small object or a block of a big one, in one version
* `copickfs.cache.memory`: the last pieces, and those that were fetched on a guess
* `copickfs.cache.disk`: the directory: files under the layers' own paths, never more than the limit
* `copickfs.cache.place`, `opened`: whose the directory is, and coming and going
* `copickfs.cache.files`, `room`: where files are, and how much they may take
* `copickfs.cache.ledger`, `inventory`, `tables`: the database of what the directory holds
* `copickfs.cache.verifying`: whether files are what was written
* `copickfs.cache.cache`: both tiers, and the thread that writes

Concurrency: any number of threads and processes of one machine share a directory. Every change of it is made
within a write transaction of its database (`copickfs.index.Database.writing`), the only lock that
processes share; room is booked there before a byte is written, and the journal of the database has room of
its own, so that the limit holds at any time. An empty database takes 0.2 MB; with a limit of less than
0.3 MB nothing is kept. What a process had booked when it was killed is given back by the next one that opens
the directory. Nothing read from the disk is given out before its length and its digest were compared, so that
whatever else happens to a file makes it a miss. A power cut may take the last of what the database was told:
files that it does not know of are found by `Disk.verify`.
"""

from copickfs.cache.cache import Cache, CacheCounts
from copickfs.cache.disk import Disk
from copickfs.cache.memory import Memory
from copickfs.cache.piece import Piece

__all__ = ["Cache", "CacheCounts", "Disk", "Memory", "Piece"]
