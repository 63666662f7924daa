"""The records of a portal's datasets: in the index, for all processes, and in the memory of this one.

* Each dataset is one question; only one process of the machine asks it at a time, and the others wait for
  its answer, or its failure.
* What is stored is an answer, however old, until a younger one is there: a mount whose datasets are all
  stored starts without the network, and asks for what is older than ``ttl`` behind.
* Without an index the answers last as long as the process.

Thread-safe.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from copickfs.errors import Transient, Unavailable
from copickfs.layers.portal.fetching import Fetch, age_s
from copickfs.layers.portal.stored import StoredAnswers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from copickfs.index.portal import PortalTable
    from copickfs.layers.portal.asking import PortalClient
    from copickfs.layers.portal.fetching import Question
    from copickfs.layers.portal.stored import Told

_log = logging.getLogger(__name__)

_POLL_S = 0.1
_TELL_S = 1.0
_CLOSE_LIMIT_S = 2.0
_LOOK_S = 30.0
"""How often it is looked whether another process has asked again."""

_FIRST_LOOK_S = 5.0
_SOON_S = 0.2
_REST_S = 15.0
_LONGEST_REST_S = 3_600.0
"""For how long the portal is left alone after it did not answer."""


class PortalCatalogue:
    """The answers to some questions.

    Args:
        name: Name of the layer.
        client: Asks the portal.
        questions: What is asked.
        table: Where the answers are kept; None for nowhere.
        ttl_s: For how long an answer is good.
        offline: Never ask.

    Attributes:
        failure: Why the portal was not asked again when it was due, in one line; ``""`` if it was.
        progress: Told, in one line, how far an answer is; from any thread.
    """

    def __init__(
        self,
        name: str,
        client: PortalClient,
        questions: Sequence[Question],
        table: PortalTable | None,
        ttl_s: float,
        *,
        offline: bool = False,
    ) -> None:
        self._name = name
        self._client = client
        self._questions = list(questions)
        self._answers = StoredAnswers(name, table)
        self._ttl_s = ttl_s
        self._offline = offline
        self._told: dict[Question, Told] = {}
        self._stop = threading.Event()
        self._keeper: threading.Thread | None = None
        self.failure = ""
        self.progress: Callable[[str], None] = lambda _text: None

    def __repr__(self) -> str:
        return f"<PortalCatalogue {self._name}: {', '.join(map(str, self._questions))}>"

    @property
    def is_complete(self) -> bool:
        """True if every question has an answer."""
        return len(self._told) == len(self._questions)

    def notes(self) -> dict[str, Any]:
        """How the answers are, for people.

        Returns:
            ``runs``; ``asked_ns``, when the portal was asked for the oldest answer, ns since the epoch, 0
            while one is missing; ``left_out``, how many records cannot be shown, by reason; ``message``.
        """
        answers = list(self._told.values())
        left_out: Counter[str] = Counter()
        for told in answers:
            left_out.update({reason: count for reason, (count, _example) in told.about["left_out"].items()})
        return {
            "runs": sum(len(told.runs) for told in answers),
            "asked_ns": min(told.fetched_ns for told in answers) if self.is_complete else 0,
            "left_out": dict(left_out),
            "message": self.failure,
        }

    def load(self) -> None:
        """Have an answer to every question: the stored one, or else the portal's.

        Raises:
            ConfigError: There is no such portal, dataset or run.
            Transient: The portal is out of reach, and nothing is stored.
        """
        for question in self._questions:
            if self._stored(question) is None:
                if self._offline:
                    raise Unavailable(f"layer {self._name}: nothing is stored of {question} of the portal")
                try:
                    self._ask(question)
                except Unavailable as error:
                    self._note(error)
                    raise

    def answers(self) -> list[Told]:
        """The answers, in the order of the questions. Raises `Unavailable` while one is missing."""
        if not self.is_complete:
            raise Unavailable(f"layer {self._name}: {self.failure or 'the portal has not answered yet'}")
        return [self._told[question] for question in self._questions]

    def keep_up(self, changed: Callable[[], None]) -> None:
        """Ask again from now on whenever it is due, in a thread of its own.

        Args:
            changed: Called after the portal has told something else than before.
        """
        if not self._offline:
            self._keeper = threading.Thread(
                target=self._keep, args=(changed,), name=f"portal-{self._name}", daemon=True
            )
            self._keeper.start()

    def refresh(self, changed: Callable[[], None]) -> None:
        """Ask again, however young the answers are; without an answer the old ones stay.

        Args:
            changed: Called after the portal has told something else than before.
        """
        if not self._offline:
            for question in self._questions:
                self._ask_again(question, changed)

    def close(self) -> None:
        """Ask no more. Idempotent."""
        self._stop.set()
        if self._keeper is not None:
            self._keeper.join(_CLOSE_LIMIT_S)  # it may wait for a portal that says nothing

    def _keep(self, changed: Callable[[], None]) -> None:
        failures, next_s = 0, 0.0
        while not self._stop.is_set():
            rest_s = _LOOK_S if self.is_complete else _FIRST_LOOK_S
            self._stop.wait(min(rest_s, max(self._ttl_s, _SOON_S)) if self._ttl_s else rest_s)
            for question in self._questions:
                if self._stop.is_set():
                    return
                self._look_again(question, changed)
                if self._is_old(question) and time.monotonic() >= next_s:
                    failures = 0 if self._ask_again(question, changed) else failures + 1
            if failures and self.is_complete:
                next_s = time.monotonic() + min(_REST_S * 2.0 ** min(failures, 10), _LONGEST_REST_S)

    def _is_old(self, question: Question) -> bool:
        told = self._told.get(question)
        return told is None or age_s(told.fetched_ns) > self._ttl_s

    def _look_again(self, question: Question, changed: Callable[[], None]) -> None:
        """Take over what another process was told meanwhile."""
        told = self._told.get(question)
        selection = self._answers.state(question)
        if selection is None or not selection.fetched_ns:
            return
        if told is not None and selection.fetched_ns <= told.fetched_ns:
            return  # this process knows as much, or more: what it was told could not be kept
        if told is not None and selection.digest == told.digest:
            self._told[question] = told._replace(fetched_ns=selection.fetched_ns)
        elif self._stored(question) is not None and self.is_complete:
            changed()

    def _ask_again(self, question: Question, changed: Callable[[], None]) -> bool:
        before = self._told.get(question)
        try:
            now = self._ask(question)
        except Exception as error:  # noqa: BLE001 - what is known goes on to be the answer
            is_news = not self.failure
            self._note(error)
            if not self._stop.is_set():
                _log.log(
                    logging.WARNING if is_news else logging.DEBUG,
                    "layer %s: the portal cannot be asked for news (%s); what it has told before is shown",
                    self._name, self.failure,
                )  # fmt: skip
            return False
        self.failure = ""
        if self.is_complete and (before is None or before.digest != now.digest):
            changed()
        return True

    def _stored(self, question: Question) -> Told | None:
        """The stored answer, taken over; None if there is none that can be read."""
        told = self._answers.load(question)
        if told is not None:
            self._told[question] = told
        return told

    def _ask(self, question: Question) -> Told:
        """Ask the portal, or wait for another process that does."""
        began_ns = time.time_ns()
        needed_ns = began_ns if question in self._told else 0
        next_s = time.monotonic()
        while True:
            with self._answers.turn(question) as is_mine:
                if self._answers.is_answered(question, began_ns, needed_ns):
                    told = self._stored(question)
                    if told is not None:
                        return told
                if is_mine:
                    return self._asked(question)
            if time.monotonic() >= next_s:
                self.progress(f"another process is asking the portal for {question}")
                next_s += _TELL_S
            if self._stop.wait(_POLL_S):
                raise Unavailable(f"layer {self._name} is closed")

    def _asked(self, question: Question) -> Told:
        asked_ns = time.time_ns()
        self.progress(f"asking the portal for {question}")

        def progress(done: int, of: int) -> None:
            self.progress(f"the portal has told {done:,} of {of:,} runs of {question}")

        try:
            answer = Fetch(self._client, question, progress, self._stop).answer()
        except Transient as error:
            self._answers.failed(question, error)
            raise Unavailable(f"layer {self._name}: {error}") from None
        told = self._told[question] = self._answers.keep(question, asked_ns, answer)
        for reason, (count, example) in told.about["left_out"].items():
            _log.warning("layer %s: left out: %s (%d, such as %s)", self._name, reason, count, example)
        return told

    def _note(self, error: Exception) -> None:
        self.failure = str(error).removeprefix(f"layer {self._name}: ")
