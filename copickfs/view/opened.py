"""A file that is open for writing, wherever the layer that is written keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copickfs import paths
from copickfs.view.locks import gate_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from copickfs.layers.writable import WritableFile
    from copickfs.view.locks import PathLocks
    from copickfs.view.stores import Stores


class OpenFile:
    """The layer's file under its path in the merged tree; the calls for its contents are the layer's own.

    What it is called in the layer changes when a partial copy becomes a whole store, which must not
    happen while a version is being published there.

    Args:
        file: The layer's file.
        path: Its path in the merged tree.
        locks: The locks of the writer.
        stores: The partial copies.
        wrote: Called after each `flush` with the path in the merged tree.
        finish: Called once, after the first `flush`, with the path in the layer.
    """

    def __init__(
        self,
        file: WritableFile,
        path: str,
        locks: PathLocks,
        stores: Stores,
        wrote: Callable[[str], None],
        finish: Callable[[str], None] | None = None,
    ) -> None:
        self._file = file
        self._path: str | None = path
        self._locks = locks
        self._stores = stores
        self._store: str | None = None
        self._wrote = wrote
        self._finish = finish
        self.entry = file.entry
        self.whole = file.whole
        self.read = file.read
        self.read_nowait = file.read_nowait
        self.status = file.status
        self.write = file.write
        self.truncate = file.truncate
        self.change = file.change
        self.discard = file.discard
        self._register()

    def __repr__(self) -> str:
        return f"<OpenFile {self._path!r}>"

    @property
    def replaces(self) -> bool:
        """See `WritableFile`."""
        return self._file.replaces

    @replaces.setter
    def replaces(self, replaces: bool) -> None:
        self._file.replaces = replaces

    def flush(self) -> None:
        """See `WritableFile.flush`."""
        self._publish(self._file.flush)

    def sync(self) -> None:
        """See `WritableFile.sync`."""
        self._publish(self._file.sync)

    def move(self, path: str | None) -> None:
        """See `WritableFile.move`; ``path`` is the one in the merged tree."""
        self._path = path
        self._register()
        self.follow()

    def follow(self) -> None:
        """Tell the layer's file where it is by now."""
        self._file.move(None if self._path is None else self._place(self._path))

    def close(self) -> None:
        """See `WritableFile.close`."""
        self._file.close()
        if self._store is not None:
            self._stores.remove_opened(self._store, self)

    def _place(self, path: str) -> str:
        partial = self._stores.active(path)
        return path if partial is None else partial.place(path)

    def _register(self) -> None:
        store = None if self._path is None else paths.store_of(self._path)
        if self._store is not None and self._store != store:
            self._stores.remove_opened(self._store, self)
        self._store = store
        if store is not None:
            self._stores.add_opened(store, self)

    def _publish(self, flush: Callable[[], None]) -> None:
        """Alone at this path: a copy of what a layer below has must not be published over this version."""
        path = self._path
        alone = () if path is None else (path,)
        together = () if self._store is None else (gate_of(self._store),)
        with self._locks.hold(alone, together):
            flush()
            if path is not None and self._finish is not None:
                finish, self._finish = self._finish, None
                finish(self._place(path))
        if path is not None:
            self._wrote(path)
