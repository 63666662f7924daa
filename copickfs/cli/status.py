"""``copickfs status``: the mounts of this user, and how they are."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from copickfs.cli.command import Command
from copickfs.cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

_SERVING = "serving"


@click.command(cls=Command)
@click.argument("mountpoint", required=False)  # not click.Path: it would look at the mount
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document, see docs/status.md.")
def status(mountpoint: str | None, *, as_json: bool) -> None:
    """Show the mount at MOUNTPOINT, or every mount of this user (of all users for root).

    With MOUNTPOINT the exit status is 0 only if its daemon answers. Changes of this user that wait in a
    journal, and which no mount sends, are shown in any case.
    """
    from copickfs.daemon.survey import survey, survey_one
    from copickfs.layers.journalplace import waiting_journals

    documents = survey() if mountpoint is None else [survey_one(mountpoint)]
    journals = waiting_journals()
    if as_json:
        waiting = [
            {
                "directory": str(each.directory),
                "root": each.root,
                "entries": each.entries,
                "remedy": each.remedy,
            }
            for each in journals
        ]
        click.echo(json.dumps({"mounts": documents, "journals": waiting}, indent=2))
    elif documents:
        _show(documents)
    else:
        click.echo("nothing is mounted")
    for each in () if as_json else journals:
        click.echo(f"not sent: {printable(each.in_words())}")
    if mountpoint is not None and documents[0]["state"] != _SERVING:
        sys.exit(1)


def _show(documents: list[dict[str, Any]]) -> None:
    from copickfs.cli.table import console

    out = console()
    for document in documents:
        out.print(_headline(document), highlight=False, markup=False)
        for line in _lines(document):
            out.print(f"  {line}", highlight=False, markup=False)
        if document.get("layers"):
            out.print(_layers(document["layers"]))
            for line in _pending(document["layers"]):
                out.print(f"  {line}", highlight=False, markup=False)


def _headline(document: dict[str, Any]) -> str:
    state = "" if document["state"] == _SERVING else f": {document['state'].upper()}"
    private = " (private to a copickfs run)" if document["private"] else ""
    return f"{document['mountpoint']}{private}{state}"


def _lines(document: dict[str, Any]) -> list[str]:
    from copickfs.cli.table import duration, size

    lines = [f"configuration  {document['configuration'] or 'not known'}"]
    if document["pid"] is not None:
        since = f", up {duration(document['uptime_s'])}" if "uptime_s" in document else ""
        lines.append(f"daemon         {document['pid']}{since}")
    elif document["state"] == "dead":
        lines.append("daemon         dead")
    if "requests" in document:
        served = f"{size(document['bytes_read'])} read, {size(document['bytes_written'])} written"
        lines.append(f"served         {document['requests']} requests, {served}")
        lines.append(f"writes         {_where(document)}")
    if document.get("cache"):
        lines += _cache(document["cache"], document["layers"])
    if "index" in document:
        lines.append(f"index          {_index(document['index'])}")
    lines += [_portal(layer) for layer in document.get("layers", []) if "portal" in layer]
    if document.get("waiting_reads"):
        lines.append(f"waiting        {document['waiting_reads']} reads")
    if document["remedy"]:
        lines.append(f"remedy         {document['remedy']}")
    return lines


def _cache(cache: dict[str, Any], layers: list[dict[str, Any]]) -> list[str]:
    """What the cache was good for."""
    from copickfs.cli.table import size

    hits = sum(layer["cache_hits"] for layer in layers)
    pieces = hits + sum(layer["cache_misses"] for layer in layers)
    where = f"{cache['memory_hits']} times in memory, {cache['disk_hits']} on the disk"
    lines = [
        f"cache          {cache['root']}",
        f"               {_share(hits, pieces)} of {pieces} pieces were there ({where})",
    ]
    ahead, used, wasted = (size(cache[f"prefetch{of}_bytes"]) for of in ("ed", "_hit", "_wasted"))
    if cache["prefetched_bytes"]:
        lines.append(f"               {ahead} fetched ahead, of which {used} were read, {wasted} dropped")
    if cache["message"]:
        lines.append(f"               not in use: {cache['message']}")
    return lines


def _share(hits: int, pieces: int) -> str:
    return f"{100 * hits / pieces:.0f} %" if pieces else "-"


def _index(index: dict[str, Any]) -> str:
    """How the index is."""
    import time

    from copickfs.cli.table import duration

    if index["message"]:
        return f"not up to date: {index['message']}"
    if not index["indexed_ns"]:
        state = "not made yet"
    else:
        age_s = max(0.0, time.time() - index["indexed_ns"] / 1e9)
        state = f"{index['entities']} entities, all looked at {duration(age_s)} ago"
    return f"{state} (indexing)" if index["indexing"] else state


def _portal(layer: dict[str, Any]) -> str:
    """What a portal has told."""
    import time

    from copickfs.cli.table import duration

    portal = layer["portal"]
    if not portal["asked_ns"]:
        return f"portal         {layer['name']}: has told nothing yet: {portal['message']}"
    age_s = max(0.0, time.time() - portal["asked_ns"] / 1e9)
    told = f"portal         {layer['name']}: {portal['runs']} runs, as told {duration(age_s)} ago"
    left_out = sum(portal["left_out"].values()) + portal["withdrawn"]
    return f"{told}, {left_out} records left out" if left_out else told


def _where(document: dict[str, Any]) -> str:
    """Where what is written goes."""
    if not document["writable"]:
        return "refused"
    strategies = {
        "default": "to layer {}",
        "source": "to where a file comes from (source), new files to layer {}",
        "cache_and_propagate": "to layer {}, sent behind (cache_and_propagate)",
    }
    return strategies[document["write_strategy"]].format(document["write_layer"])


def _pending(layers: list[dict[str, Any]]) -> Iterator[str]:
    from copickfs.cli.table import duration, size
    from copickfs.daemon.pending import changes_in_words

    for layer in layers:
        if layer["pending_entries"]:
            since = duration(layer["pending_oldest_s"])
            volume = f"{changes_in_words(layer['pending_entries'])} ({size(layer['pending_bytes'])})"
            yield f"pending        {volume} for layer {layer['name']}, the oldest for {since}"
            if layer["pending_error"]:
                yield f"               last error: {layer['pending_error']}"


def _layers(layers: list[dict[str, Any]]) -> RenderableType:
    from copickfs.cli.table import size, table

    headings = ["layer", "kind", "priority", "health", "requests", "read", "location"]
    rows = [
        [
            layer["name"],
            layer["kind"],
            str(layer["priority"]),
            layer["state"] + (f": {layer['message']}" if layer["message"] else ""),
            str(layer["requests"]),
            size(layer["bytes_read"]),
            layer["location"],
        ]
        for layer in layers
    ]
    if any(layer["cache_hits"] or layer["cache_misses"] for layer in layers):
        headings[-1:-1] = ["cached", "ahead"]
        for row, layer in zip(rows, layers, strict=True):
            share = _share(layer["cache_hits"], layer["cache_hits"] + layer["cache_misses"])
            row[-1:-1] = [share, str(layer["prefetch_queued"] or "-")]
    return table(headings, rows)
