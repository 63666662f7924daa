"""Entities in the database: what is stored is found, by criteria and by words, as a plain model says."""

from __future__ import annotations

import fnmatch
import json
import re
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from copickfs.entities import EntityRecord, EntityType, Identity, identify
from copickfs.index import Criteria, Database, EntityTable, Queries, in_memory, open_database
from copickfs.paths import split

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

RUNS = "ExperimentRuns"
PICKS = [
    f"{RUNS}/TS_001/Picks/alice_7_ribosome.json",
    f"{RUNS}/TS_001/Picks/bob_7_ribosome.json",
    f"{RUNS}/TS_002/Picks/alice_8_virus-like-particle.json",
    f"{RUNS}/TS_010/Picks/alicia_9_beta-galactosidase.json",
]
VOLUMES = [
    f"{RUNS}/TS_001/VoxelSpacing10.000/wbp.zarr",
    f"{RUNS}/TS_001/VoxelSpacing10.000/wbp-denoised.zarr",
    f"{RUNS}/TS_002/VoxelSpacing7.840/wbp.zarr",
    f"{RUNS}/TS_002/Segmentations/7.840_alice_8_membrane-multilabel.zarr",
    f"{RUNS}/TS_002/InstanceSegmentations/7.840_bob_1_ribosome.zarr",
    "Objects/ribosome.zarr",
]
SHELVED = {f"{RUNS}/{run}" for run in ("TS_001", "TS_002", "TS_010")}


def record(path: str, *layers: str, **known: Any) -> EntityRecord:
    identity = identify(path, is_dir=not path.endswith((".json", ".glb")))
    assert identity is not None, path
    return EntityRecord(identity, layers or ("lab",), **known)


def batch_of(records: Sequence[EntityRecord]) -> list[tuple[str, str, list[EntityRecord]]]:
    directories: dict[str, list[EntityRecord]] = {}
    for each in records:
        directories.setdefault(split(each.identity.path)[0], []).append(each)
    return [(directory, f"stamp of {len(inside)}", inside) for directory, inside in directories.items()]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(tmp_path / "index.db")
    yield opened
    opened.close()


@pytest.fixture
def table(database: Database) -> EntityTable:
    made = EntityTable(database, "a stack")
    records = [record(path) for path in PICKS + VOLUMES]
    records += [record(path, "mine", "lab") for path in sorted(SHELVED)]
    scan = made.begin()[0]
    made.replace(scan, batch_of(records))
    made.finish(scan)
    return made


def paths_of(answer: dict[str, list[EntityRecord]]) -> list[str]:
    return [each.identity.path for records in answer.values() for each in records]


def found(table: EntityTable, **criteria: Any) -> list[str]:
    return paths_of(Queries(table.database, table.key).find(Criteria(**criteria)))


def searched(table: EntityTable, text: str, **options: Any) -> list[str]:
    return paths_of(Queries(table.database, table.key).search(text, **options))


def test_what_is_stored_is_read_back(table: EntityTable) -> None:
    kept = record(
        f"{RUNS}/TS_001/VoxelSpacing10.000/wbp.zarr", "mine", "lab", size_bytes=7, mtime_ns=2**62,
        version="v", detail={"shape": [1, 2, 3], "voxel_size": 10.0},
    )  # fmt: skip
    directory = f"{RUNS}/TS_001/VoxelSpacing10.000"
    table.replace(0, [(directory, "a stamp", [kept])])
    assert table.known(directory) == ("a stamp", {"wbp.zarr": kept})
    assert table.known(f"{RUNS}/nothing") == ("", {})
    answer = Queries(table.database, table.key).find(Criteria(type=[EntityType.TOMOGRAM], name="wbp"))
    assert answer["tomograms"][0] == kept


def test_criteria(table: EntityTable) -> None:
    picks, volumes = [EntityType.PICKS], [EntityType.TOMOGRAM]
    assert found(table, type=picks) == sorted(PICKS)
    assert found(table, run="TS_002", type=picks) == [PICKS[2]]
    assert found(table, run="TS_00?", object="ribosome") == [VOLUMES[4], PICKS[0], PICKS[1]]
    assert found(table, object="ribosome") == [VOLUMES[5], VOLUMES[4], PICKS[0], PICKS[1]]
    assert found(table, user="ali*", type=picks) == [PICKS[0], PICKS[2], PICKS[3]]
    assert found(table, user="*", session="7") == PICKS[:2]
    assert found(table, user="[!a]*", type=picks) == [PICKS[1]]
    assert found(table, voxel_size=7.84, type=volumes) == [VOLUMES[2]]
    assert found(table, voxel_size="7.8*", type=volumes) == [VOLUMES[2]]
    assert found(table, voxel_size="10", type=volumes) == [VOLUMES[1], VOLUMES[0]]
    assert found(table, layer="mine") == sorted(SHELVED)
    assert found(table, layer="min") == []
    assert found(table, segmentation_type="multilabel") == [VOLUMES[3]]
    assert found(table, name="wbp*", run="TS_001") == [VOLUMES[1], VOLUMES[0]]
    assert found(table, user="'; DROP TABLE entity; --") == []
    assert found(table, user="") == found(table, user="", type=None) != []
    assert set(Queries(table.database, table.key).find(Criteria())) == {kind.plural for kind in EntityType}


