"""Asking a portal again that did not answer for a moment."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from copickfs.errors import Transient, Unavailable

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from copickfs.layers.portal.asking import PortalClient

    Records = list[dict[str, Any]]

TRIES = 6
_FIRST_REST_S = 0.2
_LONGEST_REST_S = 10.0
_SILENCES = 1.5
"""After so many times the limit of one question it is not asked again."""


class Asker:
    """Asks one question until it is answered, or that is hopeless. Thread-safe.

    Args:
        client: Asks the portal.
        stop: Set to give up.
    """

    def __init__(self, client: PortalClient, stop: threading.Event) -> None:
        self._client = client
        self._stop = stop

    def insist(
        self, ask: Callable[[PortalClient], Records], *, at_once: tuple[type[Unavailable], ...] = ()
    ) -> Records:
        """The answer.

        Args:
            ask: The question.
            at_once: What is raised without another try: the caller asks for less.

        Raises:
            ConfigError: There is no such portal.
            Transient: What came of the last try.
        """
        give_up_s = time.monotonic() + _SILENCES * self._client.timeout_s
        for attempt in range(TRIES):
            try:
                return ask(self._client)
            except Transient as error:
                is_last = attempt == TRIES - 1 or time.monotonic() > give_up_s
                if is_last or isinstance(error, at_once):
                    raise
            rest_s = min(_FIRST_REST_S * 2**attempt, _LONGEST_REST_S) * random.uniform(0.5, 1.5)  # noqa: S311
            if self._stop.wait(rest_s):
                break
        raise Unavailable("the layer is closed")
