"""What a file of picks holds, as arrays, and how many points it has.

The model is copick's (1.31, ``copick.models.CopickPicksFile`` and ``CopickPoint``): positions in angstrom
from the corner of the tomogram, a 4x4 matrix whose translation is a shift to be added to the position, a
score, and the number of an instance. Numbers that are not finite are refused; copick reads them, and
refuses to write them.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pydantic_core

from copickfs.errors import Stale, Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np

    from copickfs.virtual.sources import Source

MAX_POINTS = 1 << 40

_IDENTITY = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
_MATRIX = (4, 4)


class Points(NamedTuple):
    """The points of one file of picks, n of them.

    Attributes:
        positions: float64 (n, 3): x, y, z in angstrom.
        matrices: float64 (n, 4, 4), from the object to the tomogram; the last row is 0, 0, 0, 1.
        instances: int64 (n,), 0 where none is given.
        scores: float64 (n,), 1.0 where none is given.
    """

    positions: np.ndarray
    matrices: np.ndarray
    instances: np.ndarray
    scores: np.ndarray

    @property
    def rotations(self) -> np.ndarray:
        """float64 (n, 3, 3); nobody has checked that they are rotations."""
        return self.matrices[:, :3, :3]

    @property
    def shifts(self) -> np.ndarray:
        """float64 (n, 3): x, y, z in angstrom."""
        return self.matrices[:, :3, 3]

    @property
    def centers(self) -> np.ndarray:
        """float64 (n, 3): where the particles are, x, y, z in angstrom."""
        import numpy as np

        with np.errstate(over="ignore"):  # numbers of any size are numbers
            centers: np.ndarray = self.positions + self.shifts
        return centers


def count(source: Source) -> int:
    """The number of points of a file of picks; it is read only if that is not known.

    Raises:
        Unreadable: It is no file of picks.
        OSError: As `Source.read`.
    """
    known = source.known().get("points")
    if type(known) is int and 0 <= known <= MAX_POINTS:
        return known
    with _no_garbage():
        return len(_listed(source.path, source.read()))


def points_of(source: Source, expected: int) -> Points:
    """The points of a file of picks.

    Args:
        source: The file.
        expected: How many there were when the length of a view was told.

    Raises:
        Stale: There are more or fewer.
        Unreadable: It is no file of picks, or one of its points is not what copick writes.
        OSError: As `Source.read`.
    """
    data = source.read()
    with _no_garbage():
        listed = _listed(source.path, data)
        del data
        if len(listed) != expected:
            source.distrust()
            raise Stale(f"{source.path}: has {len(listed):,} points, and was said to have {expected:,}")
        try:
            return _arrays(listed)
        except _BAD as error:
            raise _fault(source.path, listed, error) from error


@contextlib.contextmanager
def _no_garbage() -> Iterator[None]:
    """Not to look for garbage among a million new lists makes reading them five times as fast."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def parsed(path: str, data: bytes) -> dict[str, Any]:
    """The JSON object in ``data``, the contents of ``path``. Raises `Unreadable` if it is none."""
    try:
        document = _parsed(data)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{path}: is no JSON document: {error}") from error
    if not isinstance(document, dict):
        raise Unreadable(f"{path}: is no JSON object, as copick writes them")
    return document


def _listed(path: str, data: bytes) -> list[Any]:
    points = parsed(path, data).get("points")
    if points is None:
        return []
    if not isinstance(points, list):
        raise Unreadable(f"{path}: points: is no list")
    return points


def _parsed(data: bytes) -> Any:
    try:
        return pydantic_core.from_json(data, cache_strings="keys")
    except ValueError:
        return json.loads(data)  # a third as fast, but it takes lone surrogates


_BAD = (AttributeError, KeyError, OverflowError, TypeError, ValueError)


def _arrays(points: Sequence[Any]) -> Points:
    """Raises one of `_BAD` if any of the points is not what copick writes."""
    places = [(place["x"], place["y"], place["z"]) for place in [point["location"] for point in points]]
    return Points(
        _finite("location", places, (3,)),
        _matrices([point.get("transformation_", _IDENTITY) for point in points]),
        _whole([point.get("instance_id") for point in points]),
        _finite("score", [1.0 if (s := point.get("score")) is None else s for point in points], ()),
    )


def _finite(name: str, values: Sequence[Any], shape: tuple[int, ...]) -> np.ndarray:
    import numpy as np

    array = np.array(values, dtype=np.float64).reshape(len(values), *shape)
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: is not finite")
    return array


def _matrices(values: Sequence[Any]) -> np.ndarray:
    import numpy as np

    flat: Callable[[Any], Any] = itertools.chain.from_iterable
    if not {*map(len, values)} <= {_MATRIX[0]} or not {*map(len, flat(values))} <= {_MATRIX[1]}:
        raise ValueError("transformation_: is no 4x4 matrix")
    numbers = np.fromiter(flat(flat(values)), dtype=np.float64, count=16 * len(values))
    matrices = numbers.reshape(-1, *_MATRIX)
    if not np.isfinite(matrices).all():
        raise ValueError("transformation_: is not finite")
    last = matrices[:, 3]
    # As copick's own model has it.
    if not (last[:, 3] == 1.0).all() or not np.allclose(last, (0.0, 0.0, 0.0, 1.0)):
        raise ValueError("transformation_: its last row is not 0, 0, 0, 1")
    return matrices


def _whole(values: Sequence[Any]) -> np.ndarray:
    import numpy as np

    numbers = [0 if value is None else value for value in values]
    if any(type(number) is not int and int(number) != number for number in set(numbers)):
        raise ValueError("instance_id: is no whole number")
    return np.array(numbers, dtype=np.int64)


def _fault(path: str, points: Sequence[Any], error: Exception) -> Unreadable:
    """What is wrong with the first bad one of ``points``."""
    for number, point in enumerate(points):
        try:
            _arrays([point])
        except KeyError as missing:
            return Unreadable(f"{path}: points[{number}]: has no {missing.args[0]}")
        except (AttributeError, TypeError):
            return Unreadable(f"{path}: points[{number}]: has something else where numbers should be")
        except _BAD as bad:
            return Unreadable(f"{path}: points[{number}].{bad}")
    return Unreadable(f"{path}: points: {error}")
