"""Synthetic tomograms for the demo: a vesicle, ribosomes, ferritins and a microtubule, with noise.

Everything follows from the run's name, so that a demo written twice is the same voxel by voxel.
Volumes are indexed ``(z, y, x)``; positions are ``(x, y, z)`` in Angstrom, and voxel ``i`` has its
centre at ``i * voxel_size``.
"""

from __future__ import annotations

import functools
import itertools
import zlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Volume = NDArray[np.float32]
Labels = NDArray[np.uint16]

VOXEL_SIZE_ANGSTROM = 20.0
SHAPE = (48, 64, 64)
MEMBRANE_THICKNESS_ANGSTROM = 50.0
MICROTUBULE_RADIUS_ANGSTROM = 125.0
PARTICLE_RADII_ANGSTROM = {"ribosome": 140.0, "ferritin": 60.0}
LABELS = {"ribosome": 1, "ferritin": 2, "membrane": 3, "microtubule": 4}

_PARTICLE_COUNTS = {"ribosome": 9, "ferritin": 14}
_EDGE_ANGSTROM = 12.0
_TILT_RANGE_DEGREES = 60.0

# Each particle is a sum of soft balls: (x, y, z) offset, radius in Angstrom, weight.
_BALLS = {
    "ribosome": (((0.0, 0.0, -35.0), 100.0, 1.0), ((0.0, 25.0, 75.0), 65.0, 0.8)),
    "ferritin": (((0.0, 0.0, 0.0), 60.0, 1.0), ((0.0, 0.0, 0.0), 32.0, -0.7)),
}


class Particles(NamedTuple):
    """Particles of one kind.

    Attributes:
        positions: Centres in Angstrom, shape ``(n, 3)``.
        transforms: Object to tomogram space, rotation only, shape ``(n, 4, 4)``.
        scores: Confidence between 0 and 1, shape ``(n,)``.
    """

    positions: Floats
    transforms: Floats
    scores: Floats


class Scene(NamedTuple):
    """What a tomogram of the demo shows.

    Attributes:
        seed: Seed of everything random in it.
        vesicle_centre: In Angstrom, shape ``(3,)``.
        vesicle_radius_angstrom: From the centre to the middle of the membrane.
        microtubule: Control points of the centre line in Angstrom, shape ``(n, 3)``.
        particles: By object name.
    """

    seed: int
    vesicle_centre: Floats
    vesicle_radius_angstrom: float
    microtubule: Floats
    particles: dict[str, Particles]


@functools.cache
def scene(run: str) -> Scene:
    """The scene of a run, which depends on nothing but its name."""
    seed = zlib.crc32(run.encode())
    random = np.random.default_rng(seed)
    size = np.array(SHAPE[::-1]) * VOXEL_SIZE_ANGSTROM
    centre = size * random.uniform((0.3, 0.35, 0.45), (0.4, 0.65, 0.55))
    radius = float(random.uniform(250.0, 310.0))
    along = np.linspace(0.1, 0.9, 5) * size[1]
    bend = random.normal(0.0, 15.0, (5, 2))
    microtubule = np.column_stack([size[0] * 0.86 + bend[:, 0], along, size[2] * 0.5 + bend[:, 1]])
    taken: list[tuple[Floats, float]] = [(point, 200.0) for point in microtubule]
    particles = {
        name: _place(random, name, count, (centre, radius), taken) for name, count in _PARTICLE_COUNTS.items()
    }
    return Scene(seed, centre, radius, microtubule, particles)


@functools.cache
def density(run: str) -> Volume:
    """The noise-free volume of a run's scene, protein dark as in a reconstruction. Not to be changed."""
    what = scene(run)
    volume = np.zeros(SHAPE)
    shell = np.abs(_distance_to(what.vesicle_centre) - what.vesicle_radius_angstrom)
    volume += _soft(shell, MEMBRANE_THICKNESS_ANGSTROM / 2)
    tube = np.abs(_distance_to_line(what.microtubule) - MICROTUBULE_RADIUS_ANGSTROM)
    volume += 0.8 * _soft(tube, 20.0)
    for name, group in what.particles.items():
        for position, transform in zip(group.positions, group.transforms, strict=True):
            _add_particle(volume, name, position, transform[:3, :3])
    return (-volume).astype(np.float32)


def tomogram(run: str, noise: float, *, take: int = 0) -> Volume:
    """A reconstruction of a run's scene: white noise, and the wedge that the tilt range leaves out.

    Values are multiples of 1/16, as in a reconstruction stored as 8-bit integers: it compresses.

    Args:
        run: Name of the run.
        noise: Standard deviation of the noise; the densest protein is 1.
        take: Number of the reconstruction; each has noise of its own.
    """
    volume = density(run)
    random = np.random.default_rng((scene(run).seed, take))
    spectrum = np.fft.rfftn(volume + random.normal(0.0, noise, volume.shape))
    frequency_z = np.abs(np.fft.fftfreq(SHAPE[0]))[:, None, None]
    frequency_x = np.fft.rfftfreq(SHAPE[2])[None, None, :]
    spectrum *= frequency_z <= frequency_x * np.tan(np.radians(_TILT_RANGE_DEGREES)) + 0.02
    result = np.fft.irfftn(spectrum, s=volume.shape, axes=(0, 1, 2))
    return _quantised(result)


