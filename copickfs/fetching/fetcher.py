"""Having files on the disk of the cache: several at a time, and again where that has failed for a moment."""

from __future__ import annotations

import threading
from concurrent.futures import wait
from typing import TYPE_CHECKING, Any, NamedTuple

from copickfs.errors import IsADirectory, LayerError, NotADirectory, NotFound, Stale, Transient
from copickfs.layers.remotefile import RemoteFile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor

    from copickfs.cache import Cache
    from copickfs.fetching.targets import Target
    from copickfs.view import View

    Progress = Callable[[int, int, int], object]

_ATTEMPTS = 4
_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 5.0
_MOST_FAILED = 16
"""Files of a layer that fail one after the other before it is given up."""

_MOST_UNKEPT = 64
"""Parts that are not kept one after the other before nothing more is fetched."""

_FLUSH_LIMIT_S = 30.0
_FAREWELL_S = 2.0
_POLL_S = 0.1


class Outcome(NamedTuple):
    """What became of the files.

    Attributes:
        files: Files that are on the disk.
        fetched_bytes: What had to be fetched.
        kept_bytes: What was there.
        failed: Files that could not be read, with the reason.
        unkept: Files that are not on the disk, with the reason.
    """

    files: int
    fetched_bytes: int
    kept_bytes: int
    failed: list[tuple[str, str]]
    unkept: list[tuple[str, str]]


class Fetcher:
    """Fetches files of the merged tree.

    Args:
        view: The merged tree.
        cache: Where its layers keep what is read.
        pool: Works.
        jobs: So many files at a time.
        stop: Set where the work is to end.
        progress: Called with more files, bytes that were fetched, and bytes that were there.
    """

    def __init__(
        self,
        view: View,
        cache: Cache,
        pool: Executor,
        jobs: int,
        stop: threading.Event,
        progress: Progress = lambda *_: None,
    ) -> None:
        self._view = view
        self._cache = cache
        self._pool = pool
        self._jobs = jobs
        self._stop = stop
        self._progress = progress
        self._lock = threading.Lock()
        self._gone: set[str] = set()
        self._failed: dict[str, str] = {}
        self._failures: dict[str, int] = {}
        self._unkept: dict[str, str] = {}
        self._unkept_in_a_row = 0
        self._fetched_bytes = 0
        self._kept_bytes = 0

    def fetch(self, targets: Sequence[Target]) -> Outcome:
        """Have all files on the disk, as far as that is possible."""
        self._each(targets, self._fetch)
        if self._unkept and not self._is_full:
            # Another process, or this one's own reader, may have been writing the same.
            self._cache.flush(_FLUSH_LIMIT_S)
            again = [target for target in targets if target.path in self._unkept]
            self._unkept.clear()
            self._each(again, self._fetch)
        if self._fetched_bytes:
            self._each(targets, self._check)
        lost = self._failed.keys() | self._unkept.keys() | self._gone
        return Outcome(
            len(targets) - len(lost),
            self._fetched_bytes,
            self._kept_bytes,
            sorted(self._failed.items()),
            sorted(self._unkept.items()),
        )

    @property
    def _is_full(self) -> bool:
        """True once it is of no use to go on."""
        return self._unkept_in_a_row >= _MOST_UNKEPT

    def _each(self, targets: Sequence[Target], action: Callable[[Target], None]) -> None:
        left = iter(targets)

        def work() -> None:
            while not self._stop.is_set():
                with self._lock:
                    target = next(left, None)
                if target is None:
                    return
                action(target)

        workers = {self._pool.submit(work) for _ in range(self._jobs)}
        while not self._stop.is_set() and workers:
            done, workers = wait(workers, _POLL_S)
            for each in done:
                each.result()
        wait(workers, _FAREWELL_S)  # for what has arrived to be written

    def _fetch(self, target: Target) -> None:
        if self._is_full:
            self._unkept[target.path] = self._reason(None)
            return
        if self._failures.get(target.layer, 0) >= _MOST_FAILED:
            self._failed[target.path] = f"layer {target.layer} was given up after {_MOST_FAILED} failures"
            return
        seen = _Seen(self._advance)
        for attempt in range(_ATTEMPTS):
            try:
                self._keep(target, seen)
            except (NotFound, NotADirectory, IsADirectory):  # since it was listed
                self._gone.add(target.path)
            except Stale as error:
                fault: Exception = error
                continue
            except Transient as error:
                fault = error
                self._pause(target, attempt)
                continue
            except (LayerError, OSError) as error:
                fault = error
                break
            self._failures[target.layer] = 0
            self._progress(1, 0, 0)
            return
        with self._lock:
            self._failures[target.layer] = self._failures.get(target.layer, 0) + 1
        if not self._stop.is_set():
            self._failed[target.path] = str(fault)

    def _keep(self, target: Target, seen: _Seen) -> None:
        file, _layer = self._view.open(target.path)
        try:
            if not isinstance(file, RemoteFile):
                return  # another layer's since it was listed
            seen.begin()
            for part in file.keep():
                seen.add(part.size_bytes, was_kept=part.was_kept)
                with self._lock:
                    self._unkept_in_a_row = 0 if part.is_kept else self._unkept_in_a_row + 1
                if not part.is_kept:
                    self._unkept[target.path] = self._reason(file)
                if self._stop.is_set():
                    return
        finally:
            file.close()

    def _check(self, target: Target) -> None:
        """See that a file is still there, for others may have taken its room."""
        if target.path in self._failed or target.path in self._gone or target.path in self._unkept:
            return
        try:
            file, _layer = self._view.open(target.path)
        except (LayerError, OSError, Transient):
            return  # changed in this very moment
        try:
            if isinstance(file, RemoteFile) and not file.is_kept():
                self._unkept[target.path] = "others have taken its room"
        finally:
            file.close()

    def _reason(self, file: RemoteFile | None) -> str:
        """Why something is not kept."""
        disk = self._cache.disk
        if disk is not None and disk.fault:
            return f"the cache cannot be used: {disk.fault}"
        if file is not None and not file.is_lasting:
            return "its source does not tell one version from another, or it has changed only just now"
        return "there is no room for it"

    def _pause(self, target: Target, attempt: int) -> None:
        layer: Any = next(layer for layer in self._view.layers if layer.name == target.layer)
        pause_s = max(_PAUSE_S * 2**attempt, layer.wait_available_hint_s())
        self._stop.wait(min(pause_s, _LONGEST_PAUSE_S))

    def _advance(self, size_bytes: int, *, was_kept: bool) -> None:
        with self._lock:
            if was_kept:
                self._kept_bytes += size_bytes
            else:
                self._fetched_bytes += size_bytes
        self._progress(0, 0 if was_kept else size_bytes, size_bytes if was_kept else 0)


class _Seen:
    """How far a file has got: what is come to a second time, after a fault, does not count again."""

    def __init__(self, advance: Callable[..., None]) -> None:
        self._advance = advance
        self._told_bytes = 0
        self._at_bytes = 0

    def begin(self) -> None:
        """The file is gone through from its beginning."""
        self._at_bytes = 0

    def add(self, size_bytes: int, *, was_kept: bool) -> None:
        """Its next part is done."""
        self._at_bytes += size_bytes
        if self._at_bytes > self._told_bytes:
            self._advance(self._at_bytes - self._told_bytes, was_kept=was_kept)
            self._told_bytes = self._at_bytes
