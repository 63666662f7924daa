"""Any fsspec file system, by those of its calls that tell an absence from an outage."""

from __future__ import annotations

import contextlib
import inspect
import threading
from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from copickfs.errors import NotADirectory, NotFound, Stale, Unavailable
from copickfs.layers.sources import (
    DIRECTORY,
    FILE,
    LINK,
    SEALED,
    Counters,
    Found,
    ancestors,
    is_sound,
    leads_back,
)
from copickfs.layers.sources.faults import meaning
from copickfs.layers.sources.looped import wait_for
from copickfs.paths import join

if TYPE_CHECKING:
    from collections.abc import Callable

    from copickfs.layers.guard import Attempt
    from copickfs.layers.sources.writing import Writing
    from copickfs.model import ByteRange

_KINDS = {"file": FILE, "directory": DIRECTORY, "dir": DIRECTORY, "link": LINK}
_ETAG_KEYS = ("ETag", "etag", "e_tag", "md5Hash", "md5", "checksum", "VersionId", "version_id", "generation")
_MTIME_KEYS = ("mtime", "last_modified", "LastModified", "modified", "updated", "timeModified", "modify")
_FLAT = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"})
"""Object stores, whose ``find`` is one flat listing; the default one walks, and skips what fails."""

_PARALLEL = frozenset({"MemoryFileSystem", "SMBFileSystem"})
"""Synchronous file systems that serve several threads at once; others are asked one call at a time."""


