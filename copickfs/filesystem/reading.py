"""The reading half of the file system: names, attributes and contents of the merged tree."""

from __future__ import annotations

import contextlib
import hashlib
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from copickfs import paths
from copickfs.errors import InvalidName, NotADirectory, NotFound, Stale
from copickfs.filesystem.faults import raise_unless_absent, reading
from copickfs.filesystem.files import ReadFile
from copickfs.filesystem.instance import StackFileSystem
from copickfs.filesystem.raw import RawFile
from copickfs.model import UNSIZED, ByteRange, Entry, EntryKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_READERS = 16
"""How many files of a layer behind a network are read at a time for one call."""

_ATTEMPTS = 3
"""A file that is replaced while it is read is read anew so many times."""


class ReadableTree(StackFileSystem):
    """The merged tree, read."""

    def _entry(self, path: Any) -> Entry:
        path = self._path(path)
        with reading(path):
            return self._view.lookup(path).entry

    def _entry_or_none(self, path: Any) -> Entry | None:
        """What ``path`` is; None if there is nothing, which an outage never says."""
        try:
            path = self._path(path)
        except InvalidName:
            return None
        with reading(path):
            try:
                return self._view.lookup(path).entry
            except (NotFound, NotADirectory):
                return None

    def info(self, path: Any, **_kwargs: Any) -> dict[str, Any]:
        """What is known of ``path``; see `_info`."""
        path = self._path(path)
        return _info(path, self._entry(path))

    def ls(self, path: Any, detail: bool = True, *, refresh: bool = False, **_kwargs: Any) -> list[Any]:
        """The names in a directory, in order, or the file itself.

        Args:
            path: A path of the tree.
            detail: Give what `info` does for each, instead of its path.
            refresh: Forget first what is remembered of the sources.
        """
        path = self._path(path)
        if refresh:
            self.invalidate_cache()
        with reading(path):
            view = self._view
            try:
                entries = view.listing(path).entries
                found = {paths.join(path, entry.name): entry for entry in entries}
            except NotADirectory:
                found = {path: view.lookup(path).entry}
        return [_info(name, found[name]) if detail else f"/{name}" for name in sorted(found)]

    def exists(self, path: Any, **_kwargs: Any) -> bool:
        """True if there is something; raises where a layer that may have it is out of reach."""
        return self._entry_or_none(path) is not None

    def isdir(self, path: Any) -> bool:
        """True for a directory; raises as `exists` does."""
        entry = self._entry_or_none(path)
        return entry is not None and entry.is_dir

    def isfile(self, path: Any) -> bool:
        """True for a file; raises as `exists` does."""
        entry = self._entry_or_none(path)
        return entry is not None and stat.S_ISREG(entry.mode)

    def walk(
        self,
        path: Any,
        maxdepth: int | None = None,
        topdown: bool = True,
        on_error: Any = "omit",
        **kwargs: Any,
    ) -> Iterator[Any]:
        """See `AbstractFileSystem.walk`. What cannot be listed just now raises; it is no empty directory."""
        on_error = raise_unless_absent if on_error == "omit" else on_error
        walked: Iterator[Any] = super().walk(path, maxdepth, topdown, on_error, **kwargs)
        return walked

    def cat_file(self, path: Any, start: int | None = None, end: int | None = None, **_kwargs: Any) -> bytes:
        """The bytes ``start <= i < end`` of a file; negative numbers count from its end."""
        path = self._path(path)
        with reading(path):
            for _ in range(_ATTEMPTS - 1):
                with contextlib.suppress(Stale):
                    return self._contents(path, start, end)
            return self._contents(path, start, end)

    def _contents(self, path: str, start: int | None, end: int | None) -> bytes:
        opened, _layer = self._view.open(path)
        with contextlib.closing(opened) as file:
            span = _span(start, end, file.entry.size_bytes)
            return bytes(file.read(span)) if span.size_bytes else b""

    def cat_ranges(
        self,
        paths: list[Any],
        starts: int | Sequence[int | None] | None,
        ends: int | Sequence[int | None] | None,
        max_gap: int | None = None,  # noqa: ARG002 -- near ranges of one file come together anyway
        on_error: str = "return",
        **_kwargs: Any,
    ) -> list[Any]:
        """Several ranges of several files, as `cat_file` gives each; behind a network, at the same time."""
        if not isinstance(paths, list):
            raise TypeError("paths must be a list")
        starts = [starts] * len(paths) if starts is None or isinstance(starts, int) else starts
        ends = [ends] * len(paths) if ends is None or isinstance(ends, int) else ends
        if len(starts) != len(paths) or len(ends) != len(paths):
            raise ValueError("paths, starts and ends must be equally many")
        return self._for_each(self.cat_file, list(zip(paths, starts, ends, strict=True)), on_error)

    def cat(self, path: Any, recursive: bool = False, on_error: str = "raise", **kwargs: Any) -> Any:
        """The contents of a file, or of several by their paths; of a directory's files if ``recursive``."""
        names = self.expand_path(path, recursive=recursive)
        if recursive:
            names = [name for name in names if not self.isdir(name)]
        if not isinstance(path, list) and names == [self._strip_protocol(path)]:
            return self.cat_file(names[0], **kwargs)
        start, end = kwargs.get("start"), kwargs.get("end")
        contents = self._for_each(self.cat_file, [(name, start, end) for name in names], on_error)
        pairs = zip(names, contents, strict=True)
        return {name: data for name, data in pairs if on_error != "omit" or not isinstance(data, Exception)}

    def _for_each(
        self, function: Callable[..., Any], calls: list[tuple[Any, ...]], on_error: str
    ) -> list[Any]:
        """The results in order, with ``on_error`` other than ``"raise"`` exceptions among them."""

        def call(arguments: tuple[Any, ...]) -> Any:
            try:
                return function(*arguments)
            except Exception as error:
                if on_error == "raise":
                    raise
                return error

        if self.stack.is_prompt or not calls:
            return [call(arguments) for arguments in calls]
        with ThreadPoolExecutor(min(_READERS, len(calls)), "copickfs-read") as pool:
            return list(pool.map(call, calls))

    def _read(self, path: str, mode: str, block_size: int | None) -> ReadFile:
        with reading(path):
            file, _layer = self._view.open(path)
        block_bytes = block_size or self.blocksize
        buffer_bytes = max(1, min(block_bytes, file.entry.size_bytes))
        return ReadFile(RawFile(file, path), buffer_bytes).describe(self, f"/{path}", mode, block_bytes)

    def created(self, path: Any) -> datetime:
        """When the file last became another one (its change time), else when it was modified."""
        entry = self._entry(path)
        return datetime.fromtimestamp((entry.ctime_ns or entry.mtime_ns) / 1e9, tz=UTC)

    def modified(self, path: Any) -> datetime:
        """When the contents were last modified."""
        return datetime.fromtimestamp(self._entry(path).mtime_ns / 1e9, tz=UTC)

    def ukey(self, path: Any) -> str:
        """A hash that differs whenever the contents may differ."""
        entry = self._entry(path)
        text = f"{entry.layer}\0{entry.version}"
        return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()

    def checksum(self, path: Any) -> int:
        """Like `ukey`, as a number."""
        return int(self.ukey(path), 16)

    def invalidate_cache(self, path: Any = None) -> None:
        """Forget what is remembered of the sources; with ``path`` nothing, for nothing is kept of it here."""
        if path is None:
            self.stack.manager.refresh_all()


def _info(path: str, entry: Entry) -> dict[str, Any]:
    """What fsspec's programs know of a file, and ``layer`` and ``version`` besides.

    In a listing size and version are None where the layer lists no lengths; `info` asks for them.
    """
    is_sized = entry.size_bytes != UNSIZED
    if stat.S_ISREG(entry.mode):
        kind = "file"
    else:
        kind = {EntryKind.DIRECTORY: "directory", EntryKind.SYMLINK: "link"}.get(entry.kind, "other")
    return {
        "name": f"/{path}", "type": kind,
        "size": 0 if entry.is_dir else entry.size_bytes if is_sized else None,
        "created": (entry.ctime_ns or entry.mtime_ns) / 1e9, "mtime": entry.mtime_ns / 1e9,
        "mode": entry.mode, "uid": entry.uid, "gid": entry.gid, "ino": entry.inode, "nlink": entry.nlink,
        "islink": kind == "link", "layer": entry.layer,
        "version": entry.version if is_sized else None,
    }  # fmt: skip


def _span(start: int | None, end: int | None, size_bytes: int) -> ByteRange:
    return ByteRange(*slice(start, end).indices(size_bytes)[:2])
