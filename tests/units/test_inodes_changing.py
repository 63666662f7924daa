"""Inodes of a mount that is written: renamed, linked, copied up, removed."""

from __future__ import annotations

import pytest

from copickfs.errors import Stale
from copickfs.ops.inodes import ROOT, InodeTable

A, B, LOWER = b"identity a", b"identity b", b"identity below"


def test_a_renamed_file_stays_the_inode_it_is_until_it_is_forgotten() -> None:
    table = InodeTable()
    directory = table.remember(ROOT, b"notes")
    number = table.remember(ROOT, b"old", A)
    table.rename(number, (ROOT, b"old"), (directory, b"new"), A)
    assert table.path(number) == "notes/new"
    assert table.number_of(directory, b"new", A) == number
    assert table.remember(directory, b"new", A) == number
    assert table.is_of(number, A)
    assert not table.is_of(number, B)
    table.forget(number, 2)
    assert table.number_of(directory, b"new", A) == InodeTable().number_of(directory, b"new", A)


def test_what_is_below_a_renamed_directory_moves_along_and_its_old_name_is_free() -> None:
    table = InodeTable()
    directory = table.remember(ROOT, b"a")
    inner = table.remember(directory, b"inner", A)
    assert table.path(inner) == "a/inner"
    table.rename(directory, (ROOT, b"a"), (ROOT, b"b"))
    assert table.path(inner) == "b/inner"
    again = table.remember(ROOT, b"a")
    assert again != directory
    assert table.path(again) == "a"
    table.rename(directory, (ROOT, b"b"), (ROOT, b"c"))
    assert table.remember(ROOT, b"b") not in (directory, again)
    assert table.path(directory) == "c"


def test_a_file_that_is_copied_up_keeps_its_number() -> None:
    table = InodeTable()
    number = table.remember(ROOT, b"map.mrc", LOWER)
    table.adopt(number, ROOT, b"map.mrc", A)
    assert table.is_of(number, A)
    assert table.number_of(ROOT, b"map.mrc", A) == number


def test_all_names_of_a_file_are_one_inode() -> None:
    table = InodeTable()
    number = table.remember(ROOT, b"one", A)
    table.add_name(number, ROOT, b"two", A)
    table.hold(number, ROOT, b"two")
    for name in (b"one", b"two"):
        assert table.number_of(ROOT, name, A, linked=True) == number
        assert table.is_of(number, A, linked=True)
    table.remove_name(number, ROOT, b"one", A)
    assert table.path(number) == "two"
    assert table.number_of(ROOT, b"two", A) == number
    table.remove_name(number, ROOT, b"two", A)
    with pytest.raises(Stale):
        table.path(number)
    assert table.forget(number, 2)
    assert table.number_of(ROOT, b"two", A) == InodeTable().number_of(ROOT, b"two", A)


def test_names_of_a_linked_file_that_are_found_one_by_one_are_one_inode() -> None:
    table = InodeTable()
    first = table.remember(ROOT, b"one", A, linked=True)
    assert table.remember(ROOT, b"two", A, linked=True) == first
    assert table.number_of(ROOT, b"three", A, linked=True) == first
    assert table.remember(ROOT, b"one", B, linked=True) != first
    table.remove_name(first, ROOT, b"one", A)
    assert table.path(first) == "two"


def test_a_further_name_of_a_file_is_renamed() -> None:
    table = InodeTable()
    number = table.remember(ROOT, b"one", A)
    table.add_name(number, ROOT, b"two", A)
    table.rename(number, (ROOT, b"two"), (ROOT, b"three"), A, linked=True)
    table.remove_name(number, ROOT, b"three", A)
    assert table.path(number) == "one"
    assert table.number_of(ROOT, b"one", A) == number
    table.remove_name(number, ROOT, b"one", A)
    with pytest.raises(Stale):
        table.path(number)


def test_a_removed_directory_is_not_taken_for_a_new_one_of_its_name() -> None:
    table = InodeTable()
    gone = table.remember(ROOT, b"run")
    table.remove_name(gone, ROOT, b"run")
    with pytest.raises(Stale):
        table.path(gone)
    new = table.remember(ROOT, b"run")
    assert new != gone
    assert table.path(new) == "run"
    table.forget(gone, 1)
    assert table.is_of(new, b"")
    assert table.remember(ROOT, b"run") == new


def test_a_new_file_is_never_an_inode_that_the_kernel_knows() -> None:
    """A disk gives the number of a file that is gone to the next: both would have one number here."""
    table = InodeTable()
    old = table.remember(ROOT, b"picks.json", A)
    new = table.fresh(ROOT, b"picks.json", A)
    assert new != old
    table.hold(new, ROOT, b"picks.json")
    assert table.remember(ROOT, b"picks.json", A) == new
    assert not table.is_of(old, A)
    assert table.path(old) == "picks.json"
    newest = table.fresh(ROOT, b"picks.json", A)
    assert newest not in (old, new)
    table.hold(newest, ROOT, b"picks.json")
    for number, count in ((old, 1), (new, 2), (newest, 1)):
        table.forget(number, count)
    assert table.fresh(ROOT, b"picks.json", A) == old
    assert not table._numbers


def test_nothing_is_left_when_everything_is_forgotten() -> None:
    table = InodeTable()
    numbers = [table.remember(ROOT, b"%d" % index, A) for index in range(50)]
    for index, number in enumerate(numbers):
        table.rename(number, (ROOT, b"%d" % index), (ROOT, b"new %d" % index), A)
        table.add_name(number, ROOT, b"link %d" % index, A + b"%d" % index)
    for number in numbers:
        table.forget(number, 1)
    assert len(table) == 0
    assert not any(vars(table)[name] for name in ("_numbers", "_adopted", "_names"))
