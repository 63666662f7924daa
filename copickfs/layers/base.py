"""The layer interface: what the merged view asks of every source of data.

Contract, for every method of every layer:

* Paths are relative, ``/``-separated, without leading or trailing slash; ``""`` is the root.
  The caller has normalised them: no ``.``, ``..``, empty component or NUL.
* Everything is thread-safe and idempotent. Nothing is written, ever, by a method of `Layer`.
* A definite answer is returned, or raised as a `copickfs.errors.LayerError` or an `OSError`.
  `NotFound` means that the source said so; `NotADirectory`, that the path or an ancestor is a file
  (in a merged tree it then hides what lower layers have there).
* Everything that may pass is raised as `copickfs.errors.Transient`: an outage is never an absence.
* A ``*_nowait`` twin answers from memory or from a source that never makes its caller wait;
  otherwise it raises `WouldBlock` with the layer's name, and has no side effect.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, Protocol

from copickfs.errors import WouldBlock
from copickfs.model import ByteRange, Entry, Health, Pending, Space, Statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LISTED_TTL_S = 300.0
"""How long an answer is believed where the layer announces every change."""

POLLED_TTL_S = 1.0
"""How long an answer is believed where changes are not announced and the source is local."""


class LayerFile(Protocol):
    """One open file of a layer: the bytes of one version, whatever happens to its name."""

    entry: Entry

    def read(self, span: ByteRange) -> bytes:
        """The bytes of ``span``, fewer only at the end of the file.

        Raises:
            Stale: The source has changed since the file was opened.
            Transient: The source is out of reach; trying again is allowed and safe.
        """
        ...

    def read_nowait(self, span: ByteRange) -> bytes | memoryview:
        """Like `read`, or `WouldBlock`. The result is valid until this thread's next `read_nowait`."""
        ...

    def close(self) -> None:
        """Let go of the file. Idempotent, never raises."""
        ...


