"""The latency of queries, in a process of its own: ``indexqueries.py CONFIG RUNS ENTITIES SEED QUERIES``.

Without any QUERIES (0) two of each shape are checked against what the archive must hold: ``wrong`` of the
JSON object that is printed. Else so many of each shape are timed: ``shapes``, with times in seconds and the
hits of a query, and ``memory`` in bytes. They are two processes, because whole answers take memory.
"""

from __future__ import annotations

import json
import random
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.archive import Archive, changed_picks, meets, says
from benchmarks.archiveplan import DATASETS, OBJECTS, SESSIONS, USERS, VOXEL_SIZES, batch_session, run_name
from benchmarks.index import open_queries
from benchmarks.indexbench import CHANGED
from benchmarks.indextools import memory_of
from copickfs.entities import EntityType

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.archive import Condition

CHECKED = 2
LIMIT = 100
WORDS = sorted({word for name in OBJECTS for word in name.split("-") if len(word) > 7 and word.isalpha()})
PAIRS = [name.split("-") for name in OBJECTS if name.count("-") == 1]


class Query(NamedTuple):
    """What is asked, and the condition that the answer must meet; a limit is for the timing alone."""

    criteria: dict[str, Any]
    condition: Condition
    text: str = ""
    limit: int | None = None


def find_shapes(archive: Archive, draw: random.Random) -> dict[str, Callable[[], Query]]:
    """A maker of random queries for each shape of ``find_objects``."""

    def find(**criteria: Any) -> Query:
        kind = criteria.get("type")
        checked = {**criteria, **({"type": EntityType.named(kind)} if kind else {})}
        return Query(criteria, meets(**checked))

    def number() -> int:
        return draw.randrange(archive.runs)

    return {
        "run": lambda: find(run=run_name(number())),
        "run glob (10 runs)": lambda: find(run=f"*_TS_{number() // 10:04d}?"),
        "run glob, type": lambda: find(
            run=f"{draw.choice(DATASETS)}_*_TS_{number() // 100:03d}*", type="picks"
        ),
        "object, user": lambda: find(object=draw.choice(OBJECTS), user=draw.choice(USERS)),
        "object, user, session": lambda: find(
            object=draw.choice(OBJECTS), user=draw.choice(USERS), session=draw.choice(SESSIONS)
        ),
        "session": lambda: find(session=batch_session(number())),
        "voxel size, type": lambda: find(voxel_size=draw.choice(VOXEL_SIZES), type="tomogram"),
        "no hit": lambda: find(run=run_name(number()), object="unheard-of"),
    }


def search_shapes(archive: Archive, draw: random.Random) -> dict[str, Callable[[], Query]]:
    """A maker of random queries for each shape of ``search``."""

    def search(text: str, *patterns: str) -> Query:
        conditions = [says(pattern) for pattern in patterns]
        return Query({}, lambda item: all(condition(item) for condition in conditions), text, LIMIT)

    def word() -> str:
        return draw.choice(WORDS)

    def one(text: str) -> Query:
        return search(text, rf"\b{text}\b")

    def with_prefix(length: int) -> Query:
        prefix = word()[:length]
        return search(f"{prefix}*", rf"\b{prefix}")

    def pair(template: str) -> Query:
        first, second = draw.choice(PAIRS)
        return search(template.format(first, second), rf"\b{first}\W{second}\b")

    def two(first: str, second: str) -> Query:
        return search(f"{first} {second}", *(rf"\b{re.escape(each)}\b" for each in (first, second)))

    def inner() -> Query:
        part = word()[2:-1]
        return search(part, part)

    return {
        "one word, common": lambda: one(word()),
        "one word, rare": lambda: one(f"{draw.randrange(archive.runs):05d}"),
        "two words": lambda: two(word(), draw.choice(USERS[:16])),
        "prefix": lambda: with_prefix(5),
        "phrase": lambda: pair('"{} {}"'),
        "substring": inner,
        "no hit": lambda: search(f"xq{draw.randrange(10**6)}zv", "(?!)"),
    }


