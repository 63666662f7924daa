"""The portal's schema as the client's package ships it: fields, relations, and what must not be null."""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any, NamedTuple

import graphql
import strcase
from cryoet_data_portal import _models
from cryoet_data_portal._gql_base import ListRelationship, Model

DATE = "2023-06-01T00:00:00+00:00"


class Relation(NamedTuple):
    """How records of one kind lead to those of another.

    Attributes:
        kind: The other kind.
        own: Field here whose value is
        other: the value of this field there.
        many: Whether there are any number of them.
    """

    kind: str
    own: str
    other: str
    many: bool


class Kind(NamedTuple):
    """One type of record.

    Attributes:
        name: Its name in the schema.
        root_field: Its field in a query.
        relations: By field.
        required: Scalar fields that may not be null.
        defaults: A value for every scalar field; null where the schema allows it.
    """

    name: str
    root_field: str
    relations: dict[str, Relation]
    required: frozenset[str]
    defaults: dict[str, Any]


@functools.cache
def schema() -> graphql.GraphQLSchema:
    """The schema, parsed once a process."""
    text = resources.files("cryoet_data_portal").joinpath("data/schema.graphql").read_text()
    return graphql.build_schema(text, assume_valid=True)


@functools.cache
def kinds() -> dict[str, Kind]:
    """All kinds the client has, by name."""
    classes = [found for found in vars(_models).values() if isinstance(found, type)]
    models = [found for found in classes if issubclass(found, Model) and found is not Model]
    return {model._gql_type: _kind(model) for model in models}


def by_root_field() -> dict[str, Kind]:
    """All kinds, by their field in a query."""
    return {kind.root_field: kind for kind in kinds().values()}


def _kind(model: Any) -> Kind:
    relations = {}
    for name in model._get_relationship_fields():
        found = vars(model)[name]
        own, other = (strcase.to_lower_camel(field) for field in (found.source_field, found.dest_field))
        many = isinstance(found, ListRelationship)
        relations[strcase.to_lower_camel(name)] = Relation(found.related_class._gql_type, own, other, many)
    fields = schema().type_map[model._gql_type].fields  # type: ignore[attr-defined]
    leaves = {name: field.type for name, field in fields.items() if graphql.is_leaf_type(_bare(field.type))}
    required = frozenset(
        name for name, of in leaves.items() if graphql.is_non_null_type(of) and name != "_id"
    )
    defaults = {name: _value(_bare(leaves[name]), name) if name in required else None for name in leaves}
    del defaults["_id"]
    return Kind(model._gql_type, model._gql_root_field, relations, required, defaults)


def _bare(of: Any) -> Any:
    return of.of_type if graphql.is_non_null_type(of) else of


def _value(of: Any, name: str) -> Any:
    if graphql.is_enum_type(of):
        return next(iter(of.values))
    return {"Int": 0, "Float": 1.0, "Boolean": False, "DateTime": DATE}.get(of.name, name)
