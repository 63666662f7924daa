"""The overlay table: what each change does over what is there, case by case."""

from __future__ import annotations

import errno
import logging
import os
import threading
from typing import TYPE_CHECKING

import pytest

from copickfs.errors import NotADirectory, NotFound, ReadOnly, errno_of
from copickfs.layers.local import LocalLayer
from copickfs.layers.writable import Change
from copickfs.view import View
from copickfs.view.writing import RENAME_EXCHANGE, RENAME_NOREPLACE, Writer
from copickfs.virtual.control import ControlLayer
from tests.model import hash_tree
from tests.overlays import OWNER, Stack, fill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LOWER = {
    "R/Picks/a_b_c.json": b"[1]", "R/text": b"lower", "R/sub/x": b"x", "R/sub/y": b"y",
    "R/t.zarr/.zgroup": b"{}", "R/t.zarr/0/.zarray": b"{1}", "R/t.zarr/0/0/0": b"c0",
    "R/t.zarr/0/0/1": b"c1", "R/empty": None, "S/z": b"z",
}  # fmt: skip


@pytest.fixture
def roots(tmp_path: Path) -> Iterator[list[Path]]:
    write, low = fill(tmp_path / "write", {}), fill(tmp_path / "low", LOWER)
    before = hash_tree(low)
    yield [write, low]
    assert hash_tree(low) == before


@pytest.fixture
def stack(roots: list[Path]) -> Iterator[Stack]:
    with Stack(roots) as made:
        yield made


def code_of(call: Callable[..., object], *arguments: object) -> int:
    try:
        call(*arguments)
    except OSError as error:
        return errno_of(error)
    return 0


def visible(root: Path) -> set[str]:
    """What plain copick sees of a layer."""
    found = set()
    for directory, names, files in os.walk(root):
        names[:] = [name for name in names if not name.startswith(".copickfs")]
        found |= {os.path.relpath(os.path.join(directory, name), root) for name in (*names, *files)}
    return found


def test_a_new_file_brings_its_directories_with_their_attributes(tmp_path: Path) -> None:
    write, low = fill(tmp_path / "write", {}), fill(tmp_path / "low", LOWER)
    for path, mode in (("R/sub", 0o710), ("R", 0o2750)):
        os.utime(low / path, ns=(5, 7_000_000_123))
        (low / path).chmod(mode)
    before = hash_tree(low)
    with Stack([write, low]) as stack:
        stack.create("R/sub/new", b"[2]")
        assert stack.names("R/sub") == ["new", "x", "y"]
    assert visible(write) == {"R", "R/sub", "R/sub/new"}
    assert (write / "R").stat().st_mode & 0o7777 == 0o2750
    assert (write / "R/sub").stat().st_mode & 0o7777 == 0o710
    assert hash_tree(low) == before


def test_a_lower_file_is_copied_up_with_its_attributes(stack: Stack, roots: list[Path]) -> None:
    stack.writer.change("R/text", Change(mode=0o640))
    up, low = (roots[0] / "R/text").stat(), (roots[1] / "R/text").stat()
    assert up.st_mode & 0o7777 == 0o640
    assert (up.st_mtime_ns, up.st_uid, up.st_gid) == (low.st_mtime_ns, low.st_uid, low.st_gid)
    assert (roots[0] / "R/text").read_bytes() == b"lower"
    stack.write("R/text", b"LOW", 0)
    assert stack.read("R/text") == b"LOWer"


@pytest.mark.parametrize("path", ["R/Picks/a_b_c.json", "R/t.zarr/0/0/0", "R/t.zarr/.zgroup"])
def test_what_is_published_whole_appears_at_flush(stack: Stack, path: str) -> None:
    old = stack.read(path)
    file, layer = stack.writer.open(path)
    assert file.whole
    assert layer.name == "write"
    file.write(0, b"NEW")
    assert stack.read(path) == old
    file.flush()
    assert stack.read(path) == b"NEW" + old[3:]
    file.close()


@pytest.mark.parametrize("path", ["R/text", "R/sub/new"])
def test_any_file_is_published_whole_where_that_is_asked_for(stack: Stack, path: str) -> None:
    before = stack.tree("R")
    if path in before:
        file, _layer = stack.writer.open(path, truncate=True, whole=True)
    else:
        file, _layer = stack.writer.create(path, 0o644, OWNER, whole=True)
    file.write(0, b"whole")
    assert stack.tree("R") == before
    file.flush()
    assert stack.tree("R") == {**before, path: b"whole"}
    file.close()


