"""One entry of a journal on disk: a JSON document with a checksum, written so that it is there whole."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import xxhash

from copickfs.layers.sources.writing import Version

PUT, MKDIR, RMDIR, UNLINK, RENAME = "put", "mkdir", "rmdir", "unlink", "rename"
OPERATIONS = frozenset({PUT, MKDIR, RMDIR, UNLINK, RENAME})

_FORMAT = 1
_PIECE_BYTES = 1 << 20


class Damaged(Exception):
    """A record or its data is not what was written."""


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """What is to be done at the source.

    Attributes:
        number: Sequence number; later changes have greater ones.
        operation: One of `OPERATIONS`.
        path: What is changed.
        new_path: Where it goes, for a rename.
        size_bytes: Length of the data, for a put.
        digest: Checksum of the data, for a put.
        mtime_ns: When it was written, ns since the epoch.
        accepted: The versions that a put or a rename may replace and an unlink may remove.
        attempted: Sizes and digests of earlier versions, of which nobody knows whether they were sent.
    """

    number: int
    operation: str
    path: str
    new_path: str = ""
    size_bytes: int = 0
    digest: str = ""
    mtime_ns: int = 0
    accepted: tuple[Version, ...] = ()
    attempted: tuple[tuple[int, str], ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths that it is about."""
        return (self.path, self.new_path) if self.operation == RENAME else (self.path,)

    def encoded(self) -> bytes:
        """The document."""
        body = dataclasses.asdict(self)
        return json.dumps({"format": _FORMAT, "digest": _digest_of(body), "record": body}).encode()

    @classmethod
    def decoded(cls, document: bytes) -> Record:
        """The record in a document. Raises `Damaged`."""
        try:
            outer = json.loads(document)
            body = outer["record"]
            if outer["format"] != _FORMAT or outer["digest"] != _digest_of(body):
                raise Damaged("its checksum is wrong")
            accepted = tuple(Version(*version) for version in body.pop("accepted"))
            attempted = tuple((size_bytes, digest) for size_bytes, digest in body.pop("attempted"))
            record = cls(**body, accepted=accepted, attempted=attempted)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Damaged(f"it cannot be read ({type(error).__name__})") from None
        if record.operation not in OPERATIONS:
            raise Damaged("it asks for something unknown")
        return record


def digest_of_file(path: str | os.PathLike[str]) -> str:
    """Checksum of a file's contents."""
    digest = xxhash.xxh3_128()
    with Path(path).open("rb", buffering=0) as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is there whole, and on stable storage, or not at all."""
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """The names in a directory are on stable storage when this returns."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: str | os.PathLike[str]) -> None:
    """The contents of a file are on stable storage when this returns."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest_of(body: dict[str, Any]) -> str:
    return xxhash.xxh3_128_hexdigest(json.dumps(body, sort_keys=True).encode())
