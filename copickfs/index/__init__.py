"""The index: an SQLite database of listings and entities. Knows nothing of layers.

Concurrency: any number of threads and processes use one database. It is in WAL mode, so that readers
see one state and wait for nobody; writers take turns, across processes, by SQLite's own lock, in short
transactions (`Database.writing`). Each thread reads by a connection of its own. Whatever goes wrong is
raised as `copickfs.errors.IndexUnavailable`, and the caller goes on without the index.
"""

from copickfs.index.database import BUSY_S, Database
from copickfs.index.entitytable import EntityTable, StackState
from copickfs.index.matching import is_named, matches
from copickfs.index.opening import OPEN_BUSY_S, in_memory, open_database, rebuild
from copickfs.index.pruning import prune_names, prune_stacks
from copickfs.index.queries import Criteria, Queries
from copickfs.index.sources import run_name_of
from copickfs.index.stack import stack_key
from copickfs.index.statistics import StatisticsTable

__all__ = [
    "BUSY_S",
    "OPEN_BUSY_S",
    "Criteria",
    "Database",
    "EntityTable",
    "Queries",
    "StackState",
    "StatisticsTable",
    "in_memory",
    "is_named",
    "matches",
    "open_database",
    "prune_names",
    "prune_stacks",
    "rebuild",
    "run_name_of",
    "stack_key",
]
