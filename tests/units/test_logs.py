"""What a daemon logs: its own records at the level that was chosen, those of libraries when they warn."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import logging, sys
from pathlib import Path
from copickfs.daemon.logs import log_to_file, log_to_stderr
if sys.argv[2] == "-":
    log_to_stderr(sys.argv[1])
else:
    log_to_file(Path(sys.argv[2]), sys.argv[1])
for name in ("copickfs.daemon.service", "asyncssh", "paramiko.transport", "botocore.auth", "s3fs"):
    for level in ("debug", "info", "warning", "error"):
        getattr(logging.getLogger(name), level)("%s-%s", name.partition(".")[0], level)
import warnings
warnings.warn("deprecated thing")
"""

OWN = {
    "debug": {"debug", "info", "warning", "error"},
    "info": {"info", "warning", "error"},
    "warning": {"warning", "error"},
    "error": {"error"},
}
LIBRARIES = {
    "debug": {"info", "warning", "error"},
    "info": {"warning", "error"},
    "warning": {"warning", "error"},
    "error": {"error"},
}


@pytest.mark.parametrize("chosen", OWN)
@pytest.mark.parametrize("where", ["file", "-"])
def test_libraries_are_quiet(tmp_path: Path, chosen: str, where: str) -> None:
    file = tmp_path / "log"
    target = str(file) if where == "file" else "-"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, chosen, target], capture_output=True, text=True, check=True
    )
    log = file.read_text() if where == "file" else done.stderr
    for name in ("copickfs", "asyncssh", "paramiko", "botocore", "s3fs"):
        expected = OWN[chosen] if name == "copickfs" else LIBRARIES[chosen]
        assert {level for level in OWN if f"{name}-{level}\n" in log} == expected
    assert ("deprecated thing" in log) == (chosen != "error")
