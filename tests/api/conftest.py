"""A stack of two projects for each test, and proof that nothing stays behind."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

import copickfs
from copickfs.stack import close_shared
from tests import model
from tests.projects import Project, write_templates

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from copickfs.api import CopickRootMultilayer


@pytest.fixture(scope="session")
def _templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_templates(tmp_path_factory.mktemp("projects"))


@pytest.fixture
def project(_templates: Path, tmp_path: Path, isolated: None) -> Iterator[Project]:  # noqa: ARG001 -- a home of its own
    """A stack; its read-only layer must be unchanged at the end, and no thread be left."""
    made = Project(_templates, tmp_path)
    before = model.hash_tree(made.path("lab"))
    yield made
    close_shared()
    names = [thread.name for thread in threading.enumerate()]
    assert [name for name in names if name.startswith(("copickfs", "watch-"))] == []
    assert model.hash_tree(made.path("lab")) == before


@pytest.fixture
def root(project: Project) -> CopickRootMultilayer:
    """The merged root of that stack."""
    return copickfs.from_file(project.file)
