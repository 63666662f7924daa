"""What is in the archive: each run from the seed and its number alone, so that any part can be told again.

Nothing here touches a disk. A run's layers follow from its number, so that an archive of twenty runs has
every overlap that one of twenty thousand has; what is in a run is drawn at random.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

from copickfs.entities import EntityType, Identity

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNS = "ExperimentRuns"
LAYERS = ("mine", "lab", "archive")
"""The highest first."""

OBJECTS = (
    "ribosome", "cytosolic-ribosome", "mitochondrial-ribosome", "ferritin", "proteasome-26s",
    "proteasome-20s", "membrane", "outer-membrane", "inner-membrane", "thylakoid-membrane", "microtubule",
    "actin-filament", "intermediate-filament", "atp-synthase", "rubisco", "nuclear-pore-complex",
    "nucleosome", "clathrin", "copi-coat", "copii-coat", "apoferritin", "beta-galactosidase",
    "beta-amylase", "thyroglobulin", "virus-like-particle", "vault", "tric-chaperonin", "hsp60",
    "fatty-acid-synthase", "photosystem-ii", "cytochrome-b6f", "dynein-arm", "kinesin", "er-lumen",
    "golgi", "lysosome", "mitochondrion", "nucleus", "vesicle", "void",
)  # fmt: skip
MAPS = 12
"""So many of the objects have a density map; they must be among the entities."""

DATASETS = (
    "chlamydomonas", "yeast", "hela", "ecoli", "mycoplasma", "synapse", "neuron", "sperm", "toxoplasma",
    "phantom", "arabidopsis", "minicell",
)  # fmt: skip
USERS = (
    "alice", "bob", "carol", "dmitri", "emeka", "fatima", "giulia", "hiroshi", "ines", "jorge", "katrin",
    "liang", "mehmet", "nadia", "olivier", "priya", "membrain", "tomotwin", "pytom", "cryolo",
    "template-matching", "deepfinder", "octopi", "data-portal",
)  # fmt: skip
SESSIONS = tuple(
    [*"0123456789", *(f"curated-v{n}" for n in range(1, 6))]
    + [f"{year}{month:02d}15" for year in (2022, 2023, 2024) for month in range(1, 13)]
)
VOXEL_SIZES = (7.84, 10.0, 10.012, 13.48, 5.0, 20.0)
"""In Angstrom."""
VOLUME_ANGSTROM = (2000, 9280, 9600)
TOMOGRAMS = ("wbp", "denoised", "isonet", "sirt")
FEATURES = ("embedding", "edges")

MIN_POINTS, MAX_POINTS = 5, 50
MIN_PER_RUN, MAX_PER_RUN = 18, 640
"""So many entities a run has at least, to have every kind, and at most, to have each name once."""


class Item(NamedTuple):
    """One entity that must be found.

    Attributes:
        identity: What it is.
        layers: Those that have it, the one that decides first.
        points: Of picks, in the layer that decides; see `points_in`.
        shape: Of volumes, in voxels, z y x.
        dtype: Of volumes.
    """

    identity: Identity
    layers: tuple[str, ...]
    points: int = 0
    shape: tuple[int, ...] = ()
    dtype: str = ""


def points_in(item: Item, layer: str) -> int:
    """How many points the picks have in one layer: in those that are shadowed never what is shown."""
    if layer == item.layers[0]:
        return item.points
    return MIN_POINTS + MAX_POINTS - item.points


def run_name(number: int) -> str:
    """The name of a run: its data set, the day, the number of the tilt series."""
    day = number // 40
    dataset = DATASETS[number % len(DATASETS)]
    return f"{dataset}_{20 + day // 336 % 9}{day // 28 % 12 + 1:02d}{day % 28 + 1:02d}_TS_{number:05d}"


def batch_session(number: int) -> str:
    """A session that only this run and some of its neighbours have."""
    return f"batch-{number // 20:04d}"


def run_layers(number: int) -> tuple[tuple[str, ...], str]:
    """The layers that add to and shadow a run, the highest first, and the one that has most of it."""
    if number % 1000 == 19:
        return (), "mine"
    home = "lab" if number % 5 == 4 else "archive"
    above = ["mine"] if number % 50 in (3, 4) else []
    if home == "archive" and number % 7 == 3:
        above.append("lab")
    return tuple(above), home


def plan_maps(seed: int) -> Iterator[Item]:
    """The density maps of the objects."""
    homes = (("mine", "archive"), ("lab",), ("lab", "archive"), ("mine",), ("archive",), ("archive",))
    for number, name in enumerate(OBJECTS[:MAPS]):
        side = random.Random(f"{seed}/map/{number}").choice((32, 48, 64))
        identity = Identity(EntityType.OBJECT, f"Objects/{name}.zarr", name=name, object=name)
        yield Item(identity, homes[number % len(homes)], shape=(side,) * 3, dtype="<f4")


def plan_run(seed: int, number: int, entities: int) -> list[Item]:
    """A run: itself first, then what is in it, ``entities`` together."""
    return _RunPlan(seed, number, entities).items()


class _RunPlan:
    """Draws what is in one run."""

    def __init__(self, seed: int, number: int, entities: int) -> None:
        self._entities = entities
        self._random = random.Random(f"{seed}/{number}")
        self._run = run_name(number)
        self._path = f"{RUNS}/{self._run}"
        self._above, self._home = run_layers(number)
        self._rank = 0
        self._sizes = self._random.sample(VOXEL_SIZES, self._random.choice((1, 2)))
        self._users = self._random.sample(USERS, 4)
        self._sessions = [*self._random.sample(SESSIONS, 3), batch_session(number)]
        triples = len(self._users) * len(self._sessions) * len(OBJECTS)
        self._makers = iter(self._random.sample(range(triples), min(entities, triples)))

    def items(self) -> list[Item]:
        made = [*self._volumes(), *self._segmentations()]
        for kind, directory, suffix in (
            (EntityType.MESH, "Meshes", "glb"),
            (EntityType.FILAMENT, "Filaments", "json"),
        ):
            made += [self._made(kind, directory, suffix) for _ in range(self._random.choice((1, 2)))]
        layers = tuple(layer for layer in LAYERS if layer in (*self._above, self._home))
        run = Item(Identity(EntityType.RUN, self._path, self._run), layers)
        for _ in range(self._entities - 1 - len(made)):
            points = self._random.randint(MIN_POINTS, MAX_POINTS)
            made.append(self._made(EntityType.PICKS, "Picks", "json")._replace(points=points))
        return [run, *made]

    def _volumes(self) -> Iterator[Item]:
        """Tomograms and features, and the voxel spacings that they are in."""
        found: dict[float, list[Item]] = {size: [] for size in self._sizes}
        features_left = self._random.choice((1, 2))
        for kind in range(self._random.choice((2, 3))):
            size = self._sizes[kind % len(self._sizes)]
            # Features are where their tomogram is: copick finds them by it.
            layers, name, shape = self._next_layers(), TOMOGRAMS[kind], _shape(size)
            stem = f"{self._path}/VoxelSpacing{size:.3f}/{name}"
            identity = Identity(EntityType.TOMOGRAM, f"{stem}.zarr", self._run, size, name)
            found[size].append(Item(identity, layers, shape=shape, dtype="<f4"))
            if kind < features_left:
                feature = FEATURES[kind]
                path = f"{stem}_{feature}_features.zarr"
                identity = Identity(EntityType.FEATURE, path, self._run, size, feature, object=name)
                found[size].append(Item(identity, layers, shape=shape, dtype="<f4"))
        for size, volumes in found.items():
            path = f"{self._path}/VoxelSpacing{size:.3f}"
            has = {self._home, *(layer for item in volumes for layer in item.layers)}
            identity = Identity(EntityType.VOXEL_SPACING, path, self._run, size)
            yield Item(identity, tuple(layer for layer in LAYERS if layer in has))
            yield from volumes

    def _segmentations(self) -> Iterator[Item]:
        kinds = ["binary", "multilabel", "instance", "panoptic", "binary"]
        for kind in kinds[: self._random.choice((4, 5))]:
            size = self._sizes[0]
            user, session, shown = self._next_maker()
            is_named = kind in ("multilabel", "panoptic")
            name = "all-objects" if is_named else shown
            directory = {"instance": "InstanceSegmentations", "panoptic": "PanopticSegmentations"}.get(
                kind, "Segmentations"
            )
            suffix = "-multilabel" if kind == "multilabel" else ""
            path = f"{self._path}/{directory}/{size:.3f}_{user}_{session}_{name}{suffix}.zarr"
            identity = Identity(
                EntityType.SEGMENTATION, path, self._run, size, name, user, session,
                "" if is_named else name, kind,
            )  # fmt: skip
            shape = (2, *_shape(size)) if kind == "panoptic" else _shape(size)
            yield Item(identity, self._next_layers(), shape=shape, dtype="<u2" if kind != "binary" else "|u1")

    def _made(self, kind: EntityType, directory: str, suffix: str) -> Item:
        """A file of a user, a session and an object."""
        user, session, shown = self._next_maker()
        path = f"{self._path}/{directory}/{user}_{session}_{shown}.{suffix}"
        identity = Identity(kind, path, self._run, None, "", user, session, shown)
        return Item(identity, self._next_layers())

    def _next_maker(self) -> tuple[str, str, str]:
        """A user, a session and an object that this run does not have together yet."""
        number = next(self._makers)
        number, user = divmod(number, len(self._users))
        shown, session = divmod(number, len(self._sessions))
        return self._users[user], self._sessions[session], OBJECTS[shown]

    def _next_layers(self) -> tuple[str, ...]:
        """Every fourth thing is in a layer above, every eighth there and below: it shadows."""
        rank, self._rank = self._rank, self._rank + 1
        if not self._above or rank % 4 != 1:
            return (self._home,)
        if rank % 16 == 5:
            return (*self._above, self._home)
        layer = self._above[rank // 8 % len(self._above)]
        return (layer, self._home) if rank % 8 == 5 else (layer,)


def _shape(size: float) -> tuple[int, ...]:
    return tuple(round(length / size) for length in VOLUME_ANGSTROM)
