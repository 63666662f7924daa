"""Names of entities: copick itself says what each means."""

from __future__ import annotations

import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

import copick
import pytest
from copick.util.segmentation import parse_segmentation_store_name
from hypothesis import example, given, settings
from hypothesis import strategies as st

from copickfs.entities import (
    EntityRecord,
    EntityType,
    Identity,
    directory_of,
    holds_entities,
    identify,
    naming,
    spacing_of,
)

RUN = "ExperimentRuns/TS_1"
SPACINGS = ("VoxelSpacing10.000", "VoxelSpacing7.5", "VoxelSpacing13.480")
SEGMENTATIONS = ("Segmentations", "InstanceSegmentations", "PanopticSegmentations")
FRAGMENTS = (
    "a", "b", "_", "_", "_", "-", ".", "features", "_features", "-multilabel", ".zarr", ".json", ".glb",
    "10.000", "7.5", "1e1", "-5", "nan", "é", " ", "VoxelSpacing",
)  # fmt: skip
HIDDEN_BY_US_ONLY = (".zarr", ".json", ".glb")  # copick takes these away before it looks for a dot
LEAVES = st.builds(
    lambda parts, suffix: "".join(parts) + suffix,
    st.lists(st.sampled_from(FRAGMENTS), max_size=7),
    st.sampled_from((".zarr", "_features.zarr", ".json", ".glb", "")),
).filter(lambda leaf: leaf not in ("", ".", "..") and not leaf.startswith(HIDDEN_BY_US_ONLY))
PLACES = st.tuples(
    st.sampled_from((*SPACINGS, "Picks", "Filaments", "Meshes", *SEGMENTATIONS, "notes")),
    LEAVES,
    st.booleans(),
)


def copick_can_list(place: tuple[str, str, bool]) -> bool:
    """Names that make copick fail, and directories that it takes for files."""
    directory, leaf, is_dir = place
    suffix = {"Picks": ".json", "Filaments": ".json", "Meshes": ".glb"}.get(directory)
    if suffix is None or not leaf.endswith(suffix):
        return True
    stem = leaf.replace(suffix, "")
    return not is_dir and (stem.startswith(".") or stem.count("_") >= 2)


def make(root: Path, places: list[tuple[str, str, bool]]) -> None:
    for directory, leaf, is_dir in places:
        full = root / RUN / directory / leaf
        full.parent.mkdir(parents=True, exist_ok=True)
        if full.exists():
            continue
        if is_dir:
            full.mkdir()
        else:
            full.write_bytes(b"")


def ours(root: Path) -> dict[EntityType, set[tuple[Any, ...]]]:
    found: dict[EntityType, set[tuple[Any, ...]]] = {kind: set() for kind in EntityType}
    for above, directories, files in os.walk(root):
        directory = str(Path(above).relative_to(root)) if above != str(root) else ""
        for name in directories + files:
            identity = identify(f"{directory}/{name}" if directory else name, is_dir=name in directories)
            if identity is not None:
                assert directory_of(identity) == directory
                assert holds_entities(directory)
                found[identity.type].add(tuple(identity[2:]))
    tomograms = {(run, size, name) for run, size, name, *_ in found[EntityType.TOMOGRAM]}
    found[EntityType.FEATURE] = {
        feature for feature in found[EntityType.FEATURE] if (*feature[:2], feature[5]) in tomograms
    }
    return found


