"""Asking a CryoET Data Portal for records, by its own client.

The client is imported with the first question: that takes seconds, and a mount whose answers are stored
needs none.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from copickfs.errors import ConfigError, Unavailable
from copickfs.layers.sources.redaction import Redactor, shown_url

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PUBLIC_URL = "https://graphql.cryoetdataportal.czscience.com/graphql"
"""Where the client asks if nobody says otherwise."""

_REFUSED = range(400, 500)
_TRY_AGAIN = frozenset({408, 413, 425, 429})
_TOO_MUCH = frozenset({408, 413, 502, 503, 504})
_LONGEST = 300
"""Characters of what a portal says of its trouble."""


class Overwhelmed(Unavailable):
    """The portal gave up on this question; a smaller one may do."""


class Odd(Unavailable):
    """The portal has a record that its own client, or itself, cannot read."""


class PortalClient:
    """Asks one portal. Thread-safe.

    Args:
        url: Where its queries go.
        timeout_s: Silence after which a question is given up.

    Attributes:
        questions: How many were asked.
        timeout_s: As given.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        self.url = url
        self.questions = 0
        self.timeout_s = timeout_s
        self._redact = Redactor(url, {})
        self._lock = threading.Lock()
        self._client: Any = None

    def find(self, model: str, *where: tuple[str, Sequence[int | str]]) -> list[dict[str, Any]]:
        """All records of a class for which each field named in ``where`` has one of the values.

        Args:
            model: Name of the class in the client's package.
            where: Fields, with ``.`` between a relation and a field of what it leads to, and their values.

        Raises:
            ConfigError: This will never be answered: there is no portal at the address.
            Odd: One of the records cannot be read.
            Overwhelmed: A smaller question may be answered.
            Unavailable: Out of reach just now.
        """
        return self._asked(model, [(field, "_in", list(values)) for field, values in where])

    def between(
        self, model: str, field: str, values: Sequence[int | str], start: int, stop: int | None
    ) -> list[dict[str, Any]]:
        """Like `find`, those alone whose ``id`` is in a half-open range; ``stop`` may be None for no end."""
        where: list[tuple[str, str, Any]] = [(field, "_in", list(values))]
        if start:
            where.append(("id", "__ge__", start))
        if stop is not None:
            where.append(("id", "__lt__", stop))
        return self._asked(model, where)

    def _asked(self, model: str, where: Sequence[tuple[str, str, Any]]) -> list[dict[str, Any]]:
        client = self._connected()
        with self._lock:
            self.questions += 1
        import cryoet_data_portal

        cls = getattr(cryoet_data_portal, model)
        filters: dict[str, Any] = {}
        for path, operator, value in where:
            field = cls
            for name in path.split("."):
                field = getattr(field, name)
            _merge(filters, getattr(field, operator)(value).to_gql())
        # As `cls.find` does, but for an object of each record, which takes most of its time.
        root = cls._get_gql_root_field()
        names = dict(zip(cls._get_gql_fields(), cls._get_scalar_fields(), strict=True))
        query = client.build_query(cls, root, cls._get_gql_type(), filters)
        try:
            answer = client.get_client().execute(query)
            return [{names[key]: value for key, value in row.items()} for row in answer[root]]
        except Exception as error:  # noqa: BLE001 - whatever it is, it gets its meaning here
            raise self._meaning(error) from None

    def _connected(self) -> Any:
        """The client; made once, for it parses a schema."""
        with self._lock:
            if self._client is None:
                self._client = _client_class()(self.url, self.timeout_s)
            return self._client

    def _meaning(self, error: Exception) -> Exception:
        from gql.transport import exceptions

        said = " ".join(self._redact(str(error) or type(error).__name__).split())[:_LONGEST]
        at = f"the portal at {shown_url(self.url)}"
        match error:
            case exceptions.TransportServerError(code=code):
                return _meaning_of_code(code, f"{at} answers {code}: {said}")
            case exceptions.TransportQueryError():
                return Odd(f"{at} cannot answer: {said}")
            case exceptions.TransportProtocolError() if "<html" in said.lower():
                return ConfigError(f"{at} answers with a web page; correct 'graphql_url'", key="graphql_url")
            case exceptions.TransportError() | OSError():
                reason = _why_out_of_reach(error)
                if reason:
                    return Unavailable(f"{at} is out of reach: {self._redact(reason)}")
                return Overwhelmed(f"{at} gives no answer: {said}")
            case _:
                return Odd(f"{at} has a record that cannot be read: {type(error).__name__}: {said}")


def _merge(filters: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add a filter to others, which may be of the same field or relation."""
    for key, value in more.items():
        if isinstance(filters.get(key), dict) and isinstance(value, dict):
            _merge(filters[key], value)
        else:
            filters[key] = value


def _meaning_of_code(code: int | None, message: str) -> Exception:
    if code in _REFUSED and code not in _TRY_AGAIN:
        return ConfigError(f"{message}; correct 'graphql_url'", key="graphql_url")
    return (Overwhelmed if code in _TOO_MUCH else Unavailable)(message)


def _why_out_of_reach(error: BaseException | None) -> str:
    """Why no connection was made at all, so that a smaller question would not help; ``""`` if one was."""
    from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError

    while error is not None:
        for found in (error, *error.args):
            reason = found.reason if isinstance(found, MaxRetryError) else found
            if isinstance(reason, NewConnectionError | ConnectTimeoutError):
                return str(reason).rpartition(": ")[2]
        error = error.__cause__
    return ""


def _client_class() -> Callable[[str, float], Any]:
    """The portal's client, with an end to its patience: it has no time limits, and retries by itself."""
    import cryoet_data_portal
    import gql
    from cryoet_data_portal._constants import USER_AGENT
    from gql.transport.requests import RequestsHTTPTransport

    class Client(cryoet_data_portal.Client):  # type: ignore[misc] # it has no annotations for mypy
        def __init__(self, url: str, timeout_s: float) -> None:
            super().__init__(url)
            self._timeout_s = timeout_s

        def get_client(self) -> gql.Client:
            headers: Mapping[str, str] = {"User-agent": USER_AGENT}
            transport = RequestsHTTPTransport(
                url=self.url,
                retries=0,
                headers=dict(headers),
                timeout=self._timeout_s,  # type: ignore[arg-type] # requests takes any number
            )
            return gql.Client(transport=transport, schema=self.schema)

    return Client
