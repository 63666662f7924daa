"""Keeping the records of a merged tree: all of them, or those that a change is about.

A crawl looks at every directory that holds entities (`copickfs.indexing.looking`) and hands their records
on in batches. The directory of a run of the project comes after those below it, so that a crawl that
was interrupted need not look below one that is done. What is below a directory that is gone is forgotten
when that is noticed; what nobody has seen at all, when a whole crawl ends.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from copickfs.entities import OBJECTS_DIRECTORY, RUNS_DIRECTORY
from copickfs.indexing.changes import directories_of
from copickfs.indexing.looking import Looker
from copickfs.indexing.records import OUTSIDE, Records
from copickfs.indexing.walk import Summary, Walk

if TYPE_CHECKING:
    from collections.abc import Callable

    from copickfs.view import View

    Progress = Callable[[int, int, int], None]

__all__ = ["Crawler", "Records", "Summary"]


class Crawler:
    """Keeps the records of a merged tree. Thread-safe: a crawl lets changes through between its batches.

    Every method raises what the records raise.

    Args:
        view: The merged tree.
        records: Where to keep what is found.
    """

    def __init__(self, view: View, records: Records) -> None:
        self._view = view
        self._records = records
        self._looker = Looker(view)
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._looks_again = False

    def __repr__(self) -> str:
        return f"<Crawler of {self._view!r}>"

    def crawl(
        self,
        *,
        full: bool = False,
        layer: str | None = None,
        progress: Progress | None = None,
        stop: threading.Event | None = None,
    ) -> Summary:
        """Look at the whole tree.

        A directory that cannot be read keeps its records. Where that is because a layer is out of
        reach, the crawl is not whole, and the next one goes on with it.

        Args:
            full: Read all metadata again, whatever is known of it; so does a run that goes on with one
                which was to.
            layer: Look only where the layer of this name contributes, or has done so; the crawl is not
                whole then.
            progress: Called with the number of entities, of all runs, and of those that are done.
            stop: Give up once it is set; what was found so far is kept.
        """
        begun_s = time.monotonic()
        stop = stop or threading.Event()
        with self._lock:
            scan, full = (OUTSIDE, full) if layer is not None else self._records.begin(full=full)
            walk = Walk(self._view, self._records, self._looker, scan, stop, full=full, layer=layer)
            if scan != OUTSIDE and not self._looks_again:
                walk.go_on(self._records.done(scan))
            self._walk(walk, progress, stop)
            if scan != OUTSIDE:
                is_whole = not stop.is_set() and not walk.is_incomplete
                # What it has seen before a layer was out of reach may be old when it is tried again.
                self._looks_again = walk.is_incomplete
                if is_whole:
                    self._records.finish(scan)
                walk.summary.is_whole = is_whole
        walk.summary.elapsed_s = time.monotonic() - begun_s
        return walk.summary

    def refresh(self, *changed: str) -> list[str]:
        """Look again at what changes of these paths of the tree are about; ``""``: anything has changed.

        Returns:
            The paths for which a layer is out of reach: they are to be tried again.
        """
        if "" in changed:
            self._looks_again = True
            return [] if self.crawl().is_whole else [""]
        concerned = {path: directories for path in changed if (directories := directories_of(path))}
        if not concerned:
            return []
        failed = []
        seen: set[str] = set()
        with self._turn, self._lock:
            walk = Walk(self._view, self._records, self._looker, OUTSIDE, threading.Event())
            for path, directories in concerned.items():
                walk.is_incomplete = False
                for directory in directories:
                    if directory == path:
                        walk.tree(directory)
                    elif directory not in seen:
                        seen.add(directory)
                        walk.one(directory)
                if walk.is_incomplete:
                    failed.append(path)
            walk.batch.flush()
        return failed

    def look_again(self, directory: str) -> None:
        """Look once more at one directory that is known, and at what is new in it."""
        with self._turn, self._lock:
            walk = Walk(self._view, self._records, self._looker, OUTSIDE, threading.Event())
            walk.one(directory)
            walk.batch.flush()

    def _walk(self, walk: Walk, progress: Progress | None, stop: threading.Event) -> None:
        walk.tree(OBJECTS_DIRECTORY)
        runs = walk.above(RUNS_DIRECTORY)
        self._hand_over(walk, len(runs), progress)
        for run in runs:
            if stop.is_set():
                break
            walk.run(run)
            if walk.batch.is_due:
                self._hand_over(walk, len(runs), progress)
        self._hand_over(walk, len(runs), progress)

    def _hand_over(self, walk: Walk, runs: int, progress: Progress | None) -> None:
        """Keep what was found, and let those in that wait with a change: nothing older may come after it."""
        walk.batch.flush()
        self._lock.release()
        try:
            with self._turn:
                pass
            if progress is not None:
                progress(walk.summary.entities, runs, walk.summary.runs)
        finally:
            self._lock.acquire()
