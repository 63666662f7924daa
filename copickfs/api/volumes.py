"""Voxel spacings, tomograms and features of a tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from copick.models import (
    CopickFeatures,
    CopickFeaturesMeta,
    CopickTomogram,
    CopickTomogramMeta,
    CopickVoxelSpacing,
    CopickVoxelSpacingMeta,
)

from copickfs.api import tree as trees
from copickfs.api.entity import WHOLE, Directory, Pyramid, Volume, forget, listed_when_made
from copickfs.entities import EntityType
from copickfs.layers import entitypaths

if TYPE_CHECKING:
    import numpy as np


class TreeVoxelSpacing(Directory, CopickVoxelSpacing):
    """A voxel spacing of a run; see ``copick.models.CopickVoxelSpacing``."""

    _word = "voxel spacing"

    new_tomogram = listed_when_made(CopickVoxelSpacing.new_tomogram, "_tomograms")

    @property
    def path(self) -> str:
        """See `Entity.path`."""
        return entitypaths.voxel_spacing_path(self)

    def counterpart(self, root: Any) -> TreeVoxelSpacing:
        """The same voxel spacing in another root."""
        meta = CopickVoxelSpacingMeta(voxel_size=self.voxel_size)
        return root.classes.voxel_spacing(self.run.counterpart(root), meta)  # type: ignore[no-any-return]

    def query_tomograms(self) -> list[Any]:
        """The tomograms that are there now."""
        make = self._root().classes.tomogram
        return [
            make(voxel_spacing=self, meta=CopickTomogramMeta(tomo_type=identity.name))
            for identity in trees.identities(self.tree, self.path)
            if identity.type is EntityType.TOMOGRAM
        ]

    def get_tomograms(self, tomo_type: str | None = None, **kwargs: Any) -> list[Any]:
        """The tomograms of one type, or all."""
        return list(self.tomograms) if tomo_type is None else super().get_tomograms(tomo_type, **kwargs)

    def delete(self) -> None:
        """Delete it with all that is in it."""
        self._delete_data()
        self._tomograms = None
        forget(self.run._voxel_spacings, self)  # noqa: SLF001

    def delete_tomograms(self, tomo_type: str | None = None) -> None:
        """Delete all tomograms, or those of one type, with their features."""
        for tomogram in self.get_tomograms(tomo_type):
            tomogram.delete()

    def _tomogram_factory(self) -> tuple[type[Any], type[CopickTomogramMeta]]:
        return self._root().classes.tomogram, CopickTomogramMeta

    def _root(self) -> Any:
        return self.run.root


class TreeTomogram(Pyramid, CopickTomogram):
    """A tomogram; see ``copick.models.CopickTomogram``."""

    _word = "tomogram"

    new_features = listed_when_made(CopickTomogram.new_features, "_features")

    @property
    def path(self) -> str:
        """See `Entity.path`."""
        return entitypaths.tomogram_path(self)

    def counterpart(self, root: Any) -> TreeTomogram:
        """The same tomogram in another root."""
        meta = CopickTomogramMeta(tomo_type=self.tomo_type)
        return root.classes.tomogram(self.voxel_spacing.counterpart(root), meta)  # type: ignore[no-any-return]

    def numpy(
        self, zarr_group: str = "0", x: slice = WHOLE, y: slice = WHOLE, z: slice = WHOLE
    ) -> np.ndarray[Any, Any]:
        """A region of one level as an array ``(z, y, x)``, through the cache.

        Args:
            zarr_group: The level, ``"0"`` the finest.
            x: Columns.
            y: Rows.
            z: Planes.

        Raises:
            copickfs.errors.Transient: A layer is out of reach, and the region is not in the cache.
        """
        return self._region(zarr_group, lambda _array: (z, y, x))  # type: ignore[no-any-return]

    def query_features(self) -> list[Any]:
        """The features that are there now."""
        make = self._root().classes.features
        return [
            make(self, CopickFeaturesMeta(tomo_type=self.tomo_type, feature_type=identity.name))
            for identity in trees.identities(self.tree, self.voxel_spacing.path)
            if identity.type is EntityType.FEATURE and identity.object == self.tomo_type
        ]

    def delete(self) -> None:
        """Delete it with its features."""
        self._require_writable("delete")
        self.delete_features()
        self._delete_data()
        forget(self.voxel_spacing._tomograms, self)  # noqa: SLF001

    def delete_features(self) -> None:
        """Delete all its features."""
        for features in self.query_features():  # also those that others have made meanwhile
            features.delete()
        self._features = None

    def _feature_factory(self) -> tuple[type[Any], type[CopickFeaturesMeta]]:
        return self._root().classes.features, CopickFeaturesMeta

    def _root(self) -> Any:
        return self.voxel_spacing.run.root


class TreeFeatures(Volume, CopickFeatures):
    """Features of a tomogram; see ``copick.models.CopickFeatures``."""

    _word = "features"

    @property
    def path(self) -> str:
        """See `Entity.path`."""
        return entitypaths.features_path(self)

    def counterpart(self, root: Any) -> TreeFeatures:
        """The same features in another root."""
        meta = CopickFeaturesMeta(tomo_type=self.tomo_type, feature_type=self.feature_type)
        return root.classes.features(self.tomogram.counterpart(root), meta)  # type: ignore[no-any-return]

    def numpy(self, zarr_group: str = "0", slices: tuple[slice, ...] | None = None) -> Any:
        """A region of one level as an array; see ``CopickFeatures.numpy``."""
        return self._region(
            zarr_group, lambda array: (slice(None),) * array.ndim if slices is None else slices
        )

    def delete(self) -> None:
        """Delete them."""
        self._delete_data()
        forget(self.tomogram._features, self)  # noqa: SLF001

    def _root(self) -> Any:
        return self.tomogram.voxel_spacing.run.root
