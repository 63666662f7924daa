"""Zarr stores on a tree.

Unlike copick's, such a store raises when a chunk cannot be read: only what is known not to be there is a
missing chunk, and so zeros.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from numcodecs.compat import ensure_contiguous_ndarray
from zarr.errors import ReadOnlyError
from zarr.storage import Store

from copickfs import paths
from copickfs.api import tree as trees
from copickfs.errors import InvalidName, IsADirectory, NotFound, NotWritable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from copickfs.api.tree import Tree

_THREADS = 16
"""Chunks of a remote layer that are read at a time for one region."""

_MISSING = (*trees.ABSENT, IsADirectory, InvalidName)


class TreeStore(Store):
    """A directory of a tree as a zarr (version 2) store. Thread-safe, and can be pickled.

    Args:
        tree: The tree.
        root: The directory, a ``*.zarr``.
        read_only: Refuse to write.

    Attributes:
        root: As given.
    """

    _dimension_separator = "/"  # of new arrays, as copick writes them; an array that is there says its own

    def __init__(self, tree: Tree, root: str, *, read_only: bool = False) -> None:
        self._tree = tree
        self.root = root
        self.read_only = read_only
        self._writeable = self._erasable = not read_only

    def __repr__(self) -> str:
        return f"<TreeStore {self.root!r}{', read-only' if self.read_only else ''}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TreeStore) and (other._tree, other.root) == (self._tree, self.root)

    def __hash__(self) -> int:
        return hash(self.root)

    def __getitem__(self, key: str) -> bytes:
        try:
            value = trees.read(self._tree, self._path(key))
        except _MISSING:
            raise KeyError(key) from None
        return _with_separator(value) if paths.split(key)[1] == ".zarray" else value

    def __setitem__(self, key: str, value: Any) -> None:
        self._require_writable()
        data = memoryview(ensure_contiguous_ndarray(value).view("u1"))
        try:
            self._tree.write(self._path(key), data)
        except NotWritable as error:
            raise _ReadOnlyStore(str(error)) from None

    def __delitem__(self, key: str) -> None:
        self._require_writable()
        if key not in self:
            raise KeyError(key)
        try:
            self._tree.remove(self._path(key))
        except NotFound:
            raise KeyError(key) from None

    def __contains__(self, key: object) -> bool:
        try:
            return not self._tree.view.lookup(self._path(str(key))).entry.is_dir
        except _MISSING:
            return False

    def __iter__(self) -> Iterator[str]:
        return self._walk("")

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def keys(self) -> Iterator[str]:
        """All keys."""
        return iter(self)

    def getitems(self, keys: Sequence[str], *, contexts: Mapping[str, Any] | None = None) -> dict[str, bytes]:  # noqa: ARG002
        """The values of those keys that are there; several at a time where a network is waited for."""
        if len(keys) <= 1 or self._tree.stack.is_prompt:
            found = map(self._value, keys)
            return {key: value for key, value in zip(keys, found, strict=True) if value is not None}
        with ThreadPoolExecutor(min(_THREADS, len(keys)), "copickfs-chunks") as pool:
            return {
                key: value for key, value in zip(keys, pool.map(self._value, keys), strict=True)
                if value is not None
            }  # fmt: skip

    def listdir(self, path: str = "") -> list[str]:
        """The names in a directory."""
        return [entry.name for entry in trees.entries(self._tree, self._path(path))]

    def rmdir(self, path: str = "") -> None:
        """Remove a directory with all that is in it, if it is there."""
        self._require_writable()
        try:
            if self._tree.view.lookup(self._path(path)).entry.is_dir:
                self._tree.remove(self._path(path))
        except trees.ABSENT:
            pass

    def rename(self, src_path: str, dst_path: str) -> None:
        """Give a value, or all in a directory, other keys; the old ones go when the new ones are there.

        Without this method zarr removes each value before it stores it, under a key that it garbles.
        """
        self._require_writable()
        source, target = src_path.strip("/"), dst_path.strip("/")
        if source == target:
            return
        if not source or target.startswith(f"{source}/"):
            raise ValueError(f"{src_path!r} cannot be moved into itself")
        keys = [source] if source in self else list(self._walk(source))
        for key in keys:
            self[target + key[len(source) :]] = self[key]
        for key in keys:
            del self[key]
        self.rmdir(source)

    def getsize(self, path: str = "") -> int:
        """The length of a value, or of all values directly in a directory."""
        full = self._path(path)
        try:
            entry = self._tree.view.lookup(full).entry
        except trees.ABSENT:
            return 0
        if not entry.is_dir:
            return entry.size_bytes
        return sum(each.size_bytes for each in trees.entries(self._tree, full) if not each.is_dir)

    def clear(self) -> None:
        """Remove everything."""
        self.rmdir()

    def _value(self, key: str) -> bytes | None:
        try:
            return self[key]
        except KeyError:
            return None

    def _walk(self, directory: str) -> Iterator[str]:
        for entry in trees.entries(self._tree, self._path(directory)):
            key = paths.join(directory, entry.name)
            if entry.is_dir:
                yield from self._walk(key)
            else:
                yield key

    def _path(self, key: str) -> str:
        return paths.join(self.root, key) if (key := paths.normalise(key)) else self.root

    def _require_writable(self) -> None:
        if self.read_only:
            raise ReadOnlyError


def _with_separator(document: bytes) -> bytes:
    """The metadata of an array, saying what its chunks are called: zarr would take the store's word for it.

    An array that does not say it has chunks named ``0.0.0``, by zarr's specification.
    """
    if b'"dimension_separator"' in document:
        return document
    try:
        metadata = json.loads(document)
    except ValueError:
        return document
    if not isinstance(metadata, dict):
        return document
    return json.dumps({**metadata, "dimension_separator": "."}).encode()


class _ReadOnlyStore(ReadOnlyError):
    """zarr's error, with the reason."""

    def __init__(self, reason: str) -> None:
        PermissionError.__init__(self, reason)
