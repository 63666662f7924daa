"""Every test that docs/semantics.md names beside a promise is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ROWS = [
    line
    for line in (TESTS.parent / "docs" / "semantics.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.endswith(" | checked by |")
]


def named(row: str) -> list[tuple[str, str]]:
    """Files and functions that a row's last column names; ``::name`` is one of any file in its section."""
    return [
        (file, function)
        for file, function in re.findall(r"`([\w/.*]*)(?:::(\w+))?`", row.rpartition(" | ")[2])
        if file or function
    ]


@pytest.mark.parametrize("row", ROWS)
def test_every_promise_names_a_test(row: str) -> None:
    last = row.rpartition(" | ")[2]
    assert named(row) or "not promised" in last


@pytest.mark.parametrize(("file", "function"), sorted({pair for row in ROWS for pair in named(row)}))
def test_every_named_test_is_there(file: str, function: str) -> None:
    files = [found for found in TESTS.glob(file or "*/test_*.py") if found.name != "__init__.py"]
    assert files, f"no file {file}"
    if function:
        assert any(f"def {function}(" in found.read_text(encoding="utf-8") for found in files)
