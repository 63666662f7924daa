"""All that is shown of a portal's datasets, as one tree.

::

    ExperimentRuns/<run number>/...     as copick has it
    ByName/<dataset>/<run name>         symbolic links to the runs
    Views/<run number>/...              the portal's own files: volumes, points, documents
"""

from __future__ import annotations

import fnmatch
import threading
from collections import OrderedDict, defaultdict
from typing import TYPE_CHECKING, Any

from copickfs.entities import RUNS_DIRECTORY
from copickfs.errors import NotADirectory, NotFound, Unavailable
from copickfs.layers.portal import naming
from copickfs.layers.portal.nodes import Folder, Link, Node, Store
from copickfs.layers.portal.records import unpacked
from copickfs.layers.portal.telling import time_ns
from copickfs.layers.portal.tree import RunTree, Selection, run_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from copickfs.index.portal import RunRow
    from copickfs.layers.portal.catalogue import PortalCatalogue
    from copickfs.layers.portal.stored import Told

BY_NAME = "ByName"
VIEWS = "Views"

_TREES = 512


class PortalProject:
    """From a path to what is there. Thread-safe.

    Args:
        name: Name of the layer.
        catalogue: What the portal tells.
        selection: What of it is shown.
        run_names: Patterns; only runs whose name fits one are shown. Empty for all.
        datasets: Only runs of these are shown; empty for all.
    """

    def __init__(
        self,
        name: str,
        catalogue: PortalCatalogue,
        selection: Selection,
        run_names: Sequence[str] = (),
        datasets: Sequence[int] = (),
    ) -> None:
        self._name = name
        self._catalogue = catalogue
        self._selection = selection
        self._run_names = list(run_names)
        self._datasets = frozenset(datasets)
        self._lock = threading.Lock()
        self._trees: OrderedDict[int, RunTree] = OrderedDict()
        self._top: _Top | None = None
        self._changes = 0

    def node_at(self, path: str) -> tuple[Node, str]:
        """What is at a path, and for what is inside of a store the rest of the path, with its slash.

        Raises:
            NotFound: Nothing.
            NotADirectory: It leads through a file.
            Unavailable: The portal has told nothing yet.
        """
        names = path.split("/") if path else []
        node: Node = self._topmost().root
        for depth in range(len(names)):
            if isinstance(node, Store):
                return node, "/" + "/".join(names[depth:])
            if not isinstance(node, Folder):
                raise NotADirectory(path)
            node = self._child(node, names[: depth + 1], path)
        return node, ""

    def forget(self) -> None:
        """The portal tells something else now."""
        with self._lock:
            self._top = None
            self._changes += 1
            self._trees.clear()

    def _child(self, folder: Folder, names: list[str], path: str) -> Node:
        child = folder.children.get(names[-1])
        if child is None:
            raise NotFound(path)
        if len(names) == 2 and names[0] in (RUNS_DIRECTORY, VIEWS) and isinstance(child, Folder):  # noqa: PLR2004
            tree = self._tree(int(names[1]))
            return tree.project if names[0] == RUNS_DIRECTORY else tree.views
        return child

    def _topmost(self) -> _Top:
        with self._lock:
            top, changes = self._top, self._changes
        if top is None:
            top = _Top(self._catalogue.answers(), self._shows)
            with self._lock:
                if changes == self._changes:  # else it is of what the portal has told before
                    self._top = top
        return top

    def _shows(self, row: RunRow) -> bool:
        if self._datasets and row.dataset not in self._datasets:
            return False
        return not self._run_names or any(fnmatch.fnmatchcase(row.name, glob) for glob in self._run_names)

    def _tree(self, run: int) -> RunTree:
        with self._lock:
            tree = self._trees.get(run)
            if tree is not None:
                self._trees.move_to_end(run)
                return tree
        top = self._topmost()
        try:
            record = unpacked(top.rows[run].record)
        except ValueError as error:
            message = f"layer {self._name}: what is stored of run {run} is damaged"
            raise Unavailable(f"{message}: {error}") from None
        record["dataset_title"] = top.titles.get(record.get("dataset_id"))
        tree = run_tree(record, self._selection, _unreported)
        with self._lock:
            if self._top is top:
                self._trees[run] = tree
                while len(self._trees) > _TREES:
                    self._trees.popitem(last=False)
        return tree


def _unreported(_reason: str, _subject: str) -> None:
    """They were told when the portal was asked."""


class _Top:
    """The upper part of the tree.

    Attributes:
        root: Its root; the directories of runs are empty in it.
        rows: The runs that are shown.
        titles: Titles of datasets.
    """

    def __init__(self, answers: Sequence[Told], shows: Callable[[RunRow], bool]) -> None:
        self.rows: dict[int, RunRow] = {}
        self.titles: dict[Any, str] = {}
        times: dict[Any, int] = {}
        names: defaultdict[int, dict[int, str]] = defaultdict(dict)
        for told in answers:
            self.titles |= {one["id"]: one.get("title") or "" for one in told.about["datasets"]}
            times |= {one["id"]: time_ns(one) for one in told.about["datasets"]}
            for row in told.runs.values():
                if row.run not in self.rows and shows(row):
                    self.rows[row.run] = row
                    names[row.dataset][row.run] = naming.safe_name(row.name, str(row.run))
        last_ns = max(times.values(), default=0)
        runs = {str(run): Folder(mtime_ns=times.get(row.dataset, 0)) for run, row in self.rows.items()}
        by_name = {str(dataset): _links(found, times.get(dataset, 0)) for dataset, found in names.items()}
        tops = {RUNS_DIRECTORY: runs, BY_NAME: by_name, VIEWS: runs}
        self.root = Folder({name: Folder(dict(inner), mtime_ns=last_ns) for name, inner in tops.items()})


def _links(names: dict[int, str], mtime_ns: int) -> Folder:
    links: dict[str, Node] = {
        name: Link(f"../../{RUNS_DIRECTORY}/{run}", mtime_ns=mtime_ns)
        for run, name in naming.told_apart(names).items()
    }
    return Folder(links, mtime_ns=mtime_ns)
