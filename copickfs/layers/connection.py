"""The way to a remote layer's source: one session at a time, made on demand, replaced after a loss."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

from copickfs.errors import AccessDenied, ConfigError, NotADirectory, NotFound, Transient, Unavailable
from copickfs.layers.guard import OTHER_SLOTS, SLOTS, Guard
from copickfs.layers.identity import shown_place
from copickfs.layers.sources import ByName, Counters, RangesIgnored
from copickfs.layers.sources.faults import meaning
from copickfs.layers.sources.opening import check_protocol, open_source, refused_argument
from copickfs.layers.sources.redaction import Redactor, shown_url
from copickfs.layers.sources.web_listing import may_be_hidden
from copickfs.layers.sources.writing import Changed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from copickfs.layers.guard import Attempt
    from copickfs.layers.listings import Listing
    from copickfs.layers.sources import Found, Source
    from copickfs.layers.sources.writing import Writing
    from copickfs.model import ByteRange, Health, Statistics

T = TypeVar("T")

_MANY_SLOTS = 26
_LIKES_MANY = ("http", "https", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")
"""Each call is a request of its own there, and most of its time is spent on the way."""


class Connection:
    """All calls of one layer to its source, with time limits, retries and reconnection. Thread-safe.

    Every method raises as `copickfs.layers.base` says, with messages that hold no secret.

    Args:
        name: Name of the layer.
        root_url: The layer's root.
        fs_args: Arguments for the fsspec file system.
        timeout_s: Silence after which a call is given up.
        offline: Never call.
        opener: Makes the source, if ``root_url`` does not tell how.

    Attributes:
        guesses: So many reads may be under way that nobody waits for.
    """

    def __init__(
        self,
        name: str,
        root_url: str,
        fs_args: Mapping[str, Any],
        timeout_s: float,
        *,
        offline: bool = False,
        opener: Callable[[Counters], Source] | None = None,
    ) -> None:
        self._name = name
        self._root_url = root_url
        self._open = opener or (lambda counters: open_source(root_url, fs_args, counters, timeout_s))
        self._fs_args = dict(fs_args)
        self._is_web = root_url.startswith(("http://", "https://"))
        self._timeout_s = timeout_s
        self._redact = Redactor(root_url, self._fs_args)
        self._counters = Counters()
        slots = _MANY_SLOTS if root_url.partition("://")[0] in _LIKES_MANY else SLOTS
        self._offline = offline
        self._guard = Guard(name, self._ping, timeout_s, slots, offline=offline)
        self.guesses = (slots - OTHER_SLOTS) // 2
        self._changed = threading.Condition()
        self._source: Source | None = None
        self._opening_since_s: float | None = None
        self._heard_s = 0.0
        self._connecting = False
        self._closed = False

    def connect(self) -> None:
        """Log in and ask for the root.

        Raises:
            ConfigError: This can never work.
            Transient: Out of reach just now.
        """
        if self._offline:
            return
        shown = shown_url(self._root_url)
        self._connecting = True
        try:
            check_protocol(self._root_url)
            self._guard.insist(self._asking("", lambda source, attempt: source.probe(attempt)))
        except NotFound:
            raise ConfigError(f"no such directory: {shown}; create it or correct 'root'") from None
        except NotADirectory:
            raise ConfigError(f"not a directory: {shown}; 'root' must name a directory") from None
        except PermissionError:
            raise ConfigError(f"no permission to read {shown}; correct 'root' or 'fs_args'") from None
        except ConfigError as error:
            told = self._redact(str(error)).removeprefix(f"layer {self._name}: ")
            raise ConfigError(f"{shown}: {told}") from None
        except Transient as error:
            told = str(error).removeprefix(f"layer {self._name}: ")
            place = shown_place(self._root_url, self._fs_args)
            raise type(error)(f"layer {self._name}: {place}: {told}") from None
        finally:
            self._connecting = False

    @property
    def may_ask(self) -> bool:
        """False while a call would fail at once."""
        return not self._offline and (not self._guard.is_down or self._guard.hint_s() <= 0)

    @property
    def is_busy(self) -> bool:
        """True while reads wait for others to end."""
        return self._guard.waiting > 0

    def hides(self, name: str) -> bool:
        """True if the source may leave this name out of its listings."""
        return self._is_web and may_be_hidden(name)

    def at_hand(self, path: str) -> list[Found] | None:  # noqa: ARG002 - every listing is a request
        """See `Fetcher.at_hand`."""
        return None

    def scan(self, path: str) -> list[Found]:
        """List one directory."""
        return self._guard.insist(self._asking(path, lambda source, attempt: source.scan(path, attempt)))

    def tree(
        self, path: str, directories: list[str], make: Callable[[str, list[Found]], Listing]
    ) -> dict[str, Listing]:
        """List all directories below one; see `Source.tree`."""

        def collect(source: Source, attempt: Attempt) -> dict[str, Listing]:
            listings: dict[str, Listing] = {}

            def keep(relative: str, entries: list[Found]) -> None:
                listings[relative] = make(relative, entries)

            source.tree(path, directories, attempt, keep)
            return listings

        return self._guard.insist(self._asking(path, collect))

    def info(self, path: str) -> Found:
        """Ask for one path."""
        return self._guard.insist(self._asking(path, lambda source, attempt: source.info(path, attempt)))

    def files(self, directory: str, names: list[str]) -> list[Found]:
        """Those of many files that are there; see `Lister`."""

        def ask(source: Source, attempt: Attempt) -> list[Found]:
            if not isinstance(source, ByName):
                raise AccessDenied(directory)
            return source.files(directory, names, attempt)

        return self._guard.insist(self._asking(directory, ask))

    def readlink(self, path: str) -> str:
        """Text of a symbolic link."""
        return self._guard.insist(self._asking(path, lambda source, attempt: source.readlink(path, attempt)))

    def read(self, path: str, span: ByteRange, found: Found) -> bytes:
        """Exactly the bytes of ``span``; one attempt, for whoever reads decides how long to wait."""
        data = self._guard.call(
            self._asking(path, lambda source, attempt: source.read(path, span, found, attempt)),
            reading=True,
        )
        self._counters.received(len(data))
        return data

    def change(self, path: str, operation: Callable[[Writing, Attempt, bool], T]) -> T:
        """Change something at the source, repeatedly if it fails for a moment.

        Args:
            path: What is changed.
            operation: Called with the source and whether an earlier attempt may have come through.
        """
        again = False

        def once(source: Source, attempt: Attempt) -> T:
            nonlocal again
            before, again = again, True
            return operation(source.writing(), attempt, before)

        return self._guard.insist(self._asking(path, once))

    def writing_kind(self) -> Writing:
        """How the source is written; not for calls, which go through `change`."""
        return self._guard.insist(self._asking("", lambda source, _attempt: source.writing()))

    def hint_s(self) -> float:
        """Seconds until a call makes sense; 0 when the source answers."""
        return self._guard.hint_s()

    def health(self) -> Health:
        """State and last fault, from memory."""
        return self._guard.health()

    def statistics(self) -> Statistics:
        """Counters, from memory."""
        return self._counters.statistics()

    def close(self) -> None:
        """Give up every call and hang up. Idempotent."""
        self._guard.close()
        with self._changed:
            self._closed = True
            source, self._source = self._source, None
        if source is not None:
            source.close()

    def _asking(self, path: str, operation: Callable[[Source, Attempt], T]) -> Callable[[Attempt], T]:
        """An attempt at ``operation``, on a new session if the one that was there turns out to be lost."""

        def ask(attempt: Attempt) -> T:
            source = self._session(attempt)
            try:
                return self._heard(operation(source, attempt))
            except Exception as error:
                if not source.is_lost(error):
                    raise
                self._lose(source)
            source = self._session(attempt)
            return self._heard(operation(source, attempt))

        def translated(attempt: Attempt) -> T:
            try:
                return ask(attempt)
            except Exception as error:  # noqa: BLE001 - whatever it is, it gets its meaning here
                raise self._translated(error, path) from None

        return translated

    def _ping(self, attempt: Attempt) -> None:
        try:
            self._asking("", lambda source, attempt: source.probe(attempt))(attempt)
        except (NotFound, NotADirectory):
            raise Unavailable(f"layer {self._name}: its root is gone") from None

    def _session(self, attempt: Attempt) -> Source:
        """The live session. One caller makes it, outside of the lock; the others wait, not for ever."""
        with self._changed:
            while self._source is None and self._is_opening():
                self._changed.wait(self._timeout_s)
            source = self._source
            if source is None:
                self._opening_since_s = time.monotonic()
        if source is None:
            source = self._opened()
        since_s = time.monotonic()
        attempt.on_call_off(lambda: self._doubt(source, since_s))
        return source

    def _is_opening(self) -> bool:
        since_s = self._opening_since_s
        return since_s is not None and time.monotonic() - since_s < 2 * self._timeout_s

    def _opened(self) -> Source:
        opened: Source | None = None
        try:
            opened = self._open(self._counters)
        finally:
            with self._changed:
                self._opening_since_s = None
                if not self._closed and self._source is None:
                    self._source, opened = opened, None
                source = self._source
                self._changed.notify_all()
            if opened is not None:
                opened.close()  # too late: another one is there, or the layer is closed
        if source is None:
            raise Unavailable("the layer is closed")
        return source

    def _heard(self, answer: T) -> T:
        self._heard_s = time.monotonic()
        return answer

    def _doubt(self, source: Source, since_s: float) -> None:
        """A call was given up: if nothing else was heard meanwhile, it is the session that is dead."""
        if self._heard_s < since_s:
            self._lose(source)

    def _lose(self, source: Source) -> None:
        with self._changed:
            if self._source is source:
                self._source = None
        source.close()

    def _translated(self, error: Exception, path: str) -> Exception:
        if isinstance(error, RangesIgnored | Changed):
            return error
        if self._connecting and isinstance(error, TypeError):
            # Some libraries look at their arguments with the first request only.
            error = refused_argument(error)
        text = self._redact(str(error) or type(error).__name__)
        if not isinstance(error, Transient | ConfigError):
            text = f"{type(error).__name__}: {text}"
        if not text.startswith(f"layer {self._name}"):
            text = f"layer {self._name}: {text}"
        result = meaning(error, path, text)
        if isinstance(result, ConfigError) and not self._connecting:
            result = Unavailable(text)  # later on it is the server that has changed
        if isinstance(result, Transient):
            self._counters.failed()
        return result
