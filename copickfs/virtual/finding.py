"""Which directories and files there are under ``Views``, and what each file is made of."""

from __future__ import annotations

import logging
import os
import stat
import time
from typing import TYPE_CHECKING, NamedTuple

from copickfs.entities import OBJECTS_DIRECTORY, EntityType, identify
from copickfs.errors import CopickfsError, NotADirectory, NotFound, Transient, Unreadable
from copickfs.model import Entry
from copickfs.paths import STORE_SUFFIX, join, split
from copickfs.virtual import naming
from copickfs.virtual.sources import Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from copickfs.entities import Identity
    from copickfs.virtual.project import Project
    from copickfs.virtual.renderers import Renderers
    from copickfs.virtual.rendering import Renderer

NAME = "views"
"""What the entries of these files give as their layer."""

_log = logging.getLogger(__name__)
_MAX_REPORTED = 10_000
_MAX_NAME_BYTES = 255


class Planned(NamedTuple):
    """A file that can be made.

    Attributes:
        name: Its name.
        renderer: What makes it.
        source: What it is made of, so far as it had to be looked at for its name.
        of: The entry of the entity, or of the directory that it stands for.
        before: The entities that were asked for files first, by their paths.
    """

    name: str
    renderer: Renderer
    source: Source
    of: Entry
    before: Mapping[str, Source]

    def watch_rivals(self, source: Source) -> None:
        """Let the file be another one as soon as an entity with a longer name claims its name.

        Args:
            source: What the file is made of, as it remembers that.
        """
        if _is_whole(source.identity):
            return
        directory, entity = split(source.path)
        end = entity.removeprefix(source.stem)
        for length in range(len(source.stem) + 1, len(self.name.removesuffix(self.renderer.suffix)) + 1):
            path = join(directory, self.name[:length] + end)
            if path in self.before:
                for seen, version in self.before[path].seen.items():
                    source.seen.setdefault(seen, version)
            elif identify(path, is_dir=end == STORE_SUFFIX) is not None:
                source.expect_none(path)