def test_a_version_that_is_given_up_changes_nothing(stack: Stack, roots: list[Path]) -> None:
    file, _layer = stack.writer.open("R/t.zarr/0/0/0", truncate=True)
    file.write(0, b"half")
    file.discard()
    file.close()
    assert stack.read("R/t.zarr/0/0/0") == b"c0"
    assert visible(roots[0]) == {"R"}


def test_a_partial_copy_is_not_seen_by_plain_programs(stack: Stack, roots: list[Path]) -> None:
    stack.write("R/t.zarr/0/0/0", b"NEW")
    assert visible(roots[0]) == {"R"}
    assert (roots[0] / "R/.copickfs-partial/t.zarr/0/0/0").read_bytes() == b"NEW"
    assert stack.tree("R/t.zarr") == {
        "R/t.zarr/.zgroup": b"{}", "R/t.zarr/0": None, "R/t.zarr/0/.zarray": b"{1}", "R/t.zarr/0/0": None,
        "R/t.zarr/0/0/0": b"NEW", "R/t.zarr/0/0/1": b"c1",
    }  # fmt: skip
    assert stack.writer.materialize("R") == 3
    assert stack.read("R/t.zarr/0/0/0") == b"NEW"
    assert not list(roots[0].rglob(".copickfs-*"))
    assert not list((roots[0] / ".copickfs/partial").iterdir())
    assert "R/t.zarr/0/0/1" in visible(roots[0])


def test_a_smaller_array_over_a_larger_one_shows_no_old_chunk(roots: list[Path]) -> None:
    with Stack(roots) as stack:
        stack.remove("R/t.zarr")
        assert stack.names("R") == ["Picks", "empty", "sub", "text"]
        stack.mkdir("R/t.zarr")
        stack.mkdir("R/t.zarr/0")
        stack.mkdir("R/t.zarr/0/0")
        stack.create("R/t.zarr/0/0/0", b"small")
        wanted = {"R/t.zarr/0": None, "R/t.zarr/0/0": None, "R/t.zarr/0/0/0": b"small"}
        assert stack.tree("R/t.zarr") == wanted
    with Stack(roots) as again:
        assert again.tree("R/t.zarr") == wanted
    assert visible(roots[0]) == {"R", "R/t.zarr", *wanted}


def test_a_removed_directory_made_again_is_empty(stack: Stack) -> None:
    stack.remove("R/sub")
    assert code_of(stack.view.lookup, "R/sub/x") == errno.ENOENT
    stack.mkdir("R/sub")
    assert stack.names("R/sub") == []
    stack.create("R/sub/x", b"again")
    assert stack.tree("R/sub") == {"R/sub/x": b"again"}


def test_a_merged_directory_that_shows_a_name_is_not_removed(stack: Stack) -> None:
    stack.create("R/sub/new")
    assert code_of(stack.writer.rmdir, "R/sub") == errno.ENOTEMPTY
    stack.writer.unlink("R/sub/new")
    assert code_of(stack.writer.rmdir, "R/sub") == errno.ENOTEMPTY
    assert stack.names("R/sub") == ["x", "y"]


def test_directories_of_lower_layers_are_not_renamed(stack: Stack) -> None:
    stack.create("R/sub/new")
    for path in ("R/sub", "S", "R/t.zarr", "R/t.zarr/0"):
        assert code_of(stack.writer.rename, path, "R/moved", 0) == errno.EXDEV, path
    stack.write("R/t.zarr/0/0/0", b"NEW")
    assert code_of(stack.writer.rename, "R/t.zarr", "R/moved.zarr", 0) == errno.EXDEV
    stack.writer.materialize("")
    stack.writer.rename("R/t.zarr", "R/moved.zarr", 0)
    assert stack.read("R/moved.zarr/0/0/1") == b"c1"
    assert code_of(stack.view.lookup, "R/t.zarr") == errno.ENOENT


def test_a_renamed_file_leaves_nothing_behind(stack: Stack) -> None:
    stack.writer.rename("R/text", "S/text", 0)
    assert stack.read("S/text") == b"lower"
    assert code_of(stack.view.lookup, "R/text") == errno.ENOENT
    assert code_of(stack.writer.rename, "S/text", "S/z", RENAME_NOREPLACE) == errno.EEXIST
    stack.writer.rename("S/text", "S/z", RENAME_EXCHANGE)
    assert (stack.read("S/text"), stack.read("S/z")) == (b"z", b"lower")


