"""Where a configuration comes from: what its relative paths mean, and what its keys are called."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import ValidationInfo

Location = tuple[str | int, ...]
"""A place in a configuration: keys and list indices, outermost first."""


class Place(NamedTuple):
    """The two things an error about a key has to name.

    Attributes:
        file: The configuration file, None for a configuration that was made in Python.
        key: The key in dotted form, such as ``layer_configs.lab.root``.
    """

    file: str | None
    key: str


@dataclass(frozen=True)
class Source:
    """Origin of a configuration; travels through validation as its context. Immutable.

    Attributes:
        file: The file, for error messages.
        base_directory: What relative paths are relative to; absolute.
        keys: Names that keys have in the file, where these are not the names they have in the models:
            an ordinary copick configuration says ``overlay_root`` for ``layer_configs.overlay.root``.
        strict_arguments: False keeps a reference to an unset variable in ``fs_args`` as it is, for files
            that copick reads too: a ``$`` is an ordinary character there.
    """

    file: str | None = None
    base_directory: Path = field(default_factory=Path.cwd)
    keys: Mapping[Location, str] = field(default_factory=dict)
    strict_arguments: bool = True

    def key(self, location: Location) -> str:
        """The dotted key of ``location``, as the user wrote it."""
        for length in range(len(location), 0, -1):
            if location[:length] in self.keys:
                return self.keys[location[:length]] + dotted(location[length:], follows=True)
        return dotted(location)


def source_of(info: ValidationInfo) -> Source | None:
    """The source that a validation runs for; None where values are taken literally (made in Python)."""
    if isinstance(info.context, Source):
        return info.context
    return Source() if info.mode == "json" else None


def dotted(location: Location, *, follows: bool = False) -> str:
    """``location`` as one printable word: ``layer_configs.lab.fs_args.keys[2]``."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text or follows else "") + _word(part)
    return text


def _word(key: str) -> str:
    """A key as it is, or quoted where it would break the line or the dots."""
    if len(key) > 64:  # noqa: PLR2004 -- longer than any key a person wrote
        key = key[:61] + "..."
    plain = key.replace("_", "a").replace("-", "a")
    return key if plain.isalnum() and key.isprintable() else ascii(key).replace("'", '"')
