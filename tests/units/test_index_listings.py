"""Stored listings: what comes back is what was stored, or nothing; and what takes the place of what."""

from __future__ import annotations

import stat
import time
from array import array
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copickfs.index import Database, open_database
from copickfs.index.columns import Columns, StoredListing, decoded, digest_of, encoded
from copickfs.index.listings import ListingStore, prune

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NAMES = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=12),
    st.binary(min_size=1, max_size=12).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    st.text(st.sampled_from("\udcc3\udca9\udcff\ud800\nA\u0301"), min_size=1, max_size=6),
).filter(lambda name: "\0" not in name)
NUMBERS = st.integers(-(1 << 63), (1 << 63) - 1)


@st.composite
def columns(draw: st.DrawFn) -> Columns:
    names = tuple(sorted(draw(st.sets(NAMES, max_size=8))))

    def each(values: st.SearchStrategy[int]) -> list[int]:
        return draw(st.lists(values, min_size=len(names), max_size=len(names)))

    kinds = "".join("fdlx"[number] for number in each(st.integers(0, 3)))
    etags = tuple(draw(st.text(st.characters(exclude_characters="\0"))) for _ in names)
    sizes, mtimes = array("q", each(NUMBERS)), array("q", each(NUMBERS))
    return Columns(names, kinds, sizes, mtimes, etags if any(etags) and draw(st.booleans()) else None)


LISTINGS = st.builds(
    StoredListing, NUMBERS, st.dictionaries(NAMES | st.just(""), columns(), max_size=4), st.booleans()
)


def of(*names: str, at_ns: int = 1_000) -> StoredListing:
    count = len(names)
    numbers = array("q", range(count))
    return StoredListing(at_ns, {"": Columns(tuple(sorted(names)), "f" * count, numbers, numbers, None)})


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(tmp_path / "index.db")
    yield opened
    opened.close()


@pytest.fixture
def store(database: Database) -> ListingStore:
    return ListingStore(database, "here")


def keep(store: ListingStore, directory: str, listing: StoredListing, *, holds: bool = True) -> None:
    store.save(directory, listing, lambda: holds)


def forgotten(_directory: str, _listing: StoredListing) -> None:
    """How a listing changes that nobody can revise."""


@given(NAMES | st.just(""), LISTINGS)
def test_what_is_stored_comes_back_whatever_the_names_are(directory: str, listing: StoredListing) -> None:
    data = encoded(directory, listing)
    assert data is not None
    assert decoded(directory, data, digest_of(data)) == listing
    assert decoded(directory + "x", data, digest_of(data)) is None


@given(LISTINGS, st.data())
def test_a_byte_that_changes_is_noticed(listing: StoredListing, data: st.DataObject) -> None:
    raw = encoded("d", listing)
    assert raw is not None
    position = data.draw(st.integers(0, len(raw) - 1))
    flipped = bytearray(raw)
    flipped[position] ^= data.draw(st.integers(1, 255))
    assert decoded("d", bytes(flipped), digest_of(raw)) is None
    assert decoded("d", raw[:position], digest_of(raw)) is None
    for odd in (None, "text", 1.5, b""):
        assert decoded("d", odd, digest_of(raw)) is None
        assert decoded("d", raw, odd) is None


@pytest.mark.parametrize("bad", [of("a\0b"), of("a")._replace(directories={"x\0y": of("a").directories[""]})])
def test_a_text_with_a_nul_is_not_stored(store: ListingStore, bad: StoredListing) -> None:
    keep(store, "d", bad)
    assert store.load("d") is None


@pytest.mark.parametrize(
    "damage", ["entries = zeroblob(9)", "digest = digest + 1", "fetched_ns = fetched_ns + 1"]
)
def test_a_damaged_row_is_dropped(store: ListingStore, database: Database, damage: str) -> None:
    keep(store, "d", of("a"))
    keep(store, "e", of("a"))
    with database.writing() as connection:
        connection.execute(f"UPDATE listing SET {damage} WHERE directory = 'd'")  # noqa: S608
    assert store.load("d") is None
    assert store.load("e") == of("a")
    with database.reading() as connection:
        assert connection.execute("SELECT directory FROM listing").fetchall() == [("e",)]


def test_a_listing_takes_the_place_of_those_asked_for_before(store: ListingStore, database: Database) -> None:
    keep(store, "d", of("a", at_ns=5))
    keep(store, "d", of("b", at_ns=4))
    assert store.load("d") == of("a", at_ns=5)
    keep(store, "d", of("b", at_ns=6))
    assert store.load("d") == of("b", at_ns=6)
    keep(store, "d", of("c", at_ns=7), holds=False)
    assert store.load("d") == of("b", at_ns=6)
    assert ListingStore(database, "there").load("d") is None


def test_a_listing_from_the_future_stands_in_nobodys_way(store: ListingStore) -> None:
    keep(store, "d", of("a", at_ns=time.time_ns() + 10**12))
    keep(store, "d", of("b", at_ns=6))
    assert store.load("d") == of("b", at_ns=6)


