"""From a path of the portal's tree to what is there: from the records, from the bucket, or made of both.

Directories that the records make are listed without a request, also while the bucket is out of reach;
inside a store, and for a file, its place in the bucket is asked. What the bucket says is not there, or
refuses, is left out from then on, with a warning: the portal has withdrawn it.
"""

from __future__ import annotations

import errno
import logging
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, TypeVar

from copickfs.errors import (
    AccessDenied,
    IsADirectory,
    LayerError,
    NotADirectory,
    NotFound,
    Stale,
    Transient,
    Unreadable,
)
from copickfs.layers.portal.groups import listing_of
from copickfs.layers.portal.nodes import File, Folder, Link, Node, Store, Text
from copickfs.layers.sources import FILE, UNSEEN, Found
from copickfs.model import ByteRange

if TYPE_CHECKING:
    from collections.abc import Callable

    from copickfs.layers.connection import Connection
    from copickfs.layers.listings import Listing
    from copickfs.layers.portal.project import PortalProject

T = TypeVar("T")

_log = logging.getLogger(__name__)

_MADE_BYTES = 64 << 20
_NAMED = 20


class PortalFetcher:
    """The `Fetcher` of a portal layer. Thread-safe.

    Args:
        name: Name of the layer.
        project: What is at which path.
        connection: Asks the bucket.
    """

    def __init__(self, name: str, project: PortalProject, connection: Connection) -> None:
        self._name = name
        self._project = project
        self._connection = connection
        self._lock = threading.Lock()
        self._withdrawn: set[str] = set()
        self._unreadable: set[str] = set()
        self._made: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._made_bytes = 0

    @property
    def may_ask(self) -> bool:
        """See `Fetcher.may_ask`."""
        return self._connection.may_ask

    @property
    def left_out(self) -> int:
        """How many files and stores the bucket does not have, or nothing can be made of."""
        return len(self._withdrawn) + len(self._unreadable)

    def hides(self, name: str) -> bool:  # noqa: ARG002 - the records tell everything
        """See `Fetcher.hides`."""
        return False

    def at_hand(self, path: str) -> list[Found] | None:
        """See `Fetcher.at_hand`: what records make."""
        try:
            node, _inner = self._at(path)
        except (LayerError, Transient):
            return None
        return self._listed(node) if isinstance(node, Folder) else None

    def scan(self, path: str) -> list[Found]:
        """See `Fetcher.scan`."""
        node, inner = self._at(path)
        if isinstance(node, Folder):
            return self._listed(node)
        if isinstance(node, Store):
            return self._of_place(node, inner, lambda: self._scanned(node.place + inner))
        raise NotADirectory(path)

    def tree(
        self, path: str, directories: list[str], make: Callable[[str, list[Found]], Listing]
    ) -> dict[str, Listing]:
        """See `Fetcher.tree`. Arrays are in stores."""
        node, inner = self._at(path)
        if not isinstance(node, Store):
            raise NotADirectory(path)
        return self._connection.tree(node.place + inner, directories, make)

    def info(self, path: str) -> Found:
        """See `Fetcher.info`. Of a file, with its length and version."""
        node, inner = self._at(path)
        name = path.rpartition("/")[2]
        if isinstance(node, Store):
            return self._of_place(node, inner, lambda: self._connection.info(node.place + inner))
        if isinstance(node, Text):
            return node.found(name, len(node.render()))
        if not isinstance(node, File):
            return node.found(name)
        there = self._of_place(node, "", lambda: self._connection.info(node.place))
        if there.kind != FILE:
            raise NotFound(path)
        found = node.found(name, UNSEEN + there.etag)
        if node.make is None:
            return found._replace(size_bytes=there.size_bytes)
        return found._replace(size_bytes=len(self._shown(path, node, there)))

    def files(self, directory: str, names: list[str]) -> list[Found]:
        """See `Fetcher.files`."""
        node, inner = self._at(directory)
        if not isinstance(node, Store):
            raise AccessDenied(directory)
        return self._connection.files(node.place + inner, names)

    def read(self, path: str, span: ByteRange, found: Found) -> bytes:
        """See `Fetcher.read`."""
        node, inner = self._at(path)
        if isinstance(node, Store):
            return self._connection.read(node.place + inner, span, found)
        if isinstance(node, Text):
            if node.version != found.etag:
                raise Stale(path)
            return node.render()[span.start : span.stop]
        if not isinstance(node, File):
            raise IsADirectory(path)
        version, _, etag = found.etag.partition(UNSEEN)
        if version != node.version:
            raise Stale(path)
        there = Found(node.place.rpartition("/")[2], FILE, found.size_bytes, 0, etag)
        if node.make is None:
            return self._of_place(node, "", lambda: self._connection.read(node.place, span, there))
        shown = self._made_before(path, found.etag)
        if shown is None:
            now = self._of_place(node, "", lambda: self._connection.info(node.place))
            if now.etag != etag:
                raise Stale(path)
            shown = self._shown(path, node, now)
        if len(shown) != found.size_bytes:
            raise Stale(path)
        return shown[span.start : span.stop]

    def readlink(self, path: str) -> str:
        """The text of a symbolic link."""
        node, inner = self._at(path)
        if isinstance(node, Store):
            return self._connection.readlink(node.place + inner)
        if isinstance(node, Link):
            return node.target
        raise OSError(errno.EINVAL, f"not a symbolic link: {path!r}")

    def forget(self) -> None:
        """The portal may tell otherwise now: ask the bucket again for what it has refused."""
        with self._lock:
            self._withdrawn.clear()
            self._unreadable.clear()

    def _scanned(self, place: str) -> list[Found]:
        try:
            return self._connection.scan(place)
        except AccessDenied:
            return listing_of(place, self._connection)

    def _at(self, path: str) -> tuple[Node, str]:
        """What is at a path, and for what is inside of a store the rest of the path, with its slash."""
        node, inner = self._project.node_at(path)
        if self._is_gone(node):
            raise NotFound(path)
        return node, inner

    def _listed(self, folder: Folder) -> list[Found]:
        return [child.found(name) for name, child in folder.children.items() if not self._is_gone(child)]

    def _is_gone(self, node: Node) -> bool:
        if isinstance(node, File) and node.version in self._unreadable:
            return True
        return isinstance(node, Store | File) and node.place in self._withdrawn

    def _of_place(self, node: Store | File, inner: str, ask: Callable[[], T]) -> T:
        """What the bucket says; what it does not have, or refuses, is left out from now on."""
        try:
            return ask()
        except (NotFound, AccessDenied) as error:
            if not inner:
                self._leave_out(node.place, error)
                raise NotFound(node.place) from None
            raise

    def _leave_out(self, place: str, error: Exception) -> None:
        refused = "refuses to show" if isinstance(error, AccessDenied) else "does not have"
        self._note(self._withdrawn, place, f"the portal tells of {place}, which its bucket {refused}")

    def _note(self, left_out: set[str], key: str, reason: str) -> None:
        with self._lock:
            if key in left_out:
                return
            left_out.add(key)
            count = len(self._withdrawn) + len(self._unreadable)
        if count <= _NAMED:
            _log.warning("layer %s: %s: it is left out (%d so far)", self._name, reason, count)

    def _shown(self, path: str, node: File, there: Found) -> bytes:
        """What is made of a file that is there; kept for a while, for a read follows the question of size."""
        version = node.version + UNSEEN + there.etag
        shown = self._made_before(path, version)
        if shown is None:
            assert node.make is not None  # noqa: S101 - its callers know
            raw = self._connection.read(node.place, ByteRange(0, there.size_bytes), there)
            try:
                shown = node.make(raw)
            except Unreadable as error:
                self._note(self._unreadable, node.version, f"{node.place} cannot be read: {error}")
                raise NotFound(path) from None
            self._keep_made(path, version, shown)
        return shown

    def _made_before(self, path: str, version: str) -> bytes | None:
        with self._lock:
            return self._made.get((path, version))

    def _keep_made(self, path: str, version: str, data: bytes) -> None:
        with self._lock:
            self._made_bytes += len(data) - len(self._made.pop((path, version), b""))
            self._made[path, version] = data
            while self._made_bytes > _MADE_BYTES and len(self._made) > 1:
                _, dropped = self._made.popitem(last=False)
                self._made_bytes -= len(dropped)
