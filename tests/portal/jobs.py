"""Many processes that open a portal's layer at the same moment: ``python -m tests.portal.jobs CONFIG COUNT``.

Prints, as one line of JSON, what each of them finds in ``ExperimentRuns``.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from copickfs.config.loading import load
from copickfs.index import open_database
from copickfs.layers.kinds import BuildContext
from copickfs.layers.manager import LayerManager


def main() -> None:
    """Run all jobs to their ends."""
    file, count = sys.argv[1], int(sys.argv[2])
    config = load(file)
    ends = [_job(config) for _ in range(count)]
    sys.stdout.write(json.dumps([json.loads(_whole(end)) for end in ends]) + "\n")
    for _ in ends:
        os.wait()


def _job(config: object) -> int:
    """Start one; where its answer comes from."""
    end, answers = os.pipe()
    if os.fork():
        os.close(answers)
        return end
    try:
        found: object = _runs(config)
    except Exception as error:  # noqa: BLE001 - it is what is compared
        found = repr(error)
    os.write(answers, json.dumps(found).encode())
    os._exit(0)


def _runs(config: object) -> list[str]:
    database = open_database(Path(config.db_config.db_path))  # type: ignore[attr-defined]
    manager = LayerManager(config, BuildContext(database=database))
    try:
        manager.connect_layers()
        return sorted(entry.name for entry in manager.layers["portal"].scan("ExperimentRuns"))
    finally:
        manager.close()
        database.close()


def _whole(end: int) -> bytes:
    with os.fdopen(end, "rb") as stream:
        return stream.read()


if __name__ == "__main__":
    main()
