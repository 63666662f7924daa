"""How fast the index is, on a generated archive.

``python -m benchmarks.index [--runs N] [--entities N] [--quick] [--save]``

Beside the index: copick on the mount and on a bare layer, ``find`` on the mount and on the bare layers.
Answers are compared with what the archive must hold before anything is timed. Run it as root on a quiet
machine, for kernel caches are dropped.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.archive import Archive, change_picks, write_archive
from benchmarks.machine import describe_machine, describe_packages, load_average
from copickfs.config import load
from copickfs.indexing import Catalog, key_of, open_index
from copickfs.layers.manager import LayerManager
from copickfs.view import View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RESULTS = Path(__file__).with_name("INDEX-RESULTS.md")
SEED = 4
QUESTIONS = 1_000
SAMPLE_RUNS = 500
_MIB = 1 << 20

Row = tuple[str, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--entities", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true", help="200 runs, 10,000 entities")
    parser.add_argument("--save", action="store_true", help=f"keep the tables in {RESULTS.name}")
    parser.add_argument("--scratch", type=Path, help="where the archive is made, or is already")
    chosen = parser.parse_args()
    runs, entities = (200, 10_000) if chosen.quick else (chosen.runs, chosen.entities)
    scratch = chosen.scratch or Path(tempfile.mkdtemp(prefix="copickfs-index-"))
    os.environ["XDG_CACHE_HOME"] = str(scratch / "cache")
    try:
        text = report(scratch, Archive(runs, entities, SEED))
    finally:
        if chosen.scratch is None:
            shutil.rmtree(scratch)
    print(text)
    if chosen.save:
        RESULTS.write_text(text)


def report(scratch: Path, archive: Archive) -> str:
    """Measure everything; the tables."""
    config = scratch / "archive" / "config.json"
    if not config.exists():
        write_archive(scratch / "archive", archive.runs, archive.entities, SEED)
    shutil.rmtree(scratch / "cache", ignore_errors=True)
    tables = [("Indexing", indexing(config, archive)), ("Questions", questions(config, archive))]
    tables += mounted(config, scratch / "mnt", archive)
    command = f"python -m benchmarks.index --runs {archive.runs} --entities {archive.entities} --save"
    lines = [
        "# Benchmark of the index", "",
        f"{time.strftime('%Y-%m-%d')}, by `{command}`.", "",
        f"{describe_machine(scratch)}. {describe_packages()}. Load before {load_average():.1f}.", "",
        f"{archive.runs:,} runs and {archive.entities:,} entities in three local layers that overlap.",
        "Single samples unless a median is named.", "",
    ]  # fmt: skip
    for title, rows in tables:
        lines += [f"## {title}", "", "| figure | value |", "|---|---:|"]
        lines += [f"| {name} | {value} |" for name, value in rows] + [""]
    return "\n".join(lines)


def indexing(config: Path, archive: Archive) -> list[Row]:
    """Runs of ``copickfs index``."""
    rows = []
    for name, prepare in (
        ("first run", None),
        ("again, nothing changed", None),
        ("again, 100 picks files changed", lambda: change_picks(config.parent, archive, 100)),
    ):
        if prepare is not None:
            prepare()
        took_s, peak_mib = timed([*copickfs("index"), "--quiet", str(config)])
        rows.append(
            (name, f"{took_s:.1f} s, {archive.entities / took_s:,.0f} entities/s, {peak_mib:.0f} MiB")
        )
    database = Path(os.environ["XDG_CACHE_HOME"]) / "copickfs" / "index.db"
    size = database.stat().st_size
    rows.append(("database", f"{size / _MIB:.0f} MiB, {size / archive.entities:.0f} bytes an entity"))
    return rows


def questions(config: Path, archive: Archive) -> list[Row]:
    """Latencies of find_objects and search in this process, and by the command line."""
    loaded = load(config)
    manager = LayerManager(loaded)
    catalog = Catalog(View(manager.get_data_layers()), open_index(loaded), key_of(manager))
    check(catalog, archive)
    chance = random.Random(SEED)
    asked = list(shapes(catalog, archive, chance).items())
    rows = [(name, latency(ask)) for name, ask in asked]
    rows.append(("memory of the process that asks", f"{peak_mib():.0f} MiB"))
    run = archive.run(1)[0].identity.run
    for words in (["find", str(config), "--run", run], ["search", str(config), "ribosome"]):
        took_s, _ = timed([*copickfs(words[0]), *words[1:], "--json"])
        rows.append((f"`copickfs {words[0]}`, whole process", f"{took_s * 1e3:.0f} ms"))
    manager.close()
    return rows


def check(catalog: Catalog, archive: Archive) -> None:
    """The index has what the archive holds."""
    merged = archive.expected().merged
    state = catalog.state()
    assert state is not None
    assert state.entities == sum(merged.values())
    for number in range(0, archive.runs, max(1, archive.runs // 20)):
        run = archive.run(number)[0].identity.run
        found = catalog.find_objects(run=run)
        paths = {record.identity.path for records in found.values() for record in records}
        assert paths == {item.identity.path for item in archive.run(number)}, run


def shapes(catalog: Catalog, archive: Archive, chance: random.Random) -> dict[str, Callable[[], Any]]:
    """Kinds of questions, each with new names at every call."""
    items = [item.identity for number in range(0, archive.runs, max(1, archive.runs // 200))
             for item in archive.run(number)]  # fmt: skip
    picks = [identity for identity in items if identity.user and identity.object]
    find, search = catalog.find_objects, catalog.search

    def one() -> Any:
        return chance.choice(picks)

    def by_object_user_session() -> Any:
        wanted = one()
        return find(object=wanted.object, user=wanted.user, session=wanted.session)

    return {
        "find: a run": lambda: find(run=one().run),
        "find: runs by a pattern (`..._0012*`)": lambda: find(run=one().run[:-1] + "*"),
        "find: object, user and session": by_object_user_session,
        "find: session and run pattern": lambda: find(session=one().session, run=one().run[:-2] + "*"),
        "find: nothing of that name": lambda: find(object="nothing", user=one().user),
        "search: one word": lambda: search(one().object, limit=20),
        "search: a run": lambda: search(one().run, limit=20),
        "search: two words": lambda: search(f"{one().object} {one().user}", limit=20),
        "search: three words of one entity": lambda: search(" ".join(words_of(one())), limit=20),
        "search: a beginning": lambda: search(one().object[:4] + "*", limit=20),
        "search: a phrase": lambda: search(f'"{one().object.replace("-", " ")}"', limit=20),
        "search: a part of a name": lambda: search(one().object[1:6], limit=20),
        "search: nothing": lambda: search(f"{one().object} xyzzy", limit=20),
    }


def words_of(identity: Any) -> tuple[str, str, str]:
    """Names that one entity has."""
    return identity.object, identity.user, identity.run


def latency(ask: Callable[[], Any]) -> str:
    """Median and 99th percentile of many calls."""
    for _ in range(20):
        ask()
    times = []
    for _ in range(QUESTIONS):
        begun_s = time.perf_counter()
        ask()
        times.append(time.perf_counter() - begun_s)
    times.sort()
    median_s, most_s = times[len(times) // 2], times[len(times) * 99 // 100]
    return f"median {median_s * 1e3:.2f} ms, 99 % within {most_s * 1e3:.2f} ms"


def mounted(config: Path, mountpoint: Path, archive: Archive) -> list[tuple[str, list[Row]]]:
    """What listings and copick take through a mount and without one."""
    mountpoint.mkdir(exist_ok=True)
    roots = [Path(layer.root) for layer in load(config).layer_configs.values()]
    rows: list[Row] = []
    with mount(config, mountpoint) as ready_s:
        rows.append(("mount with a stored index, until it answers", f"{ready_s:.2f} s"))
    for cold in (True, False):
        name = "cold" if cold else "warm"
        with mount(config, mountpoint, cold=cold):
            if not cold:
                walk(mountpoint)
            took_s, _ = timed(["ls", str(mountpoint / "ExperimentRuns")])
            rows.append((f"`ls` of all runs, mount, {name}", f"{took_s:.2f} s"))
        with mount(config, mountpoint, cold=cold):
            if not cold:
                walk(mountpoint)
            rows.append((f"`find -maxdepth 4`, mount, {name}", f"{walk(mountpoint):.2f} s"))
        if cold:
            drop_caches()
        took_s, _ = timed(["ls", *(str(root / "ExperimentRuns") for root in roots)])
        rows.append((f"`ls` of all runs, bare layers, {name}", f"{took_s:.2f} s"))
        if cold:
            drop_caches()
        rows.append((f"`find -maxdepth 4`, bare layers, {name}", f"{walk(*roots):.2f} s"))
    return [("Listings", rows), ("copick", copick(config, mountpoint, archive))]


def copick(config: Path, mountpoint: Path, archive: Archive) -> list[Row]:
    """Listing all picks by copick, on the mount and on the layer that has most, and by the index."""
    rows = []
    bare = config.parent / "archive"  # the layer that has most
    sample = min(SAMPLE_RUNS, archive.runs)
    with mount(config, mountpoint):
        for name, root in (("mount, first", mountpoint), ("mount, again", mountpoint), ("bare layer", bare)):
            told = json.dumps({"root": str(root), "runs": sample})
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.index_copick", told],
                check=True,
                capture_output=True,
                text=True,
            )
            figures = json.loads(done.stdout)
            share = figures["runs"] / sample
            rows.append(
                (f"{name}: `root.query()`", f"{figures['query_s']:.2f} s for {figures['runs']:,} runs")
            )
            rows.append((
                f"{name}: `run.get_picks()` of all runs",
                f"{figures['picks_s'] * share:.1f} s ({figures['picks_s']:.2f} s for {sample} of them)",
            ))  # fmt: skip
    begun_s = time.perf_counter()
    loaded = load(config)
    manager = LayerManager(loaded)
    catalog = Catalog(View(manager.get_data_layers()), open_index(loaded), key_of(manager))
    found = catalog.find_objects(type="picks")["picks"]
    rows.append(
        ("the index: all picks", f"{time.perf_counter() - begun_s:.1f} s for {len(found):,} picks files")
    )
    return rows


@contextlib.contextmanager
def mount(config: Path, mountpoint: Path, *, cold: bool = False) -> Iterator[float]:
    """A mount, and how long it took until it answered."""
    if cold:
        drop_caches()
    begun_s = time.perf_counter()
    subprocess.run([*copickfs("mount"), str(config), str(mountpoint)], check=True)
    (mountpoint / "ExperimentRuns").stat()
    took_s = time.perf_counter() - begun_s
    if cold:
        drop_caches()
    try:
        yield took_s
    finally:
        subprocess.run([*copickfs("umount"), str(mountpoint)], check=True)


def walk(*roots: Path) -> float:
    """Time of a find; its answer is not looked at."""
    return timed(["find", *map(str, roots), "-maxdepth", "4"])[0]


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds that a command takes, and its peak memory in MiB."""
    begun_s = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    took_s = time.perf_counter() - begun_s
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return took_s, usage.ru_maxrss / 1024


def peak_mib() -> float:
    """Peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def drop_caches() -> None:
    """Forget pages, names and inodes, as far as this user may."""
    os.sync()
    with contextlib.suppress(OSError):
        Path("/proc/sys/vm/drop_caches").write_text("3")


def copickfs(command: str) -> list[str]:
    """The beginning of a command line."""
    return [sys.executable, "-m", "copickfs", command]


if __name__ == "__main__":
    main()
