"""What a renderer is given: one entity of the merged tree, or a run, or the project, to make files of.

Whatever is asked of a source is remembered with its version, so that the file which was made of it can be
told to be old (`Source.is_current`). A source is for one thread; the tree and the facts behind it are
thread-safe.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import xxhash

from copickfs.entities import EntityType
from copickfs.errors import LayerError, NotADirectory, NotFound, Stale, Unreadable, WouldBlock
from copickfs.model import ByteRange
from copickfs.paths import STORE_SUFFIX, join, split
from copickfs.virtual.access import access_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from copickfs.entities import Identity
    from copickfs.layers.base import Layer, LayerFile
    from copickfs.model import Entry
    from copickfs.virtual.access import Access
    from copickfs.virtual.project import Found, Project, Tree

MAX_DOCUMENT_BYTES = 256 << 20
"""What is longer is not read into memory whole: no file of points, and no mesh, is that long."""

_ABSENT = "-"
_SUFFIXES = (STORE_SUFFIX, ".json", ".glb")
_ATTEMPTS = 3


class Source:
    """One entity, a run, or the whole project.

    Args:
        project: What all sources share.
        identity: What it is; of the type ``EntityType.RUN`` for a run, None for the project.
        reads: False to raise `WouldBlock` where contents would have to be read.

    Attributes:
        project: As given.
        identity: As given.
        reads: As given.
        seen: What was looked at so far, and its version then: paths of files, ``?`` and the path of
            an entity for what is known of it, ``*`` for what entities there are.
        access: Who may read what was looked at, by paths.
        mtime_ns: The newest time of all that was looked at, ns since the epoch.
        layer: The layer that has the entity, once it was looked up.
    """

    def __init__(self, project: Project, identity: Identity | None, *, reads: bool = True) -> None:
        self.project = project
        self.identity = identity
        self.reads = reads
        self.seen: dict[str, str] = {}
        self.access: dict[str, Access] = {}
        self.mtime_ns = 0
        self.layer: Layer | None = None

    def __repr__(self) -> str:
        return f"<Source {self.path or 'of the whole project'}>"

    @property
    def path(self) -> str:
        """Its path in the tree, ``""`` for the project."""
        return self.identity.path if self.identity is not None else ""

    @property
    def stem(self) -> str:
        """The name of its file or store without what tells the format."""
        name = split(self.path)[1]
        return next((name.removesuffix(end) for end in _SUFFIXES if name.endswith(end)), name)

    @property
    def version(self) -> str:
        """A digest of all that was looked at, and what was found."""
        lines = "\0".join(f"{path}\0{version}" for path, version in sorted(self.seen.items()))
        return xxhash.xxh3_128_hexdigest(lines.encode(errors="surrogateescape"))

    def known(self) -> Mapping[str, Any]:
        """What is known of the entity without reading it; empty if nothing is.

        See `copickfs.entities.EntityRecord.detail`.
        """
        found = self.project.tree.lookup(self.path)
        known = self.project.facts.known(self.path, found.entry, found.layer)
        if known is None:
            return {}
        self._saw(self.path, found, f"?{self.path}", known[0])
        return known[1]

    def distrust(self) -> None:
        """What `known` has given is not what the file has; it will not be given again."""
        self.project.facts.distrust(self.path)

    def stat(self, inner: str = "") -> Entry:
        """The entry of the entity's file, or of ``inner`` in its store.

        Raises:
            NotFound: There is no such file, and that is sure.
            Transient: Its layer is out of reach.
        """
        path = self._at(inner)
        try:
            found = self.project.tree.lookup(path)
        except (NotFound, NotADirectory):
            self.seen[path] = _ABSENT
            raise
        self._saw(path, found, path, _version(found.entry))
        return found.entry

    def open(self, inner: str = "") -> LayerFile:
        """Open the entity's file, or ``inner`` in its store. Raises as `stat`."""
        path = self._at(inner)
        if not self.reads:
            raise WouldBlock
        try:
            file, layer = self.project.tree.open(path)
        except (NotFound, NotADirectory):
            self.seen[path] = _ABSENT
            raise
        self.layer = self.layer or layer
        self.seen[path] = _version(file.entry)
        self.access[path] = access_of(file.entry)
        self.mtime_ns = max(self.mtime_ns, file.entry.mtime_ns)
        return file

    def read(self, inner: str = "") -> bytes:
        """The whole contents of the entity's file, or of ``inner`` in its store.

        Raises:
            Unreadable: It is too long to be what it has to be.
            OSError: As `stat`.
        """
        for attempt in range(_ATTEMPTS):
            file = self.open(inner)
            try:
                size_bytes = file.entry.size_bytes
                if size_bytes > MAX_DOCUMENT_BYTES:
                    raise Unreadable(
                        f"{self._at(inner)}: has {size_bytes:,} bytes, which is too much to read"
                    )
                data = file.read(ByteRange(0, size_bytes))
            except Stale:
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                if len(data) == size_bytes:
                    return bytes(data)
                if attempt == _ATTEMPTS - 1:
                    raise Stale(f"{self._at(inner)}: became shorter while it was read")
            finally:
                file.close()
        raise AssertionError

    def entities(self, kind: EntityType, run: str | None = None) -> list[Source]:
        """The entities of a kind, of one run or of all, in the order of their paths.

        What is asked of them is remembered here, too.
        """
        mark, identities = self.project.facts.entities(kind, run)
        self.seen[f"*{kind.name}/{run or ''}"] = mark
        return [_Part(self, identity) for identity in identities]

    def look_at_ways(self, known: dict[str, Access]) -> None:
        """Look at the directories that lead to all that was looked at: a file in a private one is private.

        Args:
            known: Those that were looked at just now; others are added.

        Raises:
            Transient: A layer is out of reach.
        """
        for path in list(self.access):
            above = split(path)[0]
            while above and above not in self.access:
                with contextlib.suppress(NotFound, NotADirectory):  # as the next look at the file tells
                    if above not in known:
                        known[above] = access_of(self.project.tree.lookup(above).entry)
                    self.access[above] = known[above]
                above = split(above)[0]

    def expect_none(self, path: str) -> None:
        """What is made of the source is another file as soon as there is something at ``path``."""
        self.seen.setdefault(path, _ABSENT)

    def is_current(self, tree: Tree, *, wait: bool) -> bool:
        """True if all that was looked at is what it was.

        Args:
            tree: The merged tree.
            wait: False to answer from memory, or raise `WouldBlock`.
        """
        look = tree.lookup if wait else tree.lookup_nowait
        return all(self._is_same(key, version, look) for key, version in self.seen.items()) and all(
            self._is_as_open(path, look) for path in self.access if path not in self.seen
        )

    def _is_same(self, key: str, version: str, look: Any) -> bool:
        facts = self.project.facts
        if key.startswith("*"):
            kind, _, run = key[1:].partition("/")
            return facts.entities(EntityType[kind], run or None)[0] == version
        path = key.removeprefix("?")
        try:
            found = look(path)
        except (NotFound, NotADirectory):
            return version == _ABSENT
        except LayerError:
            return False
        if not key.startswith("?"):
            return _version(found.entry) == version
        known = facts.known(path, found.entry, found.layer)
        return known is not None and known[0] == version

    def _is_as_open(self, path: str, look: Any) -> bool:
        try:
            return access_of(look(path).entry) == self.access[path]
        except LayerError:
            return False

    def _at(self, inner: str) -> str:
        return join(self.path, inner) if inner else self.path

    def _saw(self, path: str, found: Found, key: str, version: str) -> None:
        if path == self.path:
            self.layer = found.layer
        self.seen[key] = version
        self.access[path] = access_of(found.entry)
        self.mtime_ns = max(self.mtime_ns, found.entry.mtime_ns)


