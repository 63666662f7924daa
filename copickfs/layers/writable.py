"""The writable half of the layer interface: what copy-on-write asks of the layer that is written.

Contract, besides that of `copickfs.layers.base`:

* Every method blocks until the change is made, or raises and has changed nothing that anybody can see.
* The parent directory exists; the caller has made it. Errors are those of the system call of the same
  name: `NotFound`, `NotADirectory`, `IsADirectory`, and `OSError` with EEXIST, ENOTEMPTY, ENOSPC, ...
* A change made through these methods is not announced to the layer's subscribers; `stat`, `scan` and
  `open` show it at once. Changes that others make are announced as ever.
* Names that begin with `copickfs.paths.RESERVED_PREFIX` are ordinary names here: they are the caller's.
* A layer whose source keeps no modes, owners, times or extended attributes accepts the first three and
  forgets them, and refuses extended attributes with EOPNOTSUPP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeGuard

from copickfs.layers.base import Layer, LayerFile

if TYPE_CHECKING:
    from copickfs.model import Entry


class Owner(NamedTuple):
    """Who a new file belongs to: the caller's user and group. Only a daemon that is root can give it."""

    uid: int
    gid: int


class Change(NamedTuple):
    """New attributes; None leaves one as it is.

    Attributes:
        mode: Permission bits.
        uid: Owner.
        gid: Group.
        atime_ns: Time of the last access, ns since the epoch.
        mtime_ns: Modification time, ns since the epoch.
    """

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None


class WritableFile(LayerFile, Protocol):
    """One file open for reading and writing. Thread-safe.

    Of a file that is published whole (`whole`), what is written is seen only through this object until
    `flush`, which puts it in the place of what has the name by then, in one step: everybody else sees
    the version before, or none, and afterwards all of this one. Written again after a `flush`, it goes
    on with a new version. Any other file is written in place, and everybody sees each write.

    Attributes:
        entry: The file as it was opened. The inode number in it is that of the version being written.
        whole: True if it is published whole.
        replaces: Set to False, a file that is published whole does not take the place of another: `flush`
            raises EEXIST. A source that cannot do both in one step replaces nevertheless.
    """

    whole: bool
    replaces: bool

    def status(self) -> Entry:
        """The file as it is now, written but not yet flushed bytes included. Never waits for a network."""
        ...

    def write(self, offset: int, data: bytes | memoryview) -> int:
        """Write all of ``data`` at ``offset``; a gap before it reads as zeros. The number of bytes."""
        ...

    def truncate(self, size_bytes: int) -> None:
        """Cut or extend (with zeros) to ``size_bytes``."""
        ...

    def change(self, change: Change) -> None:
        """Change attributes of the open file; of one published whole, together with its contents."""
        ...

    def flush(self) -> None:
        """What a program's ``close`` waits for: all that was written is safe from a killed daemon.

        Publishes a file that is published whole, if it is new or was changed since the last `flush`.
        """
        ...

    def sync(self) -> None:
        """`flush`, and all of it on stable storage when this returns."""
        ...

    def discard(self) -> None:
        """Give up what was not flushed (its writer was killed); of a file written in place, nothing."""
        ...

    def move(self, path: str | None) -> None:
        """The file has another name by now, or none (it was removed): then `flush` publishes nothing."""
        ...

    def close(self) -> None:
        """Let go of the file without publishing anything. Idempotent, never raises."""
        ...


class WritableLayer(Layer, Protocol):
    """A layer that can be written. See the module's docstring for the contract.

    Attributes:
        prompt: Its calls take as long as those of a local disk and may be made on the event loop.
    """

    prompt: bool

    def create(
        self, path: str, mode: int, owner: Owner, *, whole: bool, source: LayerFile | None = None
    ) -> WritableFile:
        """Open a new file for reading and writing.

        Args:
            path: Where it is, or will be.
            mode: Permission bits, with the caller's umask applied.
            owner: The caller; a directory with the setgid bit gives its group instead.
            whole: It is published whole: nothing has the name before the first `flush`, which
                replaces what has it by then. Otherwise it is there, empty, when this returns.
            source: What the new file holds at first, copied no later than the first write. It stays
                open until the file is closed, and is then closed by the file.

        Raises:
            FileExistsError: Something has the name, and ``whole`` is false.
        """
        ...

    def edit(self, path: str, *, whole: bool) -> WritableFile:
        """Open a file of this layer for reading and writing; its contents stay (`truncate` cuts them).

        With ``whole`` it is a new version with the mode, owner, times and attributes of the one there,
        copied no later than the first write. A file with several hard links is written in place always.

        Raises:
            NotFound: It does not exist.
            IsADirectory: It is a directory.
        """
        ...

    def mkdir(self, path: str, mode: int, owner: Owner) -> Entry:
        """Make a directory. In one with the setgid bit it inherits group and bit."""
        ...

    def mknod(self, path: str, mode: int, device: int, owner: Owner) -> Entry:
        """Make an empty file, a FIFO or a socket."""
        ...

    def symlink(self, path: str, text: str, owner: Owner) -> Entry:
        """Make a symbolic link that this layer shows as one, wherever it leads."""
        ...

    def link(self, path: str, new_path: str) -> Entry:
        """Give a file a second name. Raises EOPNOTSUPP where the source has no hard links."""
        ...

    def unlink(self, path: str) -> None:
        """Remove anything but a directory."""
        ...

    def rmdir(self, path: str) -> None:
        """Remove an empty directory."""
        ...

    def rename(self, path: str, new_path: str, *, replace: bool = True) -> None:
        """Give a file or directory another name, in one step where the source can.

        Args:
            path: Its name.
            new_path: The new name; a file, or an empty directory for a directory, is replaced.
            replace: If false, raise EEXIST instead.
        """
        ...

    def exchange(self, path: str, other_path: str) -> None:
        """Let two names change places. Raises EINVAL where the source cannot."""
        ...

    def change(self, path: str, change: Change) -> Entry:
        """Change the attributes of ``path`` itself, a symbolic link's too; the entry afterwards."""
        ...

    def set_xattr(self, path: str, name: str, value: bytes, flags: int = 0) -> None:
        """Set an extended attribute; ``flags`` as in `os.setxattr`."""
        ...

    def remove_xattr(self, path: str, name: str) -> None:
        """Remove an extended attribute. Raises ENODATA."""
        ...

    def sync_directory(self, path: str) -> None:
        """The names in a directory are on stable storage when this returns."""
        ...


def is_writable(layer: Layer) -> TypeGuard[WritableLayer]:
    """True if the layer can be written, which is not yet to say that it may."""
    return not layer.read_only and hasattr(layer, "prompt")
