"""``Views/``: the files that renderers make, as a read-only layer below all others.

What a layer really has below ``Views`` is shown in place of what would be made there: the merged tree asks
this layer last. It is asked like any other, and asks the merged tree itself for what files are made of. Its
answers are remembered, and given again as long as all that they were made from is what it was; so they cost
no more than looking that up. Thread-safe.
"""

from __future__ import annotations

import contextlib
import hashlib
import stat
import time
from typing import TYPE_CHECKING

from copickfs import paths
from copickfs.entities import RUNS_DIRECTORY, STORES
from copickfs.errors import (
    CopickfsError,
    IsADirectory,
    NotADirectory,
    NotFound,
    Stale,
    Unreadable,
    WouldBlock,
)
from copickfs.layers.base import LISTED_TTL_S, BaseLayer, is_prompt
from copickfs.model import UNSIZED, Entry
from copickfs.paths import join, split
from copickfs.virtual import naming
from copickfs.virtual.access import mode_within
from copickfs.virtual.finding import NAME, Finder
from copickfs.virtual.made import Made, MadeFiles
from copickfs.virtual.rendering import Rendered
from copickfs.virtual.sources import Source
from copickfs.virtual.viewfile import ViewFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from copickfs.layers.base import Layer
    from copickfs.virtual.access import Access
    from copickfs.virtual.finding import Planned
    from copickfs.virtual.project import Project
    from copickfs.virtual.renderers import Renderers
    from copickfs.virtual.rendering import Contents, Renderer

_ATTEMPTS = 3
_MAX_BYTES = 2**63 - 1
_BUCKET_NS = 60 * 10**9
"""Files made of stores whose changes nobody announces are new ones this often."""