def test_a_listing_that_may_lack_a_change_is_not_kept(store: ListingStore) -> None:
    for directory in ("s.zarr", "s.zarr/0", "s.zarr/0/1", "s.zarr/0/1/x", "s.zarr/0/1/y"):
        keep(store, directory, of("a", at_ns=5))
    store.changed("s.zarr/0/1/x", ["s.zarr/0/1", "s.zarr/0"], None, 9, forgotten)
    for directory in ("s.zarr/0", "s.zarr/0/1"):
        keep(store, directory, of("a", at_ns=8))
        assert store.load(directory) is None
        keep(store, directory, of("a", at_ns=10))
        assert store.load(directory) is not None
    assert store.load("s.zarr/0/1/x") is None
    assert store.load("s.zarr/0/1/y") is not None
    store.changed("s.zarr/0/1/x", ["s.zarr/0/1", "s.zarr/0"], "s.zarr/0", 20, forgotten)
    assert store.load("s.zarr/0/1") is None
    keep(store, "s.zarr/0", of("a", at_ns=19))
    assert store.load("s.zarr/0") is None
    assert store.load("s.zarr") is not None


def test_changes_are_added_to_a_listing_and_no_older_one_takes_their_place(store: ListingStore) -> None:
    def added(name: str) -> Callable[[str, StoredListing], StoredListing]:
        return lambda _, before: of(*sorted((*before.directories[""].names, name)), at_ns=before.fetched_ns)

    keep(store, "d", of("a", at_ns=5))
    keep(store, "above", of("a", at_ns=5))
    store.changed("d/c", ["d"], None, 9, added("c"))
    store.changed("d/b", ["d"], None, 8, added("b"))  # which another thread was to tell first
    revised = of("a", "b", "c", at_ns=9)._replace(is_trusted=False)
    assert store.load("d") == revised
    keep(store, "d", of("a", at_ns=8))
    assert store.load("d") == revised
    store.changed("d/x", ["d", "above"], "d", 10, lambda _, before: before)
    assert store.load("above") == of("a", at_ns=5), "it tells nothing of the change, and stays what it was"
    keep(store, "d", of("e", at_ns=11))
    assert store.load("d") == of("e", at_ns=11)
    keep(store, "d", of(*(f"{number:06}{number * 7919 % 1000003:06}" for number in range(40_000)), at_ns=12))
    store.changed("d/x", ["d"], "d", 13, added("x"))
    assert store.load("d") is None, "what is long is not written anew at every change"


def test_what_is_below_a_directory_is_forgotten_with_it_and_nothing_else(store: ListingStore) -> None:
    below = ["d", "d/x", "d/\udcff", "d/x/é", "d/0"]
    others = ["", "d-", "d0", "d.zarr", "dd/x", "\udcff/x", "é/x", "D/x"]
    for directory in below + others:
        keep(store, directory, of("a"))
    store.forget("d")
    assert [directory for directory in below + others if store.load(directory) is not None] == others
    keep(store, "\udcff/x/y", of("a"))
    store.forget("\udcff")
    assert store.load("\udcff/x/y") is None
    store.forget("")
    assert not any(store.load(directory) for directory in others)


def test_what_was_seen_to_differ_is_marked_and_kept(store: ListingStore, database: Database) -> None:
    other = ListingStore(database, "there")
    for each, directory in ((store, "d"), (store, "e"), (other, "d")):
        keep(each, directory, of("a"))
    store.changed("f/x", ["f"], None, 5, forgotten)
    store.distrust(["d"])
    store.distrust(["d", "absent"])
    assert store.load("d") == of("a")._replace(is_trusted=False)
    assert store.load("e") == of("a")
    store.distrust(None)
    assert store.load("e") == of("a")._replace(is_trusted=False)
    assert store.load("f") is None
    assert other.load("d") == of("a")
    keep(store, "d", of("a", at_ns=2_000))
    assert store.load("d") == of("a", at_ns=2_000)
    store.forget_all()
    assert store.load("d") is None
    assert other.load("d") == of("a")


def test_what_nobody_has_fetched_for_long_is_dropped(store: ListingStore, database: Database) -> None:
    now_ns = time.time_ns()
    keep(store, "old", of("a", at_ns=now_ns - 100 * 86_400 * 10**9))
    keep(store, "new", of("a", at_ns=now_ns - 80 * 86_400 * 10**9))
    store.distrust(["new"])
    assert prune(database) == 1
    assert store.load("old") is None
    assert store.load("new") is not None
    assert prune(database, older_than_s=0) == 1


def test_the_database_is_for_its_user_alone(database: Database, store: ListingStore, tmp_path: Path) -> None:
    keep(store, "d", of("a"))
    files = [path for path in tmp_path.iterdir() if path.is_file()]
    assert len(files) >= 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert database.path in files
