"""A local layer that is written tells its own changes from those of other programs."""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING

import pytest

from copickfs.layers.localown import OwnChanges
from copickfs.layers.localwrite import WritableLocalLayer
from copickfs.layers.writable import Change, Owner
from tests.sandbox import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ME = Owner(os.getuid(), os.getgid())


class Watched:
    """A layer, what it has announced, and a way to know that it has heard of everything until now."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layer = WritableLocalLayer("lab", root, watch=True)
        self.layer.connect()
        self.news: list[str] = []
        self.layer.subscribe(self.news.append)
        self.layer.scan("")

    def settle(self) -> list[str]:
        """The news so far, without that of the file that marks their end."""
        mark = f"mark {time.monotonic_ns()}"
        (self.root / mark).write_text("")
        wait_until(lambda: mark in self.news, what="the news of the mark")
        news = list(dict.fromkeys(path for path in self.news if not path.startswith("mark ")))
        self.news.clear()
        return news

    def put(self, path: str, data: bytes, *, whole: bool) -> None:
        file = self.layer.create(path, 0o644, ME, whole=whole)
        file.write(0, data)
        file.flush()
        file.close()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    made = Watched(tmp_path)
    yield made
    made.layer.close()


@pytest.mark.parametrize("whole", [False, True])
def test_own_changes_are_not_announced_and_those_of_others_are(watched: Watched, whole: bool) -> None:
    layer, root = watched.layer, watched.root
    layer.mkdir("run", 0o755, ME)
    watched.put("run/x.json", b"own", whole=whole)
    layer.change("run/x.json", Change(mode=0o600))
    layer.set_xattr("run/x.json", "user.x", b"1")
    layer.symlink("run/link", "x.json", ME)
    assert watched.settle() == []
    (root / "run/x.json").write_bytes(b"another's")
    (root / "run/y.json").write_bytes(b"another's")
    assert watched.settle() == ["run/x.json", "run/y.json"]
    layer.rename("run/y.json", "run/x.json")
    layer.unlink("run/x.json")
    assert watched.settle() == []
    (root / "run/x.json").write_bytes(b"again")
    (root / "run/link").unlink()
    assert watched.settle() == ["run/x.json", "run/link"]


def test_a_change_of_others_while_a_file_is_open_is_announced(watched: Watched) -> None:
    watched.put("notes", b"own", whole=False)
    file = watched.layer.edit("notes", whole=False)
    file.write(0, b"OWN")
    assert watched.settle() == []
    with open(watched.root / "notes", "ab") as other:
        other.write(b" and another's")
    assert watched.settle() == ["notes"]
    file.write(0, b"own")
    file.close()
    assert watched.settle() == []


def test_a_file_that_others_put_in_the_place_is_announced(watched: Watched) -> None:
    watched.put("x.json", b"own", whole=True)
    (watched.root / "aside").write_bytes(b"own")
    (watched.root / "aside").rename(watched.root / "x.json")
    assert set(watched.settle()) == {"x.json", "aside"}


def test_a_directory_that_others_make_in_the_place_of_ours_is_announced(watched: Watched) -> None:
    layer, root = watched.layer, watched.root
    layer.mkdir("run", 0o755, ME)
    layer.rmdir("run")
    assert watched.settle() == []
    (root / "run").mkdir()
    assert watched.settle() == ["run"]
    layer.scan("run")
    (root / "run/x").write_text("")
    assert watched.settle() == ["run/x"]


def test_a_directory_is_watched_from_the_moment_it_is_made(watched: Watched) -> None:
    watched.layer.mkdir("run", 0o755, ME)
    (watched.root / "run/by others").write_text("")
    assert "run/by others" in watched.settle()
    watched.layer.unlink("run/by others")
    watched.layer.rmdir("run")
    watched.layer.mkdir("run", 0o755, ME)
    (watched.root / "run/by others").write_text("")
    assert "run/by others" in watched.settle()


def test_the_watches_of_a_directory_go_with_it(watched: Watched) -> None:
    layer, root = watched.layer, watched.root
    for path in ("a", "a/inner", "b", "b/other"):
        layer.mkdir(path, 0o755, ME)
    watched.put("a/inner/x", b"x", whole=True)
    layer.rename("a", "c")
    layer.mkdir("a", 0o755, ME)
    assert watched.settle() == []
    (root / "c/inner/x").write_text("another's")
    (root / "a/new").write_text("")
    assert watched.settle() == ["c/inner/x", "a/new"]
    layer.exchange("b", "c")
    assert watched.settle() == []
    (root / "b/inner/x").unlink()
    (root / "c/other/y").write_text("")
    assert watched.settle() == ["b/inner/x", "c/other/y"]
    os.rename(root / "b", root / "d")
    assert {"b", "d"} <= set(watched.settle())
    layer.scan("d")
    layer.scan("d/inner")
    (root / "d/inner/z").write_text("")
    assert "d/inner/z" in watched.settle()


def test_a_directory_renamed_by_others_right_after_us_is_announced(watched: Watched) -> None:
    watched.layer.mkdir("a", 0o755, ME)
    watched.layer.rename("a", "b")
    os.rename(watched.root / "b", watched.root / "c")
    assert {"b", "c"} <= set(watched.settle())
    watched.layer.scan("c")
    (watched.root / "c/x").write_text("")
    assert watched.settle() == ["c/x"]


def test_a_call_that_fails_hides_no_news(watched: Watched) -> None:
    (watched.root / "x").write_text("another's")
    with pytest.raises(FileExistsError):
        watched.layer.create("x", 0o644, ME, whole=False)
    with pytest.raises(FileExistsError):
        watched.layer.mkdir("x", 0o755, ME)
    assert watched.settle() == ["x"]


def test_the_staging_directory_is_no_news(watched: Watched) -> None:
    watched.put("x.json", b"own", whole=True)
    watched.put("x.json", b"own", whole=True)
    watched.layer.scan(".copickfs")
    watched.layer.scan(".copickfs/staging")
    watched.put("x.json", b"own", whole=True)
    assert watched.settle() == []


def test_what_is_remembered_is_bounded(tmp_path: Path) -> None:
    own = OwnChanges(lambda path: f"{tmp_path}/{path}")
    own.heard = True
    for number in range(20_000):
        with own.changing(f"{number}"):
            pass
    assert repr(own) == "<OwnChanges of 16384 paths>"
    assert own.did("19999")
    assert not own.did("0")


def test_the_mode_of_a_file_counts(watched: Watched) -> None:
    watched.put("x", b"own", whole=False)
    (watched.root / "x").chmod(0o640)
    assert watched.settle() == ["x"]
    assert stat.S_IMODE(watched.layer.stat("x").mode) == 0o640
