"""A real S3 server for tests, in this process, and clients that are not ours."""

from __future__ import annotations

import logging
import uuid
from typing import Any, Self

import s3fs
from moto.server import ThreadedMotoServer

from tests.servers import free_port

BUCKET = "bucket"


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

    def client(self) -> s3fs.S3FileSystem:
        """A client of its own, as another machine has one."""
        return s3fs.S3FileSystem(**self.fs_args, skip_instance_cache=True, use_listings_cache=False)

    def __enter__(self) -> Self:
        self.start().client().mkdir(self.bucket)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
