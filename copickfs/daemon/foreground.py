"""Serving a mount in the process that was started, for containers and service managers."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from copickfs.daemon.launch import end_process
from copickfs.daemon.logs import log_to_file, log_to_stderr
from copickfs.errors import UserError

if TYPE_CHECKING:
    from copickfs.daemon.request import MountRequest

_log = logging.getLogger(__name__)


class _Nobody:
    """Nobody waits on a pipe: a service manager is told by sd_notify."""

    def stage(self, text: str) -> None:
        _log.debug("%s", text)

    def ready(self) -> bool:
        return True


def serve(request: MountRequest) -> NoReturn:
    """Mount, answer until unmounted or told to stop, and end the process.

    Raises:
        UserError: The mount could not be made.
    """
    if request.log_file is None:
        log_to_stderr(request.options.log_level)
    else:
        log_to_file(request.log_file, request.options.log_level)
    os.chdir("/")
    from copickfs.daemon.service import Daemon

    status = 0
    try:
        Daemon(request, _Nobody()).run()
    except UserError as error:
        sys.stderr.write(f"copickfs: {error}\n")
        status = 1
    except KeyboardInterrupt:
        status = 130
    except Exception:  # noqa: BLE001 -- the process ends here, whatever it was
        _log.exception("the daemon ends with an unforeseen error, exit status 1")
        status = 1
    end_process(status)
