"""The memory of listings: compact, bounded, used by many threads."""

from __future__ import annotations

import sys
import threading

from copickfs.layers.listings import Kept, Listing, ListingMemory
from copickfs.layers.sources import DIRECTORY, FILE, Found


def file(name: str, size: int = 1, mtime: int = 1, etag: str = "") -> Found:
    return Found(name, FILE, size, mtime, etag)


def directory(name: str) -> Found:
    return Found(name, DIRECTORY)


def test_a_listing_answers_as_a_dictionary_does() -> None:
    entries = [file(f"{i * 7919 % 1000}", i, i, "") for i in range(1000)]
    listing = Listing(entries)
    assert len(listing) == 1000
    assert set(listing) == set(entries)
    for entry in entries:
        assert listing.get(entry.name) == entry
    for name in ("", "-1", "1000", "zz", "5x"):
        assert listing.get(name) is None


def test_changes_between_listings() -> None:
    old = Listing([file("a"), file("b", 2), directory("d"), file("e", etag="1")])
    same = Listing([file("b", 2), file("a"), directory("d"), file("e", etag="1")])
    assert old.changes(same) == []
    new = Listing([file("a", mtime=9), file("c"), file("d"), file("e", etag="2")])
    assert old.changes(new) == ["a", "b", "c", "d", "e"]
    assert Listing([file("a")]).changes(Listing([file("a", 2)])) == ["a"]


def test_memory_is_bounded_and_forgets_the_least_recently_used() -> None:
    memory = ListingMemory(max_entries=100, max_array_entries=50)
    for i in range(30):
        memory.keep(Kept(f"dir{i}", {"": Listing([file(str(n)) for n in range(10)])}))
        memory.find("dir0")
    assert memory.find("dir0") is not None
    assert memory.find("dir1") is None
    assert memory.find("dir29") is not None
    memory.keep(Kept("huge", {"": Listing([file(str(n)) for n in range(1000)])}))
    assert memory.find("huge") is not None, "a long listing would be fetched for every lookup"
    assert memory.find("dir29") is None
    for i in range(5):
        memory.keep(Kept(f"s{i}.zarr", {"": Listing([file(str(n)) for n in range(20)])}, is_array=True))
    assert memory.find("s4.zarr/deep/down") is not None
    assert memory.find("s0.zarr") is None
    assert memory.find("huge") is not None, "arrays do not push out directories"


def test_a_million_chunks_take_little_memory() -> None:
    """The promise in `copickfs.layers.listings`, on a hundredth of it."""
    count, per_directory = 20_000, 100
    listings = {
        f"{z}/0": Listing([file(str(i), 1 << 24, 17 * 10**17 + i) for i in range(per_directory)])
        for z in range(count // per_directory)
    }
    size = sum(
        sys.getsizeof(listing)
        + sum(sys.getsizeof(getattr(listing, slot)) for slot in Listing.__slots__)
        + sum(sys.getsizeof(name) for name in listing._names) // len(listings)  # names are shared
        for listing in listings.values()
    )
    assert size / count < 80
    names = {id(name) for listing in listings.values() for name in listing._names}
    assert len(names) == per_directory


def test_concurrent_use_of_the_memory() -> None:
    memory = ListingMemory(max_entries=50)
    errors: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for i in range(300):
                origin = f"d{(seed * 31 + i) % 40}"
                memory.keep(Kept(origin, {"": Listing([file("x")])}))
                memory.find(origin)
                memory.distrust(origin if i % 3 else None)
                memory.forget(f"d{i % 40}")
        except BaseException as error:  # noqa: BLE001 - reported below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert memory._directories._entries == sum(kept.size for kept in memory._directories.kept.values())
