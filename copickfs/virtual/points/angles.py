"""Euler angles of the orientations of particles, in degrees, by the conventions of copick's export.

copick gives matrices to scipy's ``Rotation`` one by one; here it is the same arithmetic for all of them at
once: what is not exactly a rotation is replaced by the nearest one (``Rotation.from_matrix``, orthogonal
Procrustes), a matrix close to the identity has the angles 0, 0, 0 (``copick.util.formats``), and where only
the sum of the first and the third angle is determined, the third is 0 (``Rotation.as_euler``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

_ORTHOGONAL_TOLERANCE = 1e-12
_GIMBAL_LOCK = 1e-7
"""Radians between the middle angle and 0 or 180 degrees; scipy's."""


class Angles(NamedTuple):
    """Euler angles.

    Attributes:
        degrees: float64 (n, 3): the first, second and third angle; 0 where there are none.
        is_rotation: bool (n,): False where the matrix is none, such as a reflection.
    """

    degrees: np.ndarray
    is_rotation: np.ndarray


def relion(matrices: np.ndarray) -> Angles:
    """``rlnAngleRot``, ``Tilt`` and ``Psi``: ``from_matrix(m).inv().as_euler("ZYZ")``.

    Args:
        matrices: float64 (n, 3, 3), from the object to the tomogram.
    """
    rotations, is_rotation = _rotations(matrices)
    m = rotations.transpose(0, 2, 1)
    degenerate = (-m[:, 0, 1], m[:, 1, 1])
    return _angles(matrices, m, (m[:, 1, 2], m[:, 0, 2]), (m[:, 2, 1], -m[:, 2, 0]), degenerate, is_rotation)


def tom(matrices: np.ndarray) -> Angles:
    """phi, theta and psi of a motive list: ``from_matrix(m).as_euler("zxz")``. As `relion`."""
    rotations, is_rotation = _rotations(matrices)
    return _zxz(matrices, rotations, is_rotation)


def dynamo(matrices: np.ndarray) -> Angles:
    """tdrot, tilt and narot: ``from_matrix(m).inv().as_euler("zxz")``. As `relion`."""
    rotations, is_rotation = _rotations(matrices)
    return _zxz(matrices, rotations.transpose(0, 2, 1), is_rotation)


def _zxz(matrices: np.ndarray, m: np.ndarray, is_rotation: np.ndarray) -> Angles:
    degenerate = (-m[:, 0, 1], m[:, 0, 0])
    return _angles(matrices, m, (m[:, 2, 0], m[:, 2, 1]), (m[:, 0, 2], -m[:, 1, 2]), degenerate, is_rotation)


_Side = tuple["np.ndarray", "np.ndarray"]


def _angles(
    matrices: np.ndarray,
    m: np.ndarray,
    first: _Side,
    third: _Side,
    degenerate: _Side,
    is_rotation: np.ndarray,
) -> Angles:
    """The angles, from the sides of the triangles that they are in: opposite and adjacent."""
    import numpy as np

    middle = np.arctan2(np.hypot(*first), m[:, 2, 2])
    is_locked = (middle <= _GIMBAL_LOCK) | (middle >= np.pi - _GIMBAL_LOCK)
    begin = np.where(is_locked, np.arctan2(*degenerate), np.arctan2(*first))
    end = np.where(is_locked, 0.0, np.arctan2(*third))
    degrees = np.degrees(np.column_stack([begin, middle, end]))
    degrees[~is_rotation | np.isclose(matrices, np.eye(3)).all(axis=(1, 2))] = 0.0
    return Angles(degrees, is_rotation)


def _rotations(matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest rotations, and where there is one."""
    import numpy as np

    with np.errstate(all="ignore"):  # numbers as large as 1e300 are no rotations, and no fault either
        is_rotation = np.linalg.det(matrices) > 0
        gram = matrices @ matrices.transpose(0, 2, 1)
        is_rotation &= np.isfinite(gram).all(axis=(1, 2))
        rotations = np.where(is_rotation[:, None, None], matrices, np.eye(3))
        is_exact = np.isclose(gram, np.eye(3), atol=_ORTHOGONAL_TOLERANCE).all(axis=(1, 2))
    rest = np.flatnonzero(is_rotation & ~is_exact)
    if len(rest):
        left, _, right = np.linalg.svd(rotations[rest])
        rotations[rest] = left @ right
    return rotations, is_rotation
