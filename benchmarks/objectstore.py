"""Sources on object stores and web servers, by obstore and as before: ``python -m benchmarks.objectstore``.

Chunks are read from nginx, which serves a directory as if it were a bucket; keys are listed from moto.
Every figure is of a process of its own, and of that alone: what the server takes is not in it.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.machine import describe_machine, describe_packages
from copickfs.layers.guard import Attempt
from copickfs.layers.sources import Counters, Found, opening
from copickfs.layers.sources.generic import GenericSource
from copickfs.layers.sources.web import HttpSource
from copickfs.model import ByteRange
from tests.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copickfs.layers.sources import Source

RESULTS = Path(__file__).with_name("OBJECTSTORE-RESULTS.md")
CHUNK_BYTES = 2 << 20
FILE_BYTES = 64 << 20
READ_BYTES = 2 << 30
KEYS = 4_990  # a listing that ends with a full page is asked for twice
LISTINGS = 5
WAYS = {
    "s3, before": "s3fs, and another request for the version",
    "s3, now": "obstore",
    "http, before": "aiohttp",
    "http, now": "obstore",
}
CONFIG = """worker_processes 1; daemon off; pid {0}/pid; error_log {0}/errors; events {{}}
http {{ access_log off; sendfile on; keepalive_requests 1000000; client_body_temp_path {0}/t;
proxy_temp_path {0}/t; fastcgi_temp_path {0}/t; uwsgi_temp_path {0}/t; scgi_temp_path {0}/t;
server {{ listen 127.0.0.1:{1}; root {0}/data; }} }}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name}")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(json.loads(options.worker))
        return
    with tempfile.TemporaryDirectory() as directory:
        text = measured(Path(directory))
    print(text)
    if options.save:
        RESULTS.write_text(text)


def measured(directory: Path) -> str:
    lines = ["| what | by | MB/s | CPU s/GiB, user + system | requests |", "|---|---|---:|---:|---:|"]
    with nginx(directory) as port:
        for threads in (1, 6):
            for way, by in WAYS.items():
                told = run(way=way, port=port, threads=threads)
                cost = f"{told['user_s']:.2f} + {told['system_s']:.2f}"
                name = f"{way}: {CHUNK_BYTES >> 20} MiB ranges, {threads} thread{'s' if threads > 1 else ''}"
                lines.append(f"| {name} | {by} | {told['rate']:.0f} | {cost} | {told['requests']} |")
    lines += [
        "",
        f"| {KEYS} keys in one flat listing | s | CPU s, user + system |",
        "|---|---:|---:|",
    ]
    with moto() as port:
        for way in ("s3, before", "s3, now"):
            told = run(way=way, port=port, threads=0)
            cost = f"{told['user_s']:.3f} + {told['system_s']:.3f}"
            lines.append(f"| {way} | {told['elapsed_s']:.2f} | {cost} |")
    heading = (
        f"# Object stores, measured\n\n{dt.date.today()}, by `python -m benchmarks.objectstore --save`.\n"  # noqa: DTZ011
    )
    machine = f"{describe_machine(directory)}. {describe_packages()}."
    return "\n".join((heading, machine, "", *lines, ""))


def run(**told: Any) -> dict[str, Any]:
    """What a process of its own measures."""
    command = [sys.executable, "-m", "benchmarks.objectstore", "--worker", json.dumps(told)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(answer.stdout)
    return result


def work(told: dict[str, Any]) -> None:
    """One measurement, printed."""
    counters = Counters()
    source = made(told["way"], told["port"], counters)
    begin = read_chunks if told["threads"] else list_keys
    begin(source, min(1, told["threads"]), warm=True)
    requests, before, began_s = counters.statistics().requests, resource.getrusage(0), time.perf_counter()
    units = begin(source, told["threads"], warm=False)
    elapsed_s, after = time.perf_counter() - began_s, resource.getrusage(0)
    result = {
        "rate": units * (1 << 30) / 1e6 / elapsed_s,
        "elapsed_s": elapsed_s / units,
        "user_s": (after.ru_utime - before.ru_utime) / units,
        "system_s": (after.ru_stime - before.ru_stime) / units,
        "requests": round((counters.statistics().requests - requests) / (1 if told["threads"] else units)),
    }
    print(json.dumps(result))


def made(way: str, port: int, counters: Counters) -> Source:
    """The source as it is, or as it was."""
    address = f"http://127.0.0.1:{port}"
    protocol, _, when = way.partition(", ")
    if protocol == "http":
        web = opening.open_source(f"{address}/bucket/dir", {}, counters, 20)
        assert isinstance(web, HttpSource)
        if when == "before":
            web._reader = None  # noqa: SLF001 - what there was
        return web
    args = {"key": "k", "secret": "s", "endpoint_url": address, "client_kwargs": {"region_name": "us-east-1"}}
    if when == "now":
        return opening.open_source("s3://bucket/dir", args, counters, 20)
    old = opening._fsspec_source("s3://bucket/dir", args, counters, 20)  # noqa: SLF001 - what there was
    assert isinstance(old, GenericSource)
    return old


def read_chunks(source: Source, threads: int, *, warm: bool) -> float:
    """Read ranges; the number of GiB."""
    attempt = Attempt()
    found = source.info("file", attempt)
    total = FILE_BYTES if warm else READ_BYTES

    def read(number: int) -> None:
        start = number * CHUNK_BYTES % FILE_BYTES
        assert len(source.read("file", ByteRange(start, start + CHUNK_BYTES), found, attempt)) == CHUNK_BYTES

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(read, range(total // CHUNK_BYTES)))
    return total / (1 << 30)


def list_keys(source: Source, _threads: int, *, warm: bool) -> float:
    """List all keys, so many times as is returned."""
    times = 1 if warm else LISTINGS
    for _ in range(times):
        found: list[int] = []

        def keep(_at: str, listing: list[Found], found: list[int] = found) -> None:
            found.append(len(listing))

        source.tree("", ["0"], Attempt(), keep)
        assert sum(found) == KEYS
    return times


@contextlib.contextmanager
def nginx(directory: Path) -> Iterator[int]:
    """A web server with one file of random bytes."""
    port = free_port()
    (directory / "data/bucket/dir").mkdir(parents=True)
    with (directory / "data/bucket/dir/file").open("wb") as file:
        for _ in range(FILE_BYTES >> 20):
            file.write(os.urandom(1 << 20))
    directory.chmod(0o755)  # its workers are another user
    config = directory / "nginx.conf"
    config.write_text(CONFIG.format(directory, port))
    with serving(["nginx", "-e", str(directory / "errors"), "-c", str(config)], f"http://127.0.0.1:{port}/"):
        yield port


@contextlib.contextmanager
def moto() -> Iterator[int]:
    """An S3 server with many small objects."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with serving([sys.executable, "-m", "moto.server", "-p", str(port)], address):
        import s3fs

        fs = s3fs.S3FileSystem(key="k", secret="s", endpoint_url=address)  # noqa: S106 - of no account
        fs.mkdir("bucket")
        fs.pipe({f"bucket/dir/{number // 100}/{number % 100}": b"x" for number in range(KEYS)})
        yield port


@contextlib.contextmanager
def serving(command: list[str], address: str) -> Iterator[None]:
    """A server, from when it answers."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(200):
                try:
                    urllib.request.urlopen(address, timeout=1).close()  # noqa: S310 - of this machine
                except urllib.error.HTTPError:
                    break
                except OSError:
                    time.sleep(0.1)
                else:
                    break
            yield
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