def all_shapes(archive: Archive) -> dict[str, Callable[[], Query]]:
    """A maker of random queries for each shape; the same ones from the same seed."""
    draw = random.Random(archive.seed)
    shapes = {f"find, {name}": make for name, make in find_shapes(archive, draw).items()}
    return shapes | {f"search, {name}": make for name, make in search_shapes(archive, draw).items()}


def ask(catalog: Any, query: Query, *, whole: bool) -> dict[str, list[Any]]:
    """Put one query, without its limit if the ``whole`` answer is wanted."""
    limit = None if whole else query.limit
    if query.text:
        answer: dict[str, list[Any]] = catalog.search(query.text, limit=limit)
        return answer
    found: dict[str, list[Any]] = catalog.find_objects(**query.criteria)
    return found


def differences(catalog: Any, archive: Archive, queries: list[tuple[str, Query]]) -> list[str]:
    """Where an answer is not what the archive holds, in words."""
    wrong = []
    expected = archive.answers([query.condition for _, query in queries])
    for (shape, query), must in zip(queries, expected, strict=True):
        answer = ask(catalog, query, whole=True)
        found = {kind: {record.identity.path for record in records} for kind, records in answer.items()}
        for kind in sorted(must.keys() | found.keys()):
            absent, extra = (
                one.get(kind, set()) - other.get(kind, set()) for one, other in ((must, found), (found, must))
            )
            if absent or extra:
                asked = query.text or query.criteria
                wrong.append(f"{shape} {asked}: {kind}: {len(absent)} missing, {len(extra)} too many")
    return wrong


def outdated(catalog: Any, archive: Archive) -> list[str]:
    """Picks that were changed since the first indexing, and whose number of points is still the old one."""
    wrong = []
    for item in changed_picks(archive, CHANGED):
        identity = item.identity
        names = {key: getattr(identity, key) for key in ("run", "user", "session", "object")}
        (record,) = catalog.find_objects(**names, type="picks")["picks"]
        if record.detail.get("points") != item.points:
            wrong.append(f"{identity.path}: {record.detail.get('points')} points, not {item.points}")
    return wrong


def check(catalog: Any, archive: Archive) -> dict[str, Any]:
    """Put a few queries of each shape and say what is wrong with the answers."""
    shapes = all_shapes(archive)
    asked = [(shape, make()) for shape, make in shapes.items() for _ in range(CHECKED)]
    return {"wrong": [*differences(catalog, archive, asked), *outdated(catalog, archive)]}


def measure(catalog: Any, archive: Archive, count: int) -> dict[str, Any]:
    """Time ``count`` queries of each shape, and see what memory they take."""
    memory = {"before": memory_of("self", "VmRSS")}
    started = time.perf_counter()
    ask(catalog, Query({"run": run_name(0)}, meets()), whole=True)
    first = time.perf_counter() - started
    memory["first"] = memory_of("self", "VmRSS")
    shapes = {}
    for shape, make in all_shapes(archive).items():
        times, hits = [], 0
        for query in [make() for _ in range(count)]:
            started = time.perf_counter()
            answer = ask(catalog, query, whole=False)
            times.append(time.perf_counter() - started)
            hits += sum(map(len, answer.values()))
        shapes[shape] = {"times": times, "hits": hits / count}
    memory["peak"] = memory_of("self", "VmHWM")
    return {"memory": memory, "first": first, "shapes": shapes}


def main() -> None:
    config = Path(sys.argv[1])
    runs, entities, seed, count = map(int, sys.argv[2:])
    archive = Archive(runs, entities, seed)
    with open_queries(config) as catalog:
        print(json.dumps(measure(catalog, archive, count) if count else check(catalog, archive)))


if __name__ == "__main__":
    main()
