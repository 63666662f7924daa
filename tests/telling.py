"""A layer that leaves lengths out of listings, tells what it knows, and notes what it is asked.

A mount has it as the kind ``telling`` of another package (the fixture ``install`` of `tests.mounted`), so
nothing of the tests is imported here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from copickfs.errors import WouldBlock
from copickfs.layers.memory import MemoryLayer
from copickfs.model import UNSIZED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copickfs.layers.base import LayerFile
    from copickfs.model import Entry


class TellingLayer(MemoryLayer):
    """See the module's docstring.

    Args:
        name: Name of the layer.
        priority: Higher is asked first.
        files: Path to contents.
        directories: Paths of further directories.
        sized: How the names of files end whose length is in listings.
        described: What `described` answers, by path.
        known: What `known_of` answers, by path.
        log: A file that is told of each question, too.

    Attributes:
        asked: The questions that waited for the source, like ``"stat a/b.json"``.
        known: As given; may be changed.
        is_forgetful: The length of a file is not remembered.
    """

    def __init__(
        self,
        name: str,
        priority: int = 0,
        files: Mapping[str, bytes] | None = None,
        directories: tuple[str, ...] = (),
        *,
        sized: str = ".sized",
        described: Mapping[str, Mapping[str, str]] | None = None,
        known: Mapping[str, Mapping[str, Any]] | None = None,
        log: str = "",
    ) -> None:
        super().__init__(name, priority, files, directories)
        self.asked: list[str] = []
        self.known = dict(known or {})
        self.is_forgetful = False
        self._sized = sized
        self._described = described or {}
        self._log = log
        self._lengths: set[str] = set()

    def stat(self, path: str) -> Entry:
        """See `Layer.stat`."""
        self._note("stat", path)
        entry = super().stat(path)
        self._lengths.add(path)
        return entry

    def scan(self, path: str) -> list[Entry]:
        """See `Layer.scan`."""
        return [
            entry if entry.is_dir or entry.name.endswith(self._sized) else entry._replace(size_bytes=UNSIZED)
            for entry in super().scan(path)
        ]

    def open(self, path: str) -> LayerFile:
        """See `Layer.open`."""
        self._note("open", path)
        return super().open(path)

    def stat_nowait(self, path: str) -> Entry:
        """See `Layer.stat_nowait`."""
        entry = super().stat(path)
        is_known = entry.is_dir or entry.name.endswith(self._sized) or path in self._lengths
        if not is_known or (self.is_forgetful and not entry.is_dir):
            raise WouldBlock(self.name)
        return entry

    scan_nowait = scan

    def open_nowait(self, path: str) -> LayerFile:  # noqa: ARG002
        """See `Layer.open_nowait`."""
        raise WouldBlock(self.name)

    def ttl_s(self, directory: str) -> float:  # noqa: ARG002
        """Long: it changes only where that is announced."""
        return 300.0

    def described(self, path: str) -> Mapping[str, str]:
        """See `Layer.described`."""
        super().stat(path)
        return self._described.get(path, {})

    def known_of(self, path: str) -> Mapping[str, Any] | None:
        """See `Layer.known_of`."""
        super().stat(path)
        return self.known.get(path)

    def _note(self, question: str, path: str) -> None:
        self.asked.append(f"{question} {path}")
        if self._log:
            with Path(self._log).open("a") as file:
                file.write(f"{question} {path}\n")


class Telling:
    """The kind of layer."""

    @staticmethod
    def build(config: Any, context: Any) -> TellingLayer:  # noqa: ARG004 -- see `LayerKind`
        """A layer as its configuration says; a number for contents is a length."""
        files = {
            path: bytes(i * 7 % 251 for i in range(data)) if isinstance(data, int) else data.encode()
            for path, data in config.files.items()
        }
        layer = TellingLayer(
            config.layer_name, config.priority, files,
            described=config.described, known=config.known, log=config.log,
        )  # fmt: skip
        layer.is_forgetful = config.is_forgetful
        return layer