def test_errors_are_those_of_the_system_calls(stack: Stack) -> None:
    w = stack.writer
    long = "n" * 256
    for wanted, call, arguments in (
        (errno.EEXIST, w.mkdir, ("R", 0o755, OWNER)),
        (errno.EEXIST, w.create, ("R/text", 0o644, OWNER)),
        (errno.EEXIST, w.link, ("R/text", "S/z")),
        (errno.ENOENT, w.create, ("R/no/x", 0o644, OWNER)),
        (errno.ENOENT, w.unlink, ("R/no",)),
        (errno.ENOENT, w.open, ("R/no",)),
        (errno.ENOENT, w.rename, ("R/text", "R/no/x", 0)),
        (errno.ENOENT, w.rename, ("R/text", "R/no", RENAME_EXCHANGE)),
        (errno.ENOTDIR, w.create, ("R/text/x", 0o644, OWNER)),
        (errno.ENOTDIR, w.rmdir, ("R/text",)),
        (errno.ENOTDIR, w.rename, ("R/empty", "R/text", 0)),
        (errno.EISDIR, w.unlink, ("R/sub",)),
        (errno.EISDIR, w.open, ("R/sub",)),
        (errno.EISDIR, w.rename, ("R/text", "R/sub", 0)),
        (errno.ENOTEMPTY, w.rename, ("R/empty", "R/sub", 0)),
        (errno.ENOTEMPTY, w.rename, ("R/sub/x", "R/sub", 0)),
        (errno.EINVAL, w.rename, ("R", "R/sub/R", 0)),
        (errno.EINVAL, w.rename, ("R/text", "S/z", 4)),
        (errno.EINVAL, w.rename, ("R", "R/sub", RENAME_EXCHANGE)),
        (errno.EBUSY, w.rmdir, ("",)),
        (errno.EBUSY, w.rename, ("", "x", 0)),
        (errno.EPERM, w.link, ("R/sub", "S/sub")),
        (errno.EPERM, w.mkdir, ("R/.copickfs-whiteouts", 0o755, OWNER)),
        (errno.EPERM, w.create, ("R/.copickfs-x", 0o644, OWNER)),
        (errno.EPERM, w.rename, ("R/text", ".copickfs", 0)),
        (errno.ENAMETOOLONG, w.mkdir, (long, 0o755, OWNER)),
        (errno.ENAMETOOLONG, w.rename, ("R/text", f"R/{long}", 0)),
    ):
        assert code_of(call, *arguments) == wanted, (call.__name__, arguments)
    assert stack.tree() == {path: LOWER.get(path) for path in stack.tree()}


def test_names_of_255_bytes_can_be_hidden(roots: list[Path], tmp_path: Path) -> None:
    name = "n" * 250 + ".zarr"
    with Stack(roots) as stack:
        stack.mkdir(f"R/{name}")
        stack.create(f"R/{name}/0", b"1")
    with Stack([fill(tmp_path / "higher", {}), *roots]) as stack:
        stack.write(f"R/{name}/0", b"2")
        assert stack.read(f"R/{name}/0") == b"2"
        stack.remove(f"R/{name}")
        assert name not in stack.names("R")


def test_the_files_of_copickfs_itself_are_not_changed(roots: list[Path]) -> None:
    with Stack(roots) as stack:
        control = ControlLayer({"copick_config.json": lambda: b"{}", ".copickfs/metrics": lambda: b""})
        view = View(stack.layers, control)
        writer = Writer(view, stack.layers[0])
        for path in ("copick_config.json", ".copickfs/metrics"):
            assert code_of(writer.open, path) == errno.EROFS
            assert code_of(writer.unlink, path) == errno.EROFS
            assert code_of(writer.rename, "R/text", path, 0) in (errno.EROFS, errno.EPERM)
            assert code_of(writer.change, path, Change(mode=0o777)) == errno.EROFS
        assert code_of(writer.create, ".copickfs/other", 0o644, OWNER) == errno.EPERM
        writer.close()


