"""Which paths of the tree are to be fetched, and what programs look at beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copickfs import paths
from copickfs.entities import OBJECTS_DIRECTORY, RUNS_DIRECTORY, EntityType, holds_entities, naming
from copickfs.errors import InvalidName, NotADirectory, NotFound, Transient, UserError
from copickfs.index import is_named, matches, run_name_of
from copickfs.virtual import naming as views

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from copickfs.entities import Identity
    from copickfs.fetching.looking import Looking
    from copickfs.index import Criteria
    from copickfs.model import Entry
    from copickfs.view import View

_IN_RUN = frozenset(EntityType) - {EntityType.OBJECT, EntityType.RUN}


def named(looking: Looking, wanted: Iterable[str]) -> list[str]:
    """The paths that a user has named, without those below others of them.

    Raises:
        UserError: One is not there.
        Transient: A layer that may have one is out of reach.
    """
    found = []
    for path in wanted:
        try:
            normal = paths.normalise(path)
        except InvalidName as error:
            raise UserError(str(error)) from None
        there = _there(looking.view, normal) or _behind(looking.view, normal)
        if there is None:
            raise UserError(f"{path}: there is no such file or directory in the merged tree")
        found.append(there)
    return topmost(found)


def _there(view: View, path: str) -> str | None:
    """``path``, if it is there; None otherwise."""
    try:
        view.lookup(path)
    except (NotFound, NotADirectory):
        return None
    return path


def _behind(view: View, path: str) -> str | None:
    """What the directory or file ``path`` below ``Views`` is made of; None for any other path."""
    if not views.is_below(path):
        return None
    for origin in views.origins_of(path):
        if _there(view, origin) is not None:
            return origin
    directory, name = paths.split(path)
    found = []
    for origin in views.origins_of(directory):
        if _there(view, origin) is not None:
            found += _entities(origin, view.listing(origin).entries)
    # The longest name: `wbp_bin2.mrc` is of the tomogram of that name, if there is one.
    stems = {paths.split(each.path)[1].rpartition(".")[0]: each.path for each in found}
    fitting = [stem for stem in stems if stem and name.startswith(stem)]
    return stems[max(fitting, key=len)] if fitting else None


def found(looking: Looking, criteria: Criteria) -> list[str]:
    """The paths of the entities that meet criteria; what is below a run or voxel spacing goes with it."""
    met: list[str] = []
    if EntityType.OBJECT in criteria.types and criteria.run_name is None:
        entities = _entities(OBJECTS_DIRECTORY, looking.listing(OBJECTS_DIRECTORY))
        met += [entity.path for entity in entities if matches(criteria, entity)]
    if not set(criteria.types) - {EntityType.OBJECT}:
        return met
    runs = []
    for run in _entities(RUNS_DIRECTORY, looking.listing(RUNS_DIRECTORY)):
        if not _is_known_as(looking, run, criteria.run_name):
            continue
        if matches(criteria, run):
            met.append(run.path)
        elif is_named(run.run, criteria.run):
            runs.append(run.path)
    if _IN_RUN & set(criteria.types):
        met += _in_runs(looking, criteria, runs)
    return topmost(met)


def surroundings(looking: Looking, selected: Sequence[str]) -> None:
    """List what programs list before they come to the selected paths, and beside them.

    That is all directories above a path; the objects of the project; and of a run all directories that
    hold entities.
    """
    directories = {"", OBJECTS_DIRECTORY, RUNS_DIRECTORY}
    runs = set()
    for path in selected:
        parts = path.split("/")
        directories.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
        if parts[0] == RUNS_DIRECTORY and len(parts) > 1:
            runs.add("/".join(parts[:2]))
    beside = looking.each(sorted(runs), is_wanted=False)
    below = [inner for run, entries in beside for inner in _holding(run, entries)]
    for _listed in looking.each(sorted(directories.union(below) - runs), is_wanted=False):
        pass


def topmost(wanted: Collection[str]) -> list[str]:
    """Paths in order, without those that are below others of them."""
    kept: list[str] = []
    for path in sorted(set(wanted), key=lambda path: path.split("/")):
        if not kept or (kept[-1] and not path.startswith(kept[-1] + "/")):
            kept.append(path)
    return kept


def _is_known_as(looking: Looking, run: Identity, wanted: Collection[str] | None) -> bool:
    """True if people know a run by one of some names, or its directory has one where nobody tells another."""
    if wanted is None:
        return True
    try:
        told = [layer.known_of(run.path) or {} for layer in looking.view.members(run.path)]
    except (NotFound, NotADirectory):
        return False  # gone since it was listed
    except Transient as error:
        looking.skip(run.path, error)
        return False
    name = next(filter(None, map(run_name_of, told)), run.run)
    return any(is_named(name, each) for each in wanted)


def _in_runs(looking: Looking, criteria: Criteria, runs: Sequence[str]) -> list[str]:
    met, holding = [], []
    for run, entries in looking.each(runs):
        spacings = [entity.path for entity in _entities(run, entries) if matches(criteria, entity)]
        met += spacings
        holding += [inner for inner in _holding(run, entries) if inner not in spacings]
    for directory, entries in looking.each(holding):
        met += [entity.path for entity in _entities(directory, entries) if matches(criteria, entity)]
    return met


def _entities(directory: str, entries: Iterable[Entry]) -> list[Identity]:
    parse = naming(directory)
    identities = [] if parse is None else [parse(entry.name, entry.is_dir) for entry in entries]
    return [identity for identity in identities if identity is not None]


def _holding(run: str, entries: Iterable[Entry]) -> list[str]:
    """The directories in a run that hold entities."""
    inner = (paths.join(run, entry.name) for entry in entries if entry.is_dir)
    return [directory for directory in inner if holds_entities(directory)]
