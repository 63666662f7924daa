"""A generated archive: three local layers that overlap, at the size of a real one or of a test.

The mix is that of a group's archive: each run with one or two voxel spacings, tomograms, features,
segmentations of all types, meshes, filaments, and for the rest picks. ``archive`` has most runs, ``lab``
a fifth of its own and something in every seventh of the others, ``mine`` little, and everywhere some of
what is above hides what is below. Everything follows from the seed, so the same `Archive` that was
written can say afterwards what must be found in it.
"""

from __future__ import annotations

import collections
import dataclasses
import fnmatch
import json
import multiprocessing
import os
import re
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

from benchmarks.archivefiles import LayerWriter, picks_of
from benchmarks.archiveplan import (
    LAYERS,
    MAPS,
    MAX_PER_RUN,
    MAX_POINTS,
    MIN_PER_RUN,
    OBJECTS,
    RUNS,
    plan_maps,
    plan_run,
)
from copickfs.entities import EntityType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from benchmarks.archiveplan import Item

    Condition = Callable[[Item], bool]

CONFIG_NAME = "config.json"
RUNS_A_PROCESS = 500
_PRIORITIES = {"mine": 100, "lab": 50, "archive": 10}
_CONTAINERS = (EntityType.RUN, EntityType.VOXEL_SPACING)


@dataclasses.dataclass(frozen=True, slots=True)
class Expected:
    """How much there must be.

    Attributes:
        merged: Entities of the merged tree by their kind.
        by_layer: The same of each layer alone.
        shadowed: Copies of stores and files that a layer above hides.
    """

    merged: dict[EntityType, int]
    by_layer: dict[str, dict[EntityType, int]]
    shadowed: int


@dataclasses.dataclass(frozen=True, slots=True)
class Archive:
    """What an archive holds; nothing is kept in memory, every run is told anew.

    Args:
        runs: How many runs.
        entities: How many entities the merged tree has, the runs and the objects' maps included.
        seed: Another one makes another archive.
    """

    runs: int
    entities: int
    seed: int = 4

    def __post_init__(self) -> None:
        least, most = (self.runs * each + MAPS for each in (MIN_PER_RUN, MAX_PER_RUN))
        if not least <= self.entities <= most:
            raise ValueError(f"{self.runs} runs have from {least:,} to {most:,} entities")

    def maps(self) -> list[Item]:
        """The objects' density maps."""
        return list(plan_maps(self.seed))

    def run(self, number: int) -> list[Item]:
        """A run, which comes first, and all that is in it."""
        each, rest = divmod(self.entities - MAPS, self.runs)
        return plan_run(self.seed, number, each + (number < rest))

    def __iter__(self) -> Iterator[Item]:
        yield from self.maps()
        for number in range(self.runs):
            yield from self.run(number)

    def expected(self) -> Expected:
        """Count everything."""
        merged: collections.Counter[EntityType] = collections.Counter()
        by_layer = {layer: collections.Counter[EntityType]() for layer in LAYERS}
        shadowed = 0
        for identity, layers, *_ in self:
            merged[identity.type] += 1
            for layer in layers:
                by_layer[layer][identity.type] += 1
            shadowed += (len(layers) - 1) * (identity.type not in _CONTAINERS)
        return Expected(dict(merged), {layer: dict(counts) for layer, counts in by_layer.items()}, shadowed)

    def answers(self, conditions: Sequence[Condition]) -> list[dict[str, set[str]]]:
        """The paths that meet each of the conditions, by the plural of their kind.

        All conditions in one pass: a million entities take some seconds.
        """
        found: list[dict[str, set[str]]] = [{} for _ in conditions]
        for item in self:
            for condition, answer in zip(conditions, found, strict=True):
                if condition(item):
                    answer.setdefault(item.identity.type.plural, set()).add(item.identity.path)
        return found


