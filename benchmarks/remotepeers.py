"""Ways to a project in a bucket, each with the options that suit this work best.

The bucket is only read and does not change, so each may remember listings for an hour; how each asks for
the kernel's caches is left to it. Where the manual left a choice, the better one was found by trying.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from benchmarks.peers import COPICKFS, copickfs_command
from benchmarks.remotedata import BUCKET, PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.remotedata import Project

LOCAL, RCLONE, OBSTORE = f"{COPICKFS}-local", "rclone", "obstore"
CACHE_S = 3600
CACHE_BYTES = 8 << 30

Command = list[str]


@dataclass(frozen=True, slots=True)
class Served:
    """Where a project is.

    Attributes:
        project: The project.
        endpoint: Address of the server, behind the line.
    """

    project: Project
    endpoint: str


@dataclass(frozen=True, slots=True)
class RemotePeer:
    """One way to a project.

    Attributes:
        name: Name in tables.
        way: How its reader reads: ``mount``, ``copick`` or ``obstore``.
        find_version: Tells the version; raises `OSError` or `LookupError` if it is not installed.
        command: Makes the command line that mounts at a directory, in the foreground, with a cache in another
            directory, which stays from mount to mount.
        is_remote: It goes over the line.
        is_slow: It takes minutes for what others do in seconds: measured in the first turn only.
        remark: What a reader of the tables must know of it.
    """

    name: str
    way: str
    find_version: Callable[[], str]
    command: Callable[[Served, Path, Path], Command] | None = None
    is_remote: bool = True
    is_slow: bool = False
    remark: str = ""

    def is_installed(self) -> bool:
        """True if it can be used."""
        try:
            return bool(self.find_version())
        except (OSError, LookupError, ImportError):
            return False


def _copickfs(served: Served, point: Path, cache: Path) -> Command:
    layer = {
        "root": f"s3://{BUCKET}/{PREFIX}",
        "ttl": CACHE_S,
        "fs_args": {"endpoint_url": served.endpoint, "anon": True},
    }
    kept = {
        "cache_config": {"root": str(cache / "content"), "max_size_bytes": CACHE_BYTES},
        "db_config": {"db_path": str(cache / "index.db"), "auto_index": False},
    }
    return _mounting(layer, kept, point, cache)


def _local(served: Served, point: Path, cache: Path) -> Command:
    return _mounting({"root": str(served.project.root)}, {}, point, cache)


def _mounting(layer: dict[str, object], kept: dict[str, object], point: Path, cache: Path) -> Command:
    layers = {"project": {"config_type": "filesystem", "read_only": True, **layer}}
    config = cache / "config.json"
    document = {
        "config_type": "multilayer",
        "name": "remote",
        "layers": ["project"],
        "layer_configs": layers,
    }
    config.write_text(json.dumps({**document, **kept}))
    return [*copickfs_command(), "mount", "-f", "--read-only", str(config), str(point)]


def _rclone(served: Served, point: Path, cache: Path) -> Command:
    return [
        "rclone",
        "mount",
        f":s3,provider=Other,endpoint='{served.endpoint}',list_version=2:{BUCKET}/{PREFIX}",
        str(point),
        "--config=",
        f"--cache-dir={cache}",
        "--read-only",
        "--vfs-cache-mode=full",
        f"--vfs-cache-max-size={CACHE_BYTES}b",
        f"--vfs-cache-max-age={24 * CACHE_S}s",
        f"--dir-cache-time={CACHE_S}s",
        f"--attr-timeout={CACHE_S}s",
        "--poll-interval=0",
        "--vfs-read-chunk-size=4Mi",  # a chunk is one request: with less it is two
        "--vfs-read-chunk-size-limit=off",
        "--vfs-read-ahead=4Mi",  # all of a chunk is fetched at its first read
        "--buffer-size=16Mi",
        "--transfers=16",
        "--max-read-ahead=1Mi",
        "--vfs-fast-fingerprint",
        "--use-server-modtime",  # otherwise a request for each file's time
        "--no-checksum",
        "--s3-no-check-bucket",
        "--s3-no-head-object",
    ]


def _s3fs(served: Served, point: Path, cache: Path) -> Command:
    options = (
        "ro",
        f"url={served.endpoint}",
        "use_path_request_style",
        "public_bucket=1",
        f"use_cache={cache}/content",
        f"tmpdir={cache}",
        "parallel_count=16",
        "multireq_max=32",
        "multipart_size=5",  # the least
        "max_stat_cache_size=1000000",
        f"stat_cache_expire={CACHE_S}",
        "enable_noobj_cache",
        "kernel_cache",
        f"entry_timeout={CACHE_S}",
        f"attr_timeout={CACHE_S}",
        f"negative_timeout={CACHE_S}",
        "max_readahead=1048576",
    )
    return ["s3fs", f"{BUCKET}:/{PREFIX}", str(point), "-f", "-o", ",".join(options)]


def write_copick_config(served: Served, path: Path) -> None:
    """Write the configuration with which copick itself opens the bucket."""
    arguments = {"endpoint_url": served.endpoint, "anon": True}
    document = {
        "config_type": "filesystem",
        "name": "remote",
        "version": version("copick"),
        "pickable_objects": [{"name": "ribosome", "is_particle": True, "label": 1, "radius": 100.0}],
        "overlay_root": f"s3://{BUCKET}/{PREFIX}",
        "overlay_fs_args": arguments,
    }
    path.write_text(json.dumps(document))


def _said(*command: str) -> Callable[[], str]:
    def ask() -> str:
        if shutil.which(command[0]) is None:
            return ""
        output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        return next((word for word in output.split() if word.lstrip("vV")[:1].isdigit()), "?")

    return ask


REMOTE_PEERS = (
    RemotePeer(COPICKFS, "mount", _said(*copickfs_command(), "--version"), _copickfs),
    RemotePeer(RCLONE, "mount", _said("rclone", "version"), _rclone),
    RemotePeer(
        "s3fs-fuse", "mount", _said("s3fs", "--version"), _s3fs, is_slow=True, remark="one sample of each"
    ),
    RemotePeer(
        "copick",
        "copick",
        lambda: f"{version('copick')}, s3fs {version('s3fs')}",
        remark="no mount and no cache: copick and zarr over fsspec",
    ),
    RemotePeer(
        OBSTORE,
        "obstore",
        lambda: version("obstore"),
        remark="no mount, no cache, no array is put together: 16 threads get all objects",
    ),
    RemotePeer(
        LOCAL,
        "mount",
        _said(*copickfs_command(), "--version"),
        _local,
        is_remote=False,
        remark="a mount of the server's own directory, without the line",
    ),
)
