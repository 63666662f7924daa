"""copickfs beside other ways to a project in a bucket that is 20 ms away: ``python -m benchmarks.remote``."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import shlex
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import remotedata
from benchmarks.__main__ import SIGNALS, end, names_of, shown_command
from benchmarks.machine import describe_machine, describe_packages, load_average
from benchmarks.mounts import PeerFailed
from benchmarks.remotemount import Line
from benchmarks.remotepeers import REMOTE_PEERS, Served
from benchmarks.remotereport import HOW_TO_READ, aims, details, summary
from benchmarks.remoteworks import NARROW_MBIT_PER_S, REMOTE_WORKS, Bench
from benchmarks.report import Results, save
from benchmarks.session import DROP_CACHES, say, scratch_directory

if TYPE_CHECKING:
    from benchmarks.remotepeers import RemotePeer

RESULTS = Path(__file__).with_name("REMOTE-RESULTS.md")
DELAY_MS = 10.0


def main() -> None:
    options = _parse()
    for number in SIGNALS:
        signal.signal(number, end)
    parent = options.directory or Path(tempfile.gettempdir())
    machine = describe_machine(parent)
    peers = [peer for peer in REMOTE_PEERS if peer.name in options.peers and peer.is_installed()]
    results = Results()
    absent = [name for name in options.peers if name not in {peer.name for peer in peers}]
    if absent:
        results.note(f"Not installed: {', '.join(absent)}.")
    load = load_average()
    with scratch_directory(options.directory) as scratch:
        _measure(results, peers, options, scratch)
    results.note(f"Load average at the start {load:.1f}, at the end {load_average():.1f}.")
    text = _document(results, peers, machine, options)
    print(text)
    if options.save:
        save(RESULTS, text)
        say(f"written to {RESULTS.parent.name}/{RESULTS.name}")


def _parse() -> argparse.Namespace:
    names = [peer.name for peer in REMOTE_PEERS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.remote", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="little data and few samples")
    parser.add_argument(
        "--only", type=names_of(list(REMOTE_WORKS)), default=list(REMOTE_WORKS), help=",".join(REMOTE_WORKS)
    )
    parser.add_argument("--peers", type=names_of(names), default=names, help=f"of {','.join(names)}")
    parser.add_argument("--repeats", type=int, help="samples of each work (3; 1 if quick)")
    parser.add_argument("--delay-ms", type=float, default=DELAY_MS, help="of each way (10)")
    parser.add_argument("--directory", type=Path, help="where the data goes (the temporary directory)")
    parser.add_argument(
        "--save", action="store_true", help=f"write the tables to benchmarks/{RESULTS.name}, keep its notes"
    )
    return parser.parse_args()


def _measure(results: Results, peers: list[RemotePeer], options: argparse.Namespace, scratch: Path) -> None:
    """Do every work with every peer in turn."""
    say("making the project ...")
    project = remotedata.make_project(
        scratch / "served", remotedata.QUICK if options.quick else remotedata.FULL
    )
    narrow = Line(project.served, options.delay_ms, NARROW_MBIT_PER_S)
    with Line(project.served, options.delay_ms) as line, narrow:
        bench = Bench(Served(project, line.endpoint), line, narrow, scratch)
        bench.warm()
        for name in options.only:
            for turn in range(options.repeats or (1 if options.quick else 3)):
                first = turn % max(1, len(peers))
                for peer in [*peers[first:], *peers[:first]]:
                    if peer.is_remote or name == "read":
                        say(f"{name}: {peer.name} ({turn + 1}) ...")
                        _sample(results, bench, peer, name)


def _sample(results: Results, bench: Bench, peer: RemotePeer, work: str) -> None:
    try:
        for figure, sample in REMOTE_WORKS[work](bench, peer):
            results.add(figure, peer.name, sample)
    except PeerFailed as error:
        text = f"{peer.name}, {work}: {error}".replace(str(bench.scratch), "DIR")
        say(text)
        results.note(text)


def _document(results: Results, peers: list[RemotePeer], machine: str, options: argparse.Namespace) -> str:
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    scale = remotedata.QUICK if options.quick else remotedata.FULL
    made = (
        f"The line delays each way by {options.delay_ms:g} ms; the project has {scale.runs} runs, and its "
        f"large tomogram {'x'.join(map(str, scale.chunks))} chunks of {remotedata.CHUNK_BYTES >> 20} MiB."
    )
    notes = [made, *results.notes]
    if not os.access(DROP_CACHES, os.W_OK):
        notes.append("Not as root: the kernel's caches were not dropped after a remount.")
    listed = "\n".join(f"- {note}" for note in notes)
    parts = [
        "# Benchmark of remote layers",
        f"{today}, by `{shown_command('benchmarks.remote')}`.",
        f"{machine}. {describe_packages()}.",
        f"{HOW_TO_READ}\n{listed}",
        f"## Summary\n\n{summary(results)}",
        f"## Aims\n\n{aims(results)}",
        f"## Figures one by one\n\n{details(results)}",
        f"## What was compared\n\n{_versions(peers)}",
    ]
    return "\n\n".join(parts) + "\n"


def _versions(peers: list[RemotePeer]) -> str:
    lines = []
    for peer in peers:
        remark = f" ({peer.remark})" if peer.remark else ""
        lines.append(f"- {peer.name} {peer.find_version()}{remark}{_shown(peer)}")
    return "\n".join(lines)


def _shown(peer: RemotePeer) -> str:
    """The command line of a peer with placeholders."""
    if peer.command is None:
        return ""
    project = remotedata.Project(Path("SERVED"), Path("PROJECT"), remotedata.QUICK, ())
    with tempfile.TemporaryDirectory() as directory:
        command = peer.command(Served(project, "ENDPOINT"), Path("MOUNTPOINT"), Path(directory))
        shown = shlex.join([Path(command[0]).name, *command[1:]]).replace(directory, "CACHE")
    return f": `{shown}`"


if __name__ == "__main__":
    main()
