"""Ordinary programs read a mount and get the merged tree, byte by byte, with times, sizes and modes."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import mrcfile
import numpy as np
import pytest

from tests import model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.mounted.conftest import Demo

MRC = "ExperimentRuns/TS_001/VoxelSpacing20.000/raw.mrc"
NEEDLE = "a needle in the notes"


class Project(NamedTuple):
    """A mounted demo with further files: the mount, the bare layers (highest first), the model's tree."""

    mountpoint: Path
    roots: list[Path]
    tree: dict[str, model.Node]
    wanted: dict[str, model.Shape]

    def files(self) -> dict[str, model.Node]:
        return {path: node for path, node in self.tree.items() if node.kind == "file"}


@pytest.fixture
def project(demo: Demo, tmp_path: Path, mount: Callable[..., Path]) -> Project:
    roots = [tmp_path / name for name in demo.layers]
    for source, root in zip(demo.roots, roots, strict=True):
        shutil.copytree(source, root)
    mine, lab = roots
    for root in roots:
        (root / "notes" / "empty").mkdir(parents=True)
        (root / "notes" / "both.txt").write_text(f"{NEEDLE}, {root.name}\n")
        (root / "notes" / f"only {root.name}.txt").write_text(f"{NEEDLE}\nand more of {root.name}\n")
        (root / ".hidden").write_text(root.name)
    (mine / "notes" / "ünïcode [1].txt").write_text("ångström\n")
    (mine / "notes" / "dangling").symlink_to("no/such/file")
    (lab / "notes" / "script.sh").write_text("#!/bin/sh\necho hello\n")
    (lab / "notes" / "script.sh").chmod(0o755)
    (lab / "notes" / "private").write_text("secret")
    (lab / "notes" / "private").chmod(0o600)
    with open(lab / "notes" / "sparse", "wb") as file:
        file.truncate(3 << 20)
    with mrcfile.new(lab / MRC) as volume:
        volume.set_data(np.random.default_rng(0).normal(size=(40, 64, 64)).astype(np.float32))
        volume.voxel_size = 20.0
    for number, path in enumerate(path for root in roots for path in (root, *root.rglob("*"))):
        # Long ago, and each at its own time: rsync takes directories of the same second for equal.
        times_ns = (10**18, 10**18 + number * 1_000_000_007)
        os.utime(path, ns=times_ns, follow_symlinks=False)
    mountpoint = mount(model.configuration(roots, list(demo.layers)))
    return Project(mountpoint, roots, model.merge(roots), model.expected(roots))


def run(*command: str | Path, **options: object) -> str:
    """The output of a command that must succeed without a word of complaint."""
    done = subprocess.run(
        [os.fspath(part) for part in command],
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC"},
        **options,  # type: ignore[call-overload]
    )
    assert (done.returncode, done.stderr) == (0, b""), f"{command}: {done.stderr!r}"
    return str(done.stdout.decode(errors="surrogateescape"))


def assert_copied(project: Project, copy: Path, *, faithful: bool = True) -> None:
    """Assert that ``copy`` is the merged tree; ``faithful`` also in times, owner and modes."""
    wanted, found = project.wanted, model.snapshot(copy)
    if not faithful:
        wanted = {path: shape.contents_only() for path, shape in wanted.items()}
        found = {path: shape.contents_only() for path, shape in found.items()}
    assert not model.differences(wanted, found)
    assert (copy / model.GENERATED).read_bytes() == (project.mountpoint / model.GENERATED).read_bytes()


def test_mount_itself_is_the_merged_tree(project: Project) -> None:
    assert not model.differences(project.wanted, model.snapshot(project.mountpoint))


def test_cp_r(project: Project, tmp_path: Path) -> None:
    run("cp", "-r", project.mountpoint, tmp_path / "copy")
    assert_copied(project, tmp_path / "copy", faithful=False)


def test_cp_a(project: Project, tmp_path: Path) -> None:
    run("cp", "-a", project.mountpoint, tmp_path / "copy")
    assert_copied(project, tmp_path / "copy")


def test_rsync(project: Project, tmp_path: Path) -> None:
    command = ("rsync", "-a", "--checksum", "--itemize-changes", f"{project.mountpoint}/", tmp_path / "copy")
    assert run(*command).count("\n") > len(project.files())
    assert_copied(project, tmp_path / "copy")
    assert run(*command) == "", "a second run found something to do"


def test_tar(project: Project, tmp_path: Path) -> None:
    archive, copy = tmp_path / "archive.tar", tmp_path / "copy"
    copy.mkdir()
    run("tar", "--format=pax", "-C", project.mountpoint, "-cf", archive, ".")
    run("tar", "-C", copy, "-xpf", archive)
    assert_copied(project, copy)
    run("tar", "-C", project.mountpoint, "--compare", "-f", archive)


def test_copytree(project: Project, tmp_path: Path) -> None:
    shutil.copytree(project.mountpoint, tmp_path / "copy", symlinks=True)
    wanted = {path: shape._replace(uid=0, gid=0) for path, shape in project.wanted.items()}
    found = {path: shape._replace(uid=0, gid=0) for path, shape in model.snapshot(tmp_path / "copy").items()}
    assert not model.differences(wanted, found)


