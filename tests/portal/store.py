"""Records in memory, indexed by their ids and by the ids they refer to, with the portal's filters."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import Any

from tests.portal import comparing
from tests.portal.schema import Kind, kinds

Row = dict[str, Any]


class Table:
    """All records of one kind. Two of them may have one id: what nobody expects is to be tested too."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.rows: dict[int, Row] = {}
        keys = {"id"} | {relation.own for relation in kind.relations.values()}
        keys |= {r.other for of in kinds().values() for r in of.relations.values() if r.kind == kind.name}
        self.index: dict[str, dict[Any, dict[int, None]]] = {key: defaultdict(dict) for key in keys}
        self._next = 0

    def add(self, row: Row) -> Row:
        """Add a record whose fields are complete."""
        number, self._next = self._next, self._next + 1
        self.rows[number] = row
        self._enter(number, row)
        return row

    def change(self, number: int, fields: Row) -> None:
        """Give a record other values."""
        self._leave(number)
        self.rows[number] |= fields
        self._enter(number, self.rows[number])

    def remove(self, number: int) -> None:
        """Forget a record."""
        self._leave(number)
        del self.rows[number]

    def numbers(self, key: str, values: Any) -> set[int]:
        """Where an indexed field has one of some values."""
        index = self.index[key]
        return {number for value in values if value is not None for number in index.get(value, ())}

    def _enter(self, number: int, row: Row) -> None:
        for key, index in self.index.items():
            index[row[key]][number] = None

    def _leave(self, number: int) -> None:
        for key, index in self.index.items():
            del index[self.rows[number][key]][number]


class Store:
    """Records of every kind. A returned record is the stored one: it is changed by `change` only."""

    def __init__(self) -> None:
        self.tables = {name: Table(kind) for name, kind in kinds().items()}
        self.lock = threading.RLock()
        self._ids = {name: 1_000_000 * place for place, name in enumerate(self.tables, 1)}

    def add(self, kind: str, **fields: Any) -> Row:
        """Add a record: the fields given, an id if none is given, and a default for what may not be null."""
        table = self.tables[kind]
        if unknown := fields.keys() - table.kind.defaults.keys():
            raise KeyError(f"{kind} has no fields {sorted(unknown)}")
        with self.lock:
            if "id" not in fields:
                fields["id"] = self._ids[kind] = self._ids[kind] + 1
            return table.add({**table.kind.defaults, **fields})

    def rows(self, kind: str, **equal: Any) -> list[Row]:
        """The records of a kind whose fields have these values, in the order they were added."""
        where = {field: {"_eq": value} for field, value in equal.items()}
        return self.select(kind, where)

    def row(self, kind: str, number: int) -> Row:
        """The record with this id."""
        (found,) = self.rows(kind, id=number)
        return found

    def change(self, kind: str, number: int, **fields: Any) -> Row:
        """Give the record with this id other values."""
        table = self.tables[kind]
        with self.lock:
            (place,) = table.numbers("id", [number])
            table.change(place, fields)
            return table.rows[place]

    def remove(self, kind: str, number: int) -> None:
        """Forget the records with this id; what refers to them stays."""
        table = self.tables[kind]
        with self.lock:
            for place in table.numbers("id", [number]):
                table.remove(place)

    def select(self, kind: str, where: Row | None = None) -> list[Row]:
        """The records a filter of the portal lets through, in the order they were added."""
        table = self.tables[kind]
        with self.lock:
            found = self._matching(table, where or {})
            return list(table.rows.values()) if found is None else [table.rows[n] for n in sorted(found)]

    def _matching(self, table: Table, where: Row) -> set[int] | None:
        """Places of the records a filter lets through; None is all of them, none looked at."""
        found: set[int] | None = None
        tests = []
        for field, clause in where.items():
            if clause is None:
                continue
            relation = table.kind.relations.get(field)
            if relation is not None:
                values = self._leading_to(relation.kind, relation.other, clause)
                found = _narrowed(found, table, relation.own, values)
                continue
            comparisons = dict(clause)
            if field in table.index and (keys := comparing.pop_keys(comparisons)) is not None:
                found = _narrowed(found, table, field, keys)
            if comparisons:
                tests.append((field, comparing.test(comparisons)))
        if tests:
            places = table.rows if found is None else found
            found = {n for n in places if all(passes(table.rows[n][field]) for field, passes in tests)}
        return found

    def _leading_to(self, kind: str, field: str, where: Row) -> set[Any] | None:
        table = self.tables[kind]
        found = self._matching(table, where)
        if found is None:
            return None if field == "id" else table.index[field].keys() - {None}
        return {table.rows[number][field] for number in found}


def _narrowed(found: set[int] | None, table: Table, field: str, values: Any) -> set[int] | None:
    if values is None:
        return found
    if found is None:
        return table.numbers(field, values)
    return {number for number in found if table.rows[number][field] in values}
