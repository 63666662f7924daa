"""The pickable objects of a project whose configuration names none."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from copickfs.errors import LayerError, Transient

if TYPE_CHECKING:
    from collections.abc import Iterable

_log = logging.getLogger(__name__)


@runtime_checkable
class TellsObjects(Protocol):
    """A layer that knows the objects of what it holds."""

    name: str

    def pickable_objects(self) -> list[dict[str, Any]]:
        """Entries of ``pickable_objects``, as copick has them; called when the layer is connected.

        Raises:
            Transient: They cannot be had now.
            LayerError: They cannot be had.
        """
        ...


def objects_told(layers: Iterable[object]) -> list[dict[str, Any]]:
    """The objects that layers tell of, each once and with a label of its own.

    Args:
        layers: Layers, the one that decides first; those that know of no objects are passed over.
    """
    found: dict[object, dict[str, Any]] = {}
    for layer in layers:
        if not isinstance(layer, TellsObjects):
            continue
        try:
            told = layer.pickable_objects()
        except (Transient, LayerError) as error:
            _log.warning("layer %s: its objects are not known, so copick sees none: %s", layer.name, error)
            continue
        for each in told:
            found.setdefault(each.get("identifier") or each["name"], each)
    return [{**each, "label": label} for label, each in enumerate(found.values(), 1)]
