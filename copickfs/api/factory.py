"""Proxies made from the objects of single layers (specification, 3.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from copickfs.api import proxies
from copickfs.api.sources import decided

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copickfs.api.points import TreeFilaments, TreeMesh, TreePicks
    from copickfs.api.run import TreeRun
    from copickfs.api.segmentations import TreeObject, TreeSegmentation
    from copickfs.api.volumes import TreeFeatures, TreeTomogram, TreeVoxelSpacing


class ProxyFactory:
    """Makes proxies of objects that were found layer by layer.

    Each method takes the parent of the proxy, the objects by the names of their layers, and the primary
    one, which is the highest layer's if it is not given. The proxy's metadata are a copy of the primary's.
    """

    @staticmethod
    def create_run_proxy(
        multilayer_root: Any, source_runs: Mapping[str, TreeRun], primary_run: TreeRun | None = None
    ) -> proxies.CopickRunMultilayer:
        """A run of the merged root."""
        sources, primary = decided(multilayer_root, source_runs, primary_run)
        return proxies.CopickRunMultilayer(multilayer_root, source_runs=sources, primary_run=primary)

    @staticmethod
    def create_voxel_spacing_proxy(
        run: Any,
        source_voxel_spacings: Mapping[str, TreeVoxelSpacing],
        primary_voxel_spacing: TreeVoxelSpacing | None = None,
    ) -> proxies.CopickVoxelSpacingMultilayer:
        """A voxel spacing of a merged run."""
        sources, primary = decided(run.root, source_voxel_spacings, primary_voxel_spacing)
        return proxies.CopickVoxelSpacingMultilayer(
            run, source_voxel_spacings=sources, primary_voxel_spacing=primary
        )

    @staticmethod
    def create_tomogram_proxy(
        voxel_spacing: Any,
        source_tomograms: Mapping[str, TreeTomogram],
        primary_tomogram: TreeTomogram | None = None,
    ) -> proxies.CopickTomogramMultilayer:
        """A tomogram of a merged voxel spacing."""
        sources, primary = decided(voxel_spacing.run.root, source_tomograms, primary_tomogram)
        return proxies.CopickTomogramMultilayer(
            voxel_spacing, source_tomograms=sources, primary_tomogram=primary
        )

    @staticmethod
    def create_features_proxy(
        tomogram: Any,
        source_features: Mapping[str, TreeFeatures],
        primary_features: TreeFeatures | None = None,
    ) -> proxies.CopickFeaturesMultilayer:
        """Features of a merged tomogram."""
        sources, primary = decided(tomogram.voxel_spacing.run.root, source_features, primary_features)
        return proxies.CopickFeaturesMultilayer(tomogram, source_features=sources, primary_features=primary)

    @staticmethod
    def create_picks_proxy(
        run: Any, source_picks: Mapping[str, TreePicks], primary_picks: TreePicks | None = None
    ) -> proxies.CopickPicksMultilayer:
        """Picks of a merged run."""
        sources, primary = decided(run.root, source_picks, primary_picks)
        return proxies.CopickPicksMultilayer(run, source_picks=sources, primary_picks=primary)

    @staticmethod
    def create_filaments_proxy(
        run: Any,
        source_filaments: Mapping[str, TreeFilaments],
        primary_filaments: TreeFilaments | None = None,
    ) -> proxies.CopickFilamentsMultilayer:
        """Filaments of a merged run."""
        sources, primary = decided(run.root, source_filaments, primary_filaments)
        return proxies.CopickFilamentsMultilayer(run, source_filaments=sources, primary_filaments=primary)

    @staticmethod
    def create_mesh_proxy(
        run: Any, source_meshes: Mapping[str, TreeMesh], primary_mesh: TreeMesh | None = None
    ) -> proxies.CopickMeshMultilayer:
        """A mesh of a merged run."""
        sources, primary = decided(run.root, source_meshes, primary_mesh)
        return proxies.CopickMeshMultilayer(run, source_meshes=sources, primary_mesh=primary)

    @staticmethod
    def create_segmentation_proxy(
        run: Any,
        source_segmentations: Mapping[str, TreeSegmentation],
        primary_segmentation: TreeSegmentation | None = None,
    ) -> proxies.CopickSegmentationMultilayer:
        """A segmentation of a merged run."""
        sources, primary = decided(run.root, source_segmentations, primary_segmentation)
        return proxies.CopickSegmentationMultilayer(
            run, source_segmentations=sources, primary_segmentation=primary
        )

    @staticmethod
    def create_object_proxy(
        multilayer_root: Any,
        source_objects: Mapping[str, TreeObject],
        primary_object: TreeObject | None = None,
    ) -> proxies.CopickObjectMultilayer:
        """An object of the merged root."""
        sources, primary = decided(multilayer_root, source_objects, primary_object)
        return proxies.CopickObjectMultilayer(multilayer_root, source_objects=sources, primary_object=primary)
