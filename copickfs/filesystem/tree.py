"""The file system: the reading half, and what changes the tree."""

from __future__ import annotations

import errno
import logging
import os
import time
from functools import cached_property
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fsspec.compression import compr
from fsspec.core import get_compression

from copickfs import paths
from copickfs.errors import NotFound, ReadOnly, Stale
from copickfs.filesystem.faults import changing
from copickfs.filesystem.files import CompressedFile, TextFile, UpdateFile, WriteFile
from copickfs.filesystem.raw import RawVersion
from copickfs.filesystem.reading import ReadableTree
from copickfs.layers.writable import Change, Owner

if TYPE_CHECKING:
    from copickfs.layers.writable import WritableFile
    from copickfs.view.writing import Writer

_log = logging.getLogger(__name__)

_WRITE_MODES = frozenset({"w", "a", "x", "w+", "a+", "x+", "r+"})
_COPY_BYTES = 4 << 20
_ATTEMPTS = 100
"""How often a file that others make and remove all the time is tried to be opened."""


class CopickFileSystem(ReadableTree):
    """The layers of a configuration as one fsspec file system, ``copickfs://``. Thread-safe.

    Paths are those of the tree, ``ExperimentRuns/...``. Whatever is written goes where the configuration
    says (`copickfs.view.writing`), and is seen by everybody when the file is closed, all of it at once. It
    can be pickled, and be used after a fork.

    Args:
        config: The path of a configuration, its JSON text, or a dictionary.
        base_directory: What relative paths are relative to: ``config`` itself, and in text and dictionaries
            the roots of layers; the working directory if None.
        read_only: Change nothing, whatever the configuration says.
        offline: Reach for nothing on a network.
        auto_mkdir: Make the directories that a new file lacks.
        fo: The rest of a chained URL, ``copickfs://PATH::config.json``, which stands for ``config``.
        target_protocol: What fsspec takes ``fo`` for: a local file.
        target_options: Without effect.
        listing_options: What fsspec accepts of every file system; without effect, for nothing is kept.

    Raises:
        ConfigError: The configuration cannot be used.
    """

    @cached_property
    def _umask(self) -> int:
        """The process's mask of permissions. To ask by `os.umask` would change it for other threads."""
        lines = Path("/proc/self/status").read_text().splitlines()
        return next((int(line.split()[1], 8) for line in lines if line.startswith("Umask:")), 0o022)

    @property
    def _writer(self) -> Writer:
        """What changes the tree. Raises `ReadOnly` where nothing may."""
        stack = self.stack
        stack.view.catch_up()
        if stack.writer is None:
            raise ReadOnly(errno.EROFS, os.strerror(errno.EROFS))
        return stack.writer

    def open(
        self,
        path: Any,
        mode: str = "rb",
        block_size: int | None = None,
        cache_options: dict[str, Any] | None = None,
        compression: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """See `AbstractFileSystem.open`; a ``with`` block that fails publishes nothing, also of text."""
        if "b" not in mode:
            text = {key: kwargs.pop(key) for key in ("encoding", "errors", "newline") if key in kwargs}
            binary = mode.replace("t", "") + "b"
            return TextFile(self.open(path, binary, block_size, cache_options, compression, **kwargs), **text)
        if compression is None or mode.startswith("r"):
            return super().open(path, mode, block_size, cache_options, compression, **kwargs)
        codec = compr[get_compression(self._strip_protocol(path), compression)]
        file = super().open(path, mode, block_size, cache_options, None, **kwargs)
        return (
            file if codec is None else CompressedFile(codec(file, mode="a" if mode[0] == "a" else "w"), file)
        )

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: dict[str, Any] | None = None,  # noqa: ARG002 -- layers and the cache know what to keep
        **_kwargs: Any,
    ) -> Any:
        """Open for reading, or for writing a version that is published at the end."""
        path = paths.normalise(path)
        kind = mode.replace("b", "").replace("t", "")
        if kind == "r":
            return self._read(path, mode, block_size)
        if kind not in _WRITE_MODES:
            raise ValueError(f"not a mode that a file can be opened in: {mode!r}")

        def check() -> None:
            if kind.startswith("x") and self.exists(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), f"/{path}")

        with changing(path):
            file = self._begin(path, kind)
        file.replaces = not kind.startswith("x")
        raw = RawVersion(
            file, path,
            reads="+" in kind, appends=kind.startswith("a"), deferred=not autocommit, check=check,
        )  # fmt: skip
        block_bytes = block_size or self.blocksize
        cls = UpdateFile if "+" in kind else WriteFile
        return cls(raw, block_bytes).describe(self, f"/{path}", mode, block_bytes)

    def _begin(self, path: str, kind: str) -> WritableFile:
        """A version of the file that is there, or of a new one."""
        for _attempt in range(_ATTEMPTS):
            if not kind.startswith("x"):
                try:
                    return self._writer.open(path, truncate=kind.startswith("w"), whole=True)[0]
                except NotFound:
                    if kind.startswith("r"):
                        raise
            self._make_parent(path)
            try:
                return self._writer.create(path, 0o666 & ~self._umask, _owner(), whole=True)[0]
            except FileExistsError:  # somebody else has made it meanwhile
                if kind.startswith("x"):
                    raise
        raise Stale(f"{path!r} comes and goes")

    def _make_parent(self, path: str) -> None:
        directory = paths.split(path)[0]
        if self.auto_mkdir and directory and not self.exists(directory):
            self.makedirs(directory, exist_ok=True)

    def pipe_file(self, path: Any, value: Any, mode: str = "overwrite", **kwargs: Any) -> None:
        """Write all contents of a file; with mode ``"create"`` only a new one."""
        with self.open(path, "xb" if mode == "create" else "wb", **kwargs) as file:
            file.write(value)

    def cp_file(self, path1: Any, path2: Any, **_kwargs: Any) -> None:
        """Copy the contents of one file, or make a directory like another."""
        if self.isdir(path1):
            self.makedirs(path2, exist_ok=True)
            return
        with self.open(path1, "rb") as source, self.open(path2, "wb") as target:
            while data := source.read(_COPY_BYTES):
                target.write(data)

    def mv(
        self, path1: Any, path2: Any, recursive: bool = False, maxdepth: int | None = None, **kwargs: Any
    ) -> None:
        """Give a file or a directory another name, in one step where the tree can.

        A directory that a lower layer contributes to is copied and then removed, as ``mv`` does it. An
        existing directory as the target, or one that ends with a slash, is moved into.
        """
        if isinstance(path1, list) or isinstance(path2, list) or has_magic(os.fspath(path1)) or maxdepth:
            super().mv(path1, path2, recursive, maxdepth, **kwargs)
            return
        source, target = self._path(path1), self._path(path2)
        self._entry(source)
        if source != target and (os.fspath(path2).endswith("/") or self.isdir(target)):
            target = paths.join(target, paths.split(source)[1])
        if source == target:
            _log.debug("%r is moved to itself: nothing is done", source)
            return
        self._make_parent(target)
        try:
            with changing(source):
                self._writer.rename(source, target, 0)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            for path in self.find(source, withdirs=True):
                self.cp_file(path, target + path[len(f"/{source}") :])
            self.rm(source, recursive=True)

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Remove files, and with ``recursive`` directories with all that is in them."""
        if recursive and maxdepth is None:
            for each in self.expand_path(path):
                self._remove(each)
            return
        for each in reversed(self.expand_path(path, recursive=recursive, maxdepth=maxdepth)):
            if recursive and self.isdir(each):
                self._remove_if_empty(each)
            else:
                self.rm_file(each)

    def _remove_if_empty(self, path: str) -> None:
        """Remove a directory, unless there is something below the depth that was asked for."""
        try:
            self.rmdir(path)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise

    def _remove(self, path: Any) -> None:
        """Remove anything, with what is below it; of the root what is in it."""
        path = self._path(path)
        with changing(path):
            for each in [path] if path else self.ls("", detail=False):
                self._writer.remove(self._path(each))

    def rm_file(self, path: Any) -> None:
        """Remove anything but a directory."""
        path = self._path(path)
        with changing(path):
            self._writer.unlink(path)

    def _rm(self, path: Any) -> None:
        """The former name of `rm_file`."""
        self.rm_file(path)

    def mkdir(self, path: Any, create_parents: bool = True, **_kwargs: Any) -> None:
        """Make a directory. Raises `FileExistsError` if there is something."""
        path = self._path(path)
        directory = paths.split(path)[0]
        if create_parents and directory and not self.exists(directory):
            self.makedirs(directory, exist_ok=True)
        with changing(path):
            self._writer.mkdir(path, 0o777 & ~self._umask, _owner())

    def makedirs(self, path: Any, exist_ok: bool = False) -> None:
        """Make a directory and those above it."""
        path = self._path(path)
        if exist_ok and (not path or self.isdir(path)):
            return
        try:
            self.mkdir(path, create_parents=True)
        except FileExistsError:
            if not (exist_ok and self.isdir(path)):
                raise

    def rmdir(self, path: Any) -> None:
        """Remove an empty directory."""
        path = self._path(path)
        with changing(path):
            self._writer.rmdir(path)

    def touch(self, path: Any, truncate: bool = True, **kwargs: Any) -> None:
        """Make an empty file; without ``truncate`` one that exists only gets the time of now."""
        path = self._path(path)
        if truncate or not self.exists(path):
            with self.open(path, "wb", **kwargs):
                return
        now_ns = time.time_ns()
        with changing(path):
            self._writer.change(path, Change(atime_ns=now_ns, mtime_ns=now_ns))


def _owner() -> Owner:
    return Owner(os.geteuid(), os.getegid())
