"""A read-only S3 server for a directory that does not change, fast enough not to be what is measured.

``python -m benchmarks.s3server PORT DIRECTORY``: the directories in DIRECTORY are the buckets. It answers GET
(with ranges and conditions), HEAD, and both versions of ListObjects, whoever asks: signatures are not
looked at. Objects go from the page cache to the socket by sendfile. ``GET /-/counts`` tells how many
requests of each kind there were, as JSON, and is not counted.
"""

from __future__ import annotations

import bisect
import datetime as dt
import json
import os
import re
import sys
from collections import Counter
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Mapping

COUNTS = "/-/counts"
_PAGE_KEYS = 1000
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class Bucket:
    """The objects of one directory: found once, at the start."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._status: dict[str, os.stat_result] = {}
        for directory, _, names in os.walk(root):
            for name in names:
                path = f"{directory}/{name}"
                self._status[path[len(self._root) + 1 :]] = os.stat(path)  # noqa: PTH116 - very many
        self._keys = sorted(self._status)

    def get(self, key: str) -> tuple[str, os.stat_result] | None:
        """File and status of an object."""
        status = self._status.get(key)
        return None if status is None else (f"{self._root}/{key}", status)

    def listing(self, name: str, query: Mapping[str, str]) -> str:
        """The answer to ListObjects and ListObjectsV2."""
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        version2 = query.get("list-type") == "2"
        after = query.get("continuation-token") or query.get("start-after" if version2 else "marker", "")
        limit = min(int(query.get("max-keys") or _PAGE_KEYS), _PAGE_KEYS)
        contents, prefixes, last, truncated = self._page(prefix, delimiter, after, limit)
        shown = quote if query.get("encoding-type") == "url" else escape
        parts = [_XML, f'<ListBucketResult xmlns="{_NAMESPACE}"><Name>{name}</Name>']
        parts.append(f"<Prefix>{shown(prefix)}</Prefix><Delimiter>{shown(delimiter)}</Delimiter>")
        parts.append(f"<MaxKeys>{limit}</MaxKeys><IsTruncated>{str(truncated).lower()}</IsTruncated>")
        if "encoding-type" in query:
            parts.append("<EncodingType>url</EncodingType>")
        if truncated:
            tag = "NextContinuationToken" if version2 else "NextMarker"
            parts.append(f"<{tag}>{shown(last) if not version2 else escape(last)}</{tag}>")
        if version2:
            parts.append(f"<KeyCount>{len(contents) + len(prefixes)}</KeyCount>")
        parts += [self._told(key, shown(key)) for key in contents]
        parts += [f"<CommonPrefixes><Prefix>{shown(key)}</Prefix></CommonPrefixes>" for key in prefixes]
        return "".join([*parts, "</ListBucketResult>"])

    def _page(
        self, prefix: str, delimiter: str, after: str, limit: int
    ) -> tuple[list[str], list[str], str, bool]:
        """Keys, common prefixes, what comes last, and whether there is more."""
        keys, contents, prefixes, last = self._keys, [], [], ""
        at = bisect.bisect_left(keys, prefix)
        if after >= prefix:
            at = bisect.bisect_right(keys, after)
            if delimiter and after.endswith(delimiter):
                at = bisect.bisect_left(keys, after + "\U0010ffff")
        while at < len(keys) and keys[at].startswith(prefix):
            if len(contents) + len(prefixes) == limit:
                return contents, prefixes, last, True
            head, found, _ = keys[at][len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            if found:
                last = prefix + head + delimiter
                prefixes.append(last)
                at = bisect.bisect_left(keys, last + "\U0010ffff", at)
            else:
                last = keys[at]
                contents.append(last)
                at += 1
        return contents, prefixes, last, False

    def _told(self, key: str, shown: str) -> str:
        status = self._status[key]
        return (
            f"<Contents><Key>{shown}</Key><LastModified>{_iso(status)}</LastModified>"
            f"<ETag>{escape(etag(status))}</ETag><Size>{status.st_size}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
        )


class Server(ThreadingHTTPServer):
    """Answers requests, each connection in a thread of its own, and counts them."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, root: Path) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.buckets = {path.name: Bucket(path) for path in root.iterdir() if path.is_dir()}
        self.counts: Counter[str] = Counter()


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Server

    def do_GET(self) -> None:
        self._answer("get")

    def do_HEAD(self) -> None:
        self._answer("head")

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""

    def _answer(self, kind: str) -> None:
        path, _, text = self.path.partition("?")
        if path == COUNTS:
            self._say(200, json.dumps(self.server.counts), "application/json")
            return
        query = dict(parse_qsl(text, keep_blank_values=True))
        name, _, key = unquote(path)[1:].partition("/")
        self.server.counts["list" if kind == "get" and not key else kind] += 1
        bucket = self.server.buckets.get(name)
        found = bucket.get(key) if bucket and key else None
        if bucket is None:
            self._fault(404, "NoSuchBucket")
        elif found is not None:
            self._send(*found)
        elif key:
            self._fault(404, "NoSuchKey")
        elif "location" in query:
            self._say(200, f'{_XML}<LocationConstraint xmlns="{_NAMESPACE}"/>')
        else:
            self._say(200, bucket.listing(name, query))

    def _send(self, file: str, status: os.stat_result) -> None:
        """An object, or the part that is asked for, if it is the version that is asked for."""
        mark, size = etag(status), status.st_size
        if self.headers.get("If-Match", mark) not in (mark, "*"):
            self._fault(412, "PreconditionFailed")
            return
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        start, stop = 0, size
        if asked and asked[1]:
            start, stop = int(asked[1]), min(int(asked[2]) + 1 if asked[2] else size, size)
        elif asked:
            start = max(0, size - int(asked[2] or 0))
        if asked and start >= stop:
            self._fault(416, "InvalidRange")
            return
        self.send_response(206 if asked else 200)
        self.send_header("ETag", mark)
        self.send_header("Last-Modified", formatdate(int(status.st_mtime), usegmt=True))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(stop - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.end_headers()
        self.wfile.flush()
        if self.command == "GET" and stop > start:
            with open(file, "rb") as opened:  # noqa: PTH123 - for every chunk
                self.connection.sendfile(opened, start, stop - start)

    def _fault(self, status: int, code: str) -> None:
        self._say(status, f"{_XML}<Error><Code>{code}</Code><Message>{code}</Message></Error>")

    def _say(self, status: int, text: str, kind: str = "application/xml") -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)


def etag(status: os.stat_result) -> str:
    """A version mark that nobody takes for an MD5 sum: as of an upload in parts."""
    return f'"{status.st_mtime_ns:016x}{status.st_size:016x}-1"'


def _iso(status: os.stat_result) -> str:
    return f"{dt.datetime.fromtimestamp(int(status.st_mtime), tz=dt.UTC):%Y-%m-%dT%H:%M:%S}.000Z"


if __name__ == "__main__":
    Server(int(sys.argv[1]), Path(sys.argv[2])).serve_forever()
