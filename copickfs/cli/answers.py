"""What `find` and `search` print: a table for people, paths or a JSON document for programs."""

from __future__ import annotations

import enum
import json
import os
from typing import TYPE_CHECKING

import click

from copickfs.cli.command import Mistake
from copickfs.cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from copickfs.entities import EntityRecord

_COLUMNS = ("type", "run", "run name", "voxel size", "name", "object", "user", "session", "layers", "path")


class Form(enum.Enum):
    """In which form an answer is printed."""

    TABLE = enum.auto()
    JSON = enum.auto()
    PATHS = enum.auto()
    NULL = enum.auto()


offline_option = click.option(
    "--offline", is_flag=True, help="Never ask a network: answer from what is known and cached."
)
"""As for a mount; one that is mounted so is asked so in any case."""


def forms(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say in which form an answer is printed, for `form_of`."""
    for option in (
        click.option("-0", "--null", is_flag=True, help="Like --paths, with a NUL after each: for xargs -0."),
        click.option("--paths", is_flag=True, help="Print the path of each, a line each, and nothing else."),
        click.option("--json", "as_json", is_flag=True, help="Print a JSON document, see docs/index.md."),
    ):
        command = option(command)
    return command


def form_of(*, as_json: bool, paths: bool, null: bool) -> Form:
    """The form that the options of `forms` ask for. Raises `Mistake` if they contradict each other."""
    if as_json and (paths or null):
        raise Mistake("--json and --paths (or --null) cannot be had together")
    return Form.JSON if as_json else Form.NULL if null else Form.PATHS if paths else Form.TABLE


def show(answer: dict[str, list[EntityRecord]], mountpoint: str, form: Form) -> None:
    """Print an answer.

    Args:
        answer: As `Catalog.find_objects` gives it.
        mountpoint: Paths are shown below it; ``""``: as they are in the tree.
        form: How.
    """
    if form is Form.JSON:
        documents = {
            kind: [_document(record, mountpoint) for record in records] for kind, records in answer.items()
        }
        click.echo(json.dumps(documents, indent=2))
        return
    records = [record for records in answer.values() for record in records]
    if form in (Form.PATHS, Form.NULL):
        end = b"\0" if form is Form.NULL else b"\n"
        paths = (_below(mountpoint, record.identity.path) for record in records)
        click.echo(b"".join(os.fsencode(path) + end for path in paths), nl=False)
    elif records:
        _show_table(records, mountpoint)
    else:
        click.echo("nothing found", err=True)


def _show_table(records: list[EntityRecord], mountpoint: str) -> None:
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
            identity.run, record.run_name, size, identity.name, identity.object, identity.user,
            identity.session, ", ".join(record.layers), _below(mountpoint, identity.path),
        )),
    ]  # fmt: skip


def _below(mountpoint: str, path: str) -> str:
    return f"{mountpoint.rstrip('/')}/{path}" if mountpoint else path
