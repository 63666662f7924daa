"""Programs that write files in all the ways there are: git, sqlite3, rsync, cp, editors, tar, make and gcc.

Each does the same in the mount and in a plain directory; afterwards both trees must be the same.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests import model
from tests.mounted.conftest import put
from tests.mounted.test_hard_changes import SEEN_WITHIN_S
from tests.writing import assert_same_tree

if TYPE_CHECKING:
    from pathlib import Path

    from tests.writing import WritableStack

ENVIRONMENT = {
    **os.environ,
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A. Tester",
    "GIT_AUTHOR_EMAIL": "tester@example.org",
    "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "A. Tester",
    "GIT_COMMITTER_EMAIL": "tester@example.org",
    "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
}


class Pair:
    """The same directory ``work``, with files of a lower layer, in a mount and on the disk."""

    def __init__(self, stack: WritableStack, directory: Path) -> None:
        lower = stack.lower[0] / "work"
        put(lower / "old.txt", b"as it was\n" * 1_000).chmod(0o640)
        put(lower / "deep/er/old.bin", os.urandom(300_000))
        put(lower / "deep/er/empty", b"")
        put(lower / "script.sh", b"#!/bin/sh\necho hello\n").chmod(0o755)
        stack.mount()
        self.stack = stack
        self.plain = directory / "plain" / "work"
        shutil.copytree(lower, self.plain)
        self.mounted = stack.point / "work"
        self.places = (self.mounted, self.plain)

    def run(self, *command: str | Path, cwd: str = ".") -> list[str]:
        """Run a command in both places; its output in each. It must succeed."""
        return [run(*command, cwd=place / cwd) for place in self.places]

    def compare(self) -> None:
        """Both are the same."""
        assert_same_tree(self.mounted, self.plain)


def run(*command: str | Path, cwd: Path) -> str:
    """The output of a program that must succeed."""
    done = subprocess.run(
        [os.fspath(part) for part in command],
        cwd=cwd,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, f"{command} in {cwd}: {done.stdout}{done.stderr}"
    return done.stdout


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")


@pytest.fixture
def pair(writable: WritableStack, tmp_path: Path) -> Pair:
    """A mounted directory and a plain copy; see `Pair`."""
    return Pair(writable, tmp_path)


@needs("git")
def test_git(pair: Pair, tmp_path: Path) -> None:
    bare, origin = tmp_path / "bare.git", tmp_path / "origin"
    origin.mkdir()
    run("git", "init", "-q", "-b", "main", ".", cwd=origin)
    for number in range(60):
        put(origin / f"dir{number % 7}/file{number}", os.urandom(number * 100))
    run("git", "add", ".", cwd=origin)
    run("git", "commit", "-q", "-m", "first", cwd=origin)
    run("git", "clone", "-q", "--bare", origin, bare, cwd=tmp_path)
    pair.run("git", "clone", "-q", "--no-hardlinks", bare, "clone")
    for place in pair.places:
        put(place / "clone" / "new file", b"new\n")
        put(place / "clone" / "dir1" / "file1", b"changed\n")
        (place / "clone" / "dir2" / "file2").unlink()
    pair.run("git", "add", "-A", ".", cwd="clone")
    pair.run("git", "commit", "-q", "-m", "second", cwd="clone")
    pair.run("git", "checkout", "-q", "-b", "other", "HEAD~1", cwd="clone")
    pair.run("git", "checkout", "-q", "main", cwd="clone")
    pair.run("git", "gc", "-q", cwd="clone")
    pair.run("git", "fsck", "--full", "--strict", cwd="clone")
    pair.run("git", "push", "-q", bare, "HEAD:refs/heads/pushed", cwd="clone")
    first, second = pair.run("git", "rev-parse", "HEAD", cwd="clone")
    assert first == second
    assert pair.run("git", "status", "--porcelain", cwd="clone") == ["", ""]
    for place in pair.places:
        shutil.rmtree(place / "clone")
    pair.compare()


def database(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=30)
    assert connection.execute(f"PRAGMA journal_mode={mode}").fetchone() == (mode,)
    return connection


@pytest.mark.parametrize("mode", ["delete", "truncate", "persist"])
def test_sqlite(pair: Pair, mode: str) -> None:
    path = pair.mounted / "picks.db"
    connection = database(path, mode)
    with connection:
        connection.execute("CREATE TABLE picks (id INTEGER PRIMARY KEY, x REAL, note TEXT)")
    for start in range(0, 2_000, 500):
        with connection:
            rows = ((number, number / 3, "n" * (number % 50)) for number in range(start, start + 500))
            connection.executemany("INSERT INTO picks VALUES (?, ?, ?)", rows)
    connection.execute("DELETE FROM picks")
    connection.rollback()
    with connection:
        connection.execute("UPDATE picks SET x = x + 1 WHERE id % 2")
    connection.execute("VACUUM")
    connection.close()
    for place in (path, pair.stack.mine / "work" / "picks.db"):
        reader = sqlite3.connect(f"file:{place}?mode=ro", uri=True)
        assert reader.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert reader.execute("SELECT count(*), sum(id % 2) FROM picks").fetchone() == (2_000, 1_000)
        reader.close()


def test_sqlite_with_two_writers(pair: Pair) -> None:
    path = pair.mounted / "picks.db"
    connection = database(path, "delete")
    with connection:
        connection.execute("CREATE TABLE picks (writer INTEGER, number INTEGER)")
    connection.close()
    errors: list[Exception] = []

    def write(writer: int) -> None:
        try:
            own = sqlite3.connect(path, timeout=60)
            for number in range(40):
                with own:
                    own.execute("INSERT INTO picks VALUES (?, ?)", (writer, number))
            own.close()
        except sqlite3.Error as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    reader = sqlite3.connect(path)
    counts = reader.execute("SELECT writer, count(*) FROM picks GROUP BY writer").fetchall()
    reader.close()
    assert counts == [(0, 40), (1, 40)]


@needs("rsync")
@pytest.mark.parametrize(
    "options", [(), ("--inplace",), ("--delete", "--inplace"), ("--partial", "--append")]
)
def test_rsync(pair: Pair, tmp_path: Path, options: tuple[str, ...]) -> None:
    source = tmp_path / "source"
    shutil.copytree(pair.plain, source)
    put(source / "deep/new.bin", os.urandom(500_000))
    put(source / "old.txt", b"as it was\n" * 1_000 + b"and longer\n")
    (source / "link").symlink_to("old.txt")
    os.link(source / "old.txt", source / "second name")
    (source / "script.sh").unlink()
    for number, path in enumerate([source, *sorted(source.rglob("*"))]):
        # Each at its own time, long ago: rsync takes directories of the same second for equal.
        os.utime(path, ns=(10**18, 10**18 + number * 10**10), follow_symlinks=False)
    pair.run("rsync", "-a", "-H", *options, f"{source}/", ".")
    pair.compare()
    if "--delete" in options:
        wanted = model.snapshot_links(source)
        wrong = model.differences(wanted, model.snapshot(pair.mounted))
        assert not wrong, "with times, owners and modes:\n" + "\n".join(wrong)
    (again, _) = pair.run("rsync", "-a", "-H", "--itemize-changes", *options, f"{source}/", ".")
    assert again == ""


@needs("rsync")
def test_programs_that_copy_attributes_have_nothing_to_say(pair: Pair, tmp_path: Path) -> None:
    """mv copies a directory of a lower layer (EXDEV), with the attributes by which the mount tells of it."""
    apart = tmp_path / "apart"
    put(apart / "old.txt", b"another")
    for command in (
        ("mv", "deep", "moved"),
        ("cp", "-r", "--preserve=all", "moved", "copied"),
        ("rsync", "-aX", "moved/", "synced"),
        ("rsync", "-aX", f"{apart}/", "."),
    ):
        done = subprocess.run(command, cwd=pair.mounted, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(os.listdir(pair.mounted / "moved/er")) == ["empty", "old.bin"]
    assert os.getxattr(pair.mounted / "moved/er/old.bin", "user.copickfs.layer") == b"mine"
    assert not [
        name
        for path in pair.stack.mine.rglob("*")
        for name in os.listxattr(path, follow_symlinks=False)
        if name.startswith("user.copickfs.")
    ], "they are kept nowhere"


@pytest.mark.parametrize("options", [("--reflink=auto",), ("--reflink=auto", "--sparse=always"), ("-p",)])
def test_cp(pair: Pair, options: tuple[str, ...]) -> None:
    with open(pair.plain.parent / "sparse", "wb") as file:
        file.truncate(3 << 20)
        file.seek(1 << 20)
        file.write(b"data")
    pair.run("cp", *options, pair.plain.parent / "sparse", "sparse")
    pair.run("cp", *options, "deep/er/old.bin", "copy.bin")
    pair.run("cp", *options, "deep/er/old.bin", "old.txt")
    pair.run("cp", "-a", "deep", "deeper")
    pair.run("cp", "-rT", "--reflink=auto", "deeper", "deep")
    pair.run("mv", "deeper", "moved")
    pair.run("mv", "deep", "away")
    pair.run("mv", "old.txt", "away/old.txt")
    pair.run("mv", "away", "deep")
    pair.compare()


def save(path: Path, data: bytes) -> None:
    """As vim does with backupcopy=no: the old version becomes the backup, a new file gets the name."""
    probe = path.with_name("4913")
    os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o100644))
    os.chown(probe, os.getuid(), os.getgid())
    probe.unlink()
    backup = path.with_name(f"{path.name}~")
    mode = path.stat().st_mode
    path.rename(backup)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(fd, data)
    os.fsync(fd)
    os.close(fd)
    path.chmod(mode & 0o7777)
    backup.unlink()


def test_save_as_vim_does(pair: Pair) -> None:
    for number in range(5):
        for place in pair.places:
            save(place / "old.txt", b"version %d\n" % number)
            save(place / "deep/er/empty", b"version %d\n" % number)
        pair.compare()
    assert (pair.mounted / "old.txt").stat().st_mode & 0o7777 == 0o640


@needs("vim")
@pytest.mark.parametrize("setting", ["backupcopy=no", "backupcopy=yes", "nowritebackup"])
def test_vim(pair: Pair, setting: str) -> None:
    pair.run(
        "vim",
        "-Nu",
        "NONE",
        "-i",
        "NONE",
        "-es",
        "-c",
        f"set {setting}",
        "-c",
        "%s/was/is/",
        "-c",
        "wq",
        "old.txt",
    )
    pair.compare()
    assert (pair.mounted / "old.txt").read_bytes() == b"as it is\n" * 1_000


def test_tar(pair: Pair, tmp_path: Path) -> None:
    source = tmp_path / "source"
    for number in range(300):
        put(source / f"d{number % 11}/f{number}", os.urandom(number * 37)).chmod(0o600 + number % 8)
    (source / "link").symlink_to("/absolute/nowhere")
    os.link(source / "d0/f0", source / "hard")
    os.mkfifo(source / "fifo")
    (source / "d1").chmod(0o2775)
    archive = tmp_path / "source.tar"
    run("tar", "--format=pax", "-cf", archive, ".", cwd=source)
    pair.run("tar", "-xpf", archive)
    pair.compare()
    run("tar", "--compare", "-f", archive, cwd=pair.mounted)
    pair.run("tar", "-xpf", archive, "--overwrite")
    run("tar", "--compare", "-f", archive, cwd=pair.mounted)
    pair.run("tar", "-xpf", archive, "--recursive-unlink")
    pair.compare()


MAKEFILE = b"""\
CFLAGS = -O1 -g -MMD
objects = main.o one.o two.o three.o
all: program libnumbers.a
program: main.o libnumbers.a
\t$(CC) -o $@ main.o -L. -lnumbers
libnumbers.a: one.o two.o three.o
\t$(AR) rcs $@ $^
install: all
\tmkdir -p installed/bin
\tinstall -m 755 program installed/bin/program
check: install
\tinstalled/bin/program > output.txt
clean:
\trm -f *.o *.d *.a program
-include $(objects:.o=.d)
"""


@needs("make", "gcc", "ar")
def test_unpacking_and_building_a_c_project(pair: Pair, tmp_path: Path) -> None:
    source = tmp_path / "project-1.0"
    put(source / "Makefile", MAKEFILE)
    put(source / "numbers.h", b"int one(void);\nint two(void);\nint three(void);\n")
    for number, name in enumerate(("one", "two", "three"), 1):
        put(source / f"{name}.c", f'#include "numbers.h"\nint {name}(void) {{ return {number}; }}\n'.encode())
    put(source / "main.c", b'#include <stdio.h>\n#include "numbers.h"\nint main(void) {\n'
        b'    printf("%d\\n", one() + two() + three());\n    return 0;\n}\n')  # fmt: skip
    run("tar", "-czf", tmp_path / "project.tar.gz", "project-1.0", cwd=tmp_path)
    pair.run("tar", "-xzf", tmp_path / "project.tar.gz")
    pair.run("make", "-j2", "check", cwd="project-1.0")
    for place in pair.places:
        assert (place / "project-1.0/output.txt").read_text() == "6\n"
        put(place / "project-1.0/two.c", b'#include "numbers.h"\nint two(void) { return 20; }\n')
        os.utime(place / "project-1.0/two.c", (2_000_000_000, 2_000_000_000))
    pair.run("make", "check", cwd="project-1.0")
    for place in pair.places:
        assert (place / "project-1.0/output.txt").read_text() == "24\n"
    pair.run("make", "clean", cwd="project-1.0")
    for place in pair.places:
        (place / "project-1.0/installed/bin/program").unlink()
    pair.compare()
    pair.run("rm", "-r", "project-1.0")
    pair.compare()


@pytest.mark.parametrize("where", ["mount", "layer"])
def test_working_directory_keeps_its_name_when_it_changes(pair: Pair, where: str) -> None:
    """A shell that stands in a directory is not thrown out by what others do to it, or to the root."""
    shell = subprocess.Popen(
        ["sh", "-c", "while read line; do pwd -P; done"],
        cwd=pair.mounted / "deep",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with shell:
        assert shell.stdin
        assert shell.stdout
        root = pair.stack.point if where == "mount" else pair.stack.mine
        (root / "work/deep").mkdir(parents=True, exist_ok=True)
        for path in (root / "work/deep", root / "work", root):
            os.utime(path, ns=(1, 1))
            path.chmod(0o750)
            put(path / "new", b"data")
            assert os.stat(pair.mounted / "deep").st_ino
            time.sleep(SEEN_WITHIN_S)
            shell.stdin.write("\n")
            shell.stdin.flush()
            assert shell.stdout.readline() == f"{pair.mounted / 'deep'}\n"
        shell.stdin.close()
