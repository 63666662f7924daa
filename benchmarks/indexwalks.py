"""The parts of the benchmark of the index that are about names: ls, find, and programs that have an index."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from benchmarks.archive import RUNS
from benchmarks.archiveplan import run_name
from benchmarks.foreground import serving
from benchmarks.indextools import Missing, mebibytes, run, seconds

if TYPE_CHECKING:
    from benchmarks.indexbench import Bench

NAMED = "alice_*_ribosome.json"
"""What the programs that search for names look for."""


def mount_walks(bench: Bench) -> None:
    """Listings of all runs and ``find`` to the depth of the entities; cold is on a new mount."""
    names = {run_name(number) for number in range(bench.archive.runs)}
    walk = [f"{layer}/{RUNS}" for layer in bench.layers()]
    listed = run(["find", *walk, "-mindepth", "1", "-maxdepth", "3", "-printf", "%P\\n"]).output
    merged = len(set(listed.splitlines()))
    point = bench.point
    for words in (["ls"], ["ls", "-l"]):
        with serving(bench.config, point):
            outputs = bench.cold_and_warm(" ".join(words), [*words, str(point / RUNS)], "the mount")
        for output in outputs:
            shown = {line.split()[-1].decode() for line in output.splitlines()}
            if not names <= shown or len(shown) > len(names) + 1:  # and the total of ls -l
                bench.rows.fault(f"{' '.join(words)} of the mount does not show every run")
    with serving(bench.config, point):
        outputs = bench.cold_and_warm("find", ["find", str(point), "-maxdepth", "4"], "the mount")
    prefix = f"{point}/{RUNS}/".encode()
    for output in outputs:
        found = sum(line.startswith(prefix) for line in output.splitlines())
        if found != merged:
            bench.rows.fault(f"find of the mount shows {found:,} entries, not {merged:,}")


def layer_walks(bench: Bench) -> None:
    """The same on the layers themselves, which shows only what each of them has."""
    for words in (["ls"], ["ls", "-l"]):
        paths = [f"{layer}/{RUNS}" for layer in bench.layers()]
        bench.cold_and_warm(" ".join(words), [*words, *paths], "the bare layers")
    bench.cold_and_warm("find", ["find", *bench.layers(), "-maxdepth", "4"], "the bare layers")
    command = ["find", *bench.layers(), "-name", NAMED]
    bench.cold_and_warm(f"find -name {NAMED}", command, "the bare layers")


def fd(bench: Bench) -> None:
    """The fastest of those that walk; Debian calls it fdfind."""
    program = shutil.which("fdfind") or shutil.which("fd")
    if program is None:
        raise Missing("`fd` is not installed")
    command = [program, "-u", "-g", NAMED, *bench.layers()]
    bench.cold_and_warm(f"fd -u -g {NAMED}", command, "the bare layers")


def plocate(bench: Bench) -> None:
    """The fastest of those that have an index, of names alone."""
    if not (shutil.which("plocate") and shutil.which("updatedb.plocate")):
        raise Missing("`plocate` is not installed")
    database = bench.scratch / "plocate.db"
    update = ["updatedb.plocate", "-l", "no", "-U", str(bench.directory), "-o", str(database)]
    update += ["--prunepaths", "", "--prunefs", ""]  # by default nothing below /tmp
    for what in ("first", "nothing changed"):
        ran = run(update)
        bench.rows.add(f"`updatedb`, {what}", seconds(ran.seconds), f"peak {mebibytes(ran.peak_bytes)}")
    bench.rows.add("database of plocate", mebibytes(database.stat().st_size))
    for name in (f"*/{NAMED}", f"*/{run_name(bench.archive.runs // 2)}/*"):
        command = ["plocate", "-d", str(database), name]
        bench.cold_and_warm(f"plocate {name}", command, "the database of plocate")