class Finder:
    """Finds what is under ``Views`` of a project. Thread-safe. Raises what the merged tree raises.

    Args:
        project: The project.
        renderers: What makes files of it.
    """

    def __init__(self, project: Project, renderers: Renderers) -> None:
        self._project = project
        self._renderers = renderers
        self._reported: dict[str, str] = {}
        self._began_ns = time.time_ns()

    def directory(self, path: str, *, wait: bool) -> Entry | None:
        """The entry of a directory; None if there is no such directory.

        Args:
            path: A path below ``Views``.
            wait: False to answer from memory, or raise `WouldBlock`.
        """
        name = split(path)[1]
        if path == naming.VIEWS:
            return Entry(
                name, stat.S_IFDIR | 0o755, 0, self._began_ns, NAME, ctime_ns=self._began_ns,
                uid=os.geteuid(), gid=os.getegid(),
            )  # fmt: skip
        tree = self._project.tree
        look = tree.lookup if wait else tree.lookup_nowait
        for origin in naming.origins_of(path):
            try:
                found = look(origin)
            except (NotFound, NotADirectory):
                continue
            if found.entry.is_dir:
                return _directory(name, found.entry)
        return None

    def directories(self, path: str) -> Iterator[Entry]:
        """The directories in a directory."""
        if path == naming.VIEWS and self._renderers.of_type(EntityType.OBJECT):
            objects = self.directory(naming.shown_at(OBJECTS_DIRECTORY), wait=True)
            if objects is not None:
                yield objects
        if path != naming.VIEWS and not naming.is_run(path):
            return
        for origin in naming.origins_of(path):
            for entry in self._listing(origin):
                shown = join(path, entry.name)
                if entry.is_dir and origin != OBJECTS_DIRECTORY and self._is_used(shown):
                    yield _directory(entry.name, entry)

    def _is_used(self, path: str) -> bool:
        """True if a directory may show something: no empty ones for formats that nobody has chosen."""
        kinds = naming.kinds_in(path)
        return naming.origins_of(path) != [] and any(self._renderers.of_type(kind) for kind in kinds)

    def files(self, path: str, wanted: str | None = None) -> Iterator[Planned]:
        """The files in a directory; of several with one name the first counts.

        Args:
            path: The directory.
            wanted: Only those of this name.
        """
        before: dict[str, Source] = {}
        for origin in naming.origins_of(path):
            for identity, entry in self._identities(path, origin):
                source = Source(self._project, identity)
                if wanted is not None and not _is_whole(identity) and not wanted.startswith(source.stem):
                    continue
                for word, renderer in self._renderers.of_type(None if identity is None else identity.type):
                    for name in self._names(word, renderer, source):
                        if wanted is None or name == wanted:
                            yield Planned(name, renderer, source, entry, before)
                before[source.path] = source

    def report(self, name: str, source: Source, error: Exception) -> None:
        """Say in the log, once for each version of a source, that something cannot be made of it."""
        key = f"{name} {source.path}"
        if self._reported.get(key) == source.version:
            return
        if len(self._reported) >= _MAX_REPORTED:
            self._reported.clear()
        self._reported[key] = source.version
        is_told = isinstance(error, (CopickfsError, OSError, ValueError))
        reason = str(error).removeprefix(f"{source.path}: ") if is_told else repr(error)
        _log.warning("no %s can be made of %s: %s", name, source.path or "the project", reason)

    def _identities(self, path: str, origin: str) -> Iterator[tuple[Identity | None, Entry]]:
        """What the files of a directory are made of, with their entries; those with longer names first.

        So ``wbp_bin2.mrc`` is the tomogram of that name, if there is one, not the second level of ``wbp``.
        """
        if path == naming.VIEWS:
            entry = self.directory(path, wait=True)
            if entry is not None and self._renderers.of_type(None):
                yield None, entry
            return
        if naming.is_run(path) and origin != OBJECTS_DIRECTORY:
            found = self._look(origin)
            if found is not None:
                yield identify(origin, is_dir=True), found
            return
        for entry in sorted(self._listing(origin), key=lambda entry: (-len(entry.name), entry.name)):
            identity = identify(join(origin, entry.name), is_dir=entry.is_dir)
            if identity is not None and self._renderers.of_type(identity.type):
                yield identity, entry

    def _look(self, path: str) -> Entry | None:
        try:
            entry = self._project.tree.lookup(path).entry
        except (NotFound, NotADirectory):
            return None
        return entry if entry.is_dir else None

    def _listing(self, directory: str) -> Iterable[Entry]:
        try:
            return self._project.tree.listing(directory).entries
        except (NotFound, NotADirectory):
            return ()

    def _names(self, word: str, renderer: Renderer, source: Source) -> Iterable[str]:
        try:
            names = list(renderer.files(source))
        except Transient:
            raise
        except (NotFound, NotADirectory):
            return ()  # gone since it was listed
        except Exception as error:  # noqa: BLE001 -- another package's code may raise anything
            self.report(f".{word} file", source, error)
            return ()
        sound = [name for name in names if _is_name(name, "" if _is_whole(source.identity) else source.stem)]
        for name in names:
            if name not in sound:
                self.report(f".{word} file", source, Unreadable(f"it cannot be called {name!r:.300}"))
        return sound


def _is_whole(identity: Identity | None) -> bool:
    """True if files are of a run or of the project, and may have any name."""
    return identity is None or identity.type is EntityType.RUN


def _is_name(name: object, begin: str) -> bool:
    """True for what can be the name of a file, and begins as it has to."""
    if not isinstance(name, str) or name in ("", ".", "..") or "/" in name or "\0" in name:
        return False
    if not name.startswith(begin):
        return False
    try:
        return len(name.encode(errors="surrogateescape")) <= _MAX_NAME_BYTES
    except UnicodeEncodeError:
        return False


def _directory(name: str, entry: Entry) -> Entry:
    """What stands for a directory of the project, as open as that is.

    Also to those who write, who are told that nothing is written here (EROFS), rather than that they may
    not; and a copy of the directory, which has its mode, can be removed again.
    """
    mode = stat.S_IFDIR | entry.mode & 0o777
    return Entry(
        name, mode, 0, entry.mtime_ns, NAME, ctime_ns=entry.ctime_ns, atime_ns=entry.atime_ns,
        uid=entry.uid, gid=entry.gid,
    )  # fmt: skip
