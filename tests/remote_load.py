"""A process that changes a remote layer until it is killed: ``python -m tests.remote_load``.

Reads what it needs as one JSON document from its standard input, and writes a line for each operation
when it begins and when it was acknowledged.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

from copickfs.index import open_database
from copickfs.index.listings import ListingStore
from copickfs.layers.identity import listing_key
from copickfs.layers.remotewrite import WritableFsspecLayer
from copickfs.layers.sources.store_writing import StoreWriting
from copickfs.layers.writable import Owner

OWNER = Owner(0, 0)
Model = dict[str, str]
Operation = list[str]


def contents(seed: str) -> bytes:
    """The bytes that a seed stands for: some small, some of several requests."""
    chance = random.Random(seed)
    return chance.randbytes(chance.choice([10, 1_000, 300_000, 1_200_000]))


def apply(model: Model, operation: Operation) -> Model:
    """The files, by what their contents are made of, after an operation."""
    kind, path, other = operation
    after = dict(model)
    if kind == "put":
        after[path] = other
    elif kind == "unlink":
        del after[path]
    elif kind == "rename":
        after[other] = after.pop(path)
    return after


def operations(seed: int, directory: str) -> Any:
    """An endless series that fits together."""
    chance = random.Random(seed)
    model: Model = {}
    for number in range(1_000_000):
        kind = chance.choice(["put", "put", "put", "rename", "unlink"])
        if kind == "put" or not model:
            path = f"{directory}/{chance.randrange(6)}"
            operation = ["put", path, f"{seed}-{number}"]
        elif kind == "rename":
            operation = ["rename", chance.choice(sorted(model)), f"{directory}/{chance.randrange(6)}"]
            if operation[1] == operation[2]:
                continue
        else:
            operation = ["unlink", chance.choice(sorted(model)), ""]
        model = apply(model, operation)
        yield operation


def carry_out(layer: WritableFsspecLayer, operation: Operation) -> None:
    """Do it; it is acknowledged when this returns."""
    kind, path, other = operation
    if kind == "rename":
        layer.rename(path, other)
    elif kind == "unlink":
        layer.unlink(path)
    else:
        file = layer.create(path, 0o644, OWNER, whole=True)
        data = contents(other)
        for offset in range(0, len(data), 100_000):
            file.write(offset, data[offset : offset + 100_000])
        file.flush()
        file.close()


def die_at(method: str) -> None:
    """Kill this process when it is about to call ``method`` of the source."""
    call = StoreWriting._ask

    def call_or_die(self: StoreWriting, called: str, *args: Any, **options: Any) -> Any:
        if called == method:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(self, called, *args, **options)

    StoreWriting._ask = call_or_die  # type: ignore[method-assign]


def main() -> None:
    """Work until killed."""
    told = json.loads(sys.stdin.readline())
    if "die_at" in told:
        die_at(told["die_at"])
    options = told["options"]
    if "index" in told:
        database = open_database(Path(told["index"]))
        options["listing_store"] = ListingStore(database, listing_key(told["url"], options["fs_args"]))
    layer = WritableFsspecLayer("lab", told["url"], **options)
    layer.connect()
    layer.mkdir(told["directory"], 0o755, OWNER)
    print(json.dumps(["ready"]), flush=True)
    for operation in told.get("operations") or operations(told["seed"], told["directory"]):
        print(json.dumps(["begin", operation]), flush=True)
        carry_out(layer, operation)
        print(json.dumps(["done"]), flush=True)
    if told.get("lingers"):
        sys.stdin.readline()


if __name__ == "__main__":
    main()
