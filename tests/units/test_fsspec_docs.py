"""The examples of docs/fsspec.md do what is printed there."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from copickfs.demo import write_demo
from copickfs.stack import close_shared

DOCUMENT = Path(__file__).parents[2] / "docs" / "fsspec.md"


@pytest.mark.usefixtures("isolated")
def test_the_examples_are_what_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_demo(tmp_path / "demo")
    monkeypatch.chdir(tmp_path / "demo")
    text = re.sub(r"^```.*$", "", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    examples = doctest.DocTestParser().get_doctest(text, {}, DOCUMENT.name, str(DOCUMENT), 0)
    assert len(examples.examples) > 20
    said: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(examples, out=said.append)
    close_shared()
    assert not runner.failures, "".join(said)
