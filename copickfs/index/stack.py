"""What tells one stack of layers, and one layer root, from another in the index."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def stack_key(layers: Iterable[tuple[str, str]]) -> str:
    """The key of a stack.

    Args:
        layers: Name and location of each layer, the highest priority first; without secrets.
    """
    return hashlib.sha256(json.dumps(list(layers)).encode(errors="surrogateescape")).hexdigest()[:32]
