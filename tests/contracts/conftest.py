"""One tree, and each kind of layer over it."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from tests.contracts.backends import BACKENDS, Backend, build

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from copickfs.layers.base import Layer


def fingerprint(root: Path) -> str:
    """A digest of names, sizes, times and (of what is not sparse) contents below ``root``."""
    digest = hashlib.sha256()
    for directory, names, files in os.walk(root):
        names.sort()
        for name in sorted(files + names):
            path = os.path.join(directory, name)
            status = os.lstat(path)
            line = f"{path}{status.st_mode}{status.st_size}{status.st_mtime_ns}"
            digest.update(line.encode(errors="surrogateescape"))
            if os.path.isfile(path) and status.st_size < 1 << 26:
                with open(path, "rb") as file:
                    digest.update(file.read())
    return digest.hexdigest()


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory that layers on disk show; no layer may change it."""
    root = tmp_path_factory.mktemp("tree")
    build(root)
    before = fingerprint(root)
    yield root
    assert fingerprint(root) == before, "a read-only layer was written to"


@pytest.fixture(scope="module", params=BACKENDS, ids=lambda backend: backend.name)
def backend(request: pytest.FixtureRequest) -> Backend:
    """A kind of layer."""
    chosen: Backend = request.param
    return chosen


@pytest.fixture(scope="module")
def layer(backend: Backend, tree: Path) -> Iterator[Layer]:
    """A connected layer over the tree, shared by the tests that only read."""
    with backend.open(tree) as opened:
        yield opened