def test_the_directories_in_which_a_layer_has_something(table: EntityTable) -> None:
    assert table.directories_with("mine") == [RUNS]
    assert sorted(table.directories_with("lab")) == table.directories()
    assert table.directories_with("min") == table.directories_with("mine/lab ") == []
    assert EntityTable(table.database, "another stack").directories_with("lab") == []


def test_words(table: EntityTable) -> None:
    assert searched(table, "ribosome") == [VOLUMES[5], VOLUMES[4], PICKS[0], PICKS[1]]
    assert searched(table, "RIBOSOME alice") == [PICKS[0]]
    assert searched(table, "TS_001 bob") == [PICKS[1]]
    assert searched(table, '"like particle"') == [PICKS[2]]
    assert searched(table, '"particle like"') == []
    assert searched(table, "particle virus") == [PICKS[2]]
    assert searched(table, "ali* galactosidase") == [PICKS[3]]
    assert searched(table, "ribo") == searched(table, "ribosome"), "words may be begun"
    assert searched(table, "ibosom") == searched(table, "ribosome"), "and stand anywhere"
    assert searched(table, "eta-gal") == [PICKS[3]]
    assert searched(table, "ribosome", types=[EntityType.PICKS]) == PICKS[:2]
    assert searched(table, "ribosome", limit=1) == [VOLUMES[5], VOLUMES[4], PICKS[0]]
    assert searched(table, "alice", types=[EntityType.PICKS])[0] == PICKS[0]
    assert searched(table, "") == searched(table, "  ") == searched(table, "nobody") == []
    assert searched(table, "wbp", types=[EntityType.TOMOGRAM])[0] == VOLUMES[0], "the whole name first"


@pytest.mark.parametrize(
    "text",
    ['"', '""', '"a', "*", "a*b", "NEAR(a b)", "a AND", "OR", "NOT ribosome", "name:ribosome", "-alice",
     "^alice", "(", ")", "{a}", "'", "a'b", "\0", "\\", "%", "_", "a\nb", "é", "\u202e", "\udc80", "🦠",
     "ribosome" * 500, "a " * 5_000, '"*"', '"" *', "[", "a+b", "'; DROP TABLE entity; --"],
)  # fmt: skip
def test_hostile_text_is_data(table: EntityTable, text: str) -> None:
    assert set(searched(table, text)) <= set(PICKS + VOLUMES) | SHELVED
    for column in ("run", "object", "user", "session", "name", "voxel_size", "layer", "segmentation_type"):
        assert set(found(table, **{column: text})) <= set(PICKS + VOLUMES) | SHELVED
    assert len(found(table)) == len(PICKS + VOLUMES) + len(SHELVED)


def test_names_that_are_not_utf8(table: EntityTable) -> None:
    odd = f"{RUNS}/TS_\udcff/Picks/al\udc80ce_1_x.json"
    run = f"{RUNS}/TS_\udcff"
    scan = table.begin()[0]
    table.replace(scan, batch_of([record(odd), record(run)]))
    assert found(table, run="TS_\udcff") == [run, odd]
    assert found(table, user="al\udc80ce") == [odd]
    assert run in found(table, run="TS_*")
    assert odd in searched(table, "x", types=[EntityType.PICKS])
    assert f"{RUNS}/TS_\udcff/Picks" in table.directories()
    table.remove_below(run)
    assert found(table, run="TS_\udcff") == [] or found(table, user="al\udc80ce") == []
    assert odd not in found(table)


def test_a_removed_directory_takes_all_below_it_along(table: EntityTable) -> None:
    table.remove_below(f"{RUNS}/TS_00")
    assert len(found(table, run="TS_001")) == 5
    table.remove_below(f"{RUNS}/TS_001")
    assert found(table, run="TS_001") == [f"{RUNS}/TS_001"], "the run itself is in the directory above"
    assert PICKS[0] not in searched(table, "ribosome")
    table.remove_below(RUNS)
    assert found(table) == ["Objects/ribosome.zarr"]
    assert table.database.problems() == []


