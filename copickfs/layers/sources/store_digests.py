"""Whole objects compared with their ETags, which are the MD5 of the contents in most stores.

Not of objects that were sent in parts, nor of encrypted ones. The former are known by the look of the ETag.
Nothing tells the latter but their bytes, if they come the same a second time: then the store is believed,
and from then on nothing is compared any more. Bytes of a part of an object can be compared with nothing.
"""

from __future__ import annotations

import hashlib
import logging
import re
from typing import TYPE_CHECKING

from copickfs.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)

_MD5 = re.compile(r'"([0-9a-f]{32})"')


class Digests:
    """What is known of one store's ETags. Thread-safe.

    Attributes:
        damaged: Bodies that were not what their ETag says.
    """

    def __init__(self) -> None:
        self.damaged = 0
        self._tell_contents = True

    def checked(self, etag: str, path: str, fetch: Callable[[], bytes]) -> bytes:
        """What ``fetch()`` brings of the whole object at ``path``, once more if it is not what the ETag says.

        Raises:
            Unavailable: Something on the way damages it.
        """
        data = fetch()
        if self._agrees(etag, data):
            return data
        again = fetch()
        if again == data:
            self._tell_contents = False
            _log.info("%s comes twice the same but not as its ETag says: no ETag is compared any more", path)
            return again
        self.damaged += 1
        if self.damaged == 1:
            _log.warning(
                "%s has come with other bytes than its ETag says, and was fetched again: something on the "
                "way from the store damages what it carries, which is not noticed in parts of larger objects",
                path,
            )
        if not self._agrees(etag, again):
            raise Unavailable("two answers have come with other bytes than their ETag says")
        return again

    def _agrees(self, etag: str, data: bytes) -> bool:
        """False if an ETag that looks like a digest is none of ``data``."""
        md5 = _MD5.fullmatch(etag)
        return (
            md5 is None
            or not self._tell_contents
            or hashlib.md5(data, usedforsecurity=False).hexdigest() == md5[1]
        )
