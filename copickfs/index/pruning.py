"""Dropping from the index what nobody has used for long, in short transactions."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from copickfs.index.entitychange import EntityChange
from copickfs.index.text import shown, words

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from copickfs.index.database import Database

STACK_KEPT_S = 90 * 86_400.0
"""A stack of layers that nobody has opened for so long is forgotten."""

_DIRECTORIES_AT_ONCE = 200
_NAMES_AT_ONCE = 2_000
_REST_S = 0.01
"""Between two transactions, so that others get their turn."""

_UNUSED_NAMES = """
SELECT id, text FROM name
WHERE NOT EXISTS (SELECT 1 FROM entity WHERE run = name.id)
AND NOT EXISTS (SELECT 1 FROM entity WHERE object = name.id)
AND NOT EXISTS (SELECT 1 FROM entity WHERE user = name.id)
AND NOT EXISTS (SELECT 1 FROM entity WHERE session = name.id)
AND NOT EXISTS (SELECT 1 FROM entity WHERE name = name.id)
AND id NOT IN (SELECT layers FROM entity)
"""


def prune_stacks(database: Database, is_over: Callable[[], bool] = lambda: False) -> int:
    """Forget the stacks that were not used for `STACK_KEPT_S`, with all their entities.

    Args:
        database: The index.
        is_over: Asked between two steps; True: the rest is left to the next call.

    Returns:
        How many those were.

    Raises:
        IndexUnavailable: The database cannot be written.
    """
    limit_ns = time.time_ns() - int(STACK_KEPT_S * 1e9)
    pruned = 0
    while not is_over():
        with database.writing() as connection:
            # Asked for each time: somebody may have begun to use it again.
            row = connection.execute("SELECT id FROM stack WHERE used_ns < ?", (limit_ns,)).fetchone()
            if row is None:
                break
            pruned += _remove_some(connection, row[0])
        time.sleep(_REST_S)
    return pruned


def _remove_some(connection: sqlite3.Connection, stack: int) -> bool:
    """Forget some directories of a stack, and the stack with the last of them: True then."""
    some = "SELECT id FROM directory WHERE stack = ? LIMIT ?"
    directories = [number for (number,) in connection.execute(some, (stack, _DIRECTORIES_AT_ONCE))]
    EntityChange(connection, stack).remove(directories)
    if len(directories) == _DIRECTORIES_AT_ONCE:
        return False
    connection.execute("DELETE FROM volume_statistics WHERE stack = ?", (stack,))
    connection.execute("DELETE FROM stack WHERE id = ?", (stack,))
    return True


def prune_names(database: Database, is_over: Callable[[], bool] = lambda: False) -> int:
    """Forget the names that no entity has any more.

    Args:
        database: The index.
        is_over: Asked between two steps; True: the rest is left to the next call.

    Returns:
        How many those were.

    Raises:
        IndexUnavailable: The database cannot be written.
    """
    with database.reading() as connection:
        unused = [number for number, _ in connection.execute(_UNUSED_NAMES)]
    pruned = 0
    for start in range(0, len(unused), _NAMES_AT_ONCE):
        if is_over():
            break
        numbers = json.dumps(unused[start : start + _NAMES_AT_ONCE])
        with database.writing() as connection:
            still = f"{_UNUSED_NAMES} AND id IN (SELECT value FROM json_each(?))"
            rows = connection.execute(still, (numbers,)).fetchall()
            parts = "INSERT INTO name_parts (name_parts, rowid, text) VALUES ('delete', ?, ?)"
            connection.executemany(parts, ((number, words(shown(text))) for number, text in rows))
            connection.executemany("DELETE FROM name WHERE id = ?", ((number,) for number, _ in rows))
            pruned += len(rows)
        time.sleep(_REST_S)
    return pruned
