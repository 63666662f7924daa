"""Which filaments have a known polarity, as copick keeps it (``copick.util.relion.filament_polarity``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copickfs.entities import EntityType
from copickfs.errors import Unreadable
from copickfs.virtual.points.picks import parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from copickfs.virtual.sources import Source

_SHOWN = 20


def filaments_of(picks: Source, filaments: Sequence[Source]) -> Source | None:
    """Of the filaments of a run those of the same object, user and session as ``picks``; None without any."""
    wanted = _made_by(picks)
    return next((each for each in filaments if _made_by(each) == wanted), None)


def all_filaments(source: Source, run: str | None) -> list[Source]:
    """The filaments of a run, or of all."""
    return source.entities(EntityType.FILAMENT, run)


def polarity(picks: Source, instances: np.ndarray, filaments: Source | None) -> np.ndarray:
    """For each point whether the order of its filament's points is known to follow the polarity.

    Args:
        picks: What the points are of.
        instances: int64 (n,): the filaments that the points are on, from 1.
        filaments: The filaments; None for points of which no more is known.

    Raises:
        Unreadable: A point is on no filament, or on one that is not among ``filaments``.
        OSError: As `Source.read`.
    """
    import numpy as np

    if (instances < 1).any():
        first = int((instances < 1).argmax())
        raise Unreadable(f"{picks.path}: points[{first}].instance_id: is 0, and has to name a filament")
    if filaments is None:
        return np.zeros(len(instances), dtype=bool)
    known = _known(filaments)
    missing = sorted(set(instances.tolist()) - set(known))
    if missing:
        shown = ", ".join(map(str, missing[:_SHOWN]))
        raise Unreadable(
            f"{picks.path}: has points on filaments that {filaments.path} does not have: {shown}"
        )
    return np.array([known[instance] for instance in instances.tolist()], dtype=bool)


def _known(filaments: Source) -> dict[int, bool]:
    document = parsed(filaments.path, filaments.read())
    try:
        return {
            each["instance_id"]: bool(each.get("polarity_known")) for each in document.get("filaments") or ()
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise Unreadable(f"{filaments.path}: filaments: are not as copick writes them") from error


def _made_by(source: Source) -> tuple[str, ...]:
    identity = source.identity
    return () if identity is None else (identity.run, identity.object, identity.user, identity.session)
