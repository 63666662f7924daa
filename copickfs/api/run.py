"""Runs of a tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from copick.models import (
    CopickFilamentsFile,
    CopickMeshMeta,
    CopickPicksFile,
    CopickRun,
    CopickRunMeta,
    CopickSegmentationMeta,
    CopickVoxelSpacingMeta,
)

from copickfs.api import tree as trees
from copickfs.api.entity import Directory, forget, listed_when_made
from copickfs.entities import EntityType
from copickfs.layers import entitypaths

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copickfs.entities import Identity

_SEGMENTATION_DIRECTORIES = ("Segmentations", "InstanceSegmentations", "PanopticSegmentations")


class TreeRun(Directory, CopickRun):
    """A run; see ``copick.models.CopickRun``."""

    _word = "run"

    new_voxel_spacing = listed_when_made(CopickRun.new_voxel_spacing, "_voxel_spacings")
    new_picks = listed_when_made(CopickRun.new_picks, "_picks")
    new_filaments = listed_when_made(CopickRun.new_filaments, "_filaments")
    new_mesh = listed_when_made(CopickRun.new_mesh, "_meshes")
    new_segmentation = listed_when_made(CopickRun.new_segmentation, "_segmentations")

    @property
    def path(self) -> str:
        """See `Entity.path`."""
        return entitypaths.run_path(self)

    def counterpart(self, root: Any) -> TreeRun:
        """The same run in another root."""
        return root.classes.run(root, CopickRunMeta(name=self.name))  # type: ignore[no-any-return]

    def query_voxelspacings(self) -> list[Any]:
        """The voxel spacings that are there now."""
        sizes = dict.fromkeys(
            identity.voxel_size
            for identity in trees.identities(self.tree, self.path)
            if identity.type is EntityType.VOXEL_SPACING
        )
        make = self.root.classes.voxel_spacing
        return [make(self, CopickVoxelSpacingMeta(voxel_size=size)) for size in sizes]

    def query_picks(self) -> list[Any]:
        """The picks that are there now; those of one user, session and object in two layers are one."""
        make = self.root.classes.picks
        return [make(self, CopickPicksFile(**names)) for names in self._made_by("Picks")]

    def query_filaments(self) -> list[Any]:
        """The filaments that are there now."""
        make = self.root.classes.filaments
        return [make(self, CopickFilamentsFile(**names)) for names in self._made_by("Filaments")]

    def query_meshes(self) -> list[Any]:
        """The meshes that are there now."""
        make = self.root.classes.mesh
        return [make(self, CopickMeshMeta(**names)) for names in self._made_by("Meshes")]

    def query_segmentations(self) -> list[Any]:
        """The segmentations of all four types that are there now."""
        make = self.root.classes.segmentation
        return [
            make(self, segmentation_meta(identity))
            for directory in _SEGMENTATION_DIRECTORIES
            for identity in trees.identities(self.tree, f"{self.path}/{directory}")
        ]

    def delete(self) -> None:
        """Delete it with all that is in it."""
        self._delete_data()
        self._invalidate_caches()
        forget(self.root._runs, self)  # noqa: SLF001

    def delete_voxel_spacings(self, voxel_size: float | None = None) -> None:
        """Delete all voxel spacings, or the one of this size, in Angstrom."""
        for spacing in list(self.voxel_spacings):
            if voxel_size is None or spacing.voxel_size == voxel_size:
                spacing.delete()

    def delete_picks(self, *args: Any, **kwargs: Any) -> None:
        """Delete the picks that `get_picks` gives for these arguments."""
        for picks in list(self.get_picks(*args, **kwargs)):
            picks.delete()

    def delete_meshes(self, *args: Any, **kwargs: Any) -> None:
        """Delete the meshes that `get_meshes` gives for these arguments."""
        for mesh in list(self.get_meshes(*args, **kwargs)):
            mesh.delete()

    def delete_segmentations(self, *args: Any, **kwargs: Any) -> None:
        """Delete the segmentations that `get_segmentations` gives for these arguments."""
        for segmentation in list(self.get_segmentations(*args, **kwargs)):
            segmentation.delete()

    def _made_by(self, directory: str) -> Iterator[dict[str, str]]:
        """Object, user and session of each file in a directory, each once."""
        seen = set()
        for identity in trees.identities(self.tree, f"{self.path}/{directory}"):
            key = (identity.user, identity.session, identity.object)
            if key not in seen:
                seen.add(key)
                yield {
                    "user_id": identity.user,
                    "session_id": identity.session,
                    "pickable_object_name": identity.object,
                }

    def _voxel_spacing_factory(self) -> tuple[type[Any], type[CopickVoxelSpacingMeta]]:
        return self.root.classes.voxel_spacing, CopickVoxelSpacingMeta

    def _picks_factory(self) -> type[Any]:
        return self.root.classes.picks  # type: ignore[no-any-return]

    def _filaments_factory(self) -> type[Any]:
        return self.root.classes.filaments  # type: ignore[no-any-return]

    def _mesh_factory(self) -> tuple[type[Any], type[CopickMeshMeta]]:
        return self.root.classes.mesh, CopickMeshMeta

    def _segmentation_factory(self) -> tuple[type[Any], type[CopickSegmentationMeta]]:
        return self.root.classes.segmentation, CopickSegmentationMeta

    def _root(self) -> Any:
        return self.root


def segmentation_meta(identity: Identity) -> CopickSegmentationMeta:
    """What the name of a segmentation says, as copick has it."""
    return CopickSegmentationMeta(
        user_id=identity.user,
        session_id=identity.session,
        name=identity.name,
        voxel_size=identity.voxel_size,
        is_multilabel=identity.segmentation_type == "multilabel",
        is_instance=identity.segmentation_type == "instance",
        is_panoptic=identity.segmentation_type == "panoptic",
    )
