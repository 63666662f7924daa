"""The table of differences names tests that there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.posix.differences import DIFFERENCES


@pytest.mark.parametrize("key", DIFFERENCES)
def test_every_difference_is_of_a_test(key: str) -> None:
    """That the test fails on the mount is seen by running it: see `pytest_collection_modifyitems`."""
    file, _, test = key.partition("::")
    source = Path(__file__).with_name(f"test_{file}.py").read_text(encoding="utf-8")
    assert f"def test_{test.partition('[')[0]}(" in source
