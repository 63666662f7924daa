from __future__ import annotations

import random
import sys

import pytest

from copickfs.ops import inodes
from copickfs.ops.inodes import ROOT, InodeTable


def test_the_number_of_a_path_is_the_same_in_every_table() -> None:
    first, second = InodeTable(), InodeTable()
    directory = first.remember(ROOT, b"ExperimentRuns")
    second.remember(ROOT, b"Objects")
    assert second.remember(ROOT, b"ExperimentRuns") == directory
    assert second.number_of(directory, b"TS_001") == first.number_of(directory, b"TS_001")


def test_path_and_parent_follow_the_names() -> None:
    table = InodeTable()
    runs = table.remember(ROOT, b"ExperimentRuns")
    run = table.remember(runs, "Ünïcode [1]".encode())
    raw = table.remember(run, b"\xff\xfe")
    assert table.path(ROOT) == ""
    assert table.path(run) == "ExperimentRuns/Ünïcode [1]"
    assert table.path(raw).encode(errors="surrogateescape").endswith(b"/\xff\xfe")
    assert (table.parent(ROOT), table.parent(runs), table.parent(raw)) == (ROOT, ROOT, run)
    assert table.find("ExperimentRuns/Ünïcode [1]") == run
    assert table.find("ExperimentRuns/other") is None


def test_an_inode_lives_until_its_last_reference_is_forgotten() -> None:
    table = InodeTable()
    number = table.remember(ROOT, b"a")
    assert table.remember(ROOT, b"a") == number
    assert not table.forget(number, 1)
    assert table.path(number) == "a"
    assert table.forget(number, 1)
    assert not table.forget(number, 1)
    with pytest.raises(KeyError):
        table.path(number)
    assert len(table) == 0


def test_names_with_one_hash_get_different_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    real = inodes.xxhash.xxh3_64_intdigest
    monkeypatch.setattr(
        inodes.xxhash, "xxh3_64_intdigest", lambda name, seed: 77 if seed == ROOT else real(name, seed)
    )
    table = InodeTable()
    first = table.remember(ROOT, b"a")
    second = table.remember(ROOT, b"b")
    assert first == 77
    assert second != 77
    assert table.remember(ROOT, b"b") == second
    assert (table.path(first), table.path(second)) == ("a", "b")


def test_the_root_and_no_inode_are_never_given_to_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    real = inodes.xxhash.xxh3_64_intdigest
    monkeypatch.setattr(
        inodes.xxhash, "xxh3_64_intdigest", lambda name, seed: 0 if seed == ROOT else real(name, seed)
    )
    table = InodeTable()
    assert table.remember(ROOT, b"a") > ROOT


def test_counts_against_a_plain_model() -> None:
    table, model = InodeTable(), {}
    chance = random.Random(7)
    for _ in range(20_000):
        name = b"n%d" % chance.randrange(50)
        number = table.number_of(ROOT, name)
        if chance.random() < 0.6:
            table.remember(ROOT, name)
            model[number] = model.get(number, 0) + 1
        elif number in model:
            count = chance.randint(1, model[number])
            assert table.forget(number, count) == (count == model[number])
            model[number] -= count
            model = {key: value for key, value in model.items() if value}
    assert sorted(table.numbers()) == sorted([ROOT, *model])


def test_an_inode_costs_less_than_200_bytes() -> None:
    table = InodeTable()
    names = [b"user_session_%07d.json" % index for index in range(100_000)]
    for name in names:
        table.remember(ROOT, name)
    nodes = table._nodes
    held = sys.getsizeof(nodes) + sum(sys.getsizeof(key) + sys.getsizeof(node) for key, node in nodes.items())
    assert held / len(names) < 200


def test_a_file_that_takes_the_place_of_another_is_another_inode() -> None:
    table = InodeTable()
    old = table.remember(ROOT, b"a", b"1")
    new = table.remember(ROOT, b"a", b"2")
    assert len({old, new, table.number_of(ROOT, b"a")}) == 3
    assert (table.path(old), table.path(new)) == ("a", "a")
    assert table.is_of(old, b"1")
    assert not table.is_of(old, b"2")
    assert table.is_of(ROOT, b"anything")
