"""The part of the benchmark of the index in which copick itself does what the index is for."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

from benchmarks.archive import pickable_objects
from benchmarks.archiveplan import run_layers, run_name
from benchmarks.foreground import serving
from benchmarks.indexbench import cold_then_warm
from benchmarks.indextools import seconds, worker

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.indexbench import Bench

SAMPLE_RUNS = 500


def copick(bench: Bench) -> None:
    """What copick needs: all runs, and the picks of a sample of those that ``archive`` has alone."""
    alone = [number for number in range(bench.archive.runs) if run_layers(number) == ((), "archive")]
    sample = random.Random(bench.archive.seed).sample(alone, min(SAMPLE_RUNS, len(alone)))
    names = [run_name(number) for number in sample]
    bare = bench.scratch / "copick.json"
    bare.write_text(
        json.dumps(
            {
                "config_type": "filesystem",
                "name": "archive",
                "version": "1.0.0",
                "pickable_objects": pickable_objects(),
                "overlay_root": f"local://{bench.directory / 'archive'}",
            }
        )
    )
    _copick(bench, "the bare layer `archive`", bare, names)
    with serving(bench.config, bench.point):
        _copick(bench, "the mount", bench.point / "copick_config.json", names)


def _copick(bench: Bench, where: str, config: Path, names: list[str]) -> None:
    expected = sum(
        item.identity.type.plural == "picks"
        for name in names
        for item in bench.archive.run(int(name.rpartition("_")[2]))
    )

    def once(state: str) -> None:
        answer = worker("indexcopick", config, *names)
        if answer["found"] != expected:
            bench.rows.fault(f"copick on {where} finds {answer['found']} picks, not {expected}")
        bench.rows.add(
            f"copick, {where}, {state}: `root.query()`",
            seconds(answer["query"]),
            f"{answer['runs']:,} runs",
        )
        share = bench.archive.runs / len(names)
        bench.rows.add(
            f"copick, {where}, {state}: `get_picks()` of {len(names)} runs",
            seconds(answer["picks"]),
            f"extrapolated to all {bench.archive.runs:,} runs: {seconds(answer['picks'] * share)}",
        )

    cold_then_warm(once)