class ViewsLayer(BaseLayer):
    """The files that renderers make of a project.

    Args:
        project: The project.
        renderers: What makes them; closed with the layer.
    """

    def __init__(self, project: Project, renderers: Renderers) -> None:
        super().__init__(NAME, priority=-(2**31))
        self._project = project
        self._renderers = renderers
        self._finder = Finder(project, renderers)
        self._made = MadeFiles()
        self._listeners: list[Callable[[str], None]] = []

    def __repr__(self) -> str:
        return f"<ViewsLayer with {len(self._made)} files>"

    def claims(self, path: str) -> bool:
        """True if ``path`` is below ``Views``."""
        return naming.is_below(path)

    def top(self) -> list[Entry]:
        """What is shown of it at the root of the tree."""
        entry = self._finder.directory(naming.VIEWS, wait=False)
        return [] if entry is None else [entry]

    def stat(self, path: str) -> Entry:
        """See `Layer.stat`."""
        directory = self._finder.directory(path, wait=True)
        return directory if directory is not None else self._file(path).entry

    def stat_nowait(self, path: str) -> Entry:
        """See `Layer.stat_nowait`."""
        made = self._made.get(path)
        if made is not None:
            self._check_nowait(path, made)
            return made.entry
        directory = self._finder.directory(path, wait=False)
        if directory is None:
            raise WouldBlock(self._lane_of(path))
        return directory

    def scan(self, path: str) -> list[Entry]:
        """See `Layer.scan`. Nothing is read for lengths: files that need it are `UNSIZED`."""
        if self._finder.directory(path, wait=True) is None:
            self._file(path)
            raise NotADirectory(path)
        entries = {entry.name: entry for entry in self._finder.directories(path)}
        ways: dict[str, Access] = {}
        for planned in self._finder.files(path):
            if planned.name not in entries:
                entries[planned.name] = self._listed(path, planned, ways)
        return list(entries.values())

    def open(self, path: str) -> ViewFile:
        """See `Layer.open`."""
        if self._finder.directory(path, wait=True) is not None:
            raise IsADirectory(path)
        for _attempt in range(_ATTEMPTS):
            opened = self._opened(path, self._file(path))
            if opened is None:
                self._made.forget(path)  # what was known of it is wrong
                continue
            made, source, contents = opened
            tree = self._project.tree
            try:
                if made.source.is_current(tree, wait=True) and source.is_current(tree, wait=True):
                    layer = source.layer or made.source.layer or self
                    lane = self._lane(path, layer)
                    return ViewFile(made.entry, contents, layer, lane)
            except BaseException:
                contents.close()
                raise
            contents.close()
        raise Stale(f"{path}: what it is made of changes all the time")

    def _opened(self, path: str, made: Made) -> tuple[Made, Source, Contents] | None:
        """A file, opened by its renderer; None if it is not what it was said to be."""
        name = split(path)[1]
        source = Source(self._project, made.source.identity)
        try:
            with self._asking(name, source):
                contents = made.renderer.open(source, name)
        except Stale:
            return None
        if isinstance(contents, Rendered) and len(contents) != made.entry.size_bytes:
            return None
        return made, source, contents

    @contextlib.contextmanager
    def _asking(self, name: str, source: Source) -> Iterator[None]:
        """While a renderer is asked for a file: what it raises is told of, and is an error of the file."""
        try:
            yield
        except ValueError as error:  # Unreadable is one
            self._finder.report(name, source, error)
            raise
        except (CopickfsError, OSError):
            raise
        except Exception as error:
            self._finder.report(name, source, error)
            raise Unreadable(f"{source.path}: no {name} can be made of it: {error!r}") from error

    def open_nowait(self, path: str) -> ViewFile:
        """See `Layer.open_nowait`."""
        raise WouldBlock(self._lane_of(path))

    def described(self, path: str) -> Mapping[str, str]:
        """What a file is made of."""
        made = self._made.get(path)
        if made is None:
            return {}
        source = made.source
        layer = {} if source.layer is None else {"view.layer": source.layer.name}
        return {"view.source": source.path or RUNS_DIRECTORY, **layer}

    def location(self, path: str) -> str:
        """These files are nowhere else."""
        return f"copickfs:/{path}"

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """See `Layer.subscribe`."""
        self._listeners.append(callback)

    def source_changed(self, path: str) -> None:
        """Something has changed at ``path`` of the project, or anything (``""``)."""
        shown = paths.shown_as(path)
        if shown is None or naming.is_below(shown):
            return
        concerned = self._made.changed(shown)
        self._renderers.forget(shown)
        for file in concerned:
            for callback in self._listeners:
                callback(file)

    def close(self) -> None:
        """See `Layer.close`."""
        self._renderers.close()

    def _listed(self, directory: str, planned: Planned, ways: dict[str, Access]) -> Entry:
        path = join(directory, planned.name)
        made = self._made.get(path)
        news, now_s = self._made.news, time.monotonic()
        if made is not None and made.renderer is planned.renderer and made.is_fresh(news):
            return made.entry
        source = Source(self._project, planned.source.identity, reads=False)
        try:
            size_bytes = _checked(planned.renderer.size_bytes(source, planned.name), source)
            planned.watch_rivals(source)
            source.look_at_ways(ways)
        except Exception:  # noqa: BLE001 -- who asks for the file itself is told
            return self._entry(directory, planned, UNSIZED)
        entry = self._entry(directory, planned._replace(source=source), size_bytes)
        self._made.put(path, Made(source, planned.renderer, entry, news, now_s))
        return entry

    def _file(self, path: str) -> Made:
        """A file; made anew if anything that it was made of has changed."""
        made = self._made.get(path)
        if made is not None:
            news, now_s = self._made.news, time.monotonic()
            if made.is_fresh(news):
                return made
            if self._is_version(made) and made.source.is_current(self._project.tree, wait=True):
                made.news, made.checked_s = news, now_s
                return made
        return self._make(path)

    def _make(self, path: str) -> Made:
        directory, name = split(path)
        news, now_s = self._made.news, time.monotonic()
        for planned in self._finder.files(directory, name):
            with self._asking(name, planned.source):
                size_bytes = _checked(planned.renderer.size_bytes(planned.source, name), planned.source)
                planned.watch_rivals(planned.source)
                planned.source.look_at_ways({})
            entry = self._entry(directory, planned, size_bytes)
            made = Made(planned.source, planned.renderer, entry, news, now_s)
            self._made.put(path, made)
            return made
        self._made.forget(path)
        raise NotFound(path)

    def _check_nowait(self, path: str, made: Made) -> None:
        """Raise `WouldBlock` if it cannot be told from memory that a file is current."""
        news, now_s = self._made.news, time.monotonic()
        if made.is_fresh(news):
            return
        is_checked = made.is_quickly_checked and self._is_version(made)
        if not is_checked or not made.source.is_current(self._project.tree, wait=False):
            raise WouldBlock(self._lane(path, made.source.layer))
        made.news, made.checked_s = news, now_s

    def _lane(self, path: str, layer: Layer | None) -> str:
        """Whoever waits for one layer, or for one renderer, must not stand in the way of the others."""
        suffix = next((each for each in self._renderers.suffixes if each and path.endswith(each)), "")
        return f"{self.name}{suffix}" if layer is None else f"{self.name}{suffix} of {layer.name}"

    def _lane_of(self, path: str) -> str:
        made = self._made.get(path)
        return self._lane(path, None if made is None else made.source.layer)

    def _is_version(self, made: Made) -> bool:
        return made.entry.etag == self._etag(made.renderer, made.source)

    def _etag(self, renderer: Renderer, source: Source) -> str:
        """The version of what is made of a source, as far as that was looked at."""
        parts = [type(renderer).__qualname__, source.version]
        if _is_store(source):
            parts.append(str(self._made.changes_of(source.path)))
            if source.layer is not None and not _announces(source.layer, source.path):
                parts.append(str(time.time_ns() // _BUCKET_NS))
        return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()

    def _entry(self, directory: str, planned: Planned, size_bytes: int) -> Entry:
        """The entry of a file, as open as what it is made of; see `copickfs.virtual.finding`."""
        name, renderer, source, of, _before = planned
        inode = hashlib.blake2b(join(directory, name).encode(errors="surrogateescape"), digest_size=8)
        changed_ns = max(source.mtime_ns, of.mtime_ns)
        return Entry(
            name, stat.S_IFREG | mode_within(of, source.access.values()), size_bytes, changed_ns, NAME,
            etag=self._etag(renderer, source), ctime_ns=changed_ns, atime_ns=changed_ns, uid=of.uid,
            gid=of.gid, inode=int.from_bytes(inode.digest()) or 1,
        )  # fmt: skip


def _checked(size_bytes: object, source: Source) -> int:
    """A length that a renderer has told. Raises `Unreadable` if no file can have it."""
    if type(size_bytes) is not int or not 0 <= size_bytes <= _MAX_BYTES:
        raise Unreadable(f"{source.path}: no file can have {size_bytes!r:.40} bytes")
    return size_bytes


def _is_store(source: Source) -> bool:
    return source.identity is not None and source.identity.type in STORES


def _announces(layer: Layer, path: str) -> bool:
    """True if changes of chunks in a store are heard of, or are seen whenever a chunk is looked at."""
    return is_prompt(layer) or layer.ttl_s(path) >= LISTED_TTL_S
