"""A project with picks that copick has written, and views of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import copick
import numpy as np
from scipy.spatial.transform import Rotation

from copickfs.entities import EntityType, Identity, identify
from copickfs.layers.local import LocalLayer
from copickfs.model import ByteRange
from copickfs.view import View
from copickfs.virtual.project import Pickable, Project
from copickfs.virtual.sources import Source
from tests.viewfacts import NoFacts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from copickfs.virtual.rendering import Renderer

SHAPE = (12, 16, 20)
VOXEL = 10.012
FULL = "ExperimentRuns/TS_001/Picks/alice_1_ribosome.json"
PLAIN = "ExperimentRuns/TS_001/Picks/bob_2_ribosome.json"
ACTIN = "ExperimentRuns/TS_001/Picks/alice_1_actin.json"
SPACED = "ExperimentRuns/TS 2, b/Picks/alice_1_ribosome.json"
LOST = "ExperimentRuns/TS_003/Picks/alice_1_ribosome.json"

RIBOSOME = Pickable("ribosome", 1, (0, 117, 220, 255), 150.0, is_particle=True)
ACTIN_OBJECT = Pickable("actin", 2, (255, 0, 0, 255), None, is_particle=True, is_filament=True)
OBJECTS = {
    "ribosome": RIBOSOME,
    "actin": ACTIN_OBJECT,
    "proteasome": Pickable("proteasome", 4, (1, 2, 3, 255), 60.0, is_particle=True),
    "membrane": Pickable("membrane", 3, (9, 9, 9, 255), None, is_particle=False),
}


def matrices(seed: int, number: int, shift: float = 7.0) -> np.ndarray[Any, Any]:
    """Random orientations and shifts."""
    random = np.random.default_rng(seed)
    found = np.tile(np.eye(4), (number, 1, 1))
    found[:, :3, :3] = Rotation.random(number, rng=random).as_matrix()
    found[:, :3, 3] = random.normal(0, shift, (number, 3))
    return found


def positions(seed: int, number: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).random((number, 3)) * np.array(SHAPE[::-1]) * VOXEL


def written(directory: Path) -> Any:
    """The root, by copick."""
    document = {
        "config_type": "filesystem", "user_id": "alice", "session_id": "1",
        "pickable_objects": [
            {"name": "ribosome", "is_particle": True, "label": 1, "color": RIBOSOME.color, "radius": 150.0},
            {
                "name": "actin", "is_particle": True, "label": 2, "color": ACTIN_OBJECT.color,
                "metadata": {"copick": {"filament": {"polar": True}}},
            },
        ],
        "overlay_root": f"local://{directory}", "overlay_fs_args": {"auto_mkdir": True},
    }  # fmt: skip
    root = copick.from_string(json.dumps(document))
    volume = np.zeros(SHAPE, dtype=np.float32)
    run = root.new_run("TS_001")
    run.new_voxel_spacing(VOXEL).new_tomogram("wbp").from_numpy(volume, levels=1)
    run.new_voxel_spacing(20.0).new_tomogram("denoised").from_numpy(volume[::2, ::2, ::2], levels=1)
    ids, scores = np.arange(1, 31), np.linspace(-0.1, 0.9, 30)
    run.new_picks("ribosome", "1").from_numpy(positions(1, 30), matrices(1, 30), ids, scores)
    run.new_picks("ribosome", "2", "bob").from_numpy(positions(2, 3))
    # The points of two filaments alternate.
    filaments = run.new_filaments("actin", "1")
    filaments.from_numpy([positions(3, 4), positions(4, 4)])
    filaments.filaments[1].polarity_known = True
    filaments.store()
    run.new_picks("actin", "1").from_numpy(positions(5, 8), matrices(5, 8), np.array([2, 1] * 4))
    run = root.new_run("TS 2, b")
    run.new_voxel_spacing(8.5).new_tomogram("wbp").from_numpy(volume, levels=1)
    run.new_picks("ribosome", "1").from_numpy(positions(6, 5), matrices(6, 5))
    root.new_run("TS_003").new_picks("ribosome", "1").from_numpy(positions(7, 4))
    return copick.from_string(json.dumps(document))


class KnownFacts(NoFacts):
    """Facts that know what a test says."""

    def __init__(self, view: View, known: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(view)
        self._known = known

    def known(self, path: str, _entry: Any, _layer: Any) -> tuple[str, Mapping[str, Any]] | None:
        found = self._known.get(path)
        return None if found is None else (repr(found), found)


class Place:
    """A project in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.layer = LocalLayer("lab", directory)
        self.layer.connect()
        self.view = View((self.layer,))

    def source(
        self,
        path: str | None,
        known: Mapping[str, Mapping[str, Any]] | None = None,
        objects: Mapping[str, Pickable] = OBJECTS,
    ) -> Source:
        """What a renderer is given; None is the whole project."""
        facts = KnownFacts(self.view, known or {})
        identity: Identity | None = None
        if path is not None:
            is_dir = not path.endswith(".json")
            identity = identify(path, is_dir=is_dir)
            assert identity is not None
            assert is_dir == (identity.type is EntityType.RUN)
        return Source(Project(self.view, facts, objects), identity)

    def write(self, path: str, data: bytes) -> None:
        """Put a file there."""
        (self.directory / path).parent.mkdir(parents=True, exist_ok=True)
        (self.directory / path).write_bytes(data)
        self.layer.refresh()


def made(renderer: Renderer, source: Source, name: str | None = None) -> bytes:
    """The whole file, which is as long as it was said to be."""
    name = name or renderer.files(source)[0]
    size_bytes = renderer.size_bytes(source, name)
    contents = renderer.open(source, name)
    data = bytes(contents.read(ByteRange(0, size_bytes + 1)))
    contents.close()
    assert len(data) == size_bytes
    return data