def test_runs_are_numbered_and_interrupted_ones_go_on(table: EntityTable) -> None:
    first = table.begin()[0]
    table.touch(first, [f"{RUNS}/TS_001/Picks"])
    assert table.begin()[0] == first, "it was not finished"
    assert table.done(first) == {f"{RUNS}/TS_001/Picks"}
    full = table.begin(full=True)[0]
    assert full > first
    assert table.begin() == (full, True), "what was to read all again goes on so"
    assert table.done(full) == set()
    assert table.state().is_scanning
    table.replace(full, batch_of([record(PICKS[2])]))
    table.finish(full)
    assert found(table) == [PICKS[2]], "what a whole run has not seen is gone"
    state = table.state()
    assert (state.entities, state.directories, state.is_scanning) == (1, 1, False)
    assert table.begin() == (full + 1, False)
    assert state.scanned_ns > 0


def test_stacks_do_not_see_each_other(table: EntityTable, database: Database) -> None:
    other = EntityTable(database, "another stack")
    other.replace(other.begin()[0], batch_of([record(f"{RUNS}/TS_001/Picks/eve_1_ribosome.json")]))
    assert found(other) == [f"{RUNS}/TS_001/Picks/eve_1_ribosome.json"] == searched(other, "ribosome")
    assert searched(table, "eve") == []
    other.remove_below(RUNS)
    assert len(found(table)) == len(PICKS + VOLUMES) + len(SHELVED)
    assert found(EntityTable(database, "nobody's")) == []


def test_a_change_that_fails_leaves_everything_as_it_was(table: EntityTable) -> None:
    before = found(table), searched(table, "ribosome")
    broken = EntityRecord(record(PICKS[0]).identity, ("lab",), detail={"x": object()})
    new = record(f"{RUNS}/TS_001/Picks/new_1_name.json")
    with pytest.raises(TypeError):
        table.replace(0, batch_of([new, broken]))
    assert (found(table), searched(table, "ribosome")) == before
    table.replace(0, [(f"{RUNS}/TS_001/Picks", "", [new])])
    assert found(table, user="new") == [new.identity.path] == searched(table, "name")


# --- against a model ------------------------------------------------------------------------------

WORDS = ["ribo", "ribosome", "some", "virus-like", "a", "ab", "TS", "TS-1", "tomo", "é", "Ä-b"]
names = st.sampled_from(WORDS)
picks = st.builds(
    lambda run, user, session, shown: f"{RUNS}/{run}/Picks/{user}_{session}_{shown}.json",
    names, names, names, names,
)  # fmt: skip
tomograms = st.builds(
    lambda run, size, name: f"{RUNS}/{run}/VoxelSpacing{size:.3f}/{name}.zarr",
    names, st.sampled_from([10.0, 7.84]), names,
)  # fmt: skip
patterns = st.one_of(names, st.sampled_from(["*", "a*", "*o*", "[a-r]*", "??", "[!r]*", "nothing"]))
texts = st.lists(
    st.one_of(names, names.map(lambda name: f"{name[:2]}*"), names.map(lambda name: f'"{name}"'),
              names.map(lambda name: name[1:] or name)),
    min_size=1, max_size=3,
).map(" ".join)  # fmt: skip
COLUMNS = ("run", "object", "user", "session", "name")


def matches(identity: Identity, criteria: dict[str, str]) -> bool:
    def fits(value: str, pattern: str) -> bool:
        if set("*?[") & set(pattern):
            return value != "" and fnmatch.fnmatchcase(value, pattern)
        return value == pattern

    return all(fits(getattr(identity, column), pattern) for column, pattern in criteria.items())


def tokens(text: str) -> list[str]:
    plain = str.maketrans("éÄä", "eaa")
    return re.findall(r"[^\W_]+", text.translate(plain).lower())


def has_words(identity: Identity, text: str, *, loose: bool) -> bool:
    for phrase, star, word in re.findall(r'"([^"]*)"(\*?)|(\S+)', text):
        wanted = tokens(phrase or word)
        is_prefix = bool(star) or word.endswith("*") or (loose and not phrase)
        fields = [tokens(getattr(identity, column)) for column in COLUMNS]
        starts = [field[at : at + len(wanted)] for field in fields for at in range(len(field))]
        if is_prefix:
            hit = any(
                start[:-1] == wanted[:-1] and len(start) == len(wanted) and start[-1].startswith(wanted[-1])
                for start in starts
            )
        else:
            hit = wanted in starts
        if not hit:
            return False
    return True


