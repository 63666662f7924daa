"""Finding and searching entities of a stack of layers: by the index, or, slower, without one.

Without an index the tree is gone through once, into a database in memory, and that is asked: so the
answers are the same.
"""

from __future__ import annotations

import contextlib
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from copickfs.errors import IndexUnavailable
from copickfs.index import EntityTable, Queries, in_memory, prune_names, prune_stacks, rebuild
from copickfs.indexing.crawl import Crawler, Summary
from copickfs.indexing.criteria import criteria_of, types_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Sequence

    from copickfs.entities import EntityRecord
    from copickfs.index import Database, StackState
    from copickfs.view import View

    Answer = dict[str, list[EntityRecord]]

_log = logging.getLogger(__name__)
_IN_MEMORY = "memory"


class Catalog:
    """The index of one merged tree. Thread-safe.

    Args:
        view: The merged tree.
        database: Where its entities are kept; None: nowhere.
        key: Its stack in the database; see `copickfs.indexing.place.key_of`.

    Attributes:
        table: The entities that are kept; None if none are.
        crawler: Keeps them; None if nobody does.
        before_walk: Called before all layers are gone through: connects them where they are not.
        after_walk: Called with what that has come to, before it is asked; may raise.
        skipped: What the last answer lacks, which was made without an index: paths, and why.
    """

    def __init__(self, view: View, database: Database | None, key: str) -> None:
        self.view = view
        self.database = database
        self.key = key
        self.before_walk: Callable[[], object] = lambda: None
        self.after_walk: Callable[[Summary], object] = lambda _summary: None
        self.skipped: Sequence[tuple[str, str]] = ()
        self.table = None if database is None else EntityTable(database, key)
        self.crawler = None if self.table is None else Crawler(view, self.table)

    def __repr__(self) -> str:
        return f"<Catalog of {self.view!r} in {self.database!r}>"

    def find_objects(self, **criteria: Any) -> Answer:
        """The entities that meet all criteria (specification, 7.2).

        Args:
            criteria: ``type`` (a word such as ``"picks"``, or several), ``run``, ``object``, ``user``,
                ``session``, ``name``, ``voxel_size`` (Angstrom), ``layer``, ``segmentation_type``,
                ``run_name`` (a name that people know the run by, or several); see
                `copickfs.index.Criteria`.

        Returns:
            For each kind that was asked for, its entities in the order of their paths.

        Raises:
            UserError: See `criteria_of`.
        """
        wanted = criteria_of(**criteria)
        return self._answered(lambda queries: queries.find(wanted))

    def search(
        self, query: str, object_types: Collection[str] | None = None, limit: int | None = None
    ) -> Answer:
        """The entities in whose names all words of ``query`` are, the best first (specification, 7.3).

        Args:
            query: Words, ``"phrases"`` and ``begin*``; see `copickfs.index.Queries.search`.
            object_types: Kinds of entities, such as ``["picks", "runs"]``; None for all.
            limit: Most entities of each kind; None for all.

        Raises:
            UserError: A kind of entities is not known.
        """
        types = None if object_types is None else types_of(object_types)
        return self._answered(lambda queries: queries.search(query, types, limit))

    def index(
        self,
        *,
        full: bool = False,
        layer: str | None = None,
        progress: Callable[[int, int, int], None] | None = None,
        stop: threading.Event | None = None,
    ) -> Summary:
        """Bring the index up to date (specification, 7.1).

        Args:
            full: Read everything again, also what has not changed.
            layer: Only what this layer has.
            progress: Called now and then with the numbers of entities, of runs, and of runs that are done.
            stop: Set to end early; the next call goes on from there.

        Raises:
            IndexUnavailable: There is no index, or it cannot be written.
        """
        if self.crawler is None or self.database is None:
            raise IndexUnavailable("there is no index")
        crawl = partial(self.crawler.crawl, full=full, layer=layer, progress=progress, stop=stop)
        self.mark_used()
        try:
            summary = crawl()
        except IndexUnavailable:
            if not self.database.is_damaged:
                raise
            rebuild(self.database)
            summary = crawl()
        is_over = (lambda: False) if stop is None else stop.is_set
        with contextlib.suppress(IndexUnavailable):  # the next run does it
            prune_stacks(self.database, is_over)
            prune_names(self.database, is_over)
        return summary

    def mark_used(self) -> None:
        """Note that somebody uses the index, so that it is kept; nothing if that cannot be noted now."""
        with contextlib.suppress(IndexUnavailable):
            if self.table is not None:
                self.table.mark_used()

    def changed(self, path: str) -> None:
        """What is at ``path`` of the tree has changed: look at it now."""
        if self.crawler is not None:
            self.crawler.refresh(path)

    @property
    def is_indexed(self) -> bool:
        """True if questions are answered from the index."""
        try:
            return self.table is not None and self.table.scanned_ns() > 0
        except IndexUnavailable:
            return False

    def state(self) -> StackState | None:
        """How far the index is; None if there is none that can be read. Counts everything that is in it."""
        try:
            return None if self.table is None else self.table.state()
        except IndexUnavailable:
            return None

    def _answered(self, ask: Callable[[Queries], Answer]) -> Answer:
        if self.database is not None and self.is_indexed:
            try:
                return ask(Queries(self.database, self.key))
            except IndexUnavailable as error:
                _log.warning("the index cannot be read (%s), so all layers are gone through", error)
        self.before_walk()
        database = in_memory()
        summary = Crawler(self.view, EntityTable(database, _IN_MEMORY)).crawl()
        self.skipped = summary.skipped
        self.after_walk(summary)
        return ask(Queries(database, _IN_MEMORY))
