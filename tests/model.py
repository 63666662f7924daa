"""An independent model of the merged tree, computed by plain system calls from the bare layer directories.

The rule: containers merge, stores (directories called ``*.zarr``) and files shadow. The highest layer
that has a name decides what it is. If that is a container, lower layers contribute to it for as long
as they have a container there too; the first that has anything else ends the merge for that name.

Nothing of copickfs is imported here.
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    Identity = tuple[int, int]

STORE_SUFFIX = ".zarr"
RESERVED_PREFIX = ".copickfs"
GENERATED = "copick_config.json"

_KINDS = {
    stat.S_IFDIR: "directory",
    stat.S_IFREG: "file",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


class Node(NamedTuple):
    """What the merged tree must have at a path.

    ``layer`` is the index of the deciding layer and ``source`` the path on disk there; ``merged`` are
    the layers that contribute to a container, and ``shadowed`` those whose object is hidden.
    """

    kind: str
    layer: int
    source: str
    followed: bool
    merged: tuple[int, ...] = ()
    shadowed: tuple[int, ...] = ()
    store: bool = False


class Shape(NamedTuple):
    """What a program sees of a path: all that a faithful copy has to keep."""

    kind: str
    mode: int
    size_bytes: int
    mtime_ns: int
    uid: int
    gid: int
    content: str = ""

    def contents_only(self) -> Shape:
        """The same without times and owner, which a plain copy does not keep."""
        return self._replace(mtime_ns=0, uid=0, gid=0, mode=0)


class _Member(NamedTuple):
    """A layer's directory that contributes to a container, and the directories on the way to it."""

    layer: int
    directory: str
    chain: tuple[Identity, ...]


def merge(roots: Sequence[Path | str], *, mounted: bool = True) -> dict[str, Node]:
    """The merged tree of ``roots``, highest priority first; ``""`` is its root.

    In a mounted tree a layer's own ``copick_config.json`` is hidden by the one that copickfs makes.
    """
    members = [_Member(i, os.fspath(root), (_identity(os.stat(root)),)) for i, root in enumerate(roots)]
    tree = {"": Node("directory", 0, members[0].directory, followed=False, merged=tuple(range(len(members))))}
    pending = [("", members, False)]
    while pending:
        path, members, in_store = pending.pop()
        for name in sorted({name for member in members for name in os.listdir(member.directory)}):
            if name.startswith(RESERVED_PREFIX):
                continue
            inner = f"{path}/{name}" if path else name
            if mounted and inner == GENERATED:
                continue
            node, contributing = _decide(name, members, in_store=in_store)
            tree[inner] = node
            if contributing:
                pending.append((inner, contributing, in_store or node.store))
    return tree


def _decide(name: str, members: Sequence[_Member], *, in_store: bool) -> tuple[Node, list[_Member]]:
    """What ``name`` is in a container to which ``members`` contribute, and who contributes to it."""
    first: Node | None = None
    merged: list[_Member] = []
    shadowed: list[int] = []
    open_ended = False
    for member in members:
        source = os.path.join(member.directory, name)
        if not os.path.lexists(source):
            continue
        kind, followed, status = _look(source, member.chain)
        store = kind == "directory" and name.endswith(STORE_SUFFIX) and not in_store
        here = _Member(member.layer, source, (*member.chain, _identity(status)))
        if first is None:
            first = Node(kind, member.layer, source, followed, store=store)
            merged = [here] if kind == "directory" else []
            open_ended = kind == "directory" and not store and not in_store
        elif open_ended and kind == "directory" and not store:
            merged.append(here)
        else:
            open_ended = False
            shadowed.append(member.layer)
    assert first is not None
    return first._replace(merged=tuple(m.layer for m in merged), shadowed=tuple(shadowed)), merged


def _look(source: str, chain: Iterable[Identity]) -> tuple[str, bool, os.stat_result]:
    """The kind of a path on disk, whether a link was followed to it, and its status.

    A link is followed unless it leads nowhere, or back into a directory on its own path.
    """
    status = os.lstat(source)
    if stat.S_ISLNK(status.st_mode):
        try:
            target = os.stat(source)
        except OSError:
            return "symlink", False, status
        if stat.S_ISDIR(target.st_mode) and _identity(target) in chain:
            return "symlink", False, status
        return _KINDS[stat.S_IFMT(target.st_mode)], True, target
    return _KINDS[stat.S_IFMT(status.st_mode)], False, status


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


