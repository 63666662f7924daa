"""What a figure depends on besides the program: the machine and the versions."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("pyfuse3", "trio", "copick", "zarr", "fsspec", "obstore", "s3fs", "aiohttp")


def describe_machine(directory: Path) -> str:
    """Cores, memory, kernel and the file system under ``directory``, without any path or name."""
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    processor = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    gib = int(memory.group(1)) / (1 << 20) if memory else 0
    return ", ".join(
        (
            f"{os.cpu_count()} cores ({processor.group(1) if processor else platform.machine()})",
            f"{gib:.0f} GiB of memory",
            f"Linux {platform.release()}",
            f"layers on {_file_system(directory)}",
            "as root" if os.geteuid() == 0 else "as an ordinary user",
        )
    )


def describe_packages() -> str:
    """Python and the packages that the daemon runs on."""
    found = [f"Python {platform.python_version()}"]
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def load_average() -> float:
    """Runnable processes over the last minute: what else went on."""
    return os.getloadavg()[0]


def _file_system(directory: Path) -> str:
    """Kind of the file system that ``directory`` is on."""
    best, kind = "", "an unknown file system"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        point = left.split()[4]
        if directory.resolve().is_relative_to(point) and len(point) >= len(best):
            best, kind = point, right.split()[0]
    return kind
