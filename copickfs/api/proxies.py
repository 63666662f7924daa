"""The objects of the merged tree: copick's own, each with its layers (specification, 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from copickfs.api.points import TreeFilaments, TreeMesh, TreePicks
from copickfs.api.run import TreeRun
from copickfs.api.segmentations import TreeObject, TreeSegmentation
from copickfs.api.sources import Sourced, meta_of
from copickfs.api.volumes import TreeFeatures, TreeTomogram, TreeVoxelSpacing

if TYPE_CHECKING:
    from collections.abc import Mapping


class CopickRunMultilayer(Sourced[TreeRun], TreeRun):
    """A run of the merged tree.

    Args:
        root: The merged root.
        meta: Its metadata; of the primary source if absent.
        source_runs: Layer names to the run in that layer alone; found out if absent.
        primary_run: That of the layer that decides.
    """

    def __init__(
        self,
        root: Any,
        meta: Any = None,
        *,
        source_runs: Mapping[str, TreeRun] | None = None,
        primary_run: TreeRun | None = None,
    ) -> None:
        super().__init__(root, meta_of(primary_run, meta))
        self._give(source_runs, primary_run)

    @property
    def source_runs(self) -> dict[str, TreeRun]:
        """Layer names to the run in that layer alone, the one that decides first."""
        return self._sources()

    @property
    def primary_run(self) -> TreeRun | None:
        """The run in the layer that decides; None if no layer has it."""
        return self._primary()


class CopickVoxelSpacingMultilayer(Sourced[TreeVoxelSpacing], TreeVoxelSpacing):
    """A voxel spacing of the merged tree.

    Args:
        run: Its run.
        meta: Its metadata; of the primary source if absent.
        source_voxel_spacings: Layer names to the voxel spacing in that layer alone; found out if absent.
        primary_voxel_spacing: That of the layer that decides.
    """

    def __init__(
        self,
        run: Any,
        meta: Any = None,
        *,
        source_voxel_spacings: Mapping[str, TreeVoxelSpacing] | None = None,
        primary_voxel_spacing: TreeVoxelSpacing | None = None,
    ) -> None:
        super().__init__(run, meta_of(primary_voxel_spacing, meta))
        self._give(source_voxel_spacings, primary_voxel_spacing)

    @property
    def source_voxel_spacings(self) -> dict[str, TreeVoxelSpacing]:
        """Layer names to the voxel spacing in that layer alone, the one that decides first."""
        return self._sources()

    @property
    def primary_voxel_spacing(self) -> TreeVoxelSpacing | None:
        """The voxel spacing in the layer that decides; None if no layer has it."""
        return self._primary()


class CopickTomogramMultilayer(Sourced[TreeTomogram], TreeTomogram):
    """A tomogram of the merged tree.

    Args:
        voxel_spacing: Its voxel spacing.
        meta: Its metadata; of the primary source if absent.
        source_tomograms: Layer names to the tomogram in that layer alone; found out if absent.
        primary_tomogram: That of the layer that decides.
    """

    def __init__(
        self,
        voxel_spacing: Any,
        meta: Any = None,
        *,
        source_tomograms: Mapping[str, TreeTomogram] | None = None,
        primary_tomogram: TreeTomogram | None = None,
    ) -> None:
        super().__init__(voxel_spacing, meta_of(primary_tomogram, meta))
        self._give(source_tomograms, primary_tomogram)

    @property
    def source_tomograms(self) -> dict[str, TreeTomogram]:
        """Layer names to the tomogram in that layer alone, the one that decides first."""
        return self._sources()

    @property
    def primary_tomogram(self) -> TreeTomogram | None:
        """The tomogram in the layer that decides; None if no layer has it."""
        return self._primary()


class CopickFeaturesMultilayer(Sourced[TreeFeatures], TreeFeatures):
    """Features of the merged tree.

    Args:
        tomogram: Their tomogram.
        meta: Their metadata; of the primary source if absent.
        source_features: Layer names to the features in that layer alone; found out if absent.
        primary_features: That of the layer that decides.
    """

    def __init__(
        self,
        tomogram: Any,
        meta: Any = None,
        *,
        source_features: Mapping[str, TreeFeatures] | None = None,
        primary_features: TreeFeatures | None = None,
    ) -> None:
        super().__init__(tomogram, meta_of(primary_features, meta))
        self._give(source_features, primary_features)

    @property
    def source_features(self) -> dict[str, TreeFeatures]:
        """Layer names to the features in that layer alone, the one that decides first."""
        return self._sources()

    @property
    def primary_features(self) -> TreeFeatures | None:
        """The features in the layer that decides; None if no layer has it."""
        return self._primary()


class CopickPicksMultilayer(Sourced[TreePicks], TreePicks):
    """Picks of the merged tree.

    Args:
        run: Its run.
        file: Their metadata; of the primary source if absent.
        source_picks: Layer names to the picks in that layer alone; found out if absent.
        primary_picks: That of the layer that decides.
    """

    def __init__(
        self,
        run: Any,
        file: Any = None,
        *,
        source_picks: Mapping[str, TreePicks] | None = None,
        primary_picks: TreePicks | None = None,
    ) -> None:
        super().__init__(run, meta_of(primary_picks, file))
        self._give(source_picks, primary_picks)

    @property
    def source_picks(self) -> dict[str, TreePicks]:
        """Layer names to the picks in that layer alone, the one that decides first."""
        return self._sources()

    @property
    def primary_picks(self) -> TreePicks | None:
        """The picks in the layer that decides; None if no layer has it."""
        return self._primary()


class CopickFilamentsMultilayer(Sourced[TreeFilaments], TreeFilaments):
    """Filaments of the merged tree.

    Args:
        run: Its run.
        file: Their metadata; of the primary source if absent.
        source_filaments: Layer names to the filaments in that layer alone; found out if absent.
        primary_filaments: That of the layer that decides.
    """

    def __init__(
        self,
        run: Any,
        file: Any = None,
        *,
        source_filaments: Mapping[str, TreeFilaments] | None = None,
        primary_filaments: TreeFilaments | None = None,
    ) -> None:
        super().__init__(run, meta_of(primary_filaments, file))
        self._give(source_filaments, primary_filaments)

    @property
    def source_filaments(self) -> dict[str, TreeFilaments]:
        """Layer names to the filaments in that layer alone, the one that decides first."""
        return self._sources()

    @property
    def primary_filaments(self) -> TreeFilaments | None:
        """The filaments in the layer that decides; None if no layer has it."""
        return self._primary()


class CopickMeshMultilayer(Sourced[TreeMesh], TreeMesh):
    """A mesh of the merged tree.

    Args:
        run: Its run.
        meta: Its metadata; of the primary source if absent.
        mesh: The geometry; read when it is asked for if absent.
        source_meshes: Layer names to the mesh in that layer alone; found out if absent.
        primary_mesh: That of the layer that decides.
    """

    def __init__(
        self,
        run: Any,
        meta: Any = None,
        mesh: Any = None,
        *,
        source_meshes: Mapping[str, TreeMesh] | None = None,
        primary_mesh: TreeMesh | None = None,
    ) -> None:
        super().__init__(run, meta_of(primary_mesh, meta), mesh)
        self._give(source_meshes, primary_mesh)

    @property
    def source_meshes(self) -> dict[str, TreeMesh]:
        """Layer names to the mesh in that layer alone, the one that decides first."""
        return self._sources()

    @property
    def primary_mesh(self) -> TreeMesh | None:
        """The mesh in the layer that decides; None if no layer has it."""
        return self._primary()


class CopickSegmentationMultilayer(Sourced[TreeSegmentation], TreeSegmentation):
    """A segmentation of the merged tree.

    Args:
        run: Its run.
        meta: Its metadata; of the primary source if absent.
        source_segmentations: Layer names to the segmentation in that layer alone; found out if absent.
        primary_segmentation: That of the layer that decides.
    """

    def __init__(
        self,
        run: Any,
        meta: Any = None,
        *,
        source_segmentations: Mapping[str, TreeSegmentation] | None = None,
        primary_segmentation: TreeSegmentation | None = None,
    ) -> None:
        super().__init__(run, meta_of(primary_segmentation, meta))
        self._give(source_segmentations, primary_segmentation)

    @property
    def source_segmentations(self) -> dict[str, TreeSegmentation]:
        """Layer names to the segmentation in that layer alone, the one that decides first."""
        return self._sources()

    @property
    def primary_segmentation(self) -> TreeSegmentation | None:
        """The segmentation in the layer that decides; None if no layer has it."""
        return self._primary()


class CopickObjectMultilayer(Sourced[TreeObject], TreeObject):
    """An object of the merged tree.

    Args:
        root: The merged root.
        meta: Its metadata; of the primary source if absent.
        read_only: Accepted because copick's roots give it; whether it can be written is found out.
        source_objects: Layer names to the object in that layer alone; found out if absent.
        primary_object: That of the layer that decides.
    """

    def __init__(
        self,
        root: Any,
        meta: Any = None,
        read_only: bool = False,
        *,
        source_objects: Mapping[str, TreeObject] | None = None,
        primary_object: TreeObject | None = None,
    ) -> None:
        super().__init__(root, meta_of(primary_object, meta), read_only)
        self._give(source_objects, primary_object)

    @property
    def source_objects(self) -> dict[str, TreeObject]:
        """Layer names to the object in that layer alone, the one that decides first."""
        return self._sources()

    @property
    def primary_object(self) -> TreeObject | None:
        """The object in the layer that decides; None if no layer has it."""
        return self._primary()
