"""Where copick keeps its objects: from a ``copick.models`` object to its path in the tree.

By the names of attributes alone, so that copick need not be imported. Source: ``copick.impl.filesystem``
and ``copick.util.segmentation`` of copick 1.31.
"""

from __future__ import annotations

from typing import Any

from copickfs.entities import OBJECTS_DIRECTORY, RUNS_DIRECTORY


def run_path(run: Any) -> str:
    """Of a ``CopickRun``."""
    return f"{RUNS_DIRECTORY}/{run.name}"


def voxel_spacing_path(spacing: Any) -> str:
    """Of a ``CopickVoxelSpacing``."""
    return f"{run_path(spacing.run)}/VoxelSpacing{spacing.voxel_size:.3f}"


def tomogram_path(tomogram: Any) -> str:
    """Of a ``CopickTomogram``."""
    return f"{voxel_spacing_path(tomogram.voxel_spacing)}/{tomogram.tomo_type}.zarr"


def features_path(features: Any) -> str:
    """Of ``CopickFeatures``."""
    stem = tomogram_path(features.tomogram).removesuffix(".zarr")
    return f"{stem}_{features.feature_type}_features.zarr"


def picks_path(picks: Any) -> str:
    """Of ``CopickPicks``."""
    return f"{run_path(picks.run)}/Picks/{_made_by(picks)}.json"


def filaments_path(filaments: Any) -> str:
    """Of ``CopickFilaments``."""
    return f"{run_path(filaments.run)}/Filaments/{_made_by(filaments)}.json"


def mesh_path(mesh: Any) -> str:
    """Of a ``CopickMesh``."""
    return f"{run_path(mesh.run)}/Meshes/{_made_by(mesh)}.glb"


def segmentation_path(segmentation: Any) -> str:
    """Of a ``CopickSegmentation`` of any type."""
    directory, suffix = "Segmentations", ""
    if getattr(segmentation, "is_instance", False):
        directory = "InstanceSegmentations"
    elif getattr(segmentation, "is_panoptic", False):
        directory = "PanopticSegmentations"
    elif segmentation.is_multilabel:
        suffix = "-multilabel"
    made_by = f"{segmentation.user_id}_{segmentation.session_id}_{segmentation.name}{suffix}"
    return f"{run_path(segmentation.run)}/{directory}/{segmentation.voxel_size:.3f}_{made_by}.zarr"


def object_path(shown: Any) -> str:
    """Of a ``CopickObject``."""
    return f"{OBJECTS_DIRECTORY}/{shown.name}.zarr"


def _made_by(points: Any) -> str:
    return f"{points.user_id}_{points.session_id}_{points.pickable_object_name}"
