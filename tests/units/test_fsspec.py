"""``copickfs://``: names, contents, writing, errors, as fsspec's users expect them."""

from __future__ import annotations

import contextlib
import errno
import gzip
import json
import os
import resource
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import fsspec
import pytest

from copickfs.errors import ConfigError
from copickfs.filesystem import CopickFileSystem
from copickfs.stack import close_shared
from copickfs.view import View
from tests.filesystems import LOWER, PICKS, configuration, leftovers
from tests.model import hash_tree
from tests.overlays import fill
from tests.telling import TellingLayer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("isolated")

URL = f"copickfs://{PICKS}"
DAY = "/ExperimentRuns/TS_1/notes/day.txt"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Path]:
    root = fill(tmp_path / "lab", LOWER)
    before = hash_tree(root)
    yield root
    assert hash_tree(root) == before


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return fill(tmp_path / "mine", {})


@pytest.fixture
def config(tmp_path: Path, lab: Path, mine: Path) -> Path:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(configuration(mine, lab)))
    return file


@pytest.fixture
def fs(config: Path, mine: Path) -> Iterator[CopickFileSystem]:
    made = CopickFileSystem(config)
    yield made
    close_shared()
    assert not leftovers(mine)
    assert not [t.name for t in threading.enumerate() if t.name.startswith(("copickfs", "watch-"))]