def meets(**criteria: str | float | EntityType) -> Condition:
    """The condition that ``find_objects`` with the same criteria must have; names may be patterns."""
    exact = {key: criteria.pop(key) for key in ("type", "voxel_size") if key in criteria}
    layer = criteria.pop("layer", None)
    patterns = {key: re.compile(fnmatch.translate(str(value))) for key, value in criteria.items()}

    def condition(item: Item) -> bool:
        identity = item.identity
        return (
            all(getattr(identity, key) == value for key, value in exact.items())
            and all(pattern.match(getattr(identity, key)) for key, pattern in patterns.items())
            and (layer is None or layer in item.layers)
        )

    return condition


def says(pattern: str) -> Condition:
    r"""The condition that an entity's names match a regular expression, as ``search`` must find it.

    A word is ``\bword\b``, a prefix ``\bpre``, a phrase ``\bone-two\b``.
    """
    compiled = re.compile(pattern)
    return lambda item: compiled.search(_names(item)) is not None


def write_archive(directory: Path, runs: int, entities: int, seed: int = 4) -> Path:
    """Write an archive and the configuration of its layers; return the path of the configuration.

    Args:
        directory: Empty, or not there.
        runs: See `Archive`.
        entities: See `Archive`.
        seed: See `Archive`.

    Raises:
        FileExistsError: There is an archive already.
        ValueError: Too few entities for so many runs, or too many.
    """
    archive = Archive(runs, entities, seed)
    for layer in LAYERS:
        (directory / layer / RUNS).mkdir(parents=True)
        writer = LayerWriter(directory / layer)
        writer.write_maps(archive.maps())
        writer.close()
    spans = [range(first, min(runs, first + RUNS_A_PROCESS)) for first in range(0, runs, RUNS_A_PROCESS)]
    if len(spans) == 1:
        _write_runs(directory, archive, spans[0])
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
            for written in [pool.submit(_write_runs, directory, archive, span) for span in spans]:
                written.result()
    config = directory / CONFIG_NAME
    config.write_text(json.dumps(configuration(), indent=2))
    return config


def changed_picks(archive: Archive, count: int) -> list[Item]:
    """Picks of ``count`` runs as `change_picks` makes them: one point more, or of the most one less."""
    changed = []
    for number in range(0, archive.runs, max(1, archive.runs // count))[:count]:
        item = archive.run(number)[-1]
        assert item.identity.type is EntityType.PICKS
        changed.append(item._replace(points=item.points + (1 if item.points < MAX_POINTS else -1)))
    return changed


def change_picks(directory: Path, archive: Archive, count: int) -> None:
    """Write ``count`` picks files of the layers anew, behind everyone's back."""
    for item in changed_picks(archive, count):
        path = directory / item.layers[0] / item.identity.path
        path.write_bytes(picks_of(item, item.points))


def configuration() -> dict[str, object]:
    """The configuration of the three layers, with roots relative to its own place."""
    return {
        "config_type": "multilayer",
        "name": "archive",
        "version": "1.0.0",
        "user_id": "mine",
        "session_id": "0",
        "pickable_objects": pickable_objects(),
        "layers": list(LAYERS),
        "layer_configs": {
            layer: {
                "config_type": "filesystem",
                "layer_name": layer,
                "priority": _PRIORITIES[layer],
                "read_only": layer != "mine",
                "root": layer,
            }
            for layer in LAYERS
        },
        "default_write_layer": "mine",
    }


def pickable_objects() -> list[dict[str, object]]:
    """The objects, as copick's configuration has them."""
    return [
        {"name": name, "is_particle": True, "label": label, "color": [label, 100, 200, 255], "radius": 100.0}
        for label, name in enumerate(OBJECTS, start=1)
    ]


def _write_runs(directory: Path, archive: Archive, numbers: range) -> tuple[int, int]:
    """Write some runs; return how many files and directories that were."""
    writers = [LayerWriter(directory / layer) for layer in LAYERS]
    try:
        for number in numbers:
            items = archive.run(number)
            for writer in writers:
                writer.write_run(items)
    finally:
        for writer in writers:
            writer.close()
    return sum(writer.files for writer in writers), sum(writer.directories for writer in writers)


def _names(item: Item) -> str:
    """All names of an entity in one line, words apart from each other as a search sees them."""
    identity = item.identity
    names = (identity.name, identity.object, identity.run, identity.user, identity.session)
    return " / ".join(names).replace("_", " ")