def expected_search(identities: list[Identity], text: str) -> set[str] | None:
    """What must be found; None if it takes the search for parts of words, which finds no less."""
    for loose in (False, True):
        hits = {each.path for each in identities if has_words(each, text, loose=loose)}
        if hits:
            return hits
    return None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rounds=st.lists(st.lists(st.one_of(picks, tomograms), max_size=12, unique=True), min_size=1, max_size=4),
    criteria=st.dictionaries(st.sampled_from(COLUMNS), patterns, max_size=3),
    text=texts,
)
def test_answers_are_those_of_a_plain_model(
    rounds: list[list[str]], criteria: dict[str, str], text: str
) -> None:
    database = in_memory()
    table = EntityTable(database, "k")
    model: dict[str, dict[str, EntityRecord]] = {}
    for number, chosen in enumerate(rounds):
        batch = batch_of([record(path, "lab", version=str(number)) for path in chosen])
        table.replace(table.begin()[0], batch)
        model.update({directory: {r.identity.path: r for r in inside} for directory, _, inside in batch})
    identities = [each.identity for inside in model.values() for each in inside.values()]
    hits = {each.path for each in identities if matches(each, criteria)}
    answer = found(table, **criteria)
    assert set(answer) == hits
    assert len(answer) == len(hits)
    wanted = expected_search(identities, text)
    answer = searched(table, text)
    assert len(set(answer)) == len(answer)
    if wanted is None:
        part = text.replace('"', "").replace("*", "").split()
        assert all(any(p.lower() in path.lower() for p in part) for path in answer)
    else:
        assert set(answer) == wanted
    with database.reading() as connection:
        count = connection.execute("SELECT count(*) FROM entity").fetchone()[0]
        assert count == len(identities)
    check_words(database)
    database.close()


def check_words(database: Database) -> None:
    """The table of words has just what is in the entities: no word of one that is gone."""
    with database.writing() as connection:
        rows = connection.execute("SELECT id FROM entity").fetchall()
        words = connection.execute("SELECT count(*) FROM entity_words").fetchone()
        assert words == (len(rows),)
        connection.execute("INSERT INTO entity_words (entity_words) VALUES ('integrity-check')")


def test_the_document_of_a_record_is_json() -> None:
    document = record(PICKS[0], "mine", "lab", size_bytes=3, detail={"points": 2}).document()
    assert json.loads(json.dumps(document)) == {
        "type": "picks", "path": PICKS[0], "run": "TS_001", "user": "alice", "session": "7",
        "object": "ribosome", "layer": "mine", "layers": ["mine", "lab"], "size_bytes": 3, "mtime_ns": 0,
        "metadata": {"points": 2},
    }  # fmt: skip
    assert sqlite3.sqlite_version_info >= (3, 38), "RETURNING and the trigram tokenizer"


def test_a_slower_run_does_not_undo_what_a_later_one_has_seen(table: EntityTable) -> None:
    """Else the later run takes it for gone when it ends."""
    directories = sorted({each.rpartition("/")[0] for each in PICKS + VOLUMES})
    slow, full = table.begin()[0], table.begin(full=True)[0]
    assert full > slow
    before = found(table)
    table.touch(full, directories)
    table.touch(full, [each.rpartition("/")[0] for each in sorted(SHELVED)])
    table.touch(slow, directories)
    table.finish(full)
    assert found(table) == before


def test_a_layer_is_asked_for_by_its_whole_name(table: EntityTable) -> None:
    shelved = sorted(SHELVED)
    assert sorted(found(table, layer="mi*")) == shelved
    assert found(table, layer="m*b") == []
    assert found(table, layer="mine/lab") == []
    assert len(found(table, layer="l?b")) == len(found(table))


def test_a_pattern_for_a_layer_beside_names_that_are_not_utf8(table: EntityTable) -> None:
    odd = record(f"{RUNS}/TS_\udce9/Picks/u_1_o.json", "lab")
    table.replace(table.begin()[0], batch_of([odd]))
    assert odd.identity.path in found(table, layer="*")
    assert odd.identity.path in found(table, layer="l*")


def test_names_of_another_stack_take_no_place_in_a_search(database: Database) -> None:
    own, others = EntityTable(database, "own"), EntityTable(database, "others")
    path = f"{RUNS}/a_long_name_with_xribosome_inside/Picks/u_1_o.json"
    own.replace(own.begin()[0], batch_of([record(path)]))
    many = [record(f"{RUNS}/xribosome{number:03}/Picks/u_1_o.json") for number in range(300)]
    others.replace(others.begin()[0], batch_of(many))
    assert searched(own, "bosome") == [path]
    assert searched(own, "bosome u") == [path]
