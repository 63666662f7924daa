"""Random changes through the API, fsspec and a mount of one configuration: all faces always agree."""

from __future__ import annotations

import hashlib
import json
import os
import time
from typing import TYPE_CHECKING, Any

import copick
import fsspec
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

import copickfs
from copickfs.api import tree as trees
from copickfs.paths import join
from tests.projects import OBJECTS, SHAPE, labels, points, volume

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Mounter
    from tests.projects import Project

SEEN_WITHIN_S = (
    20.0  # a second is promised of the mount, but for partial copies that others begin: docs/api.md
)
SIZE = 10.0

faces = st.sampled_from(["api", "fsspec", "mount"])
numbers = st.integers(0, 99)
few = st.integers(0, 3)


class Faces:
    """One configuration as the view, the API, fsspec and a mount show it."""

    def __init__(self, project: Project, point: Path) -> None:
        self.project = project
        self.point = point
        self.api = copickfs.from_file(project.file)
        self.files = fsspec.filesystem("copickfs", config=str(project.file))

    def root(self, face: str) -> Any:
        """A copick root that has not looked at anything yet."""
        if face == "api":
            return copickfs.from_file(self.project.file)
        if face == "mount":
            return copick.from_file(str(self.point / "copick_config.json"))
        document = {
            "config_type": "filesystem", "pickable_objects": OBJECTS, "user_id": "alice", "session_id": "1",
            "overlay_root": "copickfs://", "overlay_fs_args": {"config": str(self.project.file)},
        }  # fmt: skip
        return copick.from_string(json.dumps(document))

    def check(self) -> None:
        """All faces have the same files with the same contents, and the same entities."""
        shown = dict(self._viewed(""))
        found = self.files.find("", withdirs=False)
        assert {path.strip("/"): digest(self.files.cat_file(path)) for path in found} == shown
        deadline_s = time.monotonic() + SEEN_WITHIN_S
        while (mounted := self._mounted()) != shown and time.monotonic() < deadline_s:
            time.sleep(0.05)
        assert mounted == shown

    def check_entities(self) -> None:
        """The API gives what copick itself finds in the tree, and of each layer what copick finds in that."""
        self._check_entities(self.root("api"), self.root("fsspec"))
        for name, layer in self.api.layer_manager.layers.items():
            self._check_entities(layer, self.project.copick(name))

    def _check_entities(self, own: Any, other: Any) -> None:
        assert [run.name for run in own.query()] == [run.name for run in other.query()]
        for run, plain in zip(own.query(), other.query(), strict=True):
            assert summary(run) == summary(plain)

    def _viewed(self, directory: str) -> Iterator[tuple[str, str]]:
        for entry in trees.entries(self.api.tree, directory):
            path = join(directory, entry.name)
            if entry.is_dir:
                yield from self._viewed(path)
            else:
                yield path, digest(trees.read(self.api.tree, path))

    def _mounted(self) -> dict[str, str]:
        shown = {}
        try:
            for directory, _names, files in os.walk(self.point):
                for name in files:
                    path = os.path.relpath(os.path.join(directory, name), self.point)
                    with open(self.point / path, "rb") as file:
                        shown[path] = digest(file.read())
        except OSError:  # a name that was there a moment ago
            return {}
        shown.pop("copick_config.json")
        return shown


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def summary(run: Any) -> dict[str, Any]:
    """All that copick tells of a run."""
    return {
        "picks": sorted((p.user_id, p.session_id, p.pickable_object_name, p.numpy()[0].tolist())
                        for p in run.query_picks()),
        "meshes": sorted((m.user_id, m.session_id) for m in run.query_meshes()),
        "filaments": sorted((f.user_id, f.session_id) for f in run.query_filaments()),
        "segmentations": sorted((s.segmentation_type, s.session_id, s.name, digest(s.numpy().tobytes()))
                                for s in run.query_segmentations()),
        "tomograms": sorted((spacing.voxel_size, t.tomo_type, digest(t.numpy().tobytes()))
                            for spacing in run.query_voxelspacings() for t in spacing.query_tomograms()),
    }  # fmt: skip


class Agreement(RuleBasedStateMachine):
    """Changes through one face after the other; the tree stays as it is from one example to the next."""

    def __init__(self, all_faces: Faces) -> None:
        super().__init__()
        self.faces = all_faces

    def _run(self, face: str, number: int) -> Any:
        runs = self.faces.root(face).runs
        return runs[number % len(runs)]

    @rule(face=faces, number=few)
    def make_a_run(self, face: str, number: int) -> None:
        self.faces.root(face).new_run(f"new{number}", exist_ok=True)

    @rule(face=faces, number=numbers)
    def remove_a_run(self, face: str, number: int) -> None:
        root = self.faces.root(face)
        runs = root.runs
        if len(runs) > 2:
            # copick's own `delete` asks for children that it has not listed.
            run = runs[number % len(runs)]
            run.refresh()
            run._delete_data()

    @rule(face=faces, number=numbers, session=few, count=st.integers(1, 4))
    def store_picks(self, face: str, number: int, session: int, count: int) -> None:
        picks = self._run(face, number).new_picks("ribosome", str(session), exist_ok=True)
        picks.from_numpy(points(count, count))

    @rule(face=faces, number=numbers, which=numbers)
    def remove_picks(self, face: str, number: int, which: int) -> None:
        picks = self._run(face, number).picks
        if picks:
            picks[which % len(picks)].delete()

    @rule(face=faces, number=numbers, session=few, planes=st.integers(1, SHAPE[0]))
    def store_a_segmentation(self, face: str, number: int, session: int, planes: int) -> None:
        run = self._run(face, number)
        segmentation = run.new_segmentation(SIZE, "membrane", str(session), exist_ok=True)
        segmentation.from_numpy(labels(session)[:planes])

    @rule(face=faces, number=numbers, seed=few)
    def change_a_part_of_a_tomogram(self, face: str, number: int, seed: int) -> None:
        run = self._run(face, number)
        for spacing in run.voxel_spacings:
            for tomogram in spacing.get_tomograms("wbp"):
                tomogram.set_region(volume(seed)[:2, :3, :4], x=slice(0, 4), y=slice(0, 3), z=slice(0, 2))

    @rule(face=faces, number=numbers)
    def remove_a_segmentation(self, face: str, number: int) -> None:
        segmentations = self._run(face, number).segmentations
        if segmentations:
            segmentations[number % len(segmentations)].delete()

    def check_invariants(self, *arguments: Any, **options: Any) -> None:
        super().check_invariants(*arguments, **options)
        self.faces.check()

    def teardown(self) -> None:
        self.faces.check_entities()


def agree(project: Project, mount: Mounter, examples: int, steps: int) -> None:
    all_faces = Faces(project, mount(project.file))
    run_state_machine_as_test(
        lambda: Agreement(all_faces),
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, database=None,
            phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
    assert np.all([layer.health().state == "ok" for layer in all_faces.api.tree.view.layers])


def test_all_faces_agree(project: Project, mount: Mounter) -> None:
    agree(project, mount, examples=2, steps=8)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_all_faces_agree_for_long(project: Project, mount: Mounter) -> None:
    agree(project, mount, examples=12, steps=15)
