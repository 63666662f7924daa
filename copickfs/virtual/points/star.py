"""``.star``: particles for RELION, of one file of picks, of a run, or of an object in all runs; tomograms.

Files of particles begin with comments, which tell for each file of picks, in the order of their paths, how
many of the following rows are its. No column does: copick's own export has none for users, sessions and
objects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

from copickfs.entities import EntityType
from copickfs.model import ByteRange
from copickfs.virtual.points import filaments, relion
from copickfs.virtual.points.joined import Joined, Part
from copickfs.virtual.points.picks import count, points_of
from copickfs.virtual.points.single import object_of, run_of
from copickfs.virtual.points.tomograms import by_runs, tomogram_of
from copickfs.virtual.rendering import Rendered, Renderer

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from copickfs.virtual.points.tomograms import Tomogram
    from copickfs.virtual.rendering import Contents
    from copickfs.virtual.sources import Source

OF_A_RUN = "particles.star"
OF_AN_OBJECT = "particles_"
TOMOGRAMS = "tomograms.star"


class _Piece(NamedTuple):
    """A file of picks in a file of particles."""

    picks: Source
    tomogram: Tomogram
    points: int
    filaments: Source | None


class _Plan(NamedTuple):
    """A file of particles."""

    table: relion.Particles
    head: bytes
    pieces: list[_Piece]

    def size_bytes(self) -> int:
        """Its length."""
        rows = sum(piece.points * self.table.row_bytes(run_of(piece.picks)) for piece in self.pieces)
        return len(self.head) + rows + len(relion.TAIL)

    def joined(self) -> Joined:
        """Its contents."""
        centers = {run_of(piece.picks): piece.tomogram.center_angstrom() for piece in self.pieces}
        parts = [self._part(piece, centers[run_of(piece.picks)]) for piece in self.pieces]
        tail = Part(len(relion.TAIL), lambda: relion.TAIL)
        return Joined([Part(len(self.head), lambda: self.head), *parts, tail])

    def _part(self, piece: _Piece, center_angstrom: tuple[float, float, float]) -> Part:
        run = run_of(piece.picks)

        def make() -> bytes:
            import numpy as np

            points = points_of(piece.picks, piece.points)
            is_polar = np.zeros(piece.points, dtype=bool)
            if self.table.is_filament:
                is_polar = filaments.polarity(piece.picks, points.instances, piece.filaments)
            return self.table.rows(run, points, center_angstrom, is_polar)

        sources = (piece.picks,) if piece.filaments is None else (piece.picks, piece.filaments)
        return Part(piece.points * self.table.row_bytes(run), make, sources)


class Star(Renderer):
    """Makes ``.star``.

    Where a run has no tomogram there is nothing to count coordinates from: its picks have no ``.star``, and
    those of an object leave them out, as ``tomograms.star`` does, with a comment that says so. A file of
    picks that cannot be read makes every file `Unreadable` that it should be in: fewer particles would be
    taken for all.
    """

    makes_of: ClassVar[Collection[EntityType | None]] = (EntityType.PICKS, EntityType.RUN, None)
    suffix: ClassVar[str] = ".star"

    def files(self, source: Source) -> Sequence[str]:
        """See `Renderer.files`."""
        if source.identity is None:
            return self._of_the_project(source) if by_runs(source) else []
        if tomogram_of(source) is None:
            return []
        if source.identity.type is not EntityType.RUN:
            return super().files(source)
        return [OF_A_RUN] if source.entities(EntityType.PICKS, run_of(source)) else []

    def size_bytes(self, source: Source, name: str) -> int:
        """See `Renderer.size_bytes`."""
        if source.identity is None and name == TOMOGRAMS:
            tomograms = list(by_runs(source).values())
            return len(relion.tomogram_list(tomograms, [(0, 0, 0)] * len(tomograms)))
        return self._plan(source, name).size_bytes()

    def open(self, source: Source, name: str) -> Contents:
        """See `Renderer.open`."""
        if source.identity is None and name == TOMOGRAMS:
            tomograms = list(by_runs(source).values())
            return Rendered(relion.tomogram_list(tomograms, [each.size() for each in tomograms]))
        joined = self._plan(source, name).joined()
        if source.identity is None or source.identity.type is EntityType.RUN:
            return joined
        return Rendered(joined.read(ByteRange(0, joined.size_bytes)))

    def _of_the_project(self, source: Source) -> list[str]:
        configured = {each.name for each in source.project.objects.values() if each.is_particle}
        picked = {each.identity.object for each in source.entities(EntityType.PICKS) if each.identity}
        return [TOMOGRAMS, *(f"{OF_AN_OBJECT}{name}{self.suffix}" for name in sorted(configured | picked))]

    def _plan(self, source: Source, name: str) -> _Plan:
        if source.identity is None:
            wanted = name.removeprefix(OF_AN_OBJECT).removesuffix(self.suffix)
            picks = [
                each
                for each in source.entities(EntityType.PICKS)
                if each.identity is not None and each.identity.object == wanted
            ]
            return _planned(source, picks, by_runs(source))
        tomogram, run = tomogram_of(source), run_of(source)
        is_run = source.identity.type is EntityType.RUN
        picks = source.entities(EntityType.PICKS, run) if is_run else [source]
        return _planned(source, picks, {} if tomogram is None else {run: tomogram})


def _planned(source: Source, picks: Iterable[Source], tomograms: Mapping[str, Tomogram]) -> _Plan:
    found, comments = [], []
    for each in picks:
        tomogram = tomograms.get(run_of(each))
        points = count(each)
        if tomogram is None:
            comments.append(f"left out, for its run has no tomogram: {points} particles of {each.path}")
        else:
            comments.append(f"{points} particles of {each.path}")
            found.append(_Piece(each, tomogram, points, None))
    # As copick has it: one table cannot have both, so those of filaments are particles among others.
    kinds = {object_of(piece.picks).is_filament for piece in found if piece.points}
    table = relion.Particles(is_filament=kinds == {True})
    if table.is_filament:
        known = filaments.all_filaments(source, source.identity.run if source.identity is not None else None)
        found = [piece._replace(filaments=filaments.filaments_of(piece.picks, known)) for piece in found]
    return _Plan(table, table.head(comments), found)
