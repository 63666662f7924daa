"""What a daemon tells the process that has started it, and when it stops to."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TOLD_LATER = """
import os, sys
from copickfs.daemon.launch import _Pipe
reader, writer = os.pipe()
pipe = _Pipe(writer, os.memfd_create("messages"))
pipe.stage("first")
pipe.ready()
os.dup2(os.open(sys.argv[1], os.O_RDWR), writer)  # as the next file that is opened
pipe.stage("asking the portal")
pipe.failed("too late")
print(os.read(reader, 1000).decode())
"""


def test_what_is_told_after_the_start_goes_into_no_other_file(tmp_path: Path) -> None:
    """A portal is asked again after a day; the line about it was written into the index's database."""
    other = tmp_path / "index.db"
    other.write_bytes(b"SQLite format 3")
    told = subprocess.run(
        [sys.executable, "-c", TOLD_LATER, str(other)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert other.read_bytes() == b"SQLite format 3"
    assert told.stdout.splitlines()[:2] == ['{"stage": "first"}', '{"ready": true}']
