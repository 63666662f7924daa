"""Views in the shell of an ordinary user: they are copied like any file, and nothing is written there."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING

import pytest

from tests.projects import Project, write_templates

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from tests.sandbox import Sandbox

MESHES = "Views/TS_001/Meshes"
NAMES = [f"alice_1_membrane.{suffix}" for suffix in ("obj", "ply", "stl")]


class User:
    """An ordinary user with a mount of the project."""

    def __init__(self, sandbox: Sandbox, templates: Path) -> None:
        self._sandbox = sandbox
        self.home = sandbox.directory / "own"
        self.home.mkdir()
        config = Project(templates, self.home).file
        self.mountpoint = self.home / "mnt"
        self.mountpoint.mkdir()
        owner = sandbox.directory.stat()
        for directory, _, names in os.walk(self.home):
            for name in ("", *names):
                os.chown(os.path.join(directory, name), owner.st_uid, owner.st_gid)
        sandbox.run("mount", config, self.mountpoint, check=True)

    def shell(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the directory of the views of meshes."""
        return self._sandbox.finish(["sh", "-c", f"cd '{self.mountpoint / MESHES}' && {command}"])

    def done(self, command: str) -> str:
        """What a command says that has to succeed without complaint."""
        done = self.shell(command)
        assert (done.returncode, done.stderr) == (0, ""), command
        return done.stdout

    def close(self) -> None:
        self._sandbox.run("umount", self.mountpoint, check=True)


@pytest.fixture
def user(ordinary_user: Sandbox, tmp_path: Path) -> Iterator[User]:
    made = User(ordinary_user, write_templates(tmp_path))
    yield made
    made.close()


def test_the_files_of_meshes_in_the_shell_of_an_ordinary_user(user: User) -> None:
    """In one test: an ordinary user's mount takes its time."""
    assert user.done("ls").split() == NAMES
    listed = [line.split() for line in user.done("ls -ls").splitlines()[1:]]
    assert [line[0] for line in listed] == ["0", "0", "0"]  # blocks: no disk is taken
    assert int(listed[2][5]) == 84 + 50 * 12
    stl = base64.b64decode(user.done("cat alice_1_membrane.stl | base64"))  # FUSE lets not even root look
    assert len(stl) == 84 + 50 * 12

    for change in (
        "touch new", "mkdir new", "ln -s x new", "rm -f *.stl", "mv *.stl new", "echo > alice_1_membrane.stl",
        "truncate -s 0 *.stl", "chmod u+x *.stl", "touch *.stl", "setfattr -n user.x -v y *.stl",
        "cp *.ply new", "rm -rf ../Meshes", "touch ../../new", "ln *.stl new",
    ):  # fmt: skip
        said = user.shell(change)
        assert said.returncode, change
        assert "Read-only file system" in said.stderr, (change, said.stderr)
    assert user.done("ls").split() == NAMES

    # Twice, as one does, and then away with it.
    for tool in ("cp -r", "cp -a", "rsync -a"):
        user.done(f"{tool} . {user.home}/copy")
        user.done(f"cp *.stl {user.home}/copy")
        assert (user.home / "copy" / NAMES[2]).read_bytes() == stl
        user.done(f"rm -r {user.home}/copy")
    assert user.done("rsync -a --itemize-changes . ../Meshes") == ""
    part = user.done("dd if=alice_1_membrane.stl bs=7 skip=12 count=9 status=none | base64")
    assert base64.b64decode(part) == stl[84 : 84 + 63]
