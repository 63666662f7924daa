"""The interface of renderers: what makes the files under ``Views/`` from what the layers have.

A renderer is found by the entry point group ``copickfs.renderers``; its name there is the word by which
``views`` in a configuration chooses it. It is made once for a stack, without arguments, and is used by
many threads at once.

The rules for every renderer:

* The names and lengths of files come from what is known of an entity (`Source.known`) or from its
  metadata; no voxel is decoded for a listing or for `Renderer.size_bytes`.
* What is made depends on nothing but what the source gives: whatever it has given is remembered, and
  the file has a new version when that has changed.
* Errors pass through: an outage (`Transient`) is never an absence and never a short file. What can never
  be made of a source is `Unreadable`, with one line that names the source and says why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

from copickfs.errors import WouldBlock

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from copickfs.entities import EntityType
    from copickfs.model import ByteRange
    from copickfs.virtual.project import Limits
    from copickfs.virtual.sources import Source


class Contents(Protocol):
    """The contents of one file that is open: one version of it."""

    def read(self, span: ByteRange) -> bytes | memoryview:
        """The bytes of ``span``, fewer only at the end of the file. Raises as `LayerFile.read`."""
        ...

    def read_nowait(self, span: ByteRange) -> bytes | memoryview:
        """Like `read`, or `WouldBlock`."""
        ...

    def close(self) -> None:
        """Let go of everything. Idempotent, never raises."""
        ...


class Renderer:
    """Makes files of entities. Derive from it, and override `render`, or `size_bytes` and `open`.

    Attributes:
        makes_of: The kinds of entities that files are made of; ``EntityType.RUN`` for files of a whole
            run, which stand in the run's directory, and None for files of the whole project, which
            stand in ``Views/`` itself.
        suffix: What follows the name of the entity in the name of its file.
    """

    makes_of: ClassVar[Collection[EntityType | None]] = ()
    suffix: ClassVar[str] = ""

    def configure(self, limits: Limits) -> None:
        """Take no more than this; called once, before anything else."""

    def files(self, source: Source) -> Sequence[str]:
        """The names of the files that are made of ``source``; none where nothing can be made of it."""
        return [source.stem + self.suffix]

    def size_bytes(self, source: Source, name: str) -> int:
        """The length of the file ``name``; as many bytes as `open` then gives."""
        return len(self.render(source, name))

    def open(self, source: Source, name: str) -> Contents:
        """The contents of the file ``name``."""
        return Rendered(self.render(source, name))

    def render(self, source: Source, name: str) -> bytes:
        """The whole contents of the file ``name``."""
        raise NotImplementedError

    def forget(self, path: str) -> None:
        """Something has changed at ``path`` of the project, or anything (``""``); from any thread."""

    def close(self) -> None:
        """Let go of threads and files. Idempotent, never raises."""


class Rendered:
    """Contents that are in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)

    def __len__(self) -> int:
        return len(self._data)

    def read(self, span: ByteRange) -> memoryview:
        """See `Contents.read`."""
        return self._data[span.start : span.stop]

    read_nowait = read

    def close(self) -> None:
        """Nothing to let go of."""


class Deferred:
    """Contents that are never at hand: a base for what reads and computes."""

    def read_nowait(self, span: ByteRange) -> bytes | memoryview:  # noqa: ARG002
        """See `Contents.read_nowait`."""
        raise WouldBlock

    def close(self) -> None:
        """Nothing to let go of."""
