"""Asking a mount, with a time limit.

The question is asked by a process of its own: if the daemon is stuck, that process waits in the kernel,
where not even a kill reaches it, and the one who asked goes on.
"""

from __future__ import annotations

import enum
import errno
import json
import os
import subprocess
import sys
from typing import Any, NamedTuple

from copickfs.paths import CONTROL_DIRECTORY

ANSWER_LIMIT_S = 3.0
_PROGRAM = """
import os, sys
try:
    descriptor = os.open(sys.argv[1], os.O_RDONLY)
    while data := os.read(descriptor, 1 << 20):
        sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
except OSError as error:
    sys.exit(error.errno)
"""


class State(enum.Enum):
    """How a mount answers."""

    SERVING = "serving"
    DEAD = "dead"
    """Its daemon has ended without unmounting: "Transport endpoint is not connected"."""
    SILENT = "silent"
    """No answer within the time limit."""
    CLOSED = "closed"
    """It is another user's, and not for this one to look into."""


_STATES = {
    errno.ENOTCONN: State.DEAD,
    errno.ECONNABORTED: State.DEAD,
    errno.EACCES: State.CLOSED,
    errno.EPERM: State.CLOSED,
}
"""By the error of opening the document; any other is an answer, too."""


class Answer(NamedTuple):
    """What a mount says of itself.

    Attributes:
        state: How it answers.
        document: The contents of ``.copickfs/status.json``; empty if there is none.
    """

    state: State
    document: dict[str, Any]


def ask(mountpoint: str, limit_s: float = ANSWER_LIMIT_S) -> Answer:
    """Read the status document of the mount at ``mountpoint``.

    Args:
        mountpoint: A mount point of copickfs; ``/proc/PID/root/...`` for one in another namespace.
        limit_s: How long to wait.
    """
    file = os.path.join(mountpoint, CONTROL_DIRECTORY, "status.json")  # noqa: PTH118 -- no call on the mount
    # -S: no site-packages, which take longer to import than the answer.
    reader = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _PROGRAM, file],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        output, _ = reader.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        reader.kill()  # not waited for: it may be beyond reach until the mount is gone
        return Answer(State.SILENT, {})
    if reader.returncode == 0:
        try:
            return Answer(State.SERVING, json.loads(output))
        except ValueError:
            return Answer(State.SERVING, {})
    return Answer(_STATES.get(reader.returncode, State.SERVING), {})
