"""Several buckets or web servers behind one connection: the first name of a path says which.

A *place* is such a path: ``s3:bucket/key``, ``https:host/path``, ``http:host:port/path``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from copickfs.errors import AccessDenied, NoBucket, NotADirectory, NotFound, Unreadable
from copickfs.layers.sources import ByName, is_sound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from copickfs.layers.guard import Attempt
    from copickfs.layers.sources import Found, Source
    from copickfs.layers.sources.writing import Writing
    from copickfs.model import ByteRange

_WEB = ("http", "https")


def place_of_url(url: object) -> str | None:
    """The place of an address; None for what is no address of a file or directory that can be reached."""
    if not isinstance(url, str):
        return None
    scheme, mark, rest = url.partition("://")
    if not mark or scheme not in ("s3", *_WEB):
        return None
    if scheme in _WEB:
        try:
            parts = urlsplit(url)
        except ValueError:
            return None
        if parts.query or parts.fragment or "@" in parts.netloc:
            return None
        rest = parts.netloc + unquote(parts.path, errors="surrogateescape")
    names = rest.rstrip("/").split("/")
    if len(names) <= 1 or not all(is_sound(name) and name.isprintable() for name in names):
        return None
    return f"{scheme}:{'/'.join(names)}"


class PlacesSource:
    """All places that paths name, each by a source of its own. Thread-safe. See `Source`.

    Args:
        open_place: Makes the source for a URL without a path.
    """

    def __init__(self, open_place: Callable[[str], Source]) -> None:
        self._open = open_place
        self._lock = threading.Lock()
        self._sources: dict[str, Source] = {}

    def probe(self, attempt: Attempt) -> None:
        """See `Source.probe`. One place that answers, whatever it says of its root, is enough."""
        with self._lock:
            sources = list(self._sources.values())
        failures: list[Exception] = []
        for source in sources:
            try:
                source.probe(attempt)
            except (NotFound, NotADirectory, AccessDenied, NoBucket):
                return
            except Exception as error:  # noqa: BLE001 - it is raised if no other place answers
                failures.append(error)
            else:
                return
        if failures:
            raise failures[0]

    def scan(self, path: str, attempt: Attempt) -> list[Found]:
        """See `Source.scan`."""
        with _alone(path):
            source, inner = self._at(path)
            return source.scan(inner, attempt)

    def tree(
        self, path: str, directories: list[str], attempt: Attempt, keep: Callable[[str, list[Found]], None]
    ) -> None:
        """See `Source.tree`."""
        with _alone(path):
            source, inner = self._at(path)
            source.tree(inner, directories, attempt, keep)

    def info(self, path: str, attempt: Attempt) -> Found:
        """See `Source.info`."""
        with _alone(path):
            source, inner = self._at(path)
            return source.info(inner, attempt)

    def files(self, directory: str, names: list[str], attempt: Attempt) -> list[Found]:
        """See `ByName.files`. Raises `AccessDenied` where the place lists what it has."""
        with _alone(directory):
            source, inner = self._at(directory)
            if not isinstance(source, ByName):
                raise AccessDenied(directory)
            return source.files(inner, names, attempt)

    def read(self, path: str, span: ByteRange, found: Found, attempt: Attempt) -> bytes:
        """See `Source.read`."""
        with _alone(path):
            source, inner = self._at(path)
            return source.read(inner, span, found, attempt)

    def readlink(self, path: str, attempt: Attempt) -> str:
        """See `Source.readlink`."""
        with _alone(path):
            source, inner = self._at(path)
            return source.readlink(inner, attempt)

    def writing(self) -> Writing:
        """Nothing is ever written."""
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def is_lost(self, error: BaseException) -> bool:
        """See `Source.is_lost`."""
        with self._lock:
            sources = list(self._sources.values())
        return any(source.is_lost(error) for source in sources)

    def close(self) -> None:
        """See `Source.close`."""
        with self._lock:
            sources, self._sources = list(self._sources.values()), {}
        for source in sources:
            source.close()

    def _at(self, path: str) -> tuple[Source, str]:
        """The source of a place, and the path in it."""
        first, _, inner = path.partition("/")
        with self._lock:
            source = self._sources.get(first)
        if source is None:
            scheme, _, host = first.partition(":")
            made = self._open(f"{scheme}://{host}")  # may ask the network: not under the lock
            with self._lock:
                source = self._sources.setdefault(first, made)
            if source is not made:
                made.close()
        return source, inner


@contextlib.contextmanager
def _alone(path: str) -> Iterator[None]:
    """A bucket that is not there concerns what is in it: the other places are as they were."""
    try:
        yield
    except NoBucket as error:
        raise Unreadable(f"{path}: {error}") from None
