"""What a portal's records say, in a mount and to the index: nothing is fetched for it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from tests.portal.local import DATASET, LocalPortal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Mounter
    from tests.sandbox import Run, Sandbox


def test_names_attributes_and_the_index_fetch_no_picks(
    mount: Mounter, copickfs: Run, sandbox: Sandbox, tmp_path: Path
) -> None:
    with LocalPortal(runs=2, written=2) as portal:
        sandbox.env["AWS_ENDPOINT_URL"] = portal.fs_args["endpoint_url"]
        options = ["--write", str(tmp_path / "mine"), "--graphql-url", portal.url]
        point = mount(f"--dataset={DATASET}", *options)
        portal.forget()
        run = portal.runs[0]
        inside = f"ExperimentRuns/{run['id']}/Picks"
        names = os.listdir(point / inside)
        assert names
        assert os.getxattr(point / inside, "user.copickfs.layer") == b"portal"
        (point / inside / "me_1_ribosome.json").write_text('{"points": []}')
        answer = copickfs("find", point, "--run-name", run["name"], "--type", "picks", "--json", check=True)
        found = json.loads(answer.stdout)["picks"]
        assert {each["path"] for each in found} == {
            f"{inside}/{name}" for name in (*names, "me_1_ribosome.json")
        }
        assert {each["run_name"] for each in found} == {run["name"]}
        searched = copickfs("search", point, run["name"], "--type", "run", "--paths", check=True).stdout
        assert searched.splitlines() == [f"{point}/ExperimentRuns/{run['id']}"]
        assert [key for key in portal.files.counts() if key.endswith(".ndjson")] == []
        for name in names:
            told = os.getxattr(point / inside / name, "user.copickfs.portal.run_name")
            assert told == run["name"].encode()
            size = os.stat(point / inside / name).st_size
            assert len((point / inside / name).read_bytes()) == size
        mount.umount(point)
