"""The portal's bucket on a real S3 server, readable by anybody, with each request counted by key."""

from __future__ import annotations

import json
import threading
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import unquote

import s3fs
from moto.s3.models import get_canned_acl, s3_backends

from tests.objectstore import ObjectStore
from tests.portal import contents
from tests.portal.records import BUCKET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.portal.records import Records
    from tests.portal.store import Row


class FileRequest(NamedTuple):
    """One request.

    Attributes:
        method: Of HTTP.
        key: Key in the bucket; empty for a listing.
        query: What was listed.
        byte_range: ``Range`` header.
    """

    method: str
    key: str
    query: str
    byte_range: str


class PortalFiles(ObjectStore):
    """The bucket.

    Attributes:
        requests: All of them since the start, or since `forget`.
        withheld: Keys that begin so are answered 403, as files that were withdrawn.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bucket = f"{BUCKET}-{uuid.uuid4().hex[:8]}"
        self.requests: list[FileRequest] = []
        self.withheld: tuple[str, ...] = ()
        self._lock = threading.Lock()

    @property
    def https(self) -> str:
        """Address of the mirror: what stands before a key."""
        return f"http://127.0.0.1:{self.port}/{self.bucket}"

    @property
    def fs_args(self) -> dict[str, Any]:
        """Address, and no credentials."""
        return {"anon": True, "endpoint_url": f"http://127.0.0.1:{self.port}"}

    def start(self) -> Self:
        """Start, and return when it answers; what it held before is there again."""
        super().start()
        assert self._server is not None
        assert self._server._server is not None
        self._server._server.app = self._counted(self._server._server.app)  # type: ignore[attr-defined]
        return self

    def put(self, files: dict[str, bytes], below: str = "") -> None:
        """Put objects at keys below a prefix, faster than by requests."""
        backend = s3_backends["123456789012"]["aws"]
        for key, data in files.items():
            backend.put_object(self.bucket, below + key, data).set_acl(get_canned_acl("public-read"))

    def remove(self, prefix: str) -> None:
        """Remove all objects whose keys begin so."""
        keys = s3_backends["123456789012"]["aws"].buckets[self.bucket].keys
        for key in [key for key in keys if key.startswith(prefix)]:
            keys.pop(key)

    def data(self, key: str) -> bytes:
        """An object, behind the server's back."""
        return bytes(s3_backends["123456789012"]["aws"].buckets[self.bucket].keys[key].value)

    def forget(self) -> None:
        """Count from zero."""
        with self._lock:
            self.requests.clear()

    def counts(self) -> Counter[str]:
        """Number of requests by key."""
        with self._lock:
            return Counter(request.key for request in self.requests)

    def write(self, records: Records, runs: Iterable[Row]) -> None:
        """Write all files of some runs, and their sizes into the records."""
        for run in runs:
            for tomogram in records.rows("Tomogram", runId=run["id"]):
                self._write_tomogram(records, tomogram)
            for annotation in records.rows("Annotation", runId=run["id"]):
                self._write_annotation(records, annotation)
            for alignment in records.rows("Alignment", runId=run["id"]):
                self.put({records.key(alignment["s3AlignmentMetadata"]): _document(alignment)})

    def _write_tomogram(self, records: Records, tomogram: Row) -> None:
        if tomogram["s3OmezarrDir"] is not None:
            files = contents.ome_zarr(contents.volume(tomogram), tomogram["voxelSpacing"])
            self.put(files, records.key(tomogram["s3OmezarrDir"]) + "/")
            records.change("Tomogram", tomogram["id"], fileSizeOmezarr=float(sum(map(len, files.values()))))
        if tomogram["s3MrcFile"] is not None:
            key = records.key(tomogram["s3MrcFile"])
            data = contents.mrc(contents.mrc_volume(tomogram), tomogram["voxelSpacing"])
            self.put({key: data, f"{key.rpartition('/')[0]}/tomogram_metadata.json": _document(tomogram)})

    def _write_annotation(self, records: Records, annotation: Row) -> None:
        self.put({records.key(annotation["s3MetadataPath"]): _document(annotation)})
        for shape in records.rows("AnnotationShape", annotationId=annotation["id"]):
            for file in records.rows("AnnotationFile", annotationShapeId=shape["id"]):
                files = _file_contents(records, file, shape["shapeType"])
                self.put(files, records.key(file["s3Path"]))
                size = float(sum(map(len, files.values())))
                records.change("AnnotationFile", file["id"], fileSize=size)

    def _counted(self, app: Callable[..., Any]) -> Callable[..., Any]:
        def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            bucket, _, key = unquote(environ["PATH_INFO"]).lstrip("/").partition("/")
            if bucket != self.bucket:
                return app(environ, start_response)
            given = environ.get("HTTP_RANGE", "")
            request = FileRequest(environ["REQUEST_METHOD"], key, environ["QUERY_STRING"], given)
            with self._lock:
                self.requests.append(request)
            if self.withheld and key.startswith(self.withheld):
                body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
                headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
                start_response("403 Forbidden", headers)
                return [b"" if request.method == "HEAD" else body]
            return app(environ, start_response)

        return answer

    def __enter__(self) -> Self:
        self.start()
        backend = s3_backends["123456789012"]["aws"]
        backend.create_bucket(self.bucket, "us-east-1")
        backend.put_bucket_acl(self.bucket, get_canned_acl("public-read"))
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        del s3_backends["123456789012"]["aws"].buckets[self.bucket]

    def client(self) -> s3fs.S3FileSystem:
        """A client of its own, as another machine has one."""
        return s3fs.S3FileSystem(**self.fs_args, skip_instance_cache=True, use_listings_cache=False)


def _file_contents(records: Records, file: Row, shape_type: str) -> dict[str, bytes]:
    """What is at a file's address and below, by what follows the address."""
    if file["format"] == "ndjson":
        return {"": contents.ndjson(contents.points(file, shape_type))}
    if file["format"] in {"zarr", "mrc"}:
        labels = contents.mask(file, shape_type)
        spacings = records.rows("TomogramVoxelSpacing", id=file["tomogramVoxelSpacingId"])
        voxel_spacing = spacings[0]["voxelSpacing"] if spacings else 1.0
        if file["format"] == "mrc":
            return {"": contents.mrc(labels, voxel_spacing)}
        return {f"/{name}": data for name, data in contents.ome_zarr(labels, voxel_spacing, 1).items()}
    return {"": b"of a format nobody knows"}


def _document(row: Row) -> bytes:
    return json.dumps(row, indent=2).encode()
