"""Inode numbers: the same for the same path in every mount, at 150 to 200 bytes each.

A number is the hash of the parent's number, the name and, for a file, what tells it from another that
takes its place (`Entry.identity`): a replaced file is another inode, as on a disk, so the kernel never
mixes what it holds of the two. Nothing need be stored to find a number again.
Stored is, for every inode that the kernel knows, one ``bytes`` object: the parent's number, the count
of the kernel's references and the name. Bytes and integers are of no interest to the garbage collector.

Used on the event loop; `number_of` and `find` may be called from any thread.
"""

from __future__ import annotations

import struct

import xxhash

ROOT = 1

_HEAD = struct.Struct("<QII")
_NAME_AT = _HEAD.size
_MAX_PATHS = 4_096
_STRIDE = 0x9E3779B97F4A7C15


class InodeTable:
    """The inodes that the kernel knows."""

    def __init__(self) -> None:
        self._nodes: dict[int, bytes] = {}
        self._directory_paths: dict[int, str] = {ROOT: ""}

    def __len__(self) -> int:
        return len(self._nodes)

    def __repr__(self) -> str:
        return f"<InodeTable of {len(self._nodes)} inodes>"

    def number_of(self, parent: int, name: bytes, identity: bytes = b"") -> int:
        """The number of ``name`` in directory ``parent``, whether the kernel knows it or not."""
        number = _hash(parent, name, identity)
        nodes = self._nodes
        while True:
            if number > ROOT:
                node = nodes.get(number)
                if node is None or (node[_NAME_AT:] == name and _HEAD.unpack_from(node)[0] == parent):
                    return number
            # Two names with one hash: once in ten million mounts of a million files.
            number = xxhash.xxh3_64_intdigest(name, (number + _STRIDE) % 2**64)

    def remember(self, parent: int, name: bytes, identity: bytes = b"", look: int = 0) -> int:
        """Count one more reference of the kernel to ``name`` in ``parent``, and what it is told of it.

        Returns:
            The number of the inode.
        """
        number = _hash(parent, name, identity)
        node = self._nodes.get(number)
        if node is None and number > ROOT:
            self._nodes[number] = _HEAD.pack(parent, 1, look) + name
            return number
        number = self.number_of(parent, name, identity)
        node = self._nodes.get(number)
        count = 1 if node is None else _HEAD.unpack_from(node)[1] + 1
        self._nodes[number] = _HEAD.pack(parent, count, look) + name
        return number

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
        return True

    def path(self, number: int) -> str:
        """The path of an inode that the kernel knows.

        Raises:
            KeyError: The kernel does not know it.
        """
        if number == ROOT:
            return ""
        node = self._nodes[number]
        directory = self._directory_path(_HEAD.unpack_from(node)[0])
        name = node[_NAME_AT:].decode(errors="surrogateescape")
        return f"{directory}/{name}" if directory else name

    def parent(self, number: int) -> int:
        """The directory of an inode; the root is its own. Raises `KeyError`."""
        return ROOT if number == ROOT else int(_HEAD.unpack_from(self._nodes[number])[0])

    def knows(self, number: int) -> bool:
        """True if the kernel may know the inode."""
        return number == ROOT or number in self._nodes

    def is_of(self, number: int, identity: bytes) -> bool:
        """True if the name of an inode that the kernel knows still stands for the same file."""
        if number == ROOT:
            return True
        node = self._nodes[number]
        return self.number_of(_HEAD.unpack_from(node)[0], node[_NAME_AT:], identity) == number

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