def test_find(project: Project) -> None:
    by_kind = {"f": "file", "d": "directory", "l": "symlink"}
    found = run("find", project.mountpoint, "-mindepth", "1", "-printf", "%P\t%y\t%s\t%T@\t%m\n").splitlines()
    lines = {}
    for line in found:
        path, kind, size, mtime, mode = line.split("\t")
        seconds, _, fraction = mtime.partition(".")
        mtime_ns = int(seconds) * 10**9 + int(fraction[:9])
        lines[path] = (by_kind[kind], 0 if kind == "d" else int(size), mtime_ns, int(mode, 8))
    del lines[model.GENERATED]
    wanted = {
        path: (shape.kind, shape.size_bytes, shape.mtime_ns, shape.mode)
        for path, shape in project.wanted.items()
        if path
    }
    assert lines == wanted
    empty = run("find", project.mountpoint, "-type", "d", "-empty", "-printf", "%P\n").splitlines()
    assert empty == ["notes/empty"]


def test_grep(project: Project) -> None:
    found = run("grep", "-r", "-l", NEEDLE, project.mountpoint).splitlines()
    wanted = [path for path, node in project.files().items() if NEEDLE.encode() in read(node.source)]
    assert sorted(os.path.relpath(path, project.mountpoint) for path in found) == sorted(wanted)
    assert len(wanted) == 3
    shown = run("grep", "-r", "-h", NEEDLE, project.mountpoint / "notes" / "both.txt")
    assert shown == f"{NEEDLE}, mine\n"


def test_du(project: Project) -> None:
    def sizes(*options: str) -> dict[str, int]:
        lines = run("du", "-a", "--block-size=1", *options, project.mountpoint).splitlines()
        pairs = (line.split("\t") for line in lines)
        return {os.path.relpath(path, project.mountpoint): int(size) for size, path in pairs}

    apparent, on_disk = sizes("--apparent-size"), sizes()
    for path, node in project.files().items():
        status = os.stat(node.source)
        assert apparent[path] == status.st_size
        assert on_disk[path] == status.st_blocks * 512
    inside = [path for path in project.files() if path.startswith("notes/")]
    assert on_disk["notes"] >= sum(on_disk[path] for path in inside)
    assert on_disk["notes/sparse"] < apparent["notes/sparse"]


def test_ls(project: Project) -> None:
    output = run("ls", "-lnAR", "--time-style=+%s.%N", "--quoting-style=literal", project.mountpoint)
    found = {}
    directory = ""
    for line in output.splitlines():
        if line.startswith("/"):
            directory = os.path.relpath(line.removesuffix(":"), project.mountpoint)
        elif line and not line.startswith("total "):
            mode, _, uid, gid, size, mtime, name = line.split(maxsplit=6)
            path = os.path.normpath(os.path.join(directory, name.split(" -> ")[0]))
            size = "0" if mode.startswith("d") else size
            found[path] = (mode, int(uid), int(gid), int(size), int(mtime.replace(".", "")))
    del found[model.GENERATED]
    kinds = {"file": stat.S_IFREG, "directory": stat.S_IFDIR, "symlink": stat.S_IFLNK}
    wanted = {
        path: (
            stat.filemode(kinds[shape.kind] | shape.mode),
            shape.uid,
            shape.gid,
            shape.size_bytes,
            shape.mtime_ns,
        )
        for path, shape in project.wanted.items()
        if path
    }
    assert found == wanted


def test_md5sum(project: Project) -> None:
    command = f"cd '{project.mountpoint}' && find . -type f -print0 | xargs -0 md5sum"
    found = {}
    for line in run("sh", "-c", command).splitlines():
        checksum, _, path = line.partition("  ")
        found[path.removeprefix("./")] = checksum
    del found[model.GENERATED]
    wanted = {path: hashlib.md5(read(node.source)).hexdigest() for path, node in project.files().items()}  # noqa: S324 -- what md5sum computes
    assert found == wanted


def test_stat(project: Project) -> None:
    paths = sorted(project.files())
    lines = run("stat", "--format=%s %b %B %Y %a %u %g %h %i %F", *paths, cwd=project.mountpoint).splitlines()
    inodes = set()
    for path, line in zip(paths, lines, strict=True):
        wanted = os.stat(project.tree[path].source)
        size, blocks, unit, mtime, mode, uid, gid, links, inode, kind = line.split(" ", 9)
        assert (int(size), int(blocks) * int(unit)) == (wanted.st_size, wanted.st_blocks * 512)
        assert (int(mtime), int(mode, 8)) == (int(wanted.st_mtime), stat.S_IMODE(wanted.st_mode))
        assert (int(uid), int(gid), int(links)) == (wanted.st_uid, wanted.st_gid, wanted.st_nlink)
        assert kind in ("regular file", "regular empty file")
        inodes.add(int(inode))
    assert len(inodes) == len(paths), "two files share an inode number"
    assert 0 not in inodes


def test_mrcfile(project: Project) -> None:
    path, source = project.mountpoint / MRC, project.tree[MRC].source
    with mrcfile.open(source) as bare:
        wanted = bare.data.copy()
    with mrcfile.open(path) as volume:
        np.testing.assert_array_equal(volume.data, wanted)
        assert float(volume.voxel_size.x) == 20.0
    with mrcfile.mmap(path, mode="r") as volume:
        np.testing.assert_array_equal(volume.data[7:9, 10:20, :], wanted[7:9, 10:20, :])
        np.testing.assert_array_equal(volume.data, wanted)
    with mrcfile.open(path, header_only=True) as volume:
        assert int(volume.header.nz) == 40


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