def expected(roots: Sequence[Path | str], *, mounted: bool = True) -> dict[str, Shape]:
    """The shape of everything in the merged tree of ``roots``, but for what copickfs itself adds."""
    tree = merge(roots, mounted=mounted)
    return {path: shape(node.source, follow=node.followed) for path, node in tree.items()}


def snapshot(root: Path | str) -> dict[str, Shape]:
    """The shape of everything in a tree as a program finds it, ``copick_config.json`` left out."""
    tree = {"": shape(os.fspath(root))}
    pending = [""]
    while pending:
        path = pending.pop()
        for name in os.listdir(os.path.join(root, path)):
            inner = f"{path}/{name}" if path else name
            if inner == GENERATED:
                continue
            tree[inner] = shape(os.path.join(root, inner))
            if tree[inner].kind == "directory":
                pending.append(inner)
    return tree


def shape(path: str, *, follow: bool = False) -> Shape:
    """The shape of one path on disk."""
    status = os.stat(path) if follow else os.lstat(path)
    kind = _KINDS[stat.S_IFMT(status.st_mode)]
    content = ""
    if kind == "file":
        content = digest(path)
    elif kind == "symlink":
        content = os.readlink(path)
    return Shape(
        kind,
        stat.S_IMODE(status.st_mode),
        0 if kind == "directory" else status.st_size,
        status.st_mtime_ns,
        status.st_uid,
        status.st_gid,
        content,
    )


def digest_of(data: bytes) -> str:
    """The `digest` of a file with this data, up to 64 MiB."""
    return hashlib.blake2b(str(len(data)).encode() + data, digest_size=16).hexdigest()


def digest(path: str) -> str:
    """A hash of a file's size and data; holes are not read."""
    hashed = hashlib.blake2b(digest_size=16)
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        hashed.update(str(size).encode())
        if size <= 1 << 26:
            hashed.update(file.readall())
            return hashed.hexdigest()
        position = 0
        while position < size:
            try:
                position = os.lseek(file.fileno(), position, os.SEEK_DATA)
            except OSError:
                break
            data = os.pread(file.fileno(), 1 << 20, position)
            hashed.update(f"@{position}".encode() + data.rstrip(b"\0"))
            position += len(data)
    return hashed.hexdigest()


def hash_tree(directory: Path | str) -> dict[str, tuple[object, ...]]:
    """Everything about a bare directory that a write of any kind would change: for before and after."""
    found: dict[str, tuple[object, ...]] = {}
    for path, what in snapshot_links(directory).items():
        status = os.lstat(os.path.join(directory, path))
        found[path] = (what, status.st_ino, status.st_nlink, status.st_ctime_ns)
    return found


def snapshot_links(root: Path | str) -> dict[str, Shape]:
    """Like `snapshot`, of a bare directory: nothing is left out."""
    tree = {"": shape(os.fspath(root))}
    for directory, directories, files in os.walk(root):
        for name in directories + files:
            full = os.path.join(directory, name)
            tree[os.path.relpath(full, root)] = shape(full)
    return tree


def configuration(roots: Sequence[Path | str], names: Sequence[str] = (), **fields: Any) -> dict[str, Any]:
    """A multilayer configuration of local layers, highest priority first; all but the first are read-only.

    The tree is that of the layers: without views, unless ``fields`` say so.
    """
    called = list(names) or [f"layer{i}" for i in range(len(roots))]
    layer_configs = {
        name: {
            "config_type": "filesystem",
            "layer_name": name,
            "root": os.fspath(root),
            "priority": 100 - i,
            "read_only": i > 0,
        }
        for i, (name, root) in enumerate(zip(called, roots, strict=True))
    }
    return {
        "config_type": "multilayer",
        "layers": called,
        "layer_configs": layer_configs,
        "default_write_layer": called[0],
        "views": False,
        **fields,
    }


def differences(wanted: dict[str, Shape], found: dict[str, Shape]) -> list[str]:
    """What differs between two trees, one line each; empty if they are equal."""
    lines = [f"missing: {path!r} {wanted[path]}" for path in sorted(wanted.keys() - found.keys())]
    lines += [f"too much: {path!r} {found[path]}" for path in sorted(found.keys() - wanted.keys())]
    for path in sorted(wanted.keys() & found.keys()):
        if wanted[path] != found[path]:
            lines.append(f"differs: {path!r} wanted {wanted[path]} found {found[path]}")
    return lines
