"""``copickfs prefetch``: afterwards everything can be read without the servers."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import copick

from tests import model
from tests.mounted.cached import RUN, told
from tests.mounted.test_copick import assert_same, bare_project, content, entities, entities_of_run

if TYPE_CHECKING:
    from tests.conftest import Mounter
    from tests.mounted.cached import FarProject
    from tests.sandbox import Run


def wanted(far: FarProject, below: str = "") -> dict[str, dict[str, Any]]:
    """What copick has to find: each entity as the layer has it that decides."""
    objects = json.loads((far.local / "config.json").read_text())["pickable_objects"]
    roots = [far.local / name for name in far.sites]
    bare = [entities(bare_project(root, objects)) for root in roots]
    merged = model.merge(roots)
    return {
        path: content(bare[node.layer][path])
        for path, node in merged.items()
        if f"{path}/".startswith(below) and (node.store or path.endswith((".json", ".glb")))
    }


def test_a_run_is_read_completely_by_copick_without_the_servers(
    far: FarProject, mount: Mounter, copickfs: Run
) -> None:
    said = told(copickfs, "prefetch", far.config, "--run", "TS_001")
    assert re.fullmatch(r"(\d+) of \1 files are in the cache: .* fetched, 0 B were there\n", said), said
    with far.away():
        point = mount(far.config, "--offline")
        project = copick.from_file(point / "copick_config.json")
        assert [run.name for run in project.runs] == ["TS_001", "TS_002", "TS_003", "TS_004"]
        found = dict(entities_of_run(project.get_run("TS_001")))
        expected = wanted(far, f"{RUN}/")
        assert found.keys() == expected.keys()
        for path, entity in found.items():
            assert_same(content(entity), expected[path])
        mount.umount(point)
