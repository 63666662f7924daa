"""What is at a path of the portal's tree, before anybody has asked the bucket."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from copickfs.layers.sources import DIRECTORY, FILE, LINK, UNSEEN, Found
from copickfs.model import UNSIZED

if TYPE_CHECKING:
    from collections.abc import Callable

    from copickfs.layers.portal.telling import Facts


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """One directory, file or link.

    Attributes:
        facts: The portal's records of it; None if it has none.
        mtime_ns: When the portal says that it was changed; 0 if it does not.
    """

    facts: Facts | None = dataclasses.field(default=None, kw_only=True)
    mtime_ns: int = dataclasses.field(default=0, kw_only=True)

    def found(self, name: str) -> Found:
        """Its entry in a listing."""
        return Found(name, DIRECTORY, 0, self.mtime_ns)


@dataclasses.dataclass(frozen=True, slots=True)
class Folder(Node):
    """A directory that the portal's records make.

    Attributes:
        children: What is in it, by name.
    """

    children: dict[str, Node] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Store(Node):
    """A zarr directory of the bucket.

    Attributes:
        place: Where it is: see `copickfs.layers.sources.places`.
    """

    place: str


@dataclasses.dataclass(frozen=True, slots=True)
class File(Node):
    """A file of the bucket, or one that is made of it.

    Attributes:
        place: Where it is: see `copickfs.layers.sources.places`.
        version: Differs when the portal's record of it does.
        size_bytes: Its length as the portal tells it; `UNSIZED` if it does not.
        make: From the contents of the bucket's file to what is shown; None: they are shown.
    """

    place: str
    version: str
    size_bytes: int = UNSIZED
    make: Callable[[bytes], bytes] | None = None

    def found(self, name: str, etag: str = UNSEEN) -> Found:
        """Its entry in a listing, or (with the bucket's ``etag``) that of a version that was seen."""
        return Found(name, FILE, self.size_bytes, self.mtime_ns, self.version + etag)


@dataclasses.dataclass(frozen=True, slots=True)
class Text(Node):
    """A file whose contents are what the portal tells.

    Attributes:
        version: Differs when they do.
        render: Makes the contents.
    """

    version: str
    render: Callable[[], bytes]

    def found(self, name: str, size_bytes: int = UNSIZED) -> Found:
        """Its entry in a listing, or (with its length) that of the file itself."""
        return Found(name, FILE, size_bytes, self.mtime_ns, self.version)


@dataclasses.dataclass(frozen=True, slots=True)
class Link(Node):
    """A symbolic link within the tree.

    Attributes:
        target: Its text.
    """

    target: str

    def found(self, name: str) -> Found:
        """Its entry in a listing."""
        return Found(name, LINK, len(self.target.encode(errors="surrogateescape")), self.mtime_ns)
