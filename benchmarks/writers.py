"""The file systems that are compared when they are written: the same programs, set up for writing.

The upper layer takes what is written. mergerfs and rclone have no copy-on-write: what only the lower layer
has they can neither change nor delete, and those works are left out for them. Where the manual left a
choice, the better one was found by trying.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.peers import CACHE_S, COPICKFS, PEERS, READ_AHEAD_KIB, Command, copickfs_command

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.data import Layers

NO_COPY_UP = ("mergerfs", "rclone")


def _work_directory(scratch: Path) -> Path:
    """Where overlays prepare what they publish: on the file system of the upper layer."""
    work = scratch / "work"
    work.mkdir(exist_ok=True)
    return work


def _overlayfs(layers: Layers, mountpoint: str, scratch: Path) -> Command:
    work = _work_directory(scratch) if scratch.is_absolute() else scratch / "work"
    options = f"lowerdir={layers.lower},upperdir={layers.upper},workdir={work}"
    return ["mount", "-t", "overlay", "overlay", "-o", options, mountpoint]


def _fuse_overlayfs(layers: Layers, mountpoint: str, scratch: Path) -> Command:
    work = _work_directory(scratch) if scratch.is_absolute() else scratch / "work"
    options = ",".join(
        (
            f"lowerdir={layers.lower}",
            f"upperdir={layers.upper}",
            f"workdir={work}",
            f"timeout={CACHE_S}",
            "fast_ino=1",
            "static_nlink=1",
            "noacl",
            "writeback=1",  # as it comes: the kernel collects small writes
        )
    )
    return ["fuse-overlayfs", "-f", "-o", options, mountpoint]


def _mergerfs(layers: Layers, mountpoint: str, _scratch: Path) -> Command:
    options = ",".join(
        (
            "use_ino",
            "cache.files=auto-full",
            "cache.writeback=true",
            f"cache.entry={CACHE_S}",
            f"cache.negative_entry={CACHE_S}",
            f"cache.attr={CACHE_S}",
            f"cache.statfs={CACHE_S}",
            f"cache.open={CACHE_S}",
            "cache.readdir=true",
            "cache.symlinks=true",
            "xattr=nosys",
            "security_capability=false",  # no request for each write
            "category.search=ff",
            "category.create=ff",  # the first branch that can be written: the upper layer
            "fuse_msg_size=256",
            "threads=1",
        )
    )
    return ["mergerfs", "-f", "-o", options, f"{layers.upper}=RW:{layers.lower}=RO", mountpoint]


def _rclone(layers: Layers, mountpoint: str, scratch: Path) -> Command:
    upstreams = f"{layers.upper} {layers.lower}:ro"
    policies = f"search_policy=ff,create_policy=ff,action_policy=ff,cache_time={CACHE_S}"
    return [
        "rclone",
        "mount",
        f":union,upstreams='{upstreams}',{policies}:",
        mountpoint,
        "--config=",
        f"--cache-dir={scratch}/rclone",
        f"--attr-timeout={CACHE_S}s",
        f"--dir-cache-time={CACHE_S}s",
        "--poll-interval=0",
        "--vfs-cache-mode=writes",
        "--vfs-write-back=0s",  # at once, in the background: its close never waits for the upper layer
        "--vfs-fast-fingerprint",
        "--no-checksum",
        "--local-no-check-updated",
        f"--max-read-ahead={READ_AHEAD_KIB}Ki",
    ]


def _copickfs(_layers: Layers, mountpoint: str, scratch: Path) -> Command:
    return [*copickfs_command(), "mount", "-f", str(scratch / "config.json"), mountpoint]


_WRITABLE = {
    "overlayfs": (_overlayfs, "the kernel's, writable: upperdir and workdir"),
    "mergerfs": (_mergerfs, "no copy-on-write: what only the lower layer has is left alone"),
    "fuse-overlayfs": (_fuse_overlayfs, "writable: upperdir and workdir"),
    "rclone": (_rclone, "`--vfs-cache-mode writes`: its close returns before the layer has the file"),
    COPICKFS: (_copickfs, "as it comes"),
}

WRITERS = (
    replace(PEERS[0], remark="the same work on a plain directory"),
    *(
        replace(peer, command=_WRITABLE[peer.name][0], remark=_WRITABLE[peer.name][1])
        for peer in PEERS
        if peer.name in _WRITABLE
    ),
)
"""The writable peers, under the names that they have among those that read."""


def copies_up(name: str) -> bool:
    """True if a peer can change and delete what only the lower layer has."""
    return name not in NO_COPY_UP
