"""Keeping the index of the merged tree, and asking it."""

from copickfs.indexing.catalog import Catalog
from copickfs.indexing.crawl import Summary
from copickfs.indexing.criteria import criteria_of, require_one_of, types_of
from copickfs.indexing.opening import open_catalog
from copickfs.indexing.place import key_of, open_index

__all__ = [
    "Catalog",
    "Summary",
    "criteria_of",
    "key_of",
    "open_catalog",
    "open_index",
    "require_one_of",
    "types_of",
]
