"""The whole portal of a test."""

from __future__ import annotations

from typing import Any, Self

from tests.portal.files import PortalFiles
from tests.portal.records import FILES_OF_EACH_OBJECT, Records
from tests.portal.server import PortalServer

DATASET = 10_000


class LocalPortal:
    """Records of one dataset, their files, and both servers; more datasets can be added to ``records``.

    Args:
        runs: Number of runs.
        files_per_run: Number of annotation files of each.
        written: Of how many runs there are files.
        **size: What else `Records.fill` takes.

    Attributes:
        records: The records.
        files: The bucket.
        server: GraphQL.
        dataset: The dataset's record.
        runs: The runs' records.
    """

    def __init__(
        self, runs: int = 3, files_per_run: int = FILES_OF_EACH_OBJECT, written: int = 3, **size: Any
    ) -> None:
        self.files = PortalFiles()
        self.records = Records(self.files.bucket, self.files.https)
        self.dataset = self.records.dataset(DATASET)
        self.runs = self.records.fill(self.dataset, runs, files_per_run, **size)
        self.server = PortalServer(self.records)
        self._written = written

    @property
    def url(self) -> str:
        """Address of GraphQL."""
        return self.server.url

    @property
    def fs_args(self) -> dict[str, Any]:
        """fsspec's arguments for the bucket."""
        return self.files.fs_args

    def forget(self) -> None:
        """Count requests from zero."""
        self.server.forget()
        self.files.forget()

    def __enter__(self) -> Self:
        self.files.__enter__()
        self.files.write(self.records, self.runs[: self._written])
        self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()
        self.files.__exit__()