def theirs(root: Path) -> dict[EntityType, set[tuple[Any, ...]]]:
    config = root / "config.json"
    things = [
        {"name": name, "is_particle": True, "label": label, "color": [0, 0, 0, 255]}
        for label, name in enumerate(("ribosome", "none"), 1)
    ]
    about = {"config_type": "filesystem", "name": "t", "description": "", "version": "1.0.0"}
    place = {"overlay_root": str(root), "overlay_fs_args": {}}
    config.write_text(json.dumps({**about, **place, "pickable_objects": things}))
    found: dict[EntityType, set[tuple[Any, ...]]] = {kind: set() for kind in EntityType}
    project = copick.from_file(str(config))
    for thing in project.pickable_objects:
        if (root / "Objects" / f"{thing.name}.zarr").is_dir():
            found[EntityType.OBJECT].add(("", None, thing.name, "", "", thing.name, ""))
    for run in project.runs:
        found[EntityType.RUN].add((run.name, None, "", "", "", "", ""))
        for kind, things in (
            (EntityType.PICKS, run.picks),
            (EntityType.MESH, run.meshes),
            (EntityType.FILAMENT, run.filaments),
        ):
            found[kind] |= {
                (run.name, None, "", t.user_id, t.session_id, t.pickable_object_name, "") for t in things
            }
        for s in run.segmentations:
            kinds = {"multilabel": s.is_multilabel, "instance": s.is_instance, "panoptic": s.is_panoptic}
            kind_name = next((name for name, is_it in kinds.items() if is_it), "binary")
            shown = "" if kind_name in ("multilabel", "panoptic") else s.name
            found[EntityType.SEGMENTATION].add(
                (run.name, s.voxel_size, s.name, s.user_id, s.session_id, shown, kind_name)
            )
        for spacing in run.voxel_spacings:
            found[EntityType.VOXEL_SPACING].add((run.name, spacing.voxel_size, "", "", "", "", ""))
            for tomogram in spacing.tomograms:
                volume = (run.name, spacing.voxel_size)
                found[EntityType.TOMOGRAM].add((*volume, tomogram.tomo_type, "", "", "", ""))
                # A tomogram whose name has a "_" has the features of the one before it as well.
                if "_" not in tomogram.tomo_type:
                    for feature in filter(lambda f: f.feature_type, tomogram.features):
                        found[EntityType.FEATURE].add(
                            (*volume, feature.feature_type, "", "", tomogram.tomo_type, "")
                        )
    found[EntityType.TOMOGRAM] = {t for t in found[EntityType.TOMOGRAM] if t[2]}
    found[EntityType.SEGMENTATION] = {s for s in found[EntityType.SEGMENTATION] if math.isfinite(s[1])}
    return found


ODD = [
    (SPACINGS[0], "wbp.zarr", True), (SPACINGS[0], "file.zarr", False),
    (SPACINGS[0], "my-features.zarr", True),
    (SPACINGS[0], "wbp_sam_features.zarr", True), (SPACINGS[0], "wbp_sam_x_features.zarr", True),
    (SPACINGS[0], "wbp_.x_features.zarr", True), (SPACINGS[0], "wbp__features.zarr", True),
    (SPACINGS[0], "none_sam_features.zarr", True), (SPACINGS[0], "wbp_features_features.zarr", True),
    (SPACINGS[0], "wbp_y_features.zarr_features.zarr", True), (SPACINGS[0], "a.zarr.zarr", True),
    (SPACINGS[1], "not-found.zarr", True), ("Picks", "u_s_o_more.json", False), ("Picks", "__.json", False),
    ("Picks", ".u_s_o.json", False), ("Picks", "u_s_o.json.json", False), ("Picks", "u_s_o.star", False),
    ("Filaments", "u_s_o_more.json", False), ("Filaments", "u__o.json", False),
    ("Filaments", "__x.json", False),
    ("Meshes", "u_s_o.glb", False), ("Segmentations", "10.000_u_s_n-multilabel.zarr", True),
    ("Segmentations", "10_u_s_n_m.zarr", True), ("Segmentations", "x_u_s_n.zarr", True),
    ("Segmentations", "10.000_u_s_n.zarr", False), ("Segmentations", "1e1_u__n.zarr", True),
    ("InstanceSegmentations", "10.000_u_s_n-multilabel.zarr", True),
    ("PanopticSegmentations", "10.000_u_s_n.zarr", True), ("Segmentations", "nan_u_s_n.zarr", True),
]  # fmt: skip


