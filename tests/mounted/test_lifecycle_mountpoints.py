"""Where a mount is refused, and how clearly."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.sandbox import mounted_below, needs_root

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Mounter
    from tests.mounted.conftest import Demo
    from tests.sandbox import Run, Sandbox


def refused(done: subprocess.CompletedProcess[str], *words: str | Path) -> None:
    """One line on standard error that has all the words, and exit status 1."""
    assert done.returncode == 1, done
    assert done.stderr.startswith("copickfs: ")
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert str(word) in done.stderr, done.stderr


def test_missing(demo: Demo, copickfs: Run, tmp_path: Path) -> None:
    refused(copickfs("mount", demo.config, tmp_path / "mnt"), tmp_path / "mnt", "does not exist", "mkdir -p")


def test_not_a_directory(demo: Demo, copickfs: Run, tmp_path: Path) -> None:
    file = tmp_path / "mnt"
    file.touch()
    refused(copickfs("mount", demo.config, file), file, "not a directory")


def test_not_empty(demo: Demo, copickfs: Run, tmp_path: Path) -> None:
    point = tmp_path / "mnt"
    point.mkdir()
    (point / "thesis.tex").touch()
    refused(copickfs("mount", demo.config, point), point, "not empty", "thesis.tex")
    assert mounted_below(tmp_path) == []


def test_already_mounted(demo: Demo, copickfs: Run, mount: Mounter) -> None:
    point = mount(demo.config)
    done = copickfs("mount", demo.config, point)
    refused(done, "already mounted", mount.pid(point), demo.config, "copickfs umount")
    assert mounted_below(point) == [str(point)]


def test_already_mounted_by_an_unknown_daemon(
    demo: Demo, copickfs: Run, mount: Mounter, sandbox: Sandbox
) -> None:
    point = mount(demo.config)
    (state,) = (sandbox.runtime / "copickfs").glob("*.json")
    state.unlink()
    refused(copickfs("mount", demo.config, point), "already mounted", demo.config)
    assert mount.status(point)["pid"] > 1


@needs_root
def test_a_file_system_of_another_kind_may_be_there(demo: Demo, mount: Mounter, tmp_path: Path) -> None:
    """Containers bind an empty directory where the mount is wanted."""
    source, point = tmp_path / "source", tmp_path / "mnt"
    source.mkdir()
    point.mkdir()
    subprocess.run(["mount", "--bind", source, point], check=True)
    try:
        mount(demo.config, mountpoint=point)
        assert os.listdir(point / "ExperimentRuns")
        mount.umount(point)
    finally:
        subprocess.run(["umount", point], check=True)


def test_a_symbolic_link_is_followed(demo: Demo, mount: Mounter, tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to("real")
    mount(demo.config, mountpoint=link)
    assert mounted_below(tmp_path) == [str(real)]
    assert mount.status(link)["mountpoint"] == str(real)
    mount.umount(link)
    assert mounted_below(tmp_path) == []


def test_odd_names(demo: Demo, mount: Mounter, tmp_path: Path) -> None:
    for name in ("with space, tab\there, back\\slash", "ünïcödé [1], new\nline, #,=:"):
        point = mount(demo.config, mountpoint=tmp_path / name)
        assert os.listdir(point / "ExperimentRuns")
        assert mount.status(point)["state"] == "serving"
        mount.umount(point)


def test_relative_mount_points(demo: Demo, copickfs: Run, tmp_path: Path) -> None:
    (tmp_path / "a" / "mnt").mkdir(parents=True)
    assert copickfs("mount", demo.config, "../a/./mnt", cwd=tmp_path / "a").returncode == 0
    assert mounted_below(tmp_path) == [str(tmp_path / "a" / "mnt")]
    assert copickfs("umount", "mnt", cwd=tmp_path / "a").returncode == 0


@pytest.mark.parametrize("place", ["lab", "lab/ExperimentRuns/empty", "."])
def test_never_into_a_layer_nor_around_one(place: str, copickfs: Run, tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "lab" / "ExperimentRuns" / "empty").mkdir(parents=True)
    config = tmp_path / "layers.json"
    config.write_text(
        json.dumps(
            {
                "config_type": "multilayer",
                "layers": ["lab"],
                "layer_configs": {"lab": {"config_type": "filesystem", "root": str(project / "lab")}},
            }
        )
    )
    (tmp_path / "link").symlink_to("project")
    done = copickfs("mount", config, tmp_path / "link" / place)
    if place == "lab/ExperimentRuns/empty":
        refused(done, "layer_configs.lab.root", "contain each other", project / "lab")
    else:  # not empty either: any of the two reasons is as good
        refused(done, project)
    assert mounted_below(tmp_path) == []


@needs_root
def test_without_a_fuse_device(demo: Demo, sandbox: Sandbox, tmp_path: Path) -> None:
    """In a mount namespace whose /dev has no fuse, as in a container without the device."""
    point = tmp_path / "mnt"
    point.mkdir()
    script = 'mount -t tmpfs none /dev && exec "$@"'
    done = sandbox.finish(
        ["unshare", "-m", "sh", "-c", script, "sh", *sandbox.command("mount", demo.config, point)],
    )
    refused(done, "/dev/fuse is missing", "modprobe fuse", "--device /dev/fuse")


@needs_root
def test_the_reason_of_the_kernel_is_passed_on(demo: Demo, sandbox: Sandbox, tmp_path: Path) -> None:
    """No CAP_SYS_ADMIN, as in an ordinary container: mount(2) and fusermount3 are both refused."""
    point = tmp_path / "mnt"
    point.mkdir()
    done = sandbox.finish(
        ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin",
         *sandbox.command("mount", demo.config, point)],
    )  # fmt: skip
    refused(done, "refused the mount", "Operation not permitted")
    assert sandbox.leftovers() == []
