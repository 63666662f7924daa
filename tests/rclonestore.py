"""Another S3 server than moto, where it is installed: ``rclone serve s3`` of version 1.65 or newer.

It ignores all conditions, answers for a part with status 200, and lists versions and times in other forms
than it tells them with an object.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from typing import TYPE_CHECKING, Self

import pytest

from tests.objectstore import ObjectStore
from tests.sandbox import wait_until

if TYPE_CHECKING:
    from pathlib import Path


class RcloneStore(ObjectStore):
    """An S3 server whose buckets are directories. Skips the test where there is none."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        program = shutil.which("rclone")
        command = [program or "", "serve", "s3"]
        if program is None or b"rclone serve s3 " not in subprocess.check_output([*command, "--help"]):
            pytest.skip("no rclone that serves S3 is installed")
        (directory / self.bucket).mkdir(parents=True)
        login = f"{self.fs_args['key']},{self.fs_args['secret']}"
        address = f"127.0.0.1:{self.port}"
        self._command = [*command, "--config", "", "--auth-key", login, "--addr", address, str(directory)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """See `ObjectStore.start`."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._answers, limit_s=20, what="rclone")
        return self

    def stop(self) -> None:
        """See `ObjectStore.stop`."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def __enter__(self) -> Self:
        return self.start()