class GenericSource:
    """One instance of an fsspec file system.

    Args:
        fs: The instance, which nobody else uses.
        root: Path of the layer's root in it.
        counters: Told of requests.
    """

    def __init__(self, fs: Any, root: str, counters: Counters) -> None:
        self._fs = fs
        self._root = root.rstrip("/")
        self._counters = counters
        name = type(fs).__name__
        self._turn = None if fs.async_impl or name in _PARALLEL else threading.Lock()
        self._has_session = not fs.async_impl and hasattr(fs, "_connect")
        protocols = (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)
        self._is_flat = not _FLAT.isdisjoint(protocols)

    def probe(self, attempt: Attempt) -> None:
        """See `Source.probe`."""
        if self.call("info", attempt, self.full(""))["type"] != "directory":
            raise NotADirectory("")

    def scan(self, path: str, attempt: Attempt) -> list[Found]:
        """See `Source.scan`."""
        full = self.full(path)
        listing = []
        for info in self._listed(full, attempt):
            attempt.progress()
            name = info["name"].rstrip("/")
            if name.strip("/") == full.strip("/"):
                if info["type"] == "file" and not info["name"].endswith("/"):
                    raise NotADirectory(path)
                continue  # an object store's mark for the directory itself
            found = self._found(name.rpartition("/")[2], info)
            if found is not None:
                listing.append(self._completed(path, found, attempt))
        return listing

    def _listed(self, full: str, attempt: Attempt) -> list[dict[str, Any]]:
        """The answers of ``ls``, which in some file systems fails for one name that is just going away."""
        listed: list[dict[str, Any]]
        try:
            listed = self.call("ls", attempt, full, detail=True)
        except Exception as error:
            absent = isinstance(meaning(error, "", ""), NotFound)
            if not absent or self._is_flat or self.call("info", attempt, full)["type"] != "directory":
                raise
        else:
            return listed
        listed = []
        for name in self.call("ls", attempt, full, detail=False):
            attempt.progress()
            try:
                listed.append(self.call("info", attempt, name))
            except Exception as error:
                if not isinstance(meaning(error, "", ""), NotFound):
                    raise
        return listed

    def tree(
        self, path: str, directories: list[str], attempt: Attempt, keep: Callable[[str, list[Found]], None]
    ) -> None:
        """See `Source.tree`."""
        if self._is_flat:
            self._flat_tree(path, attempt, keep)
            return
        waiting = list(directories)
        while waiting:
            relative = waiting.pop()
            try:
                listing = self.scan(join(path, relative), attempt)
            except Exception as error:
                told = meaning(error, path, str(error))
                if isinstance(told, NotFound | NotADirectory):
                    raise Unavailable(f"{path!r} changed while it was listed") from None
                raise
            keep(relative, listing)
            inner = (e.name for e in listing if e.kind == DIRECTORY and is_sound(e.name))
            waiting.extend(f"{relative}/{name}" for name in inner)

    def info(self, path: str, attempt: Attempt) -> Found:
        """See `Source.info`."""
        found = self._found(path.rpartition("/")[2], self.call("info", attempt, self.full(path)))
        if found is None:
            raise NotFound(path)
        return found

    def read(self, path: str, span: ByteRange, found: Found, attempt: Attempt) -> bytes:
        """See `Source.read`. The version is asked for after the bytes have come."""
        try:
            data = self._bytes(self.full(path), span, attempt)
            attempt.progress()
            now = self.info(path, attempt)
        except Exception as error:
            if isinstance(meaning(error, path, ""), NotFound | NotADirectory):
                raise Stale(path) from None
            raise
        if (now.kind, now.size_bytes, now.mtime_ns, now.etag) != found[1:]:
            raise Stale(path)
        if len(data) != span.size_bytes:
            raise Unavailable(f"{len(data)} bytes came for {span.size_bytes}")
        return data

    def readlink(self, path: str, attempt: Attempt) -> str:
        """See `Source.readlink`."""
        self._counters.request()
        attempt.progress()
        target: str = self._fs.ftp.readlink(self.full(path))
        return target

    def writing(self) -> Writing:
        """See `Source.writing`."""
        from copickfs.layers.sources.generic_writing import GenericWriting

        return GenericWriting(self, self._fs)

    def is_lost(self, error: BaseException) -> bool:
        """A file system with one session is dropped with whatever breaks it."""
        return self._has_session and isinstance(meaning(error, "", ""), Unavailable)

    def close(self) -> None:
        """Hang up, by whatever name the file system has for it."""
        for holder, method in (("client", "close"), ("ftp", "close"), ("session", "close")):
            hang_up = getattr(getattr(self._fs, holder, None), method, None)
            if hang_up is not None and not inspect.iscoroutinefunction(hang_up):
                with contextlib.suppress(Exception):
                    hang_up()

    def full(self, path: str) -> str:
        """The file system's path for one of the layer."""
        return f"{self._root}/{path}" if path else self._root

    def call(self, method: str, attempt: Attempt, *args: Any, **options: Any) -> Any:
        """Call a method of the file system, or its coroutine."""
        self._counters.request()
        if self._fs.async_impl:
            return wait_for(self._fs.loop, getattr(self._fs, f"_{method}")(*args, **options), attempt)
        with self.turn():
            return getattr(self._fs, method)(*args, **options)

    def turn(self) -> contextlib.AbstractContextManager[Any]:
        """Held while the file system is asked, if it serves one caller at a time."""
        return self._turn or contextlib.nullcontext()

    def _bytes(self, full: str, span: ByteRange, attempt: Attempt) -> bytes:
        cat_file = getattr(self._fs, "_cat_file" if self._fs.async_impl else "cat_file")
        data: bytes
        if {"start", "end"} <= inspect.signature(cat_file).parameters.keys():
            data = self.call("cat_file", attempt, full, start=span.start, end=span.stop)
            return data
        self._counters.request()  # its ``cat_file`` would fetch the whole file for every range
        with self.turn(), self._fs.open(full, "rb") as file:
            file.seek(span.start)
            data = file.read(span.size_bytes)
            return data

    def _found(self, name: str, info: dict[str, Any]) -> Found | None:
        """The entry for one answer of fsspec; None for what is neither file, directory nor link."""
        kind = _KINDS.get(info["type"])
        if kind is None:
            return None
        etag = next((str(info[key]) for key in _ETAG_KEYS if info.get(key)), "")
        mtime_ns = next((_ns(info[key]) for key in _MTIME_KEYS if info.get(key)), 0)
        if not etag and not mtime_ns and kind == FILE:
            etag = f"{_ns(info.get('created')):x}"  # a source in memory makes a new file for every version
        if kind != FILE:
            return Found(name, kind, 0, mtime_ns, "")
        size = info.get("size")
        return Found(name, SEALED if size is None else FILE, size or 0, mtime_ns, etag)

    def _completed(self, directory: str, found: Found, attempt: Attempt) -> Found:
        """What a link stands for; one that leads nowhere, or back up its own path, stays a link."""
        if found.kind != LINK:
            return found
        path = join(directory, found.name)
        try:
            followed = self.info(path, attempt)
        except Exception as error:
            if isinstance(meaning(error, path, ""), NotFound | NotADirectory):
                return found
            raise
        real_path = getattr(getattr(self._fs, "ftp", None), "normalize", None)  # paramiko's
        if followed.kind == DIRECTORY and real_path is not None:
            with self.turn():
                here, there = real_path(self.full(directory)), real_path(self.full(path))
            if leads_back(here, there):
                return found
        return followed

    def _flat_tree(self, path: str, attempt: Attempt, keep: Callable[[str, list[Found]], None]) -> None:
        root = self.full(path)
        listings: defaultdict[str, dict[str, Found]] = defaultdict(dict)
        found_by_name = self.call("find", attempt, root, detail=True)
        for full, info in found_by_name.items():
            inner = full[len(root) :].strip("/") if full.startswith(root) else full
            relative, _, name = inner.rpartition("/")
            found = self._found(name, info)
            if name and found is not None:
                listings[relative][name] = found
        for relative in list(listings):
            for above, name in ancestors(relative):
                listings[above][name] = Found(name, DIRECTORY)
        for relative, listing in listings.items():
            if relative:
                keep(relative, list(listing.values()))


def _ns(value: Any) -> int:
    """A modification time in whatever form fsspec has it, in ns since the epoch; 0 if it is none."""
    if isinstance(value, str):
        value = _parsed(value)
    if isinstance(value, datetime):
        value = (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return round(value * 1e9) if isinstance(value, int | float) else 0


def _parsed(text: str) -> datetime | None:
    with contextlib.suppress(ValueError):
        return datetime.fromisoformat(text)
    with contextlib.suppress(ValueError):
        return datetime.strptime(text[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    return None
