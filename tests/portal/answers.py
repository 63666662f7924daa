"""Answers to whole queries. Not graphql-core's own execution, which takes a minute for 100,000 records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import graphql
from graphql.execution.values import get_argument_values

from tests.portal.comparing import comparable
from tests.portal.schema import Kind, Relation, by_root_field, kinds, schema

if TYPE_CHECKING:
    from tests.portal.store import Row, Store


class Found:
    """What a query asked for.

    Attributes:
        data: The answer's data.
        kinds: Kinds of record asked for.
        rows: Number of records found, not counting those that are parts of others.
        ids: Number of values in the longest list of its filters.
    """

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.kinds: list[str] = []
        self.rows = 0
        self.ids = 0


def answer(store: Store, text: str, variables: dict[str, Any] | None = None) -> Found:
    """Run a query.

    Raises:
        graphql.GraphQLError: The query is wrong, or a record lacks a value the schema promises.
    """
    document = graphql.parse(text)
    if errors := graphql.validate(schema(), document):
        raise errors[0]
    (operation,) = document.definitions
    assert isinstance(operation, graphql.OperationDefinitionNode)
    found = Found()
    for node in operation.selection_set.selections:
        assert isinstance(node, graphql.FieldNode)
        name = node.name.value
        if name not in by_root_field():
            raise graphql.GraphQLError(f"this portal has no {name}")
        kind = by_root_field()[name]
        definition = schema().query_type.fields[name]  # type: ignore[union-attr]
        arguments = get_argument_values(definition, node, variables or {})
        found.kinds.append(kind.name)
        found.ids = max(found.ids, _longest(arguments.get("where")))
        with store.lock:
            rows = _chosen(store, kind, arguments)
            found.rows += len(rows)
            found.data[_label(node)] = _shown(store, kind, rows, node)
    return found


def _chosen(store: Store, kind: Kind, arguments: dict[str, Any]) -> list[Row]:
    rows = store.select(kind.name, arguments.get("where"))
    for clause in reversed(arguments.get("orderBy") or []):
        rows = _ordered(store, kind, rows, clause)
    limits = arguments.get("limitOffset") or {}
    start = limits.get("offset") or 0
    return rows[start:] if limits.get("limit") is None else rows[start : start + limits["limit"]]


def _ordered(store: Store, kind: Kind, rows: list[Row], clause: dict[str, Any]) -> list[Row]:
    for path, direction in reversed(list(_orders(clause))):
        keyed = [(_followed(store, kind, row, path), row) for row in rows]
        nulls = [row for value, row in keyed if value is None]
        some = [pair for pair in keyed if pair[0] is not None]
        some.sort(key=lambda pair: pair[0], reverse=direction.startswith("desc"))
        rows = [row for _, row in some]
        first = direction.endswith("nulls_first") or direction == "desc"  # as PostgreSQL has it
        rows = nulls + rows if first else rows + nulls
    return rows


def _orders(clause: dict[str, Any], path: tuple[str, ...] = ()) -> Any:
    for field, order in clause.items():
        if isinstance(order, dict):
            yield from _orders(order, (*path, field))
        elif order is not None:
            yield (*path, field), order


def _followed(store: Store, kind: Kind, row: Row, path: tuple[str, ...]) -> Any:
    for step in path[:-1]:
        relation = kind.relations[step]
        others = store.rows(relation.kind, **{relation.other: row[relation.own]})
        if not others:
            return None
        row, kind = others[0], kinds()[relation.kind]
    return comparable(row[path[-1]])


def _shown(store: Store, kind: Kind, rows: list[Row], node: graphql.FieldNode) -> list[Row]:
    """The selected fields of some records."""
    fields = _fields(node)
    plain = {label: name for label, name, _ in fields if name in kind.defaults}
    for name in kind.required.intersection(plain.values()):
        for row in rows:
            if row[name] is None:
                raise graphql.GraphQLError(f"Cannot return null for non-nullable field {kind.name}.{name}.")
    shown = [{label: row[name] for label, name in plain.items()} for row in rows]
    for label, name, inner in fields:
        for row, made in zip(rows, shown, strict=True):
            if name in kind.relations:
                made[label] = _related(store, kind.relations[name], row, inner)
            elif name == "__typename":
                made[label] = kind.name
            elif name == "_id":
                made[label] = f"{kind.name}:{row['id']}"
            elif name not in kind.defaults:
                raise graphql.GraphQLError(f"this portal has no {kind.name}.{name}")
    return shown


def _related(store: Store, relation: Relation, row: Row, node: graphql.FieldNode) -> Any:
    kind = kinds()[relation.kind]
    value = row[relation.own]
    rows = [] if value is None else store.rows(relation.kind, **{relation.other: value})
    if not relation.many:
        return _shown(store, kind, rows[:1], node)[0] if rows else None
    connection = {}
    for label, _, edges in _fields(node):
        ((shown, _, inner),) = _fields(edges)
        connection[label] = [{shown: made} for made in _shown(store, kind, rows, inner)]
    return connection


def _fields(node: graphql.FieldNode) -> list[tuple[str, str, graphql.FieldNode]]:
    if node.selection_set is None:
        return []
    inner = [field for field in node.selection_set.selections if isinstance(field, graphql.FieldNode)]
    if len(inner) != len(node.selection_set.selections):
        raise graphql.GraphQLError("this portal reads no fragments")
    return [(_label(field), field.name.value, field) for field in inner]


def _label(node: graphql.FieldNode) -> str:
    return node.alias.value if node.alias else node.name.value


def _longest(where: Any) -> int:
    if isinstance(where, dict):
        return max((_longest(value) for value in where.values()), default=0)
    return len(where) if isinstance(where, list) else 0
