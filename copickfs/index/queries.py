"""Finding entities by what they are, and by words."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any

from copickfs.entities import EntityType
from copickfs.index.rows import COLUMNS, JOINED, ids_of, kind_of, record_of, stack_id
from copickfs.index.searching import clauses_of, expressions
from copickfs.index.sources import texts_of
from copickfs.index.text import stored

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Sequence

    from copickfs.entities import EntityRecord
    from copickfs.index.database import Database

_MOST_RANKED = 200
"""More hits of one kind are not ranked: their words are common ones, and one is as good as another."""

_WEIGHTS = (5, 4, 3, 2, 1)  # name, object, run, user, session
VOXEL_TOLERANCE_ANGSTROM = 0.0005  # copick writes three decimals
GLOB = frozenset("*?[")
Answer = dict[str, list["EntityRecord"]]


@dataclasses.dataclass(frozen=True, slots=True)
class Criteria:
    """What entities are looked for; what is None does not matter.

    ``*``, ``?`` and ``[...]`` match as in a shell.

    Attributes:
        type: Kinds; None for all.
        run: Name of the run.
        object: Object that is shown.
        user: Who made it.
        session: In which session.
        name: Type of a tomogram or feature, name of a segmentation or an object.
        voxel_size: In Angstrom, to 0.0005; or a pattern for the number with three decimals.
        layer: A layer that has it, whether it decides or is shadowed.
        segmentation_type: Type of a segmentation.
        run_name: Names, one of which people know the run by, or else its directory has.
    """

    type: Collection[EntityType] | None = None
    run: str | None = None
    object: str | None = None
    user: str | None = None
    session: str | None = None
    name: str | None = None
    voxel_size: float | str | None = None
    layer: str | None = None
    segmentation_type: str | None = None
    run_name: Collection[str] | None = None

    @property
    def types(self) -> list[EntityType]:
        """The kinds that are looked for, in order."""
        return sorted(EntityType if self.type is None else self.type)


class Queries:
    """Answers from the index of one stack. Thread-safe. Every method raises `IndexUnavailable`.

    Args:
        database: Where the entities are.
        key: The stack; see `copickfs.index.stack_key`.
    """

    def __init__(self, database: Database, key: str) -> None:
        self._database = database
        self._key = key

    def find(self, criteria: Criteria) -> Answer:
        """All entities that meet the criteria: for each kind that was asked for, in the order of paths."""
        answer: Answer = {kind.plural: [] for kind in criteria.types}
        with self._database.reading() as connection:
            stack = stack_id(connection, self._key)
            if stack is None:
                return answer
            condition, values = _condition(criteria, stack)
            rows = connection.execute(f"SELECT {COLUMNS} FROM {JOINED} WHERE {condition}", values)
            for row in rows:
                record = record_of(row)
                answer[record.identity.type.plural].append(record)
        for records in answer.values():
            records.sort(key=lambda record: record.identity.path)
        return answer

    def search(
        self, text: str, types: Collection[EntityType] | None = None, limit: int | None = None
    ) -> Answer:
        """The entities in whose names all words of ``text`` are, the best first.

        ``"several words"`` stand together in one name, ``begin*`` begins a word. Where nothing has the words
        as they are, they may begin a word, and then stand anywhere in a name.

        Args:
            text: What is looked for; everything else in it is plain text.
            types: Kinds of entities; None for all.
            limit: Most entities of each kind; None for all.
        """
        kinds = sorted(EntityType if types is None else set(types))
        answer: Answer = {kind.plural: [] for kind in kinds}
        with self._database.reading() as connection:
            stack = stack_id(connection, self._key)
            if stack is None:
                return answer
            for expression in expressions(connection, text, stack):
                hits = _hits(connection, expression, stack, kinds, limit)
                if hits:
                    for kind, numbers in hits.items():
                        answer[kind.plural] = _best(connection, numbers, text, limit)
                    break
        return answer


def _condition(criteria: Criteria, stack: int) -> tuple[str, list[Any]]:
    """The WHERE clause for criteria, and its values."""
    conditions: list[str] = []
    values: list[Any] = []
    for column in ("run", "object", "user", "session", "name"):
        wanted = getattr(criteria, column)
        if wanted is not None:
            names, more = _names(wanted)
            conditions.append(f"e.{column} IN ({names})")
            values += more
    if criteria.run_name is not None:
        condition, more = _run_name_condition(criteria.run_name, stack)
        conditions.append(condition)
        values += more
    if criteria.voxel_size is not None:
        condition, more = _voxel_condition(criteria.voxel_size)
        conditions.append(condition)
        values += more
    is_selective = bool(conditions)
    if criteria.layer is not None:
        # Lists of layers in which the pattern may be, then those in which it is one of them.
        conditions.append(
            "e.layers IN (SELECT id FROM name WHERE '/' || text || '/' GLOB ? AND CASE typeof(text)"
            " WHEN 'text' THEN EXISTS (SELECT 1 FROM"
            """ json_each('[' || replace(json_quote(text), '/', '","') || ']') WHERE value GLOB ?) END)"""
        )
        pattern = _sqlite_glob(criteria.layer)
        values += [f"*/{pattern}/*", pattern]
    if criteria.segmentation_type is not None:
        conditions.append("e.segmentation_type GLOB ? AND e.segmentation_type <> ''")
        values.append(_sqlite_glob(criteria.segmentation_type))
    if is_selective:
        conditions += ["e.stack = ?", f"e.type IN ({', '.join(str(int(kind)) for kind in criteria.types)})"]
        values.append(stack)
    else:
        spans = [ids_of(stack, kind) for kind in criteria.types]
        conditions.append("(" + " OR ".join(["e.id BETWEEN ? AND ?"] * len(spans) or ["0"]) + ")")
        values += [bound for span in spans for bound in span]
    return " AND ".join(conditions), values


def _run_name_condition(wanted: Collection[str], stack: int) -> tuple[str, list[Any]]:
    """Runs that people know by one of some names; a run that has no other name, by that of its directory."""
    told = "SELECT run FROM run_name WHERE stack = ?"
    found, values = ["SELECT 0 WHERE 0"], list[Any]()
    for each in wanted:
        names, more = _names(each)
        found.append(f"{told} AND text {'GLOB' if GLOB & set(each) else '='} ?")
        found.append(f"SELECT id FROM ({names}) WHERE id NOT IN ({told})")
        values += [stack, more[0], *more, stack]
    return f"e.run IN ({' UNION ALL '.join(found)})", values


def _voxel_condition(size: float | str) -> tuple[str, list[Any]]:
    try:
        angstrom = float(size)
    except ValueError:
        return "printf('%.3f', e.voxel_size) GLOB ?", [_sqlite_glob(str(size))]
    tolerance = VOXEL_TOLERANCE_ANGSTROM
    return "e.voxel_size BETWEEN ? AND ?", [angstrom - tolerance, angstrom + tolerance]


def _names(wanted: str) -> tuple[str, list[Any]]:
    """The query for the numbers of the names that are meant, and its values.

    What is not there, an empty name, is nothing that a pattern finds. Names that are not UTF-8 are BLOBs,
    which come after all text, and which GLOB does not look at.
    """
    if not GLOB & set(wanted):
        return "SELECT id FROM name WHERE text = ?", [stored(wanted)]
    pattern = _sqlite_glob(wanted)
    texts = "SELECT id FROM name WHERE text GLOB ? AND text <> ''"
    others = "SELECT id FROM name WHERE text >= x'' AND CAST(text AS TEXT) GLOB ?"
    return f"{texts} UNION ALL {others}", [pattern, pattern]


def _sqlite_glob(pattern: str) -> str:
    """A shell's pattern in SQLite's words; a bracket that nothing closes stands for itself."""
    made = ""
    position = 0
    while position < len(pattern):
        character = pattern[position]
        end = pattern.find("]", position + 2) if character == "[" else -1
        if character == "[" and end < 0:
            made += "[[]"
        elif character == "[":
            inner = pattern[position + 1 : end]
            made += f"[{'^' + inner[1:] if inner[0] == '!' else inner}]"
            position = end
        else:
            made += character
        position += 1
    return made.encode(errors="replace").decode()


def _hits(
    connection: sqlite3.Connection,
    expression: str,
    stack: int,
    kinds: Sequence[EntityType],
    limit: int | None,
) -> dict[EntityType, list[int]]:
    """Numbers of the entities that have the words, as many of each kind as may be shown or ranked.

    All kinds are gone through by one query as far as that is possible: to begin one is what takes time.
    """
    quota = math.inf if limit is None else max(limit, _MOST_RANKED + 1)
    found: dict[EntityType, list[int]] = {}
    left = list(kinds)
    while left:
        span = ids_of(stack, left[0])[0], ids_of(stack, left[-1])[1]
        words = "SELECT rowid FROM entity_words WHERE entity_words MATCH ? AND rowid BETWEEN ? AND ?"
        kind = left[-1]
        for (number,) in connection.execute(words, (expression, *span)):
            kind = EntityType(kind_of(number))
            numbers = found.setdefault(kind, [])
            if kind not in left or len(numbers) >= quota:
                break  # what is in between, of which there may be many, is passed over
            numbers.append(number)
        else:
            kind = left[-1]
        left = [each for each in left if each > kind]
    return {kind: numbers for kind, numbers in found.items() if numbers}


def _records(connection: sqlite3.Connection, ids: Sequence[int]) -> list[EntityRecord]:
    """The records with these row numbers, in this order."""
    rows = f"SELECT {COLUMNS} FROM {JOINED} WHERE e.id IN (SELECT value FROM json_each(?))"
    found = {row[-1]: record_of(row) for row in connection.execute(rows, (json.dumps(ids),))}
    return [found[number] for number in ids]


def _best(
    connection: sqlite3.Connection, ids: Sequence[int], text: str, limit: int | None
) -> list[EntityRecord]:
    """Those in which the words are whole names first, then those in which they begin one."""
    if len(ids) > _MOST_RANKED:
        return _records(connection, ids[:limit])
    wanted = [clause.text.casefold() for clause in clauses_of(text)]
    records = _records(connection, ids)
    records.sort(key=lambda record: (-_score(record, wanted), record.identity.path))
    return records[:limit]


def _score(record: EntityRecord, wanted: Sequence[str]) -> int:
    identity = record.identity
    names = (identity.name, identity.object, identity.run, identity.user, identity.session)
    told = (record.run_name, *texts_of(record.detail))
    folded = [name.casefold() for name in (*names, *told)]
    weights = _WEIGHTS + (1,) * len(told)
    return sum(
        max(
            weight * (3 if name == word else 2 if name.startswith(word) else word in name)
            for name, weight in zip(folded, weights, strict=True)
        )
        for word in wanted
    )
