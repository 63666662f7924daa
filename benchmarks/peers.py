"""The file systems that are compared, each with the options that suit this work best.

Every mount is read-only and its layers do not change behind it, so each peer may remember what it likes
as long as it likes: an hour (``CACHE_S``) stands for ever. Where that makes a peer faster, and ``/sys`` can
be written, the kernel's read-ahead of the mount is raised from 128 KiB to 1 MiB, as an administrator would;
copickfs is left to do that for itself. Where the manual left a choice (threads, read-ahead, the modes of
rclone), the better one was found by trying, on a machine with two cores.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.data import Layers

CACHE_S = 3600
READ_AHEAD_KIB = 1024
COPICKFS = "copickfs"

Command = list[str]
Kind = Literal["bare", "kernel", "fuse"]


@dataclass(frozen=True, slots=True)
class Peer:
    """One file system to compare.

    Attributes:
        name: Name in tables and in ``--peers``.
        kind: ``bare`` is not mounted at all; ``kernel`` has no daemon; ``fuse`` runs in the foreground.
        program: What must be on PATH.
        command: Makes the command line that mounts the layers at a directory. The third argument is a
            directory the peer may write to.
        version: Command that prints the version.
        tuned_read_ahead: The benchmark raises the read-ahead of the mount.
        remark: What a reader of the tables must know of it.
    """

    name: str
    kind: Kind
    program: str
    command: Callable[[Layers, str, Path], Command]
    version: tuple[str, ...]
    tuned_read_ahead: bool = False
    remark: str = ""

    def find_version(self) -> str:
        """The installed version, or ``?``."""
        output = subprocess.run(self.version, capture_output=True, text=True, check=False)
        text = output.stderr + output.stdout
        # Some print the version of libfuse too, and not always last.
        own = re.search(rf"{self.program}\D*?(\d+(?:\.\d+)+\S*)", text)
        found = own or re.search(r"(\d+(?:\.\d+)+\S*)", text)
        return found.group(1) if found else "?"

    def is_installed(self) -> bool:
        """True if its program can be run."""
        return shutil.which(self.program) is not None


def _no_command(_layers: Layers, _mountpoint: str, _scratch: Path) -> Command:
    return []


def _overlayfs(layers: Layers, mountpoint: str, _scratch: Path) -> Command:
    options = f"ro,lowerdir={layers.upper}:{layers.lower}"
    return ["mount", "-t", "overlay", "overlay", "-o", options, mountpoint]


def _mergerfs(files: str, threads: int) -> Callable[[Layers, str, Path], Command]:
    def command(layers: Layers, mountpoint: str, _scratch: Path) -> Command:
        options = ",".join(
            (
                "ro",
                "use_ino",  # recommended by the manual: inode numbers of its own
                # auto-full keeps a file's pages when mtime and size are as they were; off reads past the page
                # cache, in requests of 1 MiB instead of 128 KiB. dropcacheonclose stays off: it would throw
                # away the layer's pages.
                f"cache.files={files}",
                f"cache.entry={CACHE_S}",
                f"cache.negative_entry={CACHE_S}",
                f"cache.attr={CACHE_S}",
                f"cache.statfs={CACHE_S}",
                f"cache.open={CACHE_S}",
                "cache.readdir=true",
                "cache.symlinks=true",
                "xattr=nosys",
                "category.search=ff",  # the first branch that has it: no newest-of-all search
                "fuse_msg_size=256",  # pages: 1 MiB, the largest
                # 1 answers single requests a third faster, 0 (one a core) serves several readers better
                f"threads={threads}",
            )
        )
        return ["mergerfs", "-f", "-o", options, f"{layers.upper}=RO:{layers.lower}=RO", mountpoint]

    return command


def _unionfs(layers: Layers, mountpoint: str, _scratch: Path) -> Command:
    options = ",".join(
        (
            "ro",
            "kernel_cache",  # keep a file's pages for ever; auto_cache would ask for its attributes first
            f"entry_timeout={CACHE_S}",
            f"negative_timeout={CACHE_S}",
            f"attr_timeout={CACHE_S}",
            "max_readahead=1048576",
        )
    )
    # One thread (-s): two and a half times the small files and walks of the default, and no fewer bytes.
    return ["unionfs", "-f", "-s", "-o", options, f"{layers.upper}=RO:{layers.lower}=RO", mountpoint]


def _fuse_overlayfs(layers: Layers, mountpoint: str, _scratch: Path) -> Command:
    options = ",".join(
        (
            f"lowerdir={layers.upper}:{layers.lower}",
            f"timeout={CACHE_S}",  # entries, missing entries and attributes; pages are always kept
            "fast_ino=1",  # no search of the lowest layer for an inode number
            "static_nlink=1",  # no count of subdirectories for each directory
            "noacl",
            "threaded=0",  # small files are a fifth faster, chunks as fast
        )
    )
    return ["fuse-overlayfs", "-f", "-o", options, mountpoint]


def _rclone(layers: Layers, mountpoint: str, scratch: Path) -> Command:
    upstreams = f"{layers.upper}:ro {layers.lower}:ro"
    return [
        "rclone",
        "mount",
        f":union,upstreams='{upstreams}',search_policy=ff,cache_time={CACHE_S}:",
        mountpoint,
        "--config=",
        f"--cache-dir={scratch}/rclone",
        "--read-only",
        f"--attr-timeout={CACHE_S}s",
        f"--dir-cache-time={CACHE_S}s",
        "--poll-interval=0",  # the layers do not change
        # full copies each file to a disk cache first: half the speed for small files, and for layers on
        # the same disk only a second copy
        "--vfs-cache-mode=off",
        "--vfs-read-chunk-size=off",  # local files need no ranged requests
        "--vfs-read-wait=0",
        "--vfs-fast-fingerprint",
        "--no-checksum",
        "--local-no-check-updated",
        "--buffer-size=0",
        "--async-read=false",  # requests in their order, so that none has to seek
        f"--max-read-ahead={READ_AHEAD_KIB}Ki",
    ]


def _copickfs(_layers: Layers, mountpoint: str, scratch: Path) -> Command:
    return [*copickfs_command(), "mount", "-f", "--read-only", str(scratch / "config.json"), mountpoint]


def copickfs_command() -> Command:
    """How copickfs is called: the script beside this interpreter, else the module."""
    script = Path(sys.executable).with_name(COPICKFS)
    return [str(script)] if script.exists() else [sys.executable, "-m", COPICKFS]


def write_config(layers: Layers, path: Path) -> None:
    """Write the configuration with which copickfs mounts ``layers``."""
    names = {"upper": (layers.upper, 100), "lower": (layers.lower, 10)}
    document = {
        "config_type": "multilayer",
        "name": "benchmark",
        "layers": list(names),
        "layer_configs": {
            name: {
                "config_type": "filesystem",
                "layer_name": name,
                "priority": priority,
                "root": root,
                "read_only": name != "upper",
            }
            for name, (root, priority) in names.items()
        },
        "default_write_layer": "upper",
    }
    path.write_text(json.dumps(document))


PEERS = (
    Peer(
        name="bare",
        kind="bare",
        program="find",
        command=_no_command,
        version=("uname", "-r"),
        remark="the directory of the lower layer itself, no mount",
    ),
    Peer(
        name="overlayfs",
        kind="kernel",
        program="mount",
        command=_overlayfs,
        version=("uname", "-r"),
        remark="the kernel's, read-only: two lower directories",
    ),
    Peer(
        name="mergerfs",
        kind="fuse",
        program="mergerfs",
        command=_mergerfs("auto-full", threads=1),
        version=("mergerfs", "-V"),
        tuned_read_ahead=True,
        remark="set up for names, small files and repeated reads: reads through the page cache",
    ),
    Peer(
        name="mergerfs-direct",
        kind="fuse",
        program="mergerfs",
        command=_mergerfs("off", threads=0),
        version=("mergerfs", "-V"),
        remark="set up for first reads of chunks: direct I/O, nothing is kept",
    ),
    Peer(
        name="unionfs-fuse",
        kind="fuse",
        program="unionfs",
        command=_unionfs,
        version=("unionfs", "-V"),
        tuned_read_ahead=True,
    ),
    Peer(
        name="fuse-overlayfs",
        kind="fuse",
        program="fuse-overlayfs",
        command=_fuse_overlayfs,
        version=("fuse-overlayfs", "-V"),
        remark="first reads are faster with the kernel's own read-ahead",
    ),
    Peer(
        name="rclone",
        kind="fuse",
        program="rclone",
        command=_rclone,
        version=("rclone", "version"),
        tuned_read_ahead=True,
        remark="`rclone mount` of a `union` remote of both layers",
    ),
    Peer(
        name=COPICKFS,
        kind="fuse",
        program=copickfs_command()[0],
        command=_copickfs,
        version=(*copickfs_command(), "--version"),
        remark="as it comes",
    ),
)
