"""fsspec's own abstract tests on a plain write layer, and on one over a layer that has half of the files."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any

import pytest
from fsspec.tests import abstract

from copickfs.filesystem import CopickFileSystem
from tests.filesystems import configuration, leftovers
from tests.model import hash_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_cases = itertools.count()


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A write layer and an empty one below it, in which each test has a directory of its own."""
    return tmp_path_factory.mktemp("mine"), tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="module")
def stack(layers: tuple[Path, Path]) -> Iterator[CopickFileSystem]:
    mine, lab = layers
    fs = CopickFileSystem(configuration(mine, lab, db_config={"db_path": str(mine.parent / "index.db")}))
    yield fs
    fs.stack.close()
    assert not leftovers(mine)


class PlainFixtures(abstract.AbstractFixtures):
    """A write layer over an empty layer."""

    @pytest.fixture
    def fs(self, stack: CopickFileSystem) -> CopickFileSystem:
        return stack

    @pytest.fixture
    def fs_path(self, fs: CopickFileSystem) -> Iterator[str]:
        path = f"/case{next(_cases)}"
        fs.mkdir(path)
        yield path
        fs.rm(path, recursive=True)  # one of fsspec's tests leaves something
        assert not fs.exists(path)


class HalvedFixtures(PlainFixtures):
    """The same, but every other file of a scenario, with its directories, is the lower layer's."""

    @pytest.fixture(autouse=True)
    def _lower(self, layers: tuple[Path, Path]) -> Iterator[None]:
        self.mine, self.lab = layers
        self.before: dict[str, Any] | None = None
        yield
        assert self.before in (None, hash_tree(self.lab))

    def _halve(self, source: str) -> str:
        files = sorted(path for path in (self.mine / source.strip("/")).rglob("*") if path.is_file())
        for path in files[::2]:
            lower = self.lab / path.relative_to(self.mine)
            lower.parent.mkdir(parents=True, exist_ok=True)
            path.rename(lower)
        self.before = hash_tree(self.lab)
        return source

    def _bulk_operations_scenario_0(self, some_fs: Any, some_join: Any, some_path: Any) -> str:
        source = super()._bulk_operations_scenario_0(some_fs, some_join, some_path)
        return self._halve(source) if isinstance(some_fs, CopickFileSystem) else source

    def _glob_edge_cases_files(self, some_fs: Any, some_join: Any, some_path: Any) -> str:
        source = super()._glob_edge_cases_files(some_fs, some_join, some_path)
        return self._halve(source) if isinstance(some_fs, CopickFileSystem) else source

    def _dir_and_file_with_same_name_prefix(self, some_fs: Any, some_join: Any, some_path: Any) -> str:
        source = super()._dir_and_file_with_same_name_prefix(some_fs, some_join, some_path)
        return self._halve(source) if isinstance(some_fs, CopickFileSystem) else source

    def _10_files_with_hashed_names(self, some_fs: Any, some_join: Any, some_path: Any) -> str:
        source = super()._10_files_with_hashed_names(some_fs, some_join, some_path)
        return self._halve(source) if isinstance(some_fs, CopickFileSystem) else source


class TestPlainCopy(abstract.AbstractCopyTests, PlainFixtures): ...


class TestPlainGet(abstract.AbstractGetTests, PlainFixtures): ...


class TestPlainPut(abstract.AbstractPutTests, PlainFixtures): ...


class TestPlainOpen(abstract.AbstractOpenTests, PlainFixtures): ...


class TestPlainPipe(abstract.AbstractPipeTests, PlainFixtures): ...


class TestHalvedCopy(abstract.AbstractCopyTests, HalvedFixtures): ...


class TestHalvedGet(abstract.AbstractGetTests, HalvedFixtures): ...


class TestHalvedPut(abstract.AbstractPutTests, HalvedFixtures): ...


class TestHalvedOpen(abstract.AbstractOpenTests, HalvedFixtures): ...


class TestHalvedPipe(abstract.AbstractPipeTests, HalvedFixtures): ...


class TestMove(PlainFixtures):
    """``fsspec.tests.abstract.mv`` knows the local file system alone; these are the same cases."""

    def test_move_raises_where_the_directory_is_missing(self, fs: CopickFileSystem, fs_path: str) -> None:
        fs.auto_mkdir = False
        source = f"{fs_path}/source_file.txt"
        fs.pipe_file(source, b"content")
        with pytest.raises(FileNotFoundError):
            fs.mv(source, f"{fs_path}/non_existent_directory/destination_file.txt")
        assert fs.cat_file(source) == b"content"
        fs.auto_mkdir = True
        fs.rm(source)

    @pytest.mark.parametrize("recursive", [True, False])
    @pytest.mark.skipif(os.getuid() == 0, reason="root writes everywhere")
    def test_move_raises_without_permission(
        self, fs: CopickFileSystem, fs_path: str, layers: tuple[Path, Path], recursive: bool
    ) -> None:
        source, protected = f"{fs_path}/source_file.txt", f"{fs_path}/protected"
        fs.pipe_file(source, b"content")
        fs.mkdir(protected)
        (layers[0] / protected.strip("/")).chmod(0o555)
        with pytest.raises(PermissionError):
            fs.mv(source, f"{protected}/destination_file.txt", recursive=recursive)
        (layers[0] / protected.strip("/")).chmod(0o755)
        assert fs.ls(protected) == []
        fs.rm([source, protected], recursive=True)