def test_without_a_write_layer_everything_is_read_only(
    roots: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "copickfs.view.places")
    with Stack(roots, ()) as stack:
        for call, arguments in (
            (stack.writer.create, ("R/new", 0o644, OWNER)), (stack.writer.open, ("R/text",)),
            (stack.writer.mkdir, ("R/new", 0o755, OWNER)), (stack.writer.unlink, ("R/text",)),
            (stack.writer.rmdir, ("R/empty",)), (stack.writer.rename, ("R/text", "R/other", 0)),
            (stack.writer.change, ("R/text", Change(mode=0o600))),
        ):  # fmt: skip
            with pytest.raises(ReadOnly):
                call(*arguments)
        assert stack.tree() == {path: LOWER.get(path) for path in stack.tree()}
    assert len(caplog.records) <= 3  # one line a layer, however many are refused


def test_what_a_layer_above_the_write_layer_decides_is_read_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "copickfs.view.places")
    high = fill(tmp_path / "high", {"R/x": b"high", "R/t.zarr/0": b"high", "R/.copickfs-whiteouts/gone": b""})
    (high / ".copickfs").mkdir()
    write = fill(tmp_path / "write", {"R/x": b"write", "R/w": b"write"})
    low = fill(tmp_path / "low", {"R/x": b"low", "R/l": b"low", "R/gone": b"low"})
    before = hash_tree(high), hash_tree(low)
    with Stack([high, write, low], (1,)) as stack:
        for call, arguments in (
            (stack.writer.open, ("R/x",)), (stack.writer.unlink, ("R/x",)),
            (stack.writer.rename, ("R/w", "R/x", 0)), (stack.writer.rename, ("R/x", "R/n", 0)),
            (stack.writer.change, ("R", Change(mode=0o700))), (stack.writer.rmdir, ("R/t.zarr",)),
            (stack.writer.create, ("R/t.zarr/1", 0o644, OWNER)), (stack.writer.unlink, ("R/t.zarr/0",)),
            (stack.writer.create, ("R/gone", 0o644, OWNER)), (stack.writer.mkdir, ("R/gone", 0o755, OWNER)),
        ):  # fmt: skip
            assert code_of(call, *arguments) in (errno.EROFS, errno.ENOTEMPTY), (call.__name__, arguments)
        stack.create("R/new", b"new")
        stack.write("R/l", b"changed")
        stack.writer.unlink("R/w")
        assert stack.tree() == {
            "R": None, "R/x": b"high", "R/t.zarr": None, "R/t.zarr/0": b"high", "R/new": b"new",
            "R/l": b"changed",
        }  # fmt: skip
    assert (hash_tree(high), hash_tree(low)) == before
    assert any("layer high" in record.message for record in caplog.records)


def test_a_write_layer_stacked_below_another_shows_what_it_showed(roots: list[Path], tmp_path: Path) -> None:
    with Stack(roots) as stack:
        stack.remove("R/sub")
        stack.writer.unlink("R/text")
        stack.write("R/t.zarr/0/0/0", b"NEW")
        stack.writer.unlink("R/t.zarr/0/0/1")
        wanted = stack.tree()
    new = fill(tmp_path / "new", {})
    old = hash_tree(roots[0])
    with Stack([new, *roots]) as higher:
        assert higher.tree() == wanted
        higher.write("R/t.zarr/0/.zarray", b"{}")
        higher.create("R/t.zarr/0/0/1", b"back")
        wanted |= {"R/t.zarr/0/.zarray": b"{}", "R/t.zarr/0/0/1": b"back"}
        assert higher.tree() == wanted
    with Stack([new, *roots]) as higher:
        assert higher.tree() == wanted
        higher.writer.materialize("")
        assert higher.tree() == wanted
    assert hash_tree(roots[0]) == old
    assert "R/t.zarr/0/0/0" in visible(new)


