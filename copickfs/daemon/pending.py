"""What was written and is not yet where it belongs, as documents and for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from copickfs.layers.base import Layer


def pending_document(layer: Layer) -> dict[str, Any]:
    """The keys about pending entries in ``docs/status.md``. From memory."""
    pending = layer.pending()
    return {
        "pending_entries": pending.entries,
        "pending_bytes": pending.size_bytes,
        "pending_oldest_s": round(pending.oldest_s, 3),
        "pending_error": pending.last_error,
    }


def pending_of(layers: Iterable[Layer]) -> dict[str, dict[str, Any]]:
    """The document of each layer that has something pending, by name."""
    documents = {layer.name: pending_document(layer) for layer in layers}
    return {name: document for name, document in documents.items() if document["pending_entries"]}


def changes_in_words(number: int) -> str:
    """A number of changes."""
    return "1 change" if number == 1 else f"{number} changes"


def in_words(layer: str, document: Mapping[str, Any]) -> str:
    """What is pending in one layer, as part of a sentence."""
    changes = changes_in_words(document["pending_entries"])
    error = f" (last error: {document['pending_error']})" if document["pending_error"] else ""
    return f"{changes} ({document['pending_bytes']} bytes) for layer {layer}{error}"


def kept_in_words(pending: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A sentence for each layer of a mount that has ended before all was sent."""
    return [
        f"still to be sent: {in_words(layer, document)}; it is kept and sent at the next mount"
        for layer, document in pending.items()
    ]
