"""Segmentations and density maps of a tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from copick.models import CopickObject, CopickSegmentation, CopickSegmentationMeta, PickableObject
from copick.util.segmentation import panoptic_channel_index

from copickfs.api.entity import WHOLE, Pyramid, forget
from copickfs.layers import entitypaths

if TYPE_CHECKING:
    import numpy as np

    from copickfs.api.stores import TreeStore


class TreeSegmentation(Pyramid, CopickSegmentation):
    """A segmentation of any type; see ``copick.models.CopickSegmentation``."""

    _word = "segmentation"

    @property
    def path(self) -> str:
        """See `Entity.path`."""
        return entitypaths.segmentation_path(self)

    def counterpart(self, root: Any) -> TreeSegmentation:
        """The same segmentation in another root."""
        meta = CopickSegmentationMeta(**self.meta.model_dump())
        return root.classes.segmentation(self.run.counterpart(root), meta)  # type: ignore[no-any-return]

    def numpy(
        self,
        zarr_group: str = "0",
        x: slice = WHOLE,
        y: slice = WHOLE,
        z: slice = WHOLE,
        channel: str | int | None = None,
    ) -> np.ndarray[Any, Any]:
        """A region of one level as an array ``(z, y, x)``; see ``CopickSegmentation.numpy``.

        Args:
            zarr_group: The level, ``"0"`` the finest.
            x: Columns.
            y: Rows.
            z: Planes.
            channel: Of panoptic segmentations ``"label"`` or ``"instance"``; None for both,
                ``(channel, z, y, x)``.
        """
        if not self.is_panoptic:
            if channel is not None:
                raise ValueError(
                    f"{self} is a {self.segmentation_type} segmentation; only panoptic ones have channels."
                )
            return self._region(zarr_group, lambda _array: (z, y, x))  # type: ignore[no-any-return]
        channels = WHOLE if channel is None else panoptic_channel_index(channel)
        return self._region(zarr_group, lambda _array: (channels, z, y, x))  # type: ignore[no-any-return]

    def delete(self) -> None:
        """Delete it."""
        self._delete_data()
        forget(self.run._segmentations, self)  # noqa: SLF001

    def _root(self) -> Any:
        return self.run.root


class TreeObject(Pyramid, CopickObject):
    """An object of the project, with its density map; see ``copick.models.CopickObject``.

    Args:
        root: The root.
        meta: The object, of the configuration.
        read_only: Accepted because copick's roots give it; whether it can be written is found out.
    """

    _word = "object"

    def __init__(self, root: Any, meta: PickableObject, read_only: bool = False) -> None:  # noqa: ARG002
        super().__init__(root, meta)

    @property
    def path(self) -> str:
        """See `Entity.path`."""
        return entitypaths.object_path(self)

    def counterpart(self, root: Any) -> TreeObject:
        """The same object in another root."""
        return root.classes.object(root, self.meta)  # type: ignore[no-any-return]

    def zarr(self) -> TreeStore | None:  # type: ignore[override] # as in copick
        """The store of the density map; None if the object is no particle."""
        return super().zarr() if self.is_particle else None

    def numpy(
        self, zarr_group: str = "0", x: slice = WHOLE, y: slice = WHOLE, z: slice = WHOLE
    ) -> np.ndarray[Any, Any] | None:
        """A region of the density map as an array ``(z, y, x)``; None if the object is no particle."""
        return self._region(zarr_group, lambda _array: (z, y, x)) if self.is_particle else None

    def _require_writable(self, verb: str = "store") -> None:
        if verb == "store" and not self.is_particle:  # copick would write to nowhere
            raise ValueError(f"{self.name!r} is not a particle; only particles have density maps")
        super()._require_writable(verb)

    def delete(self) -> None:
        """Delete the density map, and forget the object until the root is refreshed."""
        self._delete_data()
        forget(self.root._objects, self)  # noqa: SLF001

    def _root(self) -> Any:
        return self.root
