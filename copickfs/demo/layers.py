"""The two layers of the demo, written by copick itself, so that they are exactly what copick writes.

========  ==============================  =====================================================
run       lab (a colleague's, below)      mine (one's own, above)
========  ==============================  =====================================================
TS_001    every kind of entity            nothing
TS_002    tomogram, picks, membrane       the same tomogram, smaller and with other chunks, and
                                          the same picks file with other points: both shadow
TS_003    a denoised tomogram, picks      picks, filaments, mesh, segmentations: all merge
TS_004    nothing                         every kind of entity
========  ==============================  =====================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import trimesh
from copick.impl.filesystem import CopickConfigFSSpec, CopickRootFSSpec
from copick.util.ome import volume_pyramid, write_ome_zarr_3d

from copickfs.demo import phantom
from copickfs.demo.phantom import LABELS, VOXEL_SIZE_ANGSTROM

if TYPE_CHECKING:
    from pathlib import Path

    from copick.models import CopickRoot, CopickRun, CopickTomogram, CopickVoxelSpacing

_WBP_NOISE = 0.5
_DENOISED_NOISE = 0.1
_SESSION_ID = "1"
_OTHER_CHUNKS = (16, 24, 32)
_OTHER_SHAPE = (40, 48, 56)


def write_lab_layer(root: Path, objects: list[dict[str, Any]]) -> None:
    """Write the curated layer: runs TS_001 to TS_003 and the ribosome's map, by the user ``lab``."""
    project = _open_project(root, objects, user_id="lab")
    _write_everything(project.new_run("TS_001"))
    run = project.new_run("TS_002")
    _write_tomogram(run, "wbp", _WBP_NOISE)
    _write_picks(run, "ribosome")
    _write_binary(run)
    run = project.new_run("TS_003")
    _write_tomogram(run, "denoised", _DENOISED_NOISE)
    _write_picks(run, "ribosome")
    _write_map(project, "ribosome")


def write_own_layer(root: Path, objects: list[dict[str, Any]]) -> None:
    """Write one's own layer: runs TS_002 to TS_004 and the ferritin's map, by the user ``demo``."""
    project = _open_project(root, objects, user_id="demo")
    run = project.new_run("TS_002")
    _write_retiled(run)
    _write_corrected_picks(run)
    _write_picks(run, "ferritin")
    run = project.new_run("TS_003")
    _write_picks(run, "ferritin")
    _write_filaments(run)
    _write_mesh(run)
    _write_segmentations(run)
    _write_everything(project.new_run("TS_004"))
    _write_map(project, "ferritin")


def _open_project(root: Path, objects: list[dict[str, Any]], user_id: str) -> CopickRoot:
    """A plain copick project in ``root``, open for writing."""
    config = CopickConfigFSSpec(
        overlay_root=f"local://{root.absolute()}",
        overlay_fs_args={"auto_mkdir": True},
        user_id=user_id,
        session_id=_SESSION_ID,
        pickable_objects=objects,
    )
    return CopickRootFSSpec(config)


def _write_everything(run: CopickRun) -> None:
    """Every kind of entity that a run can have."""
    tomogram = _write_tomogram(run, "wbp", _WBP_NOISE)
    features = tomogram.new_features("edges")
    write_ome_zarr_3d(features.zarr(), {VOXEL_SIZE_ANGSTROM: phantom.edges(run.name)})
    for name in phantom.scene(run.name).particles:
        _write_picks(run, name)
    _write_filaments(run)
    _write_mesh(run)
    _write_binary(run)
    _write_segmentations(run)


def _spacing(run: CopickRun) -> CopickVoxelSpacing:
    return run.new_voxel_spacing(VOXEL_SIZE_ANGSTROM, exist_ok=True)


def _write_tomogram(run: CopickRun, tomo_type: str, noise: float) -> CopickTomogram:
    tomogram = _spacing(run).new_tomogram(tomo_type)
    tomogram.from_numpy(phantom.tomogram(run.name, noise), levels=3)
    return tomogram


def _write_retiled(run: CopickRun) -> None:
    """The tomogram that the lab has too, cropped, with other noise, and in many small chunks.

    Were chunks of the two arrays mixed, every voxel from the other array would be visibly wrong.
    """
    volume = phantom.tomogram(run.name, _DENOISED_NOISE, take=1)
    crop = volume[tuple(slice(0, length) for length in _OTHER_SHAPE)]
    pyramid = volume_pyramid(crop, VOXEL_SIZE_ANGSTROM, levels=3)
    write_ome_zarr_3d(_spacing(run).new_tomogram("wbp").zarr(), pyramid, chunk_size=_OTHER_CHUNKS)


def _write_picks(run: CopickRun, name: str) -> None:
    group = phantom.scene(run.name).particles[name]
    picks = run.new_picks(name, session_id=_SESSION_ID)
    picks.meta.voxel_spacing = VOXEL_SIZE_ANGSTROM
    picks.from_numpy(group.positions, group.transforms, scores=group.scores)


def _write_corrected_picks(run: CopickRun) -> None:
    """One's own version of the lab's ribosomes, under the same name: the first five, moved a little."""
    group = phantom.scene(run.name).particles["ribosome"]
    picks = run.new_picks("ribosome", session_id=_SESSION_ID, user_id="lab")
    picks.meta.voxel_spacing = VOXEL_SIZE_ANGSTROM
    picks.from_numpy(group.positions[:5] + 7.5, group.transforms[:5], scores=group.scores[:5])


def _write_filaments(run: CopickRun) -> None:
    filaments = run.new_filaments("microtubule", session_id=_SESSION_ID)
    filaments.from_control_points(
        [phantom.scene(run.name).microtubule],
        polarity_known=[True],
        radii=[phantom.MICROTUBULE_RADIUS_ANGSTROM],
        voxel_spacing=VOXEL_SIZE_ANGSTROM,
    )


def _write_mesh(run: CopickRun) -> None:
    """The vesicle's surface, in Angstrom."""
    scene = phantom.scene(run.name)
    sphere = trimesh.creation.icosphere(subdivisions=3, radius=scene.vesicle_radius_angstrom)
    sphere.apply_translation(scene.vesicle_centre)
    mesh = run.new_mesh("membrane", session_id=_SESSION_ID)
    mesh.mesh = trimesh.Scene(sphere)
    mesh.store()


def _write_binary(run: CopickRun) -> None:
    labels, _ = phantom.segmentation(run.name)
    membrane = run.new_segmentation(VOXEL_SIZE_ANGSTROM, "membrane", session_id=_SESSION_ID)
    membrane.from_numpy((labels == LABELS["membrane"]).astype(np.uint8))


def _write_segmentations(run: CopickRun) -> None:
    """A multilabel, an instance and a panoptic segmentation."""
    labels, instances = phantom.segmentation(run.name)
    multilabel = run.new_segmentation(
        VOXEL_SIZE_ANGSTROM, "objects", session_id=_SESSION_ID, is_multilabel=True
    )
    multilabel.from_numpy(labels)
    ribosomes = run.new_segmentation(
        VOXEL_SIZE_ANGSTROM, "ribosome", session_id=_SESSION_ID, is_instance=True
    )
    ribosomes.from_numpy(np.where(labels == LABELS["ribosome"], instances, 0))
    panoptic = run.new_segmentation(VOXEL_SIZE_ANGSTROM, "scene", session_id=_SESSION_ID, is_panoptic=True)
    panoptic.from_numpy(np.stack([labels, instances]))


def _write_map(project: CopickRoot, name: str) -> None:
    """The density map of a particle."""
    project.get_object(name).from_numpy(phantom.particle_map(name), voxel_size=15.0)
