"""The files of a store that an array's chunks are in: which version of each is the current one."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

import xxhash

from copickfs.errors import NotADirectory, NotFound, Stale, Transient, WouldBlock
from copickfs.model import ByteRange
from copickfs.paths import join

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from copickfs.layers.base import LayerFile
    from copickfs.virtual.project import Tree
    from copickfs.virtual.sources import Source
    from copickfs.virtual.volumes.whole import Whole

ABSENT = "-"
"""The version of an object that is not there: its chunks are the array's fill value."""

_CURRENT_S = 1.0
"""So long a version is believed, unless a change is heard of."""

_MAX_REMEMBERED = 100_000


class Documents:
    """Reads the metadata of one array, and remembers what it was.

    Args:
        source: The store.

    Attributes:
        seen: Each document that was read, and the versions and digests of what was in it.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.seen: dict[str, tuple[str, bytes]] = {}

    def __call__(self, inner: str) -> bytes:
        """See `copickfs.arrays.Documents`."""
        data = self._source.read(inner)
        self.seen[inner] = self._source.seen[join(self._source.path, inner)], _digest(data)
        return data

    @property
    def digest(self) -> str:
        """Of all that was read."""
        lines = (f"{inner}\0{found[1].hex()}" for inner, found in sorted(self.seen.items()))
        return xxhash.xxh3_128_hexdigest("\0".join(lines).encode(errors="surrogateescape"))


class ChunkFiles:
    """Looks at, and opens, the objects of one array. Thread-safe.

    Args:
        tree: The merged tree.
        store: Path of the store in it.
        documents: The metadata of the array.
        objects: The paths in the store of all objects; there may be a billion.

    Attributes:
        store: As given.
        objects: As given.
        digest: Of the metadata.
    """

    def __init__(self, tree: Tree, store: str, documents: Documents, objects: Collection[str]) -> None:
        self.store = store
        self.objects = objects
        self.digest = documents.digest
        self._tree = tree
        self._documents = dict(documents.seen)
        self._versions: dict[str, tuple[str, float]] = {}
        self._checked: dict[str, str] = {}
        self._news = 0
        self._opening = threading.local()

    @contextlib.contextmanager
    def noting(self) -> Iterator[dict[str, str]]:
        """Notes the versions of the objects that this thread opens meanwhile.

        Raises:
            Stale: Two versions of one object were opened.
        """
        seen: dict[str, str] = {}
        outer, self._opening.seen = getattr(self._opening, "seen", None), seen
        try:
            yield seen
        finally:
            self._opening.seen = outer

    def open(self, inner: str) -> LayerFile:
        """Open an object.

        Raises:
            NotFound: It is not there, while the array is.
            Stale: The array is not what it was; or another version of the object was opened just now.
            Transient: Its layer is out of reach.
        """
        try:
            file, _layer = self._tree.open(join(self.store, inner))
        except (NotFound, NotADirectory):
            self.check()
            self._note(inner, ABSENT)
            raise NotFound(join(self.store, inner)) from None
        try:
            if self._checked.get(inner) != file.entry.version:
                self.check()  # a chunk of another array must not be decoded as one of this
                self._checked[inner] = file.entry.version
            self._note(inner, file.entry.version)
        except BaseException:
            file.close()
            raise
        return file

    def version(self, inner: str, *, wait: bool = True) -> str:
        """The current version of an object, not older than a second.

        Args:
            inner: Path of the object in the store.
            wait: False to answer from memory, or raise `WouldBlock`.

        Raises:
            Stale: The array is not what it was.
            Transient: The layer is out of reach, and nothing was known of the object.
        """
        known = self._versions.get(inner)
        if known is not None and time.monotonic() - known[1] < _CURRENT_S:
            return known[0]
        look = self._tree.lookup if wait else self._tree.lookup_nowait
        try:
            version = look(join(self.store, inner)).entry.version
        except (NotFound, NotADirectory):
            self.check(wait=wait)
            version = ABSENT
        except Transient:
            if known is None:
                raise
            version = known[0]  # what is decoded already stays right: nobody has heard of a change
        self._remember(inner, version)
        return version

    def are_current(self, whole: Whole, *, wait: bool = True) -> bool:
        """True if all versions that planes were decoded from are the current ones; see `version`."""
        checked, news, now_s = whole.checked, self._news, time.monotonic()
        if checked is not None and checked[0] == news and now_s - checked[1] < _CURRENT_S:
            return True
        for inner, version in whole.versions.items():
            if self.version(inner, wait=wait) != version:
                return False
            known = self._versions.get(inner)
            now_s = min(now_s, known[1] if known is not None else now_s - _CURRENT_S)
        whole.checked = news, now_s
        return True

    def check(self, *, wait: bool = True) -> None:
        """Make sure that the array is what it was: without its metadata nothing is a fill value.

        Raises:
            Stale: It is not.
            Transient: The layer is out of reach.
        """
        look = self._tree.lookup if wait else self._tree.lookup_nowait
        for inner, (version, digest) in list(self._documents.items()):
            path = join(self.store, inner)
            try:
                current = look(path).entry.version
                if current != version:
                    if not wait:
                        raise WouldBlock
                    if _digest(self._read(path)) != digest:
                        raise Stale(f"{path}: has changed since the file made of it was opened")
                    self._documents[inner] = current, digest
            except (NotFound, NotADirectory):
                raise Stale(f"{path}: has gone since the file made of it was opened") from None

    def mark(self, versions: Mapping[str, str]) -> str:
        """What statistics are kept under.

        Args:
            versions: Those of all objects.
        """
        lines = (f"{inner}\0{version}" for inner, version in sorted(versions.items()))
        text = "\0".join((self.digest, *lines))
        return xxhash.xxh3_128_hexdigest(text.encode(errors="surrogateescape"))

    def forget(self) -> None:
        """Something may have changed: look at everything again."""
        self._news += 1
        self._versions, self._checked = {}, {}

    def _read(self, path: str) -> bytes:
        file, _layer = self._tree.open(path)
        try:
            return bytes(file.read(ByteRange(0, file.entry.size_bytes)))
        finally:
            file.close()

    def _note(self, inner: str, version: str) -> None:
        self._remember(inner, version)
        seen: dict[str, str] | None = getattr(self._opening, "seen", None)
        if seen is not None and seen.setdefault(inner, version) != version:
            raise Stale(f"{join(self.store, inner)}: changed while it was read")

    def _remember(self, inner: str, version: str) -> None:
        if len(self._versions) >= _MAX_REMEMBERED:
            self.forget()
        known = self._versions.get(inner)
        if known is not None and known[0] != version:
            self._news += 1
        self._versions[inner] = version, time.monotonic()


def _digest(data: bytes) -> bytes:
    return xxhash.xxh3_128_digest(data)
