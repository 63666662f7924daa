"""What a remote layer remembers, for how long, and what it makes of names and changes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from copickfs.errors import AccessDenied, NotADirectory, NotFound, Transient, Unavailable, WouldBlock
from copickfs.layers import catalogue as catalogue_module
from copickfs.layers.catalogue import Catalogue
from copickfs.layers.sources import DIRECTORY, FILE, LINK, Found
from tests.sandbox import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from copickfs.layers.listings import Listing
    from copickfs.model import ByteRange


class Shelf:
    """A source in a dictionary, that counts what it is asked and fails as it is told."""

    def __init__(self, tree: dict[str, list[Found]]) -> None:
        self.tree_listings = tree
        self.asked: list[str] = []
        self.error: Exception | None = None
        self.may_ask = True
        self.delay_s = 0.0
        self.denied: set[str] = set()
        self.hides_dots = False

    def at_hand(self, path: str) -> None:
        """Every listing is a request."""

    def hides(self, name: str) -> bool:
        return self.hides_dots and name.startswith(".")

    def scan(self, path: str) -> list[Found]:
        self.asked.append(path)
        time.sleep(self.delay_s)
        if self.error is not None:
            raise self.error
        if path in self.denied:
            raise AccessDenied(path)
        if path not in self.tree_listings:
            raise NotFound(path)
        return self.tree_listings[path]

    def tree(
        self, path: str, directories: list[str], make: Callable[[str, list[Found]], Listing]
    ) -> dict[str, Listing]:
        self.asked.append(f"{path}/**")
        if self.error is not None:
            raise self.error
        inner = {p[len(path) + 1 :]: e for p, e in self.tree_listings.items() if p.startswith(f"{path}/")}
        assert set(directories) <= inner.keys()
        return {relative: make(relative, entries) for relative, entries in inner.items()}

    def info(self, path: str) -> Found:
        self.asked.append(f"?{path}")
        if self.error is not None:
            raise self.error
        if path == "s.zarr":
            return directory(path)
        raise NotFound(path)

    def files(self, directory: str, _names: list[str]) -> list[Found]:
        raise AccessDenied(directory)

    def read(self, path: str, span: ByteRange, found: Found) -> bytes:
        raise NotImplementedError


def file(name: str, size: int = 1, mtime: int = 1, etag: str = "") -> Found:
    return Found(name, FILE, size, mtime, etag)


def directory(name: str) -> Found:
    return Found(name, DIRECTORY)


ARRAY = {
    "": [directory("s.zarr"), directory("dir"), file("top")],
    "dir": [file("a"), file("b")],
    "s.zarr": [file(".zgroup"), directory("0")],
    "s.zarr/0": [file(".zarray"), directory("0"), file("0.0")],
    "s.zarr/0/0": [directory("0")],
    "s.zarr/0/0/0": [file("0"), file("1")],
}


def make(
    tree: dict[str, list[Found]], ttl_s: float = 100.0, announce: Callable[[str], None] = lambda _: None
) -> tuple[Catalogue, Shelf]:
    shelf = Shelf({path: list(entries) for path, entries in tree.items()})
    return Catalogue("lab", shelf, ttl_s, 5.0, announce), shelf


def test_one_listing_answers_for_all_names_in_it() -> None:
    catalogue, shelf = make(ARRAY)
    assert catalogue.found("").kind == DIRECTORY
    assert shelf.asked == []
    assert catalogue.found("dir/a").size_bytes == 1
    for name in ("x", "y", ".zgroup", ".zattrs"):
        with pytest.raises(NotFound):
            catalogue.found(f"dir/{name}")
    assert catalogue.listing("dir").get("b") == file("b")
    assert shelf.asked == ["", "dir"]


def test_paths_below_files_and_links_are_known_without_asking() -> None:
    catalogue, shelf = make({"": [file("top"), Found("link", LINK)]})
    catalogue.listing("")
    for path in ("top/x", "top/x/y", "link/x"):
        with pytest.raises(NotADirectory):
            catalogue.found(path)
        with pytest.raises(NotADirectory):
            catalogue.found(path, wait=False)
    with pytest.raises(NotFound):
        catalogue.found("absent/x", wait=False)
    assert shelf.asked == [""]


@pytest.mark.parametrize(
    ("first", "answer"),
    [
        ("s.zarr/0/.zarray", None),
        ("s.zarr/0/0/0/1", None),
        ("s.zarr/0/absent", NotFound),
        ("s.zarr/0/0/0/9", NotFound),
        ("s.zarr/0/0/0/0/x", NotADirectory),
    ],
)
def test_an_array_is_listed_as_a_whole_before_anything_in_it_is_answered(
    first: str, answer: type[Exception] | None
) -> None:
    catalogue, shelf = make(ARRAY)
    if answer is None:
        assert catalogue.found(first).kind == FILE
    else:
        with pytest.raises(answer):
            catalogue.found(first)
    assert shelf.asked == ["", "s.zarr", "s.zarr/0", "s.zarr/0/**"]
    assert catalogue.found("s.zarr/0/0/0/1", wait=False) == file("1")
    for path in ("s.zarr/0/0/0/2", "s.zarr/0/1/0/0", "s.zarr/0/.zattrs"):
        with pytest.raises(NotFound):
            catalogue.found(path, wait=False)
    assert len(catalogue.listing("s.zarr/0/0", wait=False)) == 1
    assert len(shelf.asked) == 4


def test_an_array_in_an_outage_has_no_metadata() -> None:
    catalogue, shelf = make(ARRAY)
    catalogue.listing("s.zarr")
    shelf.error = Unavailable("no route")
    for path in ("s.zarr/0/.zarray", "s.zarr/0/0/0/0", "s.zarr/0/9"):
        with pytest.raises(Unavailable):
            catalogue.found(path)


def test_what_is_remembered_answers_in_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    catalogue, shelf = make(ARRAY, ttl_s=0.05)
    catalogue.found("s.zarr/0/.zarray")
    catalogue.found("dir/a")
    time.sleep(0.1)
    shelf.error = Unavailable("no route")
    shelf.asked.clear()
    for _ in range(20):
        assert catalogue.found("dir/a") == file("a")
        assert catalogue.found("s.zarr/0/0/0/1") == file("1")
        with pytest.raises(NotFound):
            catalogue.found("s.zarr/0/0/0/2")
        with pytest.raises(NotFound):
            catalogue.found("dir/c")
    assert len(shelf.asked) <= 4, "every lookup asks a source that is away"
    assert len([r for r in caplog.records if "from memory" in r.getMessage()]) == 1


def test_a_layer_that_is_down_is_not_even_asked() -> None:
    catalogue, shelf = make(ARRAY, ttl_s=0.05)
    catalogue.found("dir/a")
    time.sleep(0.1)
    shelf.may_ask = False
    asked = len(shelf.asked)
    assert catalogue.found("dir/a", wait=False) == file("a")
    assert len(shelf.asked) == asked
    shelf.may_ask = True
    with pytest.raises(WouldBlock):
        catalogue.found("dir/a", wait=False)


def test_changes_are_announced_when_they_are_noticed() -> None:
    announced: list[str] = []
    catalogue, shelf = make(ARRAY, announce=announced.append)
    catalogue.found("s.zarr/0/.zarray")
    catalogue.found("dir/a")
    shelf.tree_listings["dir"] = [file("a", 2), file("c")]
    shelf.tree_listings["s.zarr/0/0/0"] = [file("0", mtime=5), file("1")]
    catalogue.distrust()
    assert announced == [""]
    announced.clear()
    with pytest.raises(WouldBlock):
        catalogue.found("dir/a", wait=False)
    assert catalogue.found("dir/a").size_bytes == 2
    assert catalogue.found("s.zarr/0/0/0/0").mtime_ns == 5
    assert sorted(announced) == ["dir/a", "dir/b", "dir/c", "s.zarr/0/0/0/0"]


def test_an_array_that_is_none_any_more() -> None:
    catalogue, shelf = make(ARRAY)
    catalogue.found("s.zarr/0/.zarray")
    shelf.tree_listings["s.zarr/0"] = [directory("0")]
    catalogue.distrust()
    assert catalogue.found("s.zarr/0/0/0/1") == file("1")
    with pytest.raises(NotFound):
        catalogue.found("s.zarr/0/.zarray")


def test_a_directory_that_goes_away_is_believed_gone_only_if_the_one_above_is_there() -> None:
    catalogue, shelf = make(ARRAY)
    catalogue.found("dir/a")
    del shelf.tree_listings["dir"]
    shelf.tree_listings[""] = [file("top")]
    catalogue.distrust()
    with pytest.raises(NotFound):
        catalogue.found("dir/a")
    shelf.tree_listings.clear()  # as when a disk is unmounted at the server
    catalogue.distrust()
    assert catalogue.found("top") == file("top")
    with pytest.raises((NotFound, Unavailable)):
        catalogue.found("s.zarr/.zgroup")


def test_a_root_that_is_gone_is_an_outage() -> None:
    catalogue, _ = make({})
    for path in ("x", "x/y"):
        with pytest.raises(Transient):
            catalogue.found(path)


def test_odd_names_are_left_out_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    names = ["", ".", "..", "a/b", "nul\0", "x" * 256, "ü" * 128]
    # Names that copickfs keeps to itself are hidden by the view: a layer's marks are read through it.
    fine = ["x" * 255, "new\nline", "\udcff", " ", "a*[1]?", ".copickfs", ".copickfs-whiteouts"]
    catalogue, _ = make(
        {
            "": [file(name) for name in names + fine],
        },
        ttl_s=0.01,
    )
    for _ in range(3):
        assert {found.name for found in catalogue.listing("")} == set(fine)
        time.sleep(0.02)
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "7 names" in warnings[0]


def test_a_directory_hides_a_file_of_the_same_name() -> None:
    catalogue, _ = make({"": [directory("x"), file("x")], "x": [file("y")]})
    assert catalogue.found("x").kind == DIRECTORY
    assert catalogue.found("x/y") == file("y")


def test_an_unlisted_directory_is_asked_for_each_name_once() -> None:
    catalogue, shelf = make(ARRAY)
    shelf.denied = {"", "s.zarr"}
    with pytest.raises(AccessDenied):
        catalogue.listing("")
    for _ in range(3):
        with pytest.raises(NotFound):
            catalogue.found("absent")
    assert shelf.asked == ["", "?absent"]
    assert catalogue.found("s.zarr").kind == DIRECTORY
    with pytest.raises(AccessDenied, match="read as zeros"):
        catalogue.found("s.zarr/.zarray")


def test_a_name_that_listings_leave_out_is_asked_for_by_itself() -> None:
    catalogue, shelf = make(ARRAY)
    shelf.hides_dots = True
    for _ in range(3):
        with pytest.raises(NotFound):
            catalogue.found("dir/.meta")
        with pytest.raises(NotFound):
            catalogue.found("dir/plain")
        with pytest.raises(NotFound):
            catalogue.found("s.zarr/0/.zattrs")
    assert [path for path in shelf.asked if path.startswith("?")] == ["?dir/.meta"]


def test_a_waiter_does_not_wait_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue, shelf = make(ARRAY)
    monkeypatch.setattr(catalogue, "_wait_s", 0.1)
    shelf.delay_s = 0.5
    began_s = time.monotonic()
    with pytest.raises(Transient):
        catalogue.found("top")
    assert time.monotonic() - began_s < 0.45
    wait_until(lambda: _is_known(catalogue, "top"), what="the fetch to go on without its waiter")
    assert shelf.asked == [""]


def _is_known(catalogue: Catalogue, path: str) -> bool:
    try:
        catalogue.found(path, wait=False)
    except WouldBlock:
        return False
    return True


def test_a_failed_refresh_is_tried_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue_module, "STALE_RETRY_S", 0.1)
    catalogue, shelf = make(ARRAY, ttl_s=0.05)
    catalogue.found("dir/a")
    time.sleep(0.1)
    shelf.error = Unavailable("no route")
    assert catalogue.found("dir/a") == file("a")
    shelf.error = None
    shelf.tree_listings["dir"] = [file("new")]
    wait_until(lambda: catalogue.listing("dir").get("new"), what="the new listing")
