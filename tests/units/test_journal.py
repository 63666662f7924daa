"""The journal on disk: what was stored is there again, what is damaged is set aside."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING

import pytest

from copickfs.layers.conflicts import conflict_path
from copickfs.layers.identity import journal_name
from copickfs.layers.journal import Journal
from copickfs.layers.journalrecord import MKDIR, PUT, RENAME, UNLINK, Damaged, Record, digest_of_file
from copickfs.layers.overlay import Overlay, Shown
from copickfs.layers.sources.writing import Version

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ODD = "dir/latin-\udce9 and\nnew line"


@contextlib.contextmanager
def opened(directory: Path) -> Iterator[tuple[Journal, list[Record]]]:
    with contextlib.closing(Journal("lab", directory)) as journal:
        yield journal, journal.open()


def put(journal: Journal, path: str, data: bytes) -> Record:
    spool = journal.spool_file()
    with open(spool, "xb") as file:
        file.write(data)
    record = Record(0, PUT, path, size_bytes=len(data), digest=digest_of_file(spool))
    return journal.append(record, spool)


def files(directory: Path) -> set[str]:
    return {path.name for path in directory.rglob("*") if path.is_file() and path.name != "lock"}


def test_what_was_stored_is_there_again_in_order(tmp_path: Path) -> None:
    version = Version(5, 7, "etag")
    with opened(tmp_path) as (journal, before):
        assert before == []
        stored = [
            put(journal, ODD, b"data"),
            journal.append(Record(0, MKDIR, "dir")),
            journal.append(Record(0, RENAME, "a", "b", accepted=(version,), attempted=((3, "abc"),))),
            journal.append(Record(0, UNLINK, "b", accepted=(version,))),
        ]
    numbers = [record.number for record in stored]
    assert numbers == sorted(set(numbers))
    with opened(tmp_path) as (journal, again):
        assert again == stored
        with open(journal.data_file(stored[0].number), "rb") as file:
            assert file.read() == b"data"
        for record in again:
            journal.remove(record)
    assert files(tmp_path) == set()
    with opened(tmp_path) as (journal, again):
        assert again == []
        assert journal.append(Record(0, MKDIR, "c")).number > max(numbers)


def test_nobody_else_can_look_into_it(tmp_path: Path) -> None:
    with opened(tmp_path / "lab") as (journal, _):
        put(journal, "x", b"data")
    for path in [tmp_path / "lab", *(tmp_path / "lab").rglob("*")]:
        if path.is_dir() or path.suffix == ".json":
            assert not path.stat().st_mode & 0o077, path


def test_what_was_not_finished_is_removed(tmp_path: Path) -> None:
    with opened(tmp_path) as (journal, _):
        kept = put(journal, "x", b"data")
        place = tmp_path / "0"
        (place / "spool" / "open").write_bytes(b"half")
        (place / "entries" / "17.data").write_bytes(b"without a record")
        (place / "entries" / "18.json.tmp").write_bytes(b"{")
    with opened(tmp_path) as (_, again):
        assert again == [kept]
    assert files(tmp_path) == {f"{kept.number}.json", f"{kept.number}.data"}


@pytest.mark.parametrize("part", ["json", "data"])
@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "gone", "other"])
def test_a_damaged_entry_is_set_aside_and_holds_up_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, part: str, damage: str
) -> None:
    with opened(tmp_path) as (journal, _):
        bad, good = put(journal, "x", b"data" * 50), put(journal, "y", b"good")
    target = tmp_path / "0" / "entries" / f"{bad.number}.{part}"
    data = target.read_bytes()
    if damage == "gone":
        target.unlink()
    elif damage == "other":
        target.write_bytes((tmp_path / "0" / "entries" / f"{good.number}.{part}").read_bytes())
    else:
        flipped = data[:20] + bytes([data[20] ^ 1]) + data[21:]
        target.write_bytes({"cut": data[:-5], "empty": b"", "flipped": flipped}[damage])
    with opened(tmp_path) as (journal, again):
        assert again == [good]
        names = files(tmp_path)
        warned = [record for record in caplog.records if record.levelname == "WARNING"]
        if (part, damage) == ("json", "gone"):
            assert not warned  # data that was never acknowledged
        else:
            assert len(warned) == 1
            assert str(bad.number) in warned[0].getMessage()
            assert any(name.startswith(str(bad.number)) and name.endswith(".damaged") for name in names)
        assert not {f"{bad.number}.json", f"{bad.number}.data"} & names
    caplog.clear()
    with opened(tmp_path) as (_, again):
        assert again == [good]
    assert not caplog.records


@pytest.mark.parametrize(
    "document", [b"[]", b"{}", b"null", b'{"format": 1, "digest": "", "record": 3}', b"\xff", b"[" * 10_000]
)
def test_a_strange_document_is_damaged(document: bytes) -> None:
    with pytest.raises(Damaged):
        Record.decoded(document)


def test_a_record_of_another_time_is_damaged() -> None:
    outer = json.loads(Record(1, MKDIR, "x").encoded())
    outer["format"] = 99
    with pytest.raises(Damaged):
        Record.decoded(json.dumps(outer).encode())


def test_two_daemons_have_places_of_their_own_and_the_dead_are_inherited(tmp_path: Path) -> None:
    with opened(tmp_path) as (first, _), opened(tmp_path) as (second, nothing):
        assert nothing == []
        put(first, "a", b"first")
        theirs = [put(second, "b", b"second"), second.append(Record(0, RENAME, "b", "c"))]
        second.note_upload("token", "dir/.copickfs-upload-token")
        second.close()
        with opened(tmp_path) as (third, inherited):
            assert inherited == theirs  # it has the very place of the second
            third.close()
        with opened(tmp_path) as (fourth, _):
            put(fourth, "d", b"fourth")
    with opened(tmp_path) as (journal, all_of_it):
        assert [record.path for record in all_of_it] == ["a", "b", "b", "d"]
        assert journal.uploads() == {"token": ["dir/.copickfs-upload-token"]}
        journal.note_move("dir", "renamed")
        assert journal.uploads()["token"][1:] == ["renamed/.copickfs-upload-token"]
        for record in all_of_it:
            if record.operation == PUT:
                assert digest_of_file(journal.data_file(record.number)) == record.digest
            journal.remove(record)
        journal.forget_upload("token")
    assert files(tmp_path) == set()


def test_the_name_of_a_journal_tells_places_apart_and_no_secret() -> None:
    plain = journal_name("s3://bucket/a", {"endpoint_url": "http://one"})
    assert plain == journal_name("s3://bucket/a/", {"endpoint_url": "http://one", "secret": "s", "key": "k"})
    assert plain == journal_name("s3://bucket/a", {"client_kwargs": {"endpoint_url": "http://one"}})
    others = [
        journal_name("s3://bucket/b", {"endpoint_url": "http://one"}),
        journal_name("s3://bucket/a", {"endpoint_url": "http://two"}),
        journal_name("s3://bucket/a", {}),
    ]
    assert len({plain, *others}) == 4
    assert journal_name("ssh://u:secret@h/x", {}) == journal_name("ssh://u:other@h/x", {})


def test_the_tree_of_what_waits() -> None:
    overlay = Overlay()
    records = [
        Record(1, PUT, "a/x", size_bytes=1),
        Record(2, RENAME, "a", "b"),
        Record(3, MKDIR, "a"),
        Record(4, UNLINK, "b/y"),
        Record(5, PUT, "b/z/w"),
    ]
    for record in records:
        overlay.add(record)
    assert overlay.place("b/x") == (Shown.FILE, "", records[0], False)
    assert overlay.place("b/x/deep") == (Shown.GONE, "", None, True)
    assert overlay.place("b/old") == (Shown.SOURCE, "a/old", None, False)
    assert overlay.place("b/y").shown is Shown.GONE
    assert overlay.place("a").shown is Shown.DIRECTORY
    assert overlay.place("a/x").shown is Shown.GONE
    assert set(overlay.children("b")) == {"x", "y", "z"}
    for done, record in enumerate(records, 1):
        overlay.drop(record, records[done:])
    assert overlay.place("b/x") == (Shown.SOURCE, "b/x", None, False)
    assert overlay.children("") == {}


@pytest.mark.parametrize(
    ("path", "start", "end"),
    [
        ("ExperimentRuns/r/Picks/me_1_a-b.json", "ExperimentRuns/r/Picks/me_1-conflict-", "_a-b.json"),
        ("ExperimentRuns/r/Meshes/me_1_a_b.glb", "ExperimentRuns/r/Meshes/me_1-conflict-", "_a_b.glb"),
        ("ExperimentRuns/r/Picks/odd.json", "ExperimentRuns/r/Picks/odd.json.conflict-", ""),
        ("r/t.zarr/0/1/2", "r/t.zarr/0/1/.2.conflict-", ""),
        ("notes.txt", "notes.txt.conflict-", ""),
        ("n" * 255, "n" * 100, ""),
    ],
)
def test_names_of_conflicts_are_such_that_copick_can_read_them(path: str, start: str, end: str) -> None:
    name = conflict_path(path, 1_700_000_000_123_456_789)
    assert name.startswith(start)
    assert name.endswith(end)
    assert len(os.path.basename(name).encode()) <= 255
    assert name != conflict_path(path, 1_700_000_000_123_456_789, 1) != conflict_path(path, 5)
    if path.endswith("_a-b.json"):
        user, session, entity = os.path.basename(name).removesuffix(".json").split("_")
        assert (user, entity) == ("me", "a-b")
        assert session.startswith("1-conflict-")
        assert " " not in session
