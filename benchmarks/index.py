"""The index at the size of a real archive: ``python -m benchmarks.index``.

Makes an archive of three layers, indexes it, mounts it, lists and walks it, and puts queries; beside
each figure stands what programs without an index take for the same answer, where there are any.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import indexbench, indexload, indexpeer, indexwalks
from benchmarks.__main__ import SIGNALS, end, names_of, shown_command
from benchmarks.archive import Archive, write_archive
from benchmarks.indexbench import Bench
from benchmarks.indextools import Rows, can_drop_caches
from benchmarks.machine import describe_machine, describe_packages, load_average
from benchmarks.report import save
from benchmarks.session import say, scratch_directory
from copickfs.config import load
from copickfs.indexing import open_catalog, open_index

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copickfs.indexing import Catalog

RESULTS = Path(__file__).with_name("INDEX-RESULTS.md")
FULL = (20_000, 1_000_000, 1000)
QUICK = (400, 20_000, 50)
PARTS = (
    ("tree", indexbench.tree),
    ("mount without an index", indexbench.first_mount),
    ("index", indexbench.index),
    ("mount with an index", indexbench.second_mount),
    ("queries", indexbench.query),
    ("command line", indexbench.command_line),
    ("listings and walks of the mount", indexwalks.mount_walks),
    ("walks of the layers", indexwalks.layer_walks),
    ("fd", indexwalks.fd),
    ("plocate", indexwalks.plocate),
    ("copick", indexpeer.copick),
    ("load", indexload.mount_during_a_run),
)


@contextlib.contextmanager
def open_queries(config: Path) -> Iterator[Catalog]:
    """What answers ``find_objects`` and ``search`` for a configuration."""
    loaded = load(config)
    with open_catalog(loaded, open_index(loaded)) as (catalog, _):
        yield catalog


def main() -> None:
    options = _parse()
    for number in SIGNALS:
        signal.signal(number, end)
    rows = Rows()
    if not can_drop_caches():
        rows.note("Not as root: no figure is from cold caches.")
    machine = describe_machine(options.directory or Path(tempfile.gettempdir()))
    load_before = load_average()
    archive = Archive(options.runs, options.entities, options.seed)
    with scratch_directory(options.directory) as scratch:
        say("making the archive ...")
        write_archive(scratch / "archive", options.runs, options.entities, options.seed)
        bench = Bench(archive, scratch / "archive", scratch, options.queries, rows)
        for title, part in PARTS:
            if title not in options.only:
                continue
            with rows.section(title):
                part(bench)
        rows.note(f"Load average at the start {load_before:.1f}, at the end {load_average():.1f}.")
        text = _document(rows, machine).replace(str(scratch), "DIR")
    print(text)
    if options.save:
        save(RESULTS, text)
    if rows.wrong:
        raise SystemExit(1)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.index", description=__doc__)
    parser.add_argument("--runs", type=int, help=f"runs of the archive ({FULL[0]})")
    parser.add_argument("--entities", type=int, help=f"entities of the merged tree ({FULL[1]})")
    parser.add_argument("--queries", type=int, help=f"queries of each shape ({FULL[2]})")
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--quick", action="store_true", help="a small archive: tries the benchmark")
    parser.add_argument("--directory", type=Path, help="where the archive goes (the temporary directory)")
    titles = [title for title, _ in PARTS]
    parser.add_argument("--only", type=names_of(titles), default=titles, help=f"of {','.join(titles)}")
    parser.add_argument(
        "--save",
        action="store_true",
        help=f"write the table to benchmarks/{RESULTS.name}, and keep its notes",
    )
    options = parser.parse_args()
    runs, entities, queries = QUICK if options.quick else FULL
    options.runs = options.runs or runs
    options.entities = options.entities or entities
    options.queries = options.queries or queries
    return options


def _document(rows: Rows, machine: str) -> str:
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    wrong = [f"- **Wrong**: {text}" for text in rows.wrong]
    notes = [*wrong, *(f"- {text}" for text in rows.notes)]
    return "\n\n".join(
        (
            "# The index, measured",
            f"{today}, by `{shown_command('benchmarks.index')}`.",
            f"{machine}. {describe_packages()}.",
            "Cold: after every cache of the machine was dropped. Warm: the same once more.",
            "\n".join(notes),
            f"{rows.markdown()}\n",
        )
    )


if __name__ == "__main__":
    main()
