"""The command line: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import shlex
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from benchmarks import data
from benchmarks.machine import describe_machine, describe_packages, load_average
from benchmarks.peers import PEERS, Peer
from benchmarks.report import HOW_TO_READ, Results, aims, details, save, summary
from benchmarks.session import DROP_CACHES, NAMES, Session, say
from benchmarks.writers import WRITERS
from benchmarks.writing import WRITE_WORKS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RESULTS = Path(__file__).with_name("RESULTS.md")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> None:
    options = _parse()
    for number in SIGNALS:
        signal.signal(number, end)
    machine = describe_machine(options.directory or Path(tempfile.gettempdir()))
    session = Session(
        peers=_installed(options.peers, PEERS),
        names=options.only,
        scale=data.QUICK if options.quick else data.FULL,
        entries=options.entries or (20_000 if options.quick else 1_000_000),
        repeats=options.repeats or (2 if options.quick else None),
        from_disk=options.drop_caches,
        directory=options.directory,
    )
    absent = [name for name in options.peers if name not in {peer.name for peer in session.peers}]
    if absent:
        session.results.note(f"Not installed: {', '.join(absent)}.")
    versions = _versions(session.peers)
    if {work.name for work in WRITE_WORKS} & set(options.only):
        versions += f"\n\nFor the works that write:\n\n{_versions(_installed(options.peers, WRITERS))}"
    load = load_average()
    session.run()
    session.results.note(f"Load average at the start {load:.1f}, at the end {load_average():.1f}.")
    text = _document(session.results, machine, versions)
    print(text)
    if options.save:
        results = RESULTS.with_name(options.save)
        save(results, text)
        say(f"written to {results.parent.name}/{results.name}")


def _parse() -> argparse.Namespace:
    names = [peer.name for peer in PEERS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="little data and few samples: tries the benchmark"
    )
    parser.add_argument("--only", type=names_of(NAMES), default=list(NAMES), help=f"of {','.join(NAMES)}")
    parser.add_argument("--peers", type=names_of(names), default=names, help=f"of {','.join(names)}")
    parser.add_argument(
        "--entries", type=int, help="size of the tree for the memory of the daemons (1000000)"
    )
    parser.add_argument("--repeats", type=int, help="samples of each work")
    parser.add_argument(
        "--drop-caches",
        action="store_true",
        help="measure from disk too: drops every cache of the machine before each such sample (root)",
    )
    parser.add_argument("--directory", type=Path, help="where the data goes (the temporary directory)")
    parser.add_argument(
        "--save",
        nargs="?",
        const=RESULTS.name,
        metavar="FILE",
        help=f"write the tables to benchmarks/FILE ({RESULTS.name}), and keep its notes",
    )
    options = parser.parse_args()
    if options.drop_caches and not os.access(DROP_CACHES, os.W_OK):
        parser.error("--drop-caches needs root")
    return options


def names_of(known: list[str] | tuple[str, ...]) -> Callable[[str], list[str]]:
    """A parser of comma-separated names out of ``known``."""

    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        unknown = [name for name in chosen if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
        return [name for name in known if name in chosen]

    return parse


def _installed(names: list[str], known: Sequence[Peer]) -> list[Peer]:
    return [peer for peer in known if peer.name in names and peer.is_installed()]


def _versions(peers: list[Peer]) -> str:
    """A list of the peers: version, remark, and the command line with placeholders for the paths."""
    layers = data.Layers("UPPER", "LOWER")
    lines = []
    for peer in peers:
        command = peer.command(layers, "MOUNTPOINT", Path("SCRATCH"))
        if command:
            command[0] = Path(command[0]).name
        shown = f": `{shlex.join(command)}`" if command else ""
        remark = f" ({peer.remark})" if peer.remark else ""
        lines.append(f"- {peer.name} {peer.find_version()}{remark}{shown}")
    return "\n".join(lines)


def _document(results: Results, machine: str, versions: str) -> str:
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    notes = "\n".join(f"- {note}" for note in results.notes)
    parts = [
        "# Benchmark",
        f"{today}, by `{shown_command('benchmarks')}`.",
        f"{machine}. {describe_packages()}.",
        f"{HOW_TO_READ}\n{notes}",
        f"## Summary\n\n{summary(results)}",
        f"## Aims\n\n{aims(results)}",
        f"## Figures one by one\n\n{details(results)}",
        f"## What was compared\n\n{versions}",
    ]
    return "\n\n".join(parts) + "\n"


def shown_command(module: str) -> str:
    """The command line of this run of a module, without the directory's path."""
    arguments = list(sys.argv[1:])
    for number, argument in enumerate(arguments):
        if argument == "--directory":
            arguments[number + 1] = "DIR"
        elif argument.startswith("--directory="):
            arguments[number] = "--directory=DIR"
    return shlex.join(["python", "-m", module, *arguments])


def end(number: int, _frame: object) -> NoReturn:
    """Leave by way of every ``finally``; further signals do not disturb the cleaning up."""
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()
