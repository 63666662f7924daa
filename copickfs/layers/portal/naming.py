"""Names in the tree of what a portal has: copick's, made safe for paths and for copick's own parsing of them.

A portal's records are written by many hands. Whatever copick makes of one is kept where a directory can have
that name and copick finds the same in it again; elsewhere the characters that stand in the way become ``-``.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

USER = "data-portal"
"""The user of all that comes from a portal."""

NAME_BYTES = 200
"""Most that a name here takes; 55 are left for what tells it apart, a user, a session and a suffix."""

SEGMENTATION_DIRECTORIES = {
    "SegmentationMask": "Segmentations",
    "InstanceSegmentationMask": "InstanceSegmentations",
}
"""From the type of a shape to the directory of a run in which its masks are."""

_NOT_FOR_COPICK = re.compile(r'[<>:"/\\|?*\x00-\x1F\x7F\s_]')
"""The characters that ``copick.util.escape.sanitize_name`` replaces."""

_NOT_SHOWN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Controls, marks that nobody sees or that turn the text around, halves of characters, ends of lines."""

_SUFFIX_INSIDE = re.compile(r"\.(?=zarr|json|glb)")
"""copick removes these suffixes wherever they stand."""

_MULTILABEL = re.compile(r"-multilabel\Z")
_WORD_ENDS = re.compile(r"[_\-]+")


def camel(text: str) -> str:
    """``text`` as copick joins its words: ``Fourier_Space`` is ``fourierSpace``. ``""`` for no words."""
    joined = _WORD_ENDS.sub(" ", text).title().replace(" ", "")
    return joined[:1].lower() + joined[1:]


def tomogram_type(record: Mapping[str, Any]) -> str:
    """The type that copick gives a tomogram of the portal, safe for a path.

    Args:
        record: Fields of the tomogram by the names of the portal's client. A method or a processing that is
            not told is ``unknown``, as the portal itself says.
    """
    parts = [
        _camel_field(record, "reconstruction_method") or "unknown",
        _camel_field(record, "processing") or "unknown",
        _camel_field(record, "processing_software"),
        "ctfdeconv" if record.get("ctf_corrected") else "",
    ]
    name = _for_copick("-".join(part for part in parts if part))
    # A store with this word in its name is for copick one of features, and no tomogram.
    return name.replace("features", "Features") or "unknown"


def object_name(portal_object_name: Any, object_id: Any) -> str:
    """The name that copick gives the object of an annotation, safe for a path.

    Args:
        portal_object_name: The portal's name of it.
        object_id: What the object is called by instead, if nothing is left of its name.
    """
    for told in (portal_object_name, object_id):
        name = _for_copick(told.lower()) if isinstance(told, str) else ""
        if name:
            # A mask whose name ended otherwise would be one of several objects.
            return _MULTILABEL.sub("-multi-label", name)
    return "object"


def safe_name(text: Any, fallback: str) -> str:
    """A portal's name of anything as one component of a path; ``fallback`` if nothing is left of it."""
    if not isinstance(text, str):
        return fallback
    name = "".join("-" if char == "/" or _is_hidden(char) else char for char in text)
    name = _shortened(name.lstrip("."))
    return name if name.strip(" -") else fallback


def told_apart(names: Mapping[int, str]) -> dict[int, str]:
    """The same names, each of them once.

    Of those that are equal the one with the lowest number keeps the name; ``-`` and its number are added to
    each of the others. Names do not change when higher numbers are added.

    Args:
        names: The names by the portal's numbers.
    """
    taken: set[str] = set()
    told: dict[int, str] = {}
    for number in sorted(names):
        name = names[number]
        while name in taken:
            name = f"{name}-{number}"
        taken.add(name)
        told[number] = name
    return told


def picks_name(file_id: int, object_name: str) -> str:
    """Name of the file of picks that an annotation file of points becomes."""
    return f"{USER}_{file_id}_{object_name}.json"


def segmentation_name(voxel_spacing_angstrom: float, file_id: int, object_name: str) -> str:
    """Name of the store of a mask, in the directory of `SEGMENTATION_DIRECTORIES` for its type."""
    return f"{voxel_spacing_angstrom:.3f}_{USER}_{file_id}_{object_name}.zarr"


def _camel_field(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    return camel(value) if isinstance(value, str) else ""


def _for_copick(name: str) -> str:
    """``name`` as ``sanitize_name`` gives it, and without what copick or a directory would take otherwise."""
    name = _NOT_FOR_COPICK.sub("-", name)
    name = "".join("-" if _is_hidden(char) else char for char in name)
    return _shortened(_SUFFIX_INSIDE.sub("-", name).lstrip("-.")).rstrip("-")


def _is_hidden(char: str) -> bool:
    return not char.isprintable() and unicodedata.category(char) in _NOT_SHOWN


def _shortened(name: str) -> str:
    """As much of ``name`` as fits into `NAME_BYTES`, in whole characters."""
    if len(name) * 4 <= NAME_BYTES:
        return name
    return name.encode()[:NAME_BYTES].decode(errors="ignore")
