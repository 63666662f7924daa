"""A real S3 server for tests, in this process, and clients that are not ours."""

from __future__ import annotations

import contextlib
import logging
import re
import uuid
from typing import TYPE_CHECKING, Any, Self

import s3fs
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

from tests.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

BUCKET = "bucket"
_ACCOUNT = "123456789012"
_REQUEST = re.compile(r"((?:GET|HEAD|PUT|POST|DELETE) /\S*)")


class ObjectStore:
    """An S3 server with one bucket of its own, which can be stopped and started again."""

    def __init__(self) -> None:
        self.port = free_port()
        self.bucket = (
            f"{BUCKET}{uuid.uuid4().hex[:8]}"  # Google's client quotes a hyphen, and moto does not read that
        )
        self._server: ThreadedMotoServer | None = None

    @property
    def url(self) -> str:
        """The layer root."""
        return f"s3://{self.bucket}/project"

    @property
    def fs_args(self) -> dict[str, Any]:
        """Address and credentials."""
        return {
            "key": "writer-4711",
            "secret": "open-sesame-4711",
            "endpoint_url": f"http://127.0.0.1:{self.port}",
            "config_kwargs": {"retries": {"max_attempts": 0}, "connect_timeout": 2},
        }

    def start(self) -> Self:
        """Start, and return when it answers."""
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer("127.0.0.1", self.port, verbose=False)
        self._server.start()
        return self

    def stop(self) -> None:
        """End; what it holds is there again after `start`."""
        if self._server is not None:
            self._server.stop()
            self._server._server.server_close()  # which moto forgets
            self._server = None

    def fill(self, objects: dict[str, bytes]) -> None:
        """Put objects at keys below ``project/``, faster than by requests."""
        bucket = s3_backends[_ACCOUNT]["aws"]
        for key, data in objects.items():
            bucket.put_object(self.bucket, f"project/{key}", data)

    def objects(self) -> dict[str, bytes]:
        """All objects below ``project/``, behind the server's back."""
        keys = s3_backends[_ACCOUNT]["aws"].buckets[self.bucket].keys
        return {key.removeprefix("project/"): found.value for key, found in keys.items()}

    @contextlib.contextmanager
    def recorded(self) -> Iterator[list[str]]:
        """What is asked meanwhile: ``"METHOD /address"`` of each request."""
        requests: list[str] = []

        class Recorder(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                match = _REQUEST.search(record.getMessage())
                if match is not None:
                    requests.append(match[1])

        logger, recorder = logging.getLogger("werkzeug"), Recorder()
        level, propagates = logger.level, logger.propagate
        logger.addHandler(recorder)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        try:
            yield requests
        finally:
            logger.setLevel(level)
            logger.propagate = propagates
            logger.removeHandler(recorder)

    def client(self) -> s3fs.S3FileSystem:
        """A client of its own, as another machine has one."""
        return s3fs.S3FileSystem(**self.fs_args, skip_instance_cache=True, use_listings_cache=False)

    def __enter__(self) -> Self:
        s3_backends[_ACCOUNT]["aws"].create_bucket(self.bucket, "us-east-1")  # a client takes a while to load
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