@functools.cache
def segmentation(run: str) -> tuple[Labels, Labels]:
    """The label of the object at each voxel (0 is background), and the instance within that object.

    The membrane is not split into instances: its instance is 0. Not to be changed.
    """
    what = scene(run)
    labels = np.zeros(SHAPE, np.uint16)
    instances = np.zeros(SHAPE, np.uint16)
    shell = np.abs(_distance_to(what.vesicle_centre) - what.vesicle_radius_angstrom)
    labels[shell <= MEMBRANE_THICKNESS_ANGSTROM / 2] = LABELS["membrane"]
    tube = _distance_to_line(what.microtubule) <= MICROTUBULE_RADIUS_ANGSTROM
    labels[tube], instances[tube] = LABELS["microtubule"], 1
    for name, group in what.particles.items():
        for number, position in enumerate(group.positions, start=1):
            inside = _distance_to(position) <= PARTICLE_RADII_ANGSTROM[name] * 0.9
            labels[inside], instances[inside] = LABELS[name], number
    return labels, instances


def edges(run: str) -> Volume:
    """A feature map: the length of the density's gradient."""
    gradients = np.gradient(density(run))
    return _quantised(np.linalg.norm(gradients, axis=0))


def particle_map(name: str, box: int = 24, voxel_size_angstrom: float = 15.0) -> Volume:
    """The density map of one particle in a cubic box, shape ``(box, box, box)``."""
    coordinates = np.indices((box, box, box))[::-1].astype(float) * voxel_size_angstrom
    centre = np.full(3, (box // 2) * voxel_size_angstrom)
    return _quantised(_balls(name, coordinates, centre, np.eye(3)))


def _place(
    random: np.random.Generator,
    name: str,
    count: int,
    vesicle: tuple[Floats, float],
    taken: list[tuple[Floats, float]],
) -> Particles:
    """Positions that touch neither the membrane nor what is in ``taken``, to which they are added."""
    radius = PARTICLE_RADII_ANGSTROM[name]
    size = np.array(SHAPE[::-1]) * VOXEL_SIZE_ANGSTROM
    positions: list[Floats] = []
    for _ in range(20_000):
        candidate = random.uniform(radius * 0.8, size - radius * 0.8)
        clear = abs(np.linalg.norm(candidate - vesicle[0]) - vesicle[1]) > radius + 40.0
        if clear and all(np.linalg.norm(candidate - other) > radius + reach for other, reach in taken):
            positions.append(candidate)
            taken.append((candidate, radius))
        if len(positions) == count:
            break
    transforms = np.tile(np.eye(4), (len(positions), 1, 1))
    for transform in transforms:
        transform[:3, :3] = _rotation(random)
    scores = np.asarray(np.round(random.uniform(0.5, 1.0, len(positions)), 3))
    return Particles(np.asarray(np.round(positions, 3), float), transforms, scores)


def _rotation(random: np.random.Generator) -> Floats:
    """A rotation matrix, uniform over all rotations."""
    w, x, y, z = (quaternion := random.normal(size=4)) / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _add_particle(volume: Floats, name: str, position: Floats, rotation: Floats) -> None:
    """Add one particle to ``volume``, touching only the voxels near it."""
    reach = PARTICLE_RADII_ANGSTROM[name] * 1.5
    low = np.maximum((position - reach) // VOXEL_SIZE_ANGSTROM, 0).astype(int)[::-1]
    high = np.minimum((position + reach) // VOXEL_SIZE_ANGSTROM + 2, SHAPE[::-1]).astype(int)[::-1]
    window = tuple(slice(start, stop) for start, stop in zip(low, high, strict=True))
    indices = np.indices(tuple(high - low)) + low[:, None, None, None]
    volume[window] += _balls(name, indices[::-1] * VOXEL_SIZE_ANGSTROM, position, rotation)


def _balls(name: str, coordinates: Floats, centre: Floats, rotation: Floats) -> Floats:
    """The density of a particle at ``coordinates`` (x, y, z first)."""
    total = np.zeros(coordinates.shape[1:])
    for offset, radius, weight in _BALLS[name]:
        ball = centre + rotation @ np.array(offset)
        distance = np.sqrt(((coordinates - ball[:, None, None, None]) ** 2).sum(axis=0))
        total += weight * _soft(distance, radius)
    return total


def _distance_to(point: Floats) -> Floats:
    """Distance of every voxel from a point, in Angstrom."""
    x, y, z = point
    grid_z, grid_y, grid_x = np.ogrid[tuple(slice(0, length) for length in SHAPE)]
    squares = [
        (grid * VOXEL_SIZE_ANGSTROM - value) ** 2 for grid, value in ((grid_z, z), (grid_y, y), (grid_x, x))
    ]
    return np.asarray(np.sqrt(squares[0] + squares[1] + squares[2]))


def _distance_to_line(points: Floats) -> Floats:
    """Distance of every voxel from a polyline, in Angstrom."""
    voxels = np.indices(SHAPE)[::-1].reshape(3, -1).T * VOXEL_SIZE_ANGSTROM
    nearest = np.full(len(voxels), np.inf)
    for start, stop in itertools.pairwise(points):
        axis = stop - start
        share = np.clip((voxels - start) @ axis / (axis @ axis), 0.0, 1.0)
        nearest = np.minimum(nearest, np.linalg.norm(voxels - start - share[:, None] * axis, axis=1))
    return nearest.reshape(SHAPE)


def _soft(distance: Floats, radius: float) -> Floats:
    """1 inside ``radius``, 0 outside, with a soft edge."""
    return np.asarray(0.5 * (1 - np.tanh((distance - radius) / _EDGE_ANGSTROM)))


def _quantised(volume: NDArray[np.floating]) -> Volume:
    return np.asarray(np.round(volume * 16) / 16, np.float32)
