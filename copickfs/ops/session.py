"""From mounting to unmounting one file system. pyfuse3 serves one mount in a process."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, NamedTuple

import pyfuse3
import trio

from copickfs.errors import MountError
from copickfs.ops import loop
from copickfs.ops.kernel import Invalidator, tune

if TYPE_CHECKING:
    from collections.abc import Callable

    from copickfs.ops.filesystem import Filesystem

_log = logging.getLogger(__name__)

MAX_TASKS = 100_000
"""Requests under way at once. When all tasks wait, nobody reads the next request, so this is far
above any number of stuck readers."""

DRAIN_S = 2.0
"""How long requests under way may take to finish once the end has been asked for."""


class SessionOptions(NamedTuple):
    """How to mount.

    Attributes:
        source: What the mount table shows as the device, usually the configuration's path.
        allow_other: Serve other users, too.
        debug: Log every FUSE request to standard error.
        no_exec: Nothing in the mount may be executed.
        read_only: The kernel refuses every write itself.
    """

    source: str = "copickfs"
    allow_other: bool = False
    debug: bool = False
    no_exec: bool = False
    read_only: bool = True

    def fuse_options(self) -> set[str]:
        """The options as libfuse takes them."""
        name = self.source.replace("\\", "\\\\").replace(",", "\\,")
        options = {f"fsname={name}", "subtype=copickfs", "default_permissions", "nosuid", "nodev"}
        if not name.isascii():
            options.discard(f"fsname={name}")
            options.add("fsname=copickfs")
        chosen = {
            "allow_other": self.allow_other,
            "debug": self.debug,
            "noexec": self.no_exec,
            "ro": self.read_only,
        }
        return options | {name for name, wanted in chosen.items() if wanted}


class Session:
    """One mount, from `serve` to `stop`.

    Args:
        filesystem: What is served.
        mountpoint: An existing directory.
        options: How to mount.
    """

    def __init__(self, filesystem: Filesystem, mountpoint: str, options: SessionOptions) -> None:
        self._filesystem = filesystem
        self._mountpoint = mountpoint
        self._options = options
        self._scope = trio.CancelScope()

    async def serve(self, on_ready: Callable[[], None]) -> None:
        """Mount, answer until unmounted or stopped, unmount, clean up.

        Args:
            on_ready: Called once the mount answers.

        Raises:
            MountError: The mount could not be made.
        """
        try:
            pyfuse3.init(self._filesystem, self._mountpoint, self._options.fuse_options())
        except RuntimeError as error:
            raise MountError(
                f"{self._mountpoint}: the kernel or fusermount3 refused the mount ({error}); "
                "its own message stands above or in the log"
            ) from None
        loop.install()
        logging.getLogger("pyfuse3").addFilter(_matters)
        invalidator = Invalidator(self._filesystem.inodes, self._filesystem.view)
        try:
            self._filesystem.view.subscribe(invalidator.announce)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._answer_until_over, nursery.cancel_scope)
                nursery.start_soon(loop.keep_turns, self._limit_end)
                status = await trio.to_thread.run_sync(os.stat, self._mountpoint)
                tune(status.st_dev)
                on_ready()
        finally:
            invalidator.close()
            pyfuse3.close(unmount=True)
            self._filesystem.close()

    async def stop(self) -> None:
        """End `serve`: let requests under way finish for `DRAIN_S`, then give them up."""
        with trio.CancelScope(shield=True):
            pyfuse3.terminate()
            await trio.lowlevel.checkpoint()
            self._limit_end()

    def _limit_end(self) -> None:
        """Reads may wait for ever, also those of programs that were killed."""
        self._scope.deadline = min(self._scope.deadline, trio.current_time() + DRAIN_S)

    async def _answer_until_over(self, everything: trio.CancelScope) -> None:
        with self._scope:
            await pyfuse3.main(min_tasks=8, max_tasks=MAX_TASKS)
        everything.cancel()


def _matters(record: logging.LogRecord) -> bool:
    """False for what pyfuse3 says of an answer for which nobody waits any more: the mount is gone."""
    return "fuse_reply_* failed with No such file" not in record.getMessage()
