"""What the benchmarks write."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks import __main__ as benchmark
from benchmarks import index, report

if TYPE_CHECKING:
    from pathlib import Path


def test_new_results_keep_the_notes_of_the_last(tmp_path: Path) -> None:
    results = tmp_path / "RESULTS.md"
    report.save(results, "first\n")
    assert results.read_text() == "first\n"
    results.write_text(results.read_text() + "\n## Notes\n\n* a remark\n")
    for text in ("second\n", "third\n"):
        report.save(results, text)
        assert results.read_text() == f"{text}\n## Notes\n\n* a remark\n"


@pytest.mark.parametrize("module", [benchmark, index])
def test_each_saves_in_this_way(module: object) -> None:
    assert vars(module)["save"] is report.save


def test_only_some_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["index", "--only", "queries,load"])
    assert index._parse().only == ["queries", "load"]