def test_changes_go_to_their_source(tmp_path: Path) -> None:
    top = fill(tmp_path / "top", {"R/t": b"top"})
    source = fill(
        tmp_path / "source", {"R/s": b"source", "R/t": b"hidden", "a.zarr/0": b"s0", "a.zarr/.zgroup": b""}
    )
    low = fill(tmp_path / "low", {"R/s": b"low", "R/l": b"low", "a.zarr/0": b"other", "b.zarr/0": b"b0"})
    before = hash_tree(low)
    with Stack([top, source, low], (0, 1), strategy="source") as stack:
        stack.write("R/s", b"changed")
        stack.create("a.zarr/1", b"s1")
        stack.create("R/new", b"new")
        stack.write("R/l", b"up")
        stack.write("b.zarr/0", b"B0")
        assert (source / "R/s").read_bytes() == b"changed"
        assert (source / "a.zarr/1").read_bytes() == b"s1"
        assert (top / "R/new").read_bytes() == b"new"
        assert (top / "R/l").read_bytes() == b"up"
        assert (top / ".copickfs-partial/b.zarr/0").read_bytes() == b"B0"
        stack.writer.unlink("R/s")  # what the lowest layer has under the name stays hidden
        stack.writer.unlink("R/t")
        stack.remove("a.zarr")
        assert stack.tree() == {"R": None, "R/new": b"new", "R/l": b"up", "b.zarr": None, "b.zarr/0": b"B0"}
    assert (source / "R/t").exists()
    assert hash_tree(low) == before


def test_those_who_open_a_lower_file_copy_it_once(tmp_path: Path) -> None:
    write, low = fill(tmp_path / "write", {}), fill(tmp_path / "low", {"R/big": b"x" * (8 << 20)})
    inodes, barrier = set(), threading.Barrier(8)
    with Stack([write, low]) as stack:

        def open_one() -> None:
            barrier.wait()
            file, _layer = stack.writer.open("R/big")
            inodes.add(file.entry.inode)
            file.close()

        threads = [threading.Thread(target=open_one) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(inodes) == 1


def test_a_version_open_while_its_store_is_completed_lands_in_the_store(
    stack: Stack, roots: list[Path]
) -> None:
    file, _layer = stack.writer.open("R/t.zarr/0/0/0")
    file.write(0, b"NEW")
    stack.writer.materialize("R/t.zarr")
    assert stack.read("R/t.zarr/0/0/0") == b"c0"
    file.flush()
    file.close()
    assert (roots[0] / "R/t.zarr/0/0/0").read_bytes() == b"NEW"
    assert not list(roots[0].rglob(".copickfs-*"))


def test_another_array_below_is_not_mixed_with_the_partial_copy(
    roots: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Stack(roots) as stack:
        stack.write("R/t.zarr/0/0/0", b"NEW")
    other = fill(tmp_path / "other", {"R/t.zarr/0/.zarray": b"{another}", "R/t.zarr/0/0/0": b"o0"})
    with Stack([roots[0], other]) as stack:
        assert stack.read("R/t.zarr/0/0/0") == b"o0"
        stack.view.membership.announce("")
        assert stack.read("R/t.zarr/0/0/0") == b"o0"
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(told) == 1
    assert str(roots[0] / "R/.copickfs-partial/t.zarr") in told[0].message
    with Stack(roots) as stack:
        assert stack.read("R/t.zarr/0/0/0") == b"NEW"


def test_what_another_layer_announces_of_marks_is_seen(roots: list[Path]) -> None:
    with Stack(roots) as one, Stack(roots) as other:
        assert other.names("R/sub") == ["x", "y"]
        one.writer.unlink("R/sub/x")
        for path in (".copickfs", "R/sub/.copickfs-whiteouts/x"):
            other.view.membership.announce(path)
        assert other.names("R/sub") == ["y"]
        assert code_of(other.view.lookup, "R/sub/x") == errno.ENOENT


def test_announcements_of_marks_are_about_what_they_stand_for(roots: list[Path]) -> None:
    heard: list[str] = []

    class Announcing(LocalLayer):
        def tell(self, path: str) -> None:
            self._announce(path)

    layer = Announcing("a", roots[1])
    View([layer]).subscribe(heard.append)
    for path in (
        "R/x",
        "R/.copickfs-whiteouts/x",
        "R/.copickfs-partial/t.zarr/0/0",
        ".copickfs/staging/q",
        "",
    ):
        layer.tell(path)
    assert heard == ["R/x", "R/x", "R/t.zarr/0/0", ""]


def test_missing_and_not_a_directory_are_told_apart(stack: Stack) -> None:
    stack.remove("R/sub")
    with pytest.raises(NotFound):
        stack.view.lookup("R/sub/x")
    stack.create("R/sub", b"a file now")
    with pytest.raises(NotADirectory):
        stack.view.lookup("R/sub/x")
    stack.writer.unlink("R/sub")
    with pytest.raises(NotFound):
        stack.view.lookup("R/sub/x")