def test_a_configuration_is_given_in_every_way(
    fs: CopickFileSystem, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    relative = {"config": config.name, "base_directory": config.parent}
    for options in ({"config": config}, {"config": str(config)}, {"config": config.as_uri()}, relative):
        with fsspec.open(URL, **options) as file:
            assert file.read() == LOWER[PICKS]
    text = config.read_text()
    for given in (text, json.loads(text), fs.stack.config):
        opened, path = fsspec.url_to_fs(URL, config=given)
        assert opened.cat_file(path) == LOWER[PICKS]
    monkeypatch.chdir(config.parent)
    for chained in (config, f"file://{config}", "config.json"):
        opened, path = fsspec.url_to_fs(f"{URL}::{chained}")
        assert (opened, path) == (fs, f"/{PICKS}")
    monkeypatch.setitem(fsspec.config.conf, "copickfs", {})  # so that it is as it was afterwards
    fsspec.config.set_conf_env(fsspec.config.conf, {"FSSPEC_COPICKFS_CONFIG": str(config)})
    assert fsspec.open(URL).open().read() == LOWER[PICKS]
    with fsspec.open(f"simplecache::{URL}", copickfs={"config": config}) as file:
        assert file.read() == LOWER[PICKS]
    with fsspec.open(f"{URL}::{config}", config={"config_type": "none"}) as file:  # the URL is nearer
        assert file.read() == LOWER[PICKS]


def test_a_mistake_gets_one_line(tmp_path: Path) -> None:
    for options, message in (
        ({}, "needs a configuration.*FSSPEC_COPICKFS_CONFIG"),
        ({"config": tmp_path / "none.json"}, "none.json: no such file"),
        ({"config": "https://user:pw@host/c.json"}, r"https://\*\*\*@host/c.json: .*download it first"),
        ({"fo": "b/c.json", "target_protocol": "s3"}, "s3://b/c.json: .*download it first"),
        ({"config": "{"}, "not valid JSON"),
        ({"config": 3}, "a path, JSON text or a dictionary"),
    ):
        with pytest.raises(ConfigError, match=message):
            CopickFileSystem(**options)
    with pytest.raises(TypeError, match="no storage option 'readonly'"):
        CopickFileSystem(tmp_path, readonly=True)


def test_names_are_those_of_the_merged_tree(fs: CopickFileSystem, mine: Path) -> None:
    fill(mine, {"ExperimentRuns/TS_1/Picks/bob_1_ribosome.json": b"{}", "ExperimentRuns/TS_2": None})
    picks = "/ExperimentRuns/TS_1/Picks"
    both = [f"{picks}/alice_1_ribosome.json", f"{picks}/bob_1_ribosome.json"]
    assert fs.ls("copickfs://ExperimentRuns/", detail=False) == [
        "/ExperimentRuns/TS_1",
        "/ExperimentRuns/TS_2",
    ]
    assert fs.ls("", detail=False) == fs.ls("/", detail=False) == ["/ExperimentRuns", "/table.csv"]
    assert fs.ls(picks, detail=False) == fs.glob("ExperimentRuns/*/Picks/*.json") == fs.find(picks) == both
    assert [fs.info(path) for path in both] == fs.ls(picks)
    assert fs.ls(both[0]) == [fs.info(both[0])]
    assert [(fs.info(path)["layer"], fs.info(path)["type"]) for path in both] == [
        ("lab", "file"),
        ("mine", "file"),
    ]
    walked = {path: (sorted(dirs), sorted(files)) for path, dirs, files in fs.walk("ExperimentRuns/TS_1")}
    assert walked[picks] == ([], [path.rpartition("/")[2] for path in both])
    assert walked["/ExperimentRuns/TS_1"] == (["Picks", "VoxelSpacing10.000", "empty", "notes"], [])
    assert (fs.isdir(picks), fs.isfile(picks), fs.isfile(both[1]), fs.exists(f"{both[1]}/x")) == (
        True,
        False,
        True,
        False,
    )
    assert not fs.exists("ExperimentRuns/../x")
    assert fs.find("nowhere") == fs.glob("nowhere/*") == []
    assert fs.du(picks) == len(LOWER[PICKS] or b"") + 2
    assert fs.unstrip_protocol(both[0]) == f"copickfs://{both[0]}"


def test_contents_come_in_every_way(fs: CopickFileSystem) -> None:
    data = b"0123456789"
    bounds = (None, 0, 3, 10, 12, -3, -12)
    ranges = [(start, end) for start in bounds for end in bounds]
    wanted = [data[start:end] for start, end in ranges]
    assert [fs.cat_file(DAY, *bound) for bound in ranges] == wanted
    assert fs.cat_ranges([DAY] * len(ranges), *map(list, zip(*ranges, strict=True))) == wanted
    assert fs.cat_ranges([DAY, "table.csv"], 0, 3) == [b"012", b"run"]
    missing = fs.cat_ranges([DAY, "none"], 0, 3)[1]
    assert isinstance(missing, FileNotFoundError)
    assert fs.cat("/ExperimentRuns/TS_1/notes", recursive=True) == {DAY: data}
    assert fs.cat([DAY, "/table.csv"]) == {DAY: data, "/table.csv": LOWER["table.csv"]}
    assert list(fs.cat([DAY, "/none"], on_error="omit")) == [DAY]
    assert fs.cat("/ExperimentRuns/TS_1/empty", recursive=True) == {}
    assert (fs.head(DAY, 3), fs.tail(DAY, 3), fs.read_block(DAY, 2, 4), fs.read_text(DAY)) == (
        b"012", b"789", b"2345", "0123456789",
    )  # fmt: skip
    with fs.open(DAY, block_size=4) as file:
        assert (file.read(3), file.tell(), file.size, file.seek(-2, 2), file.read()) == (
            b"012",
            3,
            10,
            8,
            b"89",
        )
        assert (file.mode, file.full_name) == ("rb", f"copickfs://{DAY}")
        with pytest.raises(ValueError, match="negative"):
            file.seek(-20, 1)


def test_files_are_written_in_every_mode(fs: CopickFileSystem, mine: Path) -> None:
    with fs.open(DAY, "ab") as file:
        file.write(b"ab")
    assert fs.cat_file(DAY) == b"0123456789ab"
    with fs.open(DAY, "r+b") as file:
        file.seek(2)
        assert file.read(2) == b"23"
        file.write(b"XX")
        file.seek(0)
        assert file.read(7) == b"0123XX6"
        assert fs.cat_file(DAY) == b"0123456789ab"
    assert fs.cat_file(DAY) == b"0123XX6789ab"
    with fs.open(DAY, "r+b") as file:
        file.truncate(4)
    assert fs.cat_file(DAY) == b"0123"
    with fs.open("new/deep/x", "xb") as file:
        file.write(memoryview(b"x" * 3_000_000))
        file.write(b"end")
        assert (file.tell(), file.size) == (3_000_003, 3_000_000)
    assert fs.size("new/deep/x") == 3_000_003
    with pytest.raises(FileExistsError):
        fs.open("new/deep/x", "xb")
    with fs.open(PICKS, "w", encoding="utf-8") as text:
        text.write("ä\n")
    assert (mine / PICKS).read_bytes() == fs.cat_file(PICKS) == "ä\n".encode()
    for compression in ("gzip", "bz2", "xz"):
        with fs.open("c", "wb", compression=compression) as file:
            file.write(b"compressed")
        with fs.open("c", "rt", compression=compression) as text:
            assert text.read() == "compressed"
    with fs.open("c.gz", "w", compression="infer") as text:
        text.write("text")
    assert gzip.decompress(fs.cat_file("c.gz")) == b"text"
    with pytest.raises(ValueError, match="not a mode"):
        fs.open("c", "qb")
    (mine / "shared").write_bytes(b"")
    fs.pipe_file("mode", b"")
    assert fs.info("mode")["mode"] == fs.info("shared")["mode"]


def test_a_file_is_seen_when_it_is_closed(fs: CopickFileSystem) -> None:
    for path in (DAY, PICKS, "new"):
        before = fs.cat_file(path) if fs.exists(path) else None
        with fs.open(path, "wb") as file:
            file.write(b"x" * (3 << 20))
            assert (fs.cat_file(path) if fs.exists(path) else None) == before
        assert fs.size(path) == 3 << 20


def test_a_file_with_several_names_is_published_whole_under_one(fs: CopickFileSystem, mine: Path) -> None:
    fill(mine, {"one": b"linked"})
    os.link(mine / "one", mine / "two")
    with pytest.raises(RuntimeError), fs.open("one", "wb") as file:  # noqa: PT012
        file.write(b"half")
        raise RuntimeError
    assert fs.cat(["one", "two"]) == {"/one": b"linked", "/two": b"linked"}
    with fs.open("one", "ab") as file:
        file.write(b", and more")
    assert fs.cat(["one", "two"]) == {"/one": b"linked, and more", "/two": b"linked"}


OPENERS: dict[str, Callable[[CopickFileSystem, str, str], Any]] = {
    "binary": lambda fs, path, _config: fs.open(path, "wb"),
    "update": lambda fs, path, _config: fs.open(path, "a+b"),
    "text": lambda fs, path, _config: fs.open(path, "w"),
    "compressed": lambda fs, path, _config: fs.open(path, "wb", compression="gzip"),
    "fsspec": lambda _fs, path, config: fsspec.open(f"copickfs://{path}", "wb", config=config),
    "fsspec text": lambda _fs, path, config: fsspec.open(f"copickfs://{path}", "w", config=config),
    "fsspec compressed": lambda _fs, path, config: fsspec.open(
        f"copickfs://{path}", "wt", compression="gzip", config=config
    ),
    "closing": lambda fs, path, _config: contextlib.closing(fs.open(path, "w")),
}


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("path", [DAY, "new"])
def test_a_failed_block_publishes_nothing(fs: CopickFileSystem, config: Path, opener: str, path: str) -> None:
    before = fs.cat_file(path) if fs.exists(path) else None
    with pytest.raises(RuntimeError, match="failed"), OPENERS[opener](fs, path, str(config)) as file:  # noqa: PT012
        file.write(
            "half" if "text" in opener or "clo" in opener or opener == "fsspec compressed" else b"half"
        )
        raise RuntimeError("failed")
    assert (fs.cat_file(path) if fs.exists(path) else None) == before


def test_a_version_that_lacks_a_part_is_not_published(fs: CopickFileSystem) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    file = fs.open(DAY, "wb")
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, limits[1]))
    try:
        with pytest.raises(OSError, match="too large") as raised:
            file.write(b"x" * (8 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (raised.value.errno, raised.value.filename) == (errno.EFBIG, DAY)
    file.close()
    assert fs.cat_file(DAY) == b"0123456789"


def test_a_length_that_no_listing_has_is_asked_for(fs: CopickFileSystem) -> None:
    layer = TellingLayer("portal", files={"run/a.json": b"[1]", "run/b.sized": b"22"})
    fs.stack._view = View([layer])
    assert [(info["size"], info["type"]) for info in fs.ls("run")] == [(None, "file"), (2, "file")]
    assert fs.glob("run/*.json") == ["/run/a.json"]
    assert not any(asked.startswith("stat run/a") for asked in layer.asked)
    assert (fs.size("run/a.json"), fs.du("run"), fs.cat("run", recursive=True)) == (
        3, 5, {"/run/a.json": b"[1]", "/run/b.sized": b"22"},
    )  # fmt: skip


def test_kinds_of_files_are_told(fs: CopickFileSystem, mine: Path) -> None:
    (mine / "nowhere").symlink_to("none")
    (mine / "followed").symlink_to(mine / "directory")
    os.mkfifo(mine / "pipe")
    fill(mine, {"directory/x": b"x"})
    kinds = {info["name"]: info["type"] for info in fs.ls("/")}
    assert kinds == {
        "/ExperimentRuns": "directory", "/directory": "directory", "/followed": "directory",
        "/nowhere": "link", "/pipe": "other", "/table.csv": "file",
    }  # fmt: skip
    assert (fs.isfile("nowhere"), fs.exists("nowhere"), fs.isfile("pipe")) == (False, True, False)
    assert fs.cat_file("followed/x") == b"x"
    fs.rm(["nowhere", "pipe"])
    assert not fs.exists("nowhere")


def test_a_file_that_is_written_because_of_an_error_is_published(fs: CopickFileSystem, config: Path) -> None:
    class Report:
        def __enter__(self) -> None: ...

        def __exit__(self, *_error: object) -> None:
            with fsspec.open("copickfs://crash.txt", "w", config=config) as file:
                file.write("crashed")

    opened = fs.open("late.txt", "wb")
    with pytest.raises(FileNotFoundError), Report():  # noqa: PT012
        try:
            fs.cat_file("none")
        except FileNotFoundError:
            opened.write(b"late")
            opened.close()
            raise
    assert (fs.cat_file("crash.txt"), fs.cat_file("late.txt")) == (b"crashed", b"late")


def test_transactions_publish_all_or_nothing(fs: CopickFileSystem) -> None:
    with fs.transaction:
        fs.pipe({"a": b"1", DAY: b"2"})
        fs.write_text("c", "3")
        assert not fs.exists("a")
        assert fs.cat_file(DAY) == b"0123456789"
    assert [fs.cat_file(path) for path in ("a", DAY, "c")] == [b"1", b"2", b"3"]
    with pytest.raises(RuntimeError), fs.transaction:  # noqa: PT012
        fs.pipe_file("d", b"4")
        raise RuntimeError
    with pytest.raises(FileExistsError), fs.transaction:  # noqa: PT012
        with fs.open("e", "xb"), fs.open("f", "wb"):
            pass
        fs.pipe_file("e", b"", autocommit=True)
    assert (fs.exists("d"), fs.exists("f")) == (False, False)


def test_an_exclusive_file_is_not_put_over_one_that_came_meanwhile(fs: CopickFileSystem) -> None:
    file = fs.open("x", "xb")
    file.write(b"late")
    fs.pipe_file("x", b"first")
    with pytest.raises(FileExistsError):
        file.close()
    assert fs.cat_file("x") == b"first"
    with pytest.raises(FileExistsError):
        fs.pipe_file("x", b"", mode="create")


def test_names_are_changed(fs: CopickFileSystem, mine: Path) -> None:
    fs.mv(DAY, "day.txt")
    assert (fs.exists(DAY), fs.cat_file("day.txt")) == (False, b"0123456789")
    fs.mv("day.txt", "ExperimentRuns/TS_1/empty")
    fs.mv("copickfs://ExperimentRuns/TS_1/empty/day.txt", "days/")
    assert fs.find("days") == ["/days/day.txt"]
    fs.mv("days", "weeks")
    fs.mv("weeks", "weeks")
    assert fs.find("weeks") == ["/weeks/day.txt"]
    before = fs.cat("ExperimentRuns/TS_1", recursive=True)
    fs.mv("ExperimentRuns/TS_1", "ExperimentRuns/TS_3")  # of a lower layer: it is copied
    assert not fs.exists("ExperimentRuns/TS_1")
    after = fs.cat("ExperimentRuns/TS_3", recursive=True)
    assert {path.replace("TS_3", "TS_1"): data for path, data in after.items()} == before
    assert fs.isdir("ExperimentRuns/TS_3/empty")
    fs.cp("ExperimentRuns/TS_3/Picks", "copy", recursive=True)
    fs.cp("table.csv", "table.csv")
    assert fs.find("copy") == ["/copy/alice_1_ribosome.json"]
    with pytest.raises(IsADirectoryError):
        fs.rm("copy")
    fs.rm("ExperimentRuns", recursive=True, maxdepth=2)
    assert fs.exists("ExperimentRuns/TS_3/Picks/alice_1_ribosome.json")
    fs.rm(["ExperimentRuns", "copy"], recursive=True)
    fs.rm("*.csv")
    assert fs.ls("/", detail=False) == ["/weeks"]
    fs.makedirs("ExperimentRuns/TS_1")
    assert fs.ls("ExperimentRuns/TS_1") == []
    assert sorted(os.listdir(mine)) == [".copickfs", ".copickfs-whiteouts", "ExperimentRuns", "weeks"]


def test_times_and_versions_are_those_of_the_entry(fs: CopickFileSystem, lab: Path) -> None:
    status = (lab / "table.csv").stat()
    assert fs.modified("table.csv").timestamp() == pytest.approx(status.st_mtime)
    assert fs.created("table.csv").timestamp() == pytest.approx(status.st_ctime)
    key, number = fs.ukey("table.csv"), fs.checksum("table.csv")
    assert (fs.ukey("table.csv"), fs.checksum("table.csv")) == (key, number)
    fs.touch("table.csv", truncate=False)
    assert fs.modified("table.csv").timestamp() > status.st_mtime
    assert fs.cat_file("table.csv") == LOWER["table.csv"]
    assert fs.ukey("table.csv") != key
    assert fs.checksum("table.csv") != number
    fs.touch("table.csv")
    fs.touch("new/empty", truncate=False)
    assert (fs.size("table.csv"), fs.size("new/empty")) == (0, 0)


def test_errors_are_pythons_own(fs: CopickFileSystem) -> None:
    calls: list[tuple[type[OSError], int, Callable[[], object]]] = [
        (FileNotFoundError, errno.ENOENT, lambda: fs.cat_file("none")),
        (FileNotFoundError, errno.ENOENT, lambda: fs.open("none", "r+b")),
        (FileNotFoundError, errno.ENOENT, lambda: fs.info("none")),
        (FileNotFoundError, errno.ENOENT, lambda: fs.ls("none")),
        (FileNotFoundError, errno.ENOENT, lambda: fs.rm_file("none")),
        (FileNotFoundError, errno.ENOENT, lambda: fs.mv("none", "other")),
        (FileNotFoundError, errno.ENOENT, lambda: fs.mkdir("none/deep", create_parents=False)),
        (NotADirectoryError, errno.ENOTDIR, lambda: fs.info("table.csv/x")),
        (NotADirectoryError, errno.ENOTDIR, lambda: fs.open("table.csv/x", "wb")),
        (NotADirectoryError, errno.ENOTDIR, lambda: fs.rmdir("table.csv")),
        (IsADirectoryError, errno.EISDIR, lambda: fs.open("ExperimentRuns")),
        (IsADirectoryError, errno.EISDIR, lambda: fs.open("ExperimentRuns", "wb")),
        (FileExistsError, errno.EEXIST, lambda: fs.mkdir("ExperimentRuns")),
        (FileExistsError, errno.EEXIST, lambda: fs.makedirs("table.csv", exist_ok=True)),
        (OSError, errno.ENOTEMPTY, lambda: fs.rmdir("ExperimentRuns")),
        (PermissionError, errno.EPERM, lambda: fs.touch(".copickfs-x")),
    ]
    for kind, number, call in calls:
        with pytest.raises(kind) as raised:
            call()
        assert raised.value.errno == number
        assert str(raised.value.filename).startswith("/")
        assert type(raised.value).__module__ == "builtins"
    with pytest.raises(ValueError, match="not a path of the tree"):
        fs.cat_file("ExperimentRuns/../table.csv")


def test_a_stack_that_is_not_written_answers_permission_error(
    lab: Path, config: Path, fs: CopickFileSystem
) -> None:
    calls: list[Callable[[CopickFileSystem], object]] = [
        lambda made: made.open("new/x", "wb"),
        lambda made: made.open(PICKS, "ab"),
        lambda made: made.rm("ExperimentRuns", recursive=True),
        lambda made: made.mkdir("new"),
        lambda made: made.mv(PICKS, "x"),
        lambda made: made.touch(PICKS, truncate=False),
    ]
    for made in (CopickFileSystem(configuration(None, lab)), CopickFileSystem(config, read_only=True)):
        assert made.cat_file(PICKS) == LOWER[PICKS]
        for call in calls:
            with pytest.raises(PermissionError) as raised:
                call(made)
            assert raised.value.errno == errno.EROFS
    assert fs.find("") == [f"/{path}" for path in sorted(LOWER) if LOWER[path] is not None]


def test_an_instance_is_never_stale(fs: CopickFileSystem, config: Path, tmp_path: Path, lab: Path) -> None:
    same = fsspec.filesystem("copickfs", config=str(config))
    assert same == fs
    assert hash(same) == hash(fs)
    assert same.fsid == fs.fsid
    assert same.stack is fs.stack
    other = fill(tmp_path / "other", {"here.txt": b""})
    config.write_text(json.dumps(configuration(other, lab)))
    changed = fsspec.filesystem("copickfs", config=str(config))
    assert changed != fs
    assert (changed.exists("here.txt"), fs.exists("here.txt")) == (True, False)


def test_changes_of_others_are_seen_at_once(fs: CopickFileSystem, mine: Path) -> None:
    picks = mine / "ExperimentRuns" / "TS_1" / "Picks"
    for number in range(30):
        directory = f"run{number}"
        assert not fs.exists(f"{directory}/x")
        fill(mine, {f"{directory}/x": b"x"})
        assert fs.find(directory) == [f"/{directory}/x"]
    assert fs.size(PICKS) == 14
    fill(picks, {"alice_1_ribosome.json": b"[]"})
    assert fs.info(PICKS)["layer"] == "mine"
    assert fs.cat_file(PICKS) == b"[]"
    (picks / "alice_1_ribosome.json").unlink()
    assert fs.cat_file(PICKS) == LOWER[PICKS]
    fs.invalidate_cache()
    assert fs.ls("ExperimentRuns", detail=False, refresh=True) == ["/ExperimentRuns/TS_1"]


def test_threads_share_one_file_system(fs: CopickFileSystem) -> None:
    def work(number: int) -> None:
        for turn in range(12):
            path = f"ExperimentRuns/TS_{number % 3}/Picks/u{number}_{turn}_ribosome.json"
            fs.pipe_file(path, bytes([number]) * 1000)
            assert fs.cat_file(path) == bytes([number]) * 1000
            fs.pipe_file("ExperimentRuns/TS_1/notes/shared", bytes([number]) * 5000)
            shared = fs.cat_file("ExperimentRuns/TS_1/notes/shared")
            assert len(shared) == 5000
            assert len(set(shared)) == 1
            assert f"/{path}" in fs.glob("ExperimentRuns/*/Picks/*")
            fs.mv(path, f"moved/{number}/{turn}")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert len(fs.find("moved")) == 72
    with fs.open(DAY) as file, ThreadPoolExecutor(6) as pool:
        assert sorted(b"".join(pool.map(lambda _turn: file.read(1), range(10)))) == sorted(b"0123456789")


def test_no_secret_is_shown(tmp_path: Path, lab: Path) -> None:
    config = configuration(None, lab)
    config["layer_configs"]["far"] = {
        "config_type": "filesystem", "root": "sftp://h/x", "fs_args": {"password": "hunter2"},
    }  # fmt: skip
    config["layers"].append("far")
    fs = CopickFileSystem(config, base_directory=tmp_path)
    assert "hunter2" not in repr(fs) + fs.to_json(include_password=False) + fs.fsid
    assert CopickFileSystem.from_json(fs.to_json()) == fs


def test_views_are_files_like_others(tmp_path: Path) -> None:
    points = [{"location": {"x": 1.0, "y": 2.0, "z": 3.0}}] * 4
    document = {"pickable_object_name": "ribosome", "user_id": "a", "session_id": "1", "points": points}
    lab = fill(
        tmp_path / "lab", {"ExperimentRuns/TS_1/Picks/a_1_ribosome.json": json.dumps(document).encode()}
    )
    fs = CopickFileSystem(configuration(None, lab, views=["csv", "cmm"]))
    try:
        assert fs.ls("Views/TS_1/Picks", detail=False) == [
            f"/Views/TS_1/Picks/a_1_ribosome.{suffix}" for suffix in ("cmm", "csv")
        ]
        for path in fs.find("Views"):
            assert fs.info(path)["size"] == len(fs.cat(path))
        with fs.open("Views/TS_1/Picks/a_1_ribosome.csv", "rt") as file:
            assert len(file.readlines()) == 5
        for change in (
            lambda: fs.pipe("Views/new", b"x"),
            lambda: fs.rm("Views/TS_1/Picks/a_1_ribosome.csv"),
        ):
            with pytest.raises(PermissionError):
                change()
    finally:
        close_shared()