@given(st.lists(PLACES.filter(copick_can_list), max_size=25))
@example(ODD)
@settings(max_examples=25, deadline=None)
def test_entities_are_those_that_copick_lists(places: list[tuple[str, str, bool]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        make(root, places)
        for name in ("TS_1", ".hidden", "a b_c", "é", "VoxelSpacing10.000"):
            (root / "ExperimentRuns" / name).mkdir(parents=True, exist_ok=True)
        (root / "ExperimentRuns/notes.txt").write_bytes(b"")
        for name in ("ribosome.zarr", "notes"):
            (root / "Objects" / name).mkdir(parents=True)
        assert ours(root) == theirs(root)


@given(LEAVES, st.sampled_from(SEGMENTATIONS))
@settings(max_examples=300, deadline=None)
def test_segmentations_are_parsed_as_copick_does(leaf: str, directory: str) -> None:
    identity = identify(f"{RUN}/{directory}/{leaf}", is_dir=True)
    said = None
    if leaf.endswith(".zarr") and not leaf.startswith("."):
        said = parse_segmentation_store_name(leaf, directory)
    if said is None or not abs(said["voxel_size"]) < float("inf"):
        assert identity is None
        return
    assert identity is not None
    assert identity.type is EntityType.SEGMENTATION
    assert (identity.voxel_size, identity.user, identity.session, identity.name) == (
        said["voxel_size"], said["user_id"], said["session_id"], said["name"],
    )  # fmt: skip
    kinds = [kind for kind in ("multilabel", "instance", "panoptic") if said[f"is_{kind}"]]
    assert [identity.segmentation_type] == (kinds or ["binary"])


@pytest.mark.parametrize(
    ("name", "size"),
    [("VoxelSpacing10.000", 10.0), ("VoxelSpacing7", 7.0), ("VoxelSpacing", None), ("VoxelSpacingx", None),
     ("VoxelSpacingnan", None), ("VoxelSpacinginf", None), (f"VoxelSpacing{'9' * 400}", None),
     ("10.000", None)],
)  # fmt: skip
def test_voxel_spacings(name: str, size: float | None) -> None:
    assert spacing_of(name) == size


@pytest.mark.parametrize(
    ("directory", "holds"),
    [("", False), ("ExperimentRuns", True), ("Objects", True), ("Objects/x.zarr", False), (RUN, True),
     ("ExperimentRuns/.x", False), ("ExperimentRuns/", False), ("ExperimentRuns/.x/Picks", False),
     (f"{RUN}/Picks", True), (f"{RUN}/notes", False), (f"{RUN}/VoxelSpacing10.000", True),
     (f"{RUN}/VoxelSpacing10", False), (f"{RUN}/Picks/x", False), ("notes", False)],
)  # fmt: skip
def test_directories_that_hold_entities(directory: str, holds: bool) -> None:
    assert holds_entities(directory) is holds
    assert (naming(directory) is not None) is holds


def test_words_for_kinds() -> None:
    for kind in EntityType:
        for word in (kind.plural, kind.name, kind.name.lower(), kind.plural.replace("_", "-").upper()):
            assert EntityType.named(word) is kind
    with pytest.raises(KeyError):
        EntityType.named("volume")


def test_a_record_as_a_document() -> None:
    identity = Identity(EntityType.TOMOGRAM, f"{RUN}/VoxelSpacing10.000/wbp.zarr", "TS_1", 10.0, "wbp")
    record = EntityRecord(identity, ("mine", "lab"), 0, 5, "v", {"levels": 3, "pyramid": [["0"]]})
    assert record.document() == {
        "type": "tomogram", "path": identity.path, "run": "TS_1", "voxel_size": 10.0, "name": "wbp",
        "layer": "mine", "layers": ["mine", "lab"], "size_bytes": 0, "mtime_ns": 5, "metadata": {"levels": 3},
    }  # fmt: skip
    assert EntityRecord(identity, ()).document()["layer"] == ""
