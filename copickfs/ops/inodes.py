"""Inode numbers: the same for the same path in every mount, at 150 to 200 bytes each.

A number is the hash of the parent's number, the name and, for a file, what tells it from another that
takes its place (`Entry.identity`): a replaced file is another inode, as on a disk, so the kernel never
mixes what it holds of the two. Nothing need be stored to find a number again, but for inodes that
were renamed, linked or copied up while the kernel knows them: those keep the number they have, and
what the number would be by the rule is kept beside it. All names of a file with several hard links
have one number, made of what tells the file from others alone.
Stored is, for every inode that the kernel knows, one ``bytes`` object: the parent's number, the count
of the kernel's references and the name. Bytes and integers are of no interest to the garbage collector.

Used on the event loop; `number_of`, `find` and `inside` may be called from any thread.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, TypeVar

import xxhash

from copickfs.errors import NotFound, Stale

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

ROOT = 1

Place = tuple[int, bytes]
"""Number of a directory, and a name in it."""

_HEAD = struct.Struct("<QII")
_NAME_AT = _HEAD.size
_MAX_PATHS = 4_096
_STRIDE = 0x9E3779B97F4A7C15
_LINKED = b"\0linked"


class InodeTable:
    """The inodes that the kernel knows."""

    def __init__(self) -> None:
        self._nodes: dict[int, bytes] = {}
        self._directory_paths: dict[int, str] = {ROOT: ""}
        self._numbers: dict[int, int] = {}  # by the number that the rule would give
        self._adopted: dict[int, set[int]] = {}  # the other way round
        self._names: dict[int, set[tuple[int, bytes]]] = {}  # of files with several hard links

    def __len__(self) -> int:
        return len(self._nodes)

    def __repr__(self) -> str:
        return f"<InodeTable of {len(self._nodes)} inodes>"

    def number_of(self, parent: int, name: bytes, identity: bytes = b"", *, linked: bool = False) -> int:
        """The number of ``name`` in directory ``parent``, whether the kernel knows it or not.

        Args:
            parent: Number of the directory.
            name: The name.
            identity: `Entry.identity`.
            linked: The file has several hard links.
        """
        number = _hash(0, _LINKED, identity) if linked else _hash(parent, name, identity)
        if number in self._numbers:
            return self._numbers[number]
        nodes = self._nodes
        while True:
            if number > ROOT:
                node = nodes.get(number)
                if node is None or (node[_NAME_AT:] == name and _HEAD.unpack_from(node)[0] == parent):
                    return number
                if linked and (parent, name) in self._names.get(number, ()):
                    return number
                if linked and number == _hash(0, _LINKED, identity) and node[_NAME_AT:]:
                    return number
            # Two names with one hash: once in ten million mounts of a million files.
            number = xxhash.xxh3_64_intdigest(name, (number + _STRIDE) % 2**64)

    def remember(
        self, parent: int, name: bytes, identity: bytes = b"", look: int = 0, *, linked: bool = False
    ) -> int:
        """Count one more reference of the kernel to ``name`` in ``parent``, and what it is told of it.

        Returns:
            The number of the inode.
        """
        number = _hash(parent, name, identity)
        if number not in self._nodes and number not in self._numbers and number > ROOT and not linked:
            self._nodes[number] = _HEAD.pack(parent, 1, look) + name
            return number
        number = self.number_of(parent, name, identity, linked=linked)
        # What made it another number than the rule gives may be forgotten before it is.
        self.adopt(number, parent, name, identity, linked=linked)
        if linked:
            self._names.setdefault(number, set()).add((parent, name))
        self.hold(number, parent, name, look)
        return number

    def hold(self, number: int, parent: int, name: bytes, look: int = 0) -> None:
        """Count one more reference to an inode; its name is ``name`` if the kernel did not know it."""
        node = self._nodes.get(number)
        if node is None:
            self._nodes[number] = _HEAD.pack(parent, 1, look) + name
            return
        kept, count, _look = _HEAD.unpack_from(node)
        self._nodes[number] = _HEAD.pack(kept, count + 1, look) + node[_NAME_AT:]

    def adopt(
        self, number: int, parent: int, name: bytes, identity: bytes = b"", *, linked: bool = False
    ) -> None:
        """From now on ``name`` is inode ``number``, for as long as the kernel knows it."""
        ruled = _hash(0, _LINKED, identity) if linked else _hash(parent, name, identity)
        if ruled != number or number in self._numbers:
            self._numbers[ruled] = number
            self._adopted.setdefault(number, set()).add(ruled)

    def fresh(self, parent: int, name: bytes, identity: bytes) -> int:
        """A number for a file that nobody has looked up yet, which the kernel does not know.

        The number that the rule gives may be that of a version before: its source gives the number of
        a file that is gone to the next one, and somebody may be about to open what it stood for.
        """
        number = ruled = _hash(parent, name, identity)
        while number <= ROOT or number in self._nodes or number in self._adopted:
            number = xxhash.xxh3_64_intdigest(name, (number + _STRIDE) % 2**64)
        if number != ruled or ruled in self._numbers:
            self.adopt(number, parent, name, identity)
        return number

    def rename(
        self, number: int, place: Place, new_place: Place, identity: bytes = b"", *, linked: bool = False
    ) -> None:
        """An inode that the kernel knows has got the name ``new_place`` in exchange for ``place``.

        Of a file with several names ``place`` need not be the one that `path` gives.
        """
        _parent, count, look = _HEAD.unpack_from(self._nodes[number])
        names = self._names.get(number)
        if names is not None:
            names.discard(place)
            names.add(new_place)
        self._nodes[number] = _HEAD.pack(new_place[0], count, look) + new_place[1]
        self._directory_paths = {ROOT: ""}
        self._disown(number)
        self.adopt(number, *new_place, identity, linked=linked)

    def renew(self, number: int, identity: bytes) -> None:
        """The file of an inode with one name is another version by now, and goes on as the same inode."""
        parent, name = self.place(number)
        if name:
            self._disown(number)
            self.adopt(number, parent, name, identity)

    def add_name(self, number: int, parent: int, name: bytes, identity: bytes) -> None:
        """An inode that the kernel knows has got ``name`` in ``parent`` as a further name."""
        old_parent, _count, _look = _HEAD.unpack_from(self._nodes[number])
        names = self._names.setdefault(number, {(old_parent, self._nodes[number][_NAME_AT:])})
        names.add((parent, name))
        self.adopt(number, parent, name, identity, linked=True)

    def remove_name(
        self, number: int, parent: int, name: bytes, identity: bytes = b"", *, replaced: bool = False
    ) -> None:
        """An inode has lost a name; if that was the last, only what is open can be reached by it.

        Args:
            number: The inode, known to the kernel or not.
            parent: Number of the directory.
            name: The name.
            identity: `Entry.identity` of the file.
            replaced: Another file has the name. Whoever has just looked the name up and is about to
                open what it was opens that one.
        """
        node = self._nodes.get(number)
        if node is None:
            return
        names = self._names.get(number, set())
        names.discard((parent, name))
        if replaced and not names:
            return
        kept, count, look = _HEAD.unpack_from(node)
        if (kept, node[_NAME_AT:]) == (parent, name):
            kept, name = next(iter(names), (ROOT, b""))
            self._nodes[number] = _HEAD.pack(kept, count, look) + name
            self._directory_paths = {ROOT: ""}
            if not name:
                self._disown(number)
        for other_parent, other in names:  # the rule may take it for a file with one name from now on
            self.adopt(number, other_parent, other, identity)

    async def by_name(self, number: int, ask: Callable[[str], Awaitable[T]]) -> T:
        """The answer about the path of an inode; about another one of its names where the first is gone.

        Of a name that is removed behind the mount nobody says so.
        """
        while True:
            try:
                return await ask(self.path(number))
            except NotFound:
                place = self.place(number)
                if not self._names.get(number, set()) - {place}:
                    raise
                self.remove_name(number, *place)

    def tell(self, number: int, look: int) -> None:
        """The kernel is told that an inode has ``look`` by now."""
        if number != ROOT:
            node = self._nodes[number]
            parent, count, told = _HEAD.unpack_from(node)
            if told != look:
                self._nodes[number] = _HEAD.pack(parent, count, look) + node[_NAME_AT:]

    def told(self, number: int) -> int:
        """What the kernel was told last of an inode's look. Raises `KeyError`."""
        return int(_HEAD.unpack_from(self._nodes[number])[2])

    def forget(self, number: int, count: int) -> bool:
        """Take back ``count`` references; True if none is left and the inode is dropped."""
        node = self._nodes.get(number)
        if node is None:
            return False
        parent, references, look = _HEAD.unpack_from(node)
        if references > count:
            self._nodes[number] = _HEAD.pack(parent, references - count, look) + node[_NAME_AT:]
            return False
        del self._nodes[number]
        self._directory_paths.pop(number, None)
        self._names.pop(number, None)
        self._disown(number)
        return True

    def path(self, number: int) -> str:
        """The path of an inode that the kernel knows.

        Raises:
            KeyError: The kernel does not know it.
            Stale: It has no name any more.
        """
        if number == ROOT:
            return ""
        node = self._nodes[number]
        name = node[_NAME_AT:].decode(errors="surrogateescape")
        if not name:
            raise Stale("it was removed")
        directory = self._directory_path(_HEAD.unpack_from(node)[0])
        return f"{directory}/{name}" if directory else name

    def parent(self, number: int) -> int:
        """The directory of an inode; the root is its own. Raises `KeyError`."""
        return ROOT if number == ROOT else int(_HEAD.unpack_from(self._nodes[number])[0])

    def knows(self, number: int) -> bool:
        """True if the kernel may know the inode."""
        return number == ROOT or number in self._nodes

    def is_new(self, number: int) -> bool:
        """True if the one reference that was counted is all that the kernel has of an inode."""
        return int(_HEAD.unpack_from(self._nodes[number])[1]) == 1

    def place(self, number: int) -> tuple[int, bytes]:
        """The directory and the name of an inode that the kernel knows. Raises `KeyError`."""
        node = self._nodes[number]
        return int(_HEAD.unpack_from(node)[0]), node[_NAME_AT:]

    def named(self, parent: int, name: bytes) -> list[int]:
        """The inodes that the kernel knows by a name. Goes through all of them."""
        return [
            number
            for number, node in self._nodes.items()
            if node[_NAME_AT:] == name and _HEAD.unpack_from(node)[0] == parent
        ]

    def inside(self, directories: set[int]) -> list[int]:
        """The inodes that the kernel knows below directories, the upper ones first. Goes through all."""
        nodes = list(self._nodes.items())
        found: list[int] = []
        above = directories
        while above:
            above = {number for number, node in nodes if _HEAD.unpack_from(node)[0] in above}
            above -= directories.union(found)
            found += above
        return found

    def is_of(self, number: int, identity: bytes, *, linked: bool = False) -> bool:
        """True if the name of an inode that the kernel knows still stands for the same file."""
        if number == ROOT:
            return True
        parent, name = self.place(number)
        return self.number_of(parent, name, identity, linked=linked) == number

    def find(self, path: str) -> int | None:
        """The number of directory ``path`` if the kernel may know it."""
        number = ROOT
        if not path:
            return number
        for name in path.split("/"):
            number = self.number_of(number, name.encode(errors="surrogateescape"))
        return number if number in self._nodes else None

    def numbers(self) -> list[int]:
        """Every inode that the kernel knows, the root included."""
        return [ROOT, *self._nodes]

    def _disown(self, number: int) -> None:
        for ruled in self._adopted.pop(number, ()):
            if self._numbers.get(ruled) == number:
                del self._numbers[ruled]

    def _directory_path(self, number: int) -> str:
        known = self._directory_paths.get(number)
        if known is not None:
            return known
        path = self.path(number)
        if len(self._directory_paths) >= _MAX_PATHS:
            self._directory_paths = {ROOT: ""}
        self._directory_paths[number] = path
        return path


def _hash(parent: int, name: bytes, identity: bytes) -> int:
    number: int = xxhash.xxh3_64_intdigest(name, parent)
    return xxhash.xxh3_64_intdigest(identity, number) if identity else number
