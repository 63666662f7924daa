"""Datasets of a portal, mounted without a configuration file."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.portal.copick_root import pointed_at
from tests.portal.local import DATASET, LocalPortal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Mounter
    from tests.sandbox import Run, Sandbox


@pytest.fixture(scope="module")
def portal() -> Iterator[LocalPortal]:
    with LocalPortal() as served:
        yield served


@pytest.fixture
def options(portal: LocalPortal, sandbox: Sandbox, tmp_path: Path) -> list[str]:
    """What tells a command of the portal, and of a directory that is not there."""
    sandbox.env["AWS_ENDPOINT_URL"] = portal.fs_args["endpoint_url"]
    return ["--write", str(tmp_path / "new" / "mine"), "--graphql-url", portal.url]


def of_copick(portal: LocalPortal) -> list[dict[str, Any]]:
    from copick.util.portal import objects_from_datasets

    with pointed_at(portal.url, portal.fs_args["endpoint_url"]):
        return [each.model_dump(exclude={"label", "color"}) for each in objects_from_datasets([DATASET])]


def by_identifier(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(objects, key=lambda each: str(each["identifier"]))


def test_a_dataset_is_mounted_annotated_and_found(
    portal: LocalPortal, mount: Mounter, copickfs: Run, options: list[str], tmp_path: Path
) -> None:
    import copick

    point = mount(f"--dataset={DATASET}", *options)
    runs = sorted(str(run["id"]) for run in portal.runs)
    assert sorted(os.listdir(point / "ExperimentRuns")) == runs

    root = copick.from_file(str(point / "copick_config.json"))
    assert by_identifier(of_copick(portal)) == by_identifier(
        [each.model_dump(exclude={"label", "color"}) for each in root.config.pickable_objects]
    )
    assert [each.label for each in root.config.pickable_objects] == [1, 2, 3]
    run = root.get_run(runs[0])
    assert run.get_picks(object_name="cytosolic-ribosome", user_id="data-portal")[0].points
    run.new_picks("membrane", "1", "alice").store()
    name = "alice_1_membrane.json"
    written = tmp_path / "new" / "mine" / "ExperimentRuns" / runs[0] / "Picks" / name
    assert json.loads(written.read_text())["pickable_object_name"] == "membrane"

    named = f"portal:{DATASET}?write={tmp_path}/new/mine&graphql_url={quote(portal.url, safe='')}"
    assert mount.status(point)["configuration"] == named
    for target in ([str(point)], [f"--dataset={DATASET}", *options], [named]):
        found = copickfs("find", *target, "--user", "alice", "--json", check=True).stdout
        assert [each["path"].rpartition("/")[2] for each in json.loads(found)["picks"]] == [name]
    assert "reachable" in copickfs("check", *options, "--dataset", str(DATASET), check=True).stdout


def test_a_job_has_a_dataset_of_its_own(
    portal: LocalPortal, copickfs: Run, options: list[str], tmp_path: Path
) -> None:
    job = ["ls", str(tmp_path / "mnt" / "ExperimentRuns")]
    done = copickfs("run", *options[2:], "--dataset", str(DATASET), tmp_path / "mnt", "--", *job, check=True)
    assert len(done.stdout.split()) == 3
    assert not (tmp_path / "new").exists()
    refused = copickfs("run", *options[2:], "--dataset", "77", tmp_path / "mnt", "--", *job)
    assert refused.returncode == 1
    where = f"portal:77?graphql_url={quote(portal.url, safe='')}: dataset_ids"
    assert refused.stderr == f"copickfs: {where}: the portal has no dataset 77; correct 'dataset_ids'\n"
