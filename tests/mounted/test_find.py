"""What `copickfs find` and `copickfs search` print, and what they say of mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import model
from tests.mounted.conftest import put

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Mounter
    from tests.mounted.conftest import Stack

    Command = Callable[..., subprocess.CompletedProcess[str]]

PICKS = b'{"points": []}'


@pytest.fixture
def config(stack: Stack, mount: Mounter) -> Path:
    """A configuration of the layers top, middle and low."""
    return mount.config_file(model.configuration(stack.roots, [root.name for root in stack.roots]))


def test_a_row_in_a_pipe_is_a_line(stack: Stack, config: Path, copickfs: Command) -> None:
    name = "u" * 150 + "_" + "s" * 50 + "_" + "o" * 40 + ".json"
    paths = [f"ExperimentRuns/{number}{'r' * 240}/Picks/{name}" for number in range(5)]
    for path in paths:
        put(stack.low / path, PICKS)
    lines = copickfs("find", config, "--type", "picks").stdout.splitlines()
    rows = [line for line in lines if "/Picks/" in line]
    assert len(lines) == len(rows) + 4, "an empty line, the headings, a rule, and an empty line"
    assert min(map(len, rows)) > 1_000
    assert all(path in row for path, row in zip(paths, rows, strict=True))