class Layer(Protocol):
    """A named, prioritised source. See the module's docstring for the contract.

    Attributes:
        name: Name in the configuration.
        priority: Higher is asked first.
        read_only: True if no face may ever write here.
        on_unavailable: ``"wait"`` or ``"error"``: what a read does while the layer is out of reach.
    """

    name: str
    priority: int
    read_only: bool
    on_unavailable: str

    def connect(self) -> None:
        """Check that the root can be reached; called once before the first use.

        Raises:
            ConfigError: The configuration can never work (no such root, wrong credentials).
            Transient: The source is out of reach just now.
        """
        ...

    def close(self) -> None:
        """Let go of connections, threads and watches. Idempotent, never raises."""
        ...

    def stat(self, path: str) -> Entry:
        """What the layer knows of ``path``. Raises `NotFound`, `NotADirectory`."""
        ...

    def scan(self, path: str) -> Sequence[Entry]:
        """The complete listing of one directory, in no particular order.

        Files whose length costs a request of their own may be `UNSIZED` in it; for `stat` they are not.
        Whatever else an entry tells, but for its blocks and its etag, is what `stat` tells; an unsized
        one has the same `Entry.identity`: it stays the same file when its length becomes known.
        """
        ...

    def open(self, path: str) -> LayerFile:
        """Open a file for reading. Raises `NotFound`, `IsADirectory`."""
        ...

    def readlink(self, path: str) -> str:
        """The text of a symbolic link that the layer shows as one."""
        ...

    def get_xattr(self, path: str, name: str) -> bytes:
        """An extended attribute of the source's own. Raises `OSError` with ENODATA if it is not there."""
        ...

    def list_xattrs(self, path: str) -> list[str]:
        """The names of the source's own extended attributes."""
        ...

    def described(self, path: str) -> Mapping[str, str]:
        """What the source tells people of ``path``, from memory; shown as ``user.copickfs.<name>``.

        Names have a dot, like ``portal.run_name``: those without one are copickfs's own. Raises as `stat`.
        """
        ...

    def known_of(self, path: str) -> Mapping[str, Any] | None:
        """What the source tells of an entity, from memory; None: its contents tell more.

        A JSON object as in `EntityRecord.detail`. What is below ``portal`` is searched in like names;
        its ``run_name`` is the name that people know a run by. Called for every entity of every
        listing that the index looks at. Raises as `stat`.
        """
        ...

    def stat_nowait(self, path: str) -> Entry:
        """Like `stat`, or `WouldBlock`."""
        ...

    def scan_nowait(self, path: str) -> Sequence[Entry]:
        """Like `scan`, or `WouldBlock`."""
        ...

    def open_nowait(self, path: str) -> LayerFile:
        """Like `open`, or `WouldBlock`."""
        ...

    def ttl_s(self, directory: str) -> float:
        """How long an answer about names in ``directory`` may be believed, in seconds; never blocks."""
        ...

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Call ``callback(path)`` (from any thread) after ``path`` came, went or changed at the source.

        ``callback("")`` means that anything may have changed.
        """
        ...

    def catch_up(self) -> None:
        """Announce now what the source has told of changes and is not announced yet; asks it for nothing."""
        ...

    def refresh(self) -> None:
        """Forget everything remembered of the source."""
        ...

    def location(self, path: str) -> str:
        """Where ``path`` is at the source, for people; without secrets."""
        ...

    def space(self) -> Space | None:
        """Room on local storage; None where asking would need a network."""
        ...

    def health(self) -> Health:
        """State of the layer, from memory."""
        ...

    def statistics(self) -> Statistics:
        """Counters, from memory."""
        ...

    def notes(self) -> Mapping[str, Any]:
        """What a kind of layer tells of itself in the status document beside all this, from memory."""
        ...

    def pending(self) -> Pending:
        """What is still to be sent to the source, from memory; also after `close`."""
        ...

    def flush_pending(self, timeout_s: float) -> bool:
        """Wait until nothing is pending, at most ``timeout_s`` seconds; True if nothing is."""
        ...


def nobody(_text: str) -> None:
    """Who is told of progress while nobody waits for it."""


def is_prompt(layer: Layer) -> bool:
    """True if the layer is on a local disk."""
    return bool(getattr(layer, "prompt", False) or getattr(layer, "on_local_disk", False))


class BaseLayer:
    """Default answers for the optional half of `Layer`; kinds override what they can do better.

    Args:
        name: Name in the configuration.
        priority: Higher is asked first.
        read_only: True if no face may ever write here.
        on_unavailable: ``"wait"`` or ``"error"``.

    Attributes:
        on_progress: Told, in one line, what `connect` is at where that takes long; from any thread.
    """

    def __init__(
        self, name: str, priority: int = 0, *, read_only: bool = True, on_unavailable: str = "wait"
    ) -> None:
        self.name = name
        self.priority = priority
        self.read_only = read_only
        self.on_unavailable = on_unavailable
        self.on_progress: Callable[[str], None] = nobody

    def connect(self) -> None:
        """Nothing to connect."""

    def close(self) -> None:
        """Nothing to close."""

    def stat(self, path: str) -> Entry:
        """See `Layer.stat`."""
        raise NotImplementedError

    def scan(self, path: str) -> Sequence[Entry]:
        """See `Layer.scan`."""
        raise NotImplementedError

    def open(self, path: str) -> LayerFile:
        """See `Layer.open`."""
        raise NotImplementedError

    def readlink(self, path: str) -> str:
        """No kind shows symbolic links unless it says so: EINVAL, as for any other file."""
        raise OSError(22, f"not a symbolic link: {path!r}")

    def get_xattr(self, path: str, name: str) -> bytes:  # noqa: ARG002
        """Most sources keep no extended attributes: ENODATA."""
        raise OSError(errno.ENODATA, os.strerror(errno.ENODATA), name)

    def list_xattrs(self, path: str) -> list[str]:  # noqa: ARG002
        """None."""
        return []

    def described(self, path: str) -> Mapping[str, str]:  # noqa: ARG002
        """Most sources tell nothing but names and contents."""
        return {}

    def known_of(self, path: str) -> Mapping[str, Any] | None:  # noqa: ARG002
        """Contents have to be read."""
        return None

    def stat_nowait(self, path: str) -> Entry:  # noqa: ARG002
        """See `Layer.stat_nowait`."""
        raise WouldBlock(self.name)

    def scan_nowait(self, path: str) -> Sequence[Entry]:  # noqa: ARG002
        """See `Layer.scan_nowait`."""
        raise WouldBlock(self.name)

    def open_nowait(self, path: str) -> LayerFile:  # noqa: ARG002
        """See `Layer.open_nowait`."""
        raise WouldBlock(self.name)

    def ttl_s(self, directory: str) -> float:  # noqa: ARG002
        """A second, as for a source that announces nothing."""
        return POLLED_TTL_S

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """No changes are announced."""

    def catch_up(self) -> None:
        """Nothing is announced later than it is heard of."""

    def refresh(self) -> None:
        """Nothing is remembered."""

    def location(self, path: str) -> str:
        """The layer's name and the path."""
        return f"{self.name}:/{path}"

    def space(self) -> Space | None:
        """Not known."""
        return None

    def health(self) -> Health:
        """Always well."""
        return Health("ok")

    def statistics(self) -> Statistics:
        """Nothing is counted."""
        return Statistics()

    def notes(self) -> Mapping[str, Any]:
        """Nothing more."""
        return {}

    def pending(self) -> Pending:
        """Nothing: what is written is at the source."""
        return Pending()

    def flush_pending(self, timeout_s: float) -> bool:  # noqa: ARG002
        """Nothing to wait for."""
        return True
