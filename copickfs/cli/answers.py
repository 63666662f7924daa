"""What `find` and `search` print: a table for people, a JSON document for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from copickfs.cli.text import printable

if TYPE_CHECKING:
    from copickfs.entities import EntityRecord

_COLUMNS = ("type", "run", "voxel size", "name", "object", "user", "session", "layers", "path")


def show(answer: dict[str, list[EntityRecord]], mountpoint: str, *, as_json: bool) -> None:
    """Print an answer.

    Args:
        answer: As `Catalog.find_objects` gives it.
        mountpoint: Paths are shown below it; ``""``: as they are in the tree.
        as_json: A document rather than a table.
    """
    if as_json:
        documents = {
            kind: [_document(record, mountpoint) for record in records] for kind, records in answer.items()
        }
        click.echo(json.dumps(documents, indent=2))
        return
    records = [record for records in answer.values() for record in records]
    if not records:
        click.echo("nothing found", err=True)
        return
    from copickfs.cli.table import console, table

    rows = [_row(record, mountpoint) for record in records]
    used = [column for column in range(len(_COLUMNS)) if any(row[column] for row in rows)]
    headings = [_COLUMNS[column] for column in used]
    console().print(table(headings, [[row[column] for column in used] for row in rows]))


def _document(record: EntityRecord, mountpoint: str) -> dict[str, object]:
    document = record.document()
    if mountpoint:
        document["file"] = _below(mountpoint, record.identity.path)
    return document


def _row(record: EntityRecord, mountpoint: str) -> list[str]:
    identity = record.identity
    size = "" if identity.voxel_size is None else f"{identity.voxel_size:.3f}"
    kind = identity.type.name.lower().replace("_", " ")
    if identity.segmentation_type:
        kind = f"{identity.segmentation_type} {kind}"
    return [
        kind, *map(printable, (
            identity.run, size, identity.name, identity.object, identity.user, identity.session,
            ", ".join(record.layers), _below(mountpoint, identity.path),
        )),
    ]  # fmt: skip


def _below(mountpoint: str, path: str) -> str:
    return f"{mountpoint.rstrip('/')}/{path}" if mountpoint else path
