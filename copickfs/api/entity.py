"""What all objects of a tree share, beside what copick's own classes have."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar, cast

import numpy as np
import zarr
from copick.util.ome import fits_in_memory

from copickfs.api import tree as trees
from copickfs.api.stores import TreeStore
from copickfs.errors import NotFound, NotWritable

if TYPE_CHECKING:
    from collections.abc import Callable

    from copickfs.api.tree import Tree

F = TypeVar("F", bound="Callable[..., Any]")

WHOLE = slice(None, None)
_RECORD = b"meta"
"""What copick writes into the directories of runs and voxel spacings, and never reads."""


class Classes(NamedTuple):
    """The class of each kind of object in one root."""

    run: type[Any]
    voxel_spacing: type[Any]
    tomogram: type[Any]
    features: type[Any]
    picks: type[Any]
    filaments: type[Any]
    mesh: type[Any]
    segmentation: type[Any]
    object: type[Any]


class Shape(tuple[int, ...]):
    """The shape of an array in the order of its axes, ``(z, y, x)`` or ``(channel, z, y, x)``."""

    __slots__ = ()

    @property
    def z(self) -> int:
        """Number of planes."""
        return self[-3]

    @property
    def y(self) -> int:
        """Number of rows."""
        return self[-2]

    @property
    def x(self) -> int:
        """Number of columns."""
        return self[-1]


class Entity:
    """An object that is a path of a tree.

    Attributes:
        path: Where it is in the tree; set by each kind.
    """

    _word: ClassVar[str] = "object"
    path: Any

    @property
    def tree(self) -> Tree:
        """The tree that it is in."""
        return self._root().tree  # type: ignore[no-any-return]

    @property
    def read_only(self) -> bool:
        """True if nothing can be changed here. What a read-only layer has is copied up when it is changed."""
        try:
            self.tree.check_writable(self.path)
        except NotWritable:
            return True
        return False

    def _root(self) -> Any:
        """The root that it belongs to."""
        raise NotImplementedError

    def _require_writable(self, verb: str = "store") -> None:
        try:
            self.tree.check_writable(self.path)
        except NotWritable as error:
            raise NotWritable(f"Cannot {verb} {self._word} in a read-only source: {error}") from None

    def _delete_data(self) -> None:
        self._require_writable("delete")
        self.tree.remove(self.path)
        self._changed()

    def _changed(self) -> None:
        """What the object is made of may be another since it was stored."""


class Directory(Entity):
    """An object that is a directory of others: a run or a voxel spacing."""

    def ensure(self, create: bool = False) -> bool:
        """True if it is there, afterwards; made if that is asked for."""
        if trees.is_directory(self.tree, self.path):
            return True
        if create:
            self.store()
        return create

    def store(self) -> None:
        """Have its directory in a layer that is written (specification, 3.4).

        Raises:
            NotWritable: No layer is written that could have it; a ``PermissionError``.
        """
        self._require_writable()
        self.tree.write(f"{self.path}/.meta", _RECORD)
        self._changed()


def forget(children: list[Any] | None, child: Any) -> None:
    """Take a deleted object out of its parent's list, if that was ever made."""
    if children is not None and child in children:
        children.remove(child)


def listed_when_made(make: F, children: str) -> F:
    """A ``new_...`` of copick's, which lists the new object and then makes it, and after a failure keeps it.

    Args:
        make: The method.
        children: The attribute with the list.

    Returns:
        A method that raises if the object is not there afterwards, and then does not list it.
    """

    @functools.wraps(make)
    def new(self: Any, *args: Any, **kwargs: Any) -> Any:
        known = getattr(self, children)
        count = -1 if known is None else len(known)
        try:
            made = make(self, *args, **kwargs)
            if not trees.exists(made.tree, made.path):
                made._require_writable()  # noqa: SLF001 -- of the same family
        except BaseException:
            if len(getattr(self, children) or ()) != count:
                setattr(self, children, None)  # asked for anew
            raise
        return made

    return cast("F", new)


class Volume(Entity):
    """An object that is a zarr store."""

    def zarr(self) -> TreeStore:
        """The zarr store, made if it is not there and can be written.

        A chunk that cannot be read just now raises; only one that is not there reads as the fill value.
        """
        read_only = self.read_only
        if not read_only and not trees.exists(self.tree, self.path):
            self.tree.make_directory(self.path)
            self._changed()
        return TreeStore(self.tree, self.path, read_only=read_only)

    def store(self) -> None:
        """Have it in a layer that is written: made if it is new, else copied there unless it is there.

        Of a store that is larger than ``complete_below_bytes`` the chunks are copied as they are changed.

        Raises:
            NotWritable: No layer is written that could have it; a ``PermissionError``.
        """
        self._require_writable()
        if trees.exists(self.tree, self.path):
            self._take()
        else:
            self.tree.make_directory(self.path)
        self._changed()

    def set_region(self, *args: Any, **kwargs: Any) -> None:
        """Write a region of one level; see copick's class. Raises `NotWritable`."""
        self._require_writable()
        super().set_region(*args, **kwargs)  # type: ignore[misc] # copick's, which comes after this one
        self._changed()

    def get_shape(self, zarr_group: str = "0") -> Shape:
        """The shape of one level, ``(z, y, x)``, or ``(channel, z, y, x)`` where there are channels."""
        return Shape(self._array(zarr_group).shape)

    def _take(self) -> None:
        """Have what is there in the layer that is written."""

    def _array(self, zarr_group: str) -> Any:
        """One array of the store, for reading."""
        store = TreeStore(self.tree, self.path, read_only=True)
        try:
            return zarr.open(store, mode="r")[zarr_group]
        except (zarr.errors.PathNotFoundError, KeyError):
            if not trees.exists(self.tree, self.path):
                raise NotFound(f"there is no {self.path!r}") from None
            raise KeyError(f"{self.path!r} has no array {zarr_group!r}") from None

    def _region(self, zarr_group: str, select: Callable[[Any], tuple[Any, ...]]) -> Any:
        """A part of an array in memory; ``select`` makes the slices from the array."""
        array = self._array(zarr_group)
        slices = select(array)
        spans = tuple(part if isinstance(part, slice) else slice(part, part + 1) for part in slices)
        fits, requested_bytes, available_bytes = fits_in_memory(array, spans)
        if not fits:
            raise ValueError(
                f"Requested region does not fit in memory. Requested: {requested_bytes}, "
                f"Available: {available_bytes}."
            )
        return np.asarray(array[slices])


class Pyramid(Volume):
    """A zarr store that is written whole."""

    def from_numpy(self, *args: Any, **kwargs: Any) -> None:
        """Write an array, and its coarser levels; see copick's class. Raises `NotWritable`."""
        self._require_writable()
        super().from_numpy(*args, **kwargs)  # type: ignore[misc] # copick's, which comes after this one
        self._changed()