class _Part(Source):
    """An entity of a run or a project that is a source itself: it has to know what was asked of this one."""

    def __init__(self, whole: Source, identity: Identity) -> None:
        super().__init__(whole.project, identity, reads=whole.reads)
        self._whole = whole
        self.seen = whole.seen
        self.access = whole.access

    def _saw(self, path: str, found: Found, key: str, version: str) -> None:
        super()._saw(path, found, key, version)
        self._whole.mtime_ns = max(self._whole.mtime_ns, self.mtime_ns)
        self._whole.layer = self._whole.layer or self.layer

    def open(self, inner: str = "") -> LayerFile:
        """See `Source.open`."""
        file = super().open(inner)
        self._whole.mtime_ns = max(self._whole.mtime_ns, self.mtime_ns)
        self._whole.layer = self._whole.layer or self.layer
        return file


def by_run(sources: Iterable[Source]) -> dict[str, list[Source]]:
    """Sources in groups, by the names of their runs, in the order in which they come."""
    groups: dict[str, list[Source]] = {}
    for source in sources:
        if source.identity is not None:
            groups.setdefault(source.identity.run, []).append(source)
    return groups


def _version(entry: Entry) -> str:
    """The version of a file; of a directory only that it is one: what is in it is looked at by itself."""
    return "directory" if entry.is_dir else entry.version
