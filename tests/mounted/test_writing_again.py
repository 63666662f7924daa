"""Files that are written again as soon as they are closed, on a mount of which one layer is far away.

The kernel tells of the end of an open file when ``close`` has returned, and the calls of such a mount go to
worker threads: what comes next overtakes it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests import model
from tests.webserver import WebServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Mounter

PICKS = "ExperimentRuns/r/Picks"
ROUNDS = 40


@pytest.fixture
def point(mount: Mounter, tmp_path: Path) -> Iterator[Path]:
    """A mount of the directory ``mine`` over what a web server has."""
    (tmp_path / "far" / PICKS).mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    with WebServer(tmp_path / "far") as server:
        config = model.configuration([tmp_path / "mine", server.url], ["mine", "far"])
        made = mount(config)
        yield made
        mount.umount(made)


def test_a_file_is_written_again_as_soon_as_it_is_closed(point: Path, tmp_path: Path) -> None:
    stored = tmp_path / "mine" / PICKS
    for number in range(ROUNDS):
        path = point / PICKS / f"alice_{number}_ribosome.json"
        path.write_bytes(b"first")
        with path.open("wb", buffering=0) as file:
            file.write(b"sec")
            assert (stored / path.name).read_bytes() == b"first"
            assert os.fstat(file.fileno()).st_size == 3
            file.write(b"ond")
        assert (stored / path.name).read_bytes() == path.read_bytes() == b"second"
        path.write_bytes(b"third one")
        os.truncate(path, 5)
        assert (stored / path.name).read_bytes() == path.read_bytes() == b"third"
