"""The life of a daemon: connect the layers, mount, answer, and on the way out leave nothing behind."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import resource
import signal
import threading
from typing import TYPE_CHECKING, Protocol

import trio

from copickfs.config import redacted
from copickfs.daemon.channel import Channel
from copickfs.daemon.detach import detach
from copickfs.daemon.heap import suit_chunks
from copickfs.daemon.mounts import mounts_at
from copickfs.daemon.notify import notify
from copickfs.daemon.orders import Orders
from copickfs.daemon.pending import in_words, pending_of
from copickfs.daemon.process import Process
from copickfs.daemon.registry import Record, Registration, living
from copickfs.daemon.status import DaemonStatus
from copickfs.daemon.transient_directory import remove_directories
from copickfs.errors import MountError
from copickfs.layers.journalplace import waiting_journals
from copickfs.layers.objects import objects_told
from copickfs.ops.filesystem import Filesystem
from copickfs.ops.session import Session, SessionOptions
from copickfs.stack import Stack, StackOptions
from copickfs.virtual.control import control_layer, copick_config_of

if TYPE_CHECKING:
    from copickfs.daemon.request import MountRequest
    from copickfs.virtual.control import ControlLayer

_log = logging.getLogger(__name__)

END_LIMIT_S = 15.0
"""How long an orderly end may take before the process ends without it."""

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Progress(Protocol):
    """Who waits for the daemon to be ready."""

    def stage(self, text: str) -> None:
        """What the daemon is about to do. Never raises."""
        ...

    def ready(self) -> bool:
        """The mount answers. False if nobody waits for it any more."""
        ...


class Daemon:
    """One mount from start to end. `run` is called once, in the main thread.

    Args:
        request: What to mount, and how.
        progress: Told how far the start has got.
    """

    def __init__(self, request: MountRequest, progress: Progress) -> None:
        self._request = request
        self._progress = progress
        chosen = request.options
        self._stack = Stack(
            request.config,
            request.config_file,
            StackOptions(chosen.read_only, chosen.offline, chosen.allow_other, request.mountpoint),
        )
        self._manager = self._stack.manager
        self._status = DaemonStatus(request, self._manager)
        self._registration: Registration | None = None
        self._orders: Orders | None = None
        self._channel: Channel | None = None
        self._session: Session | None = None
        self._device = ""
        self._connecting = False
        self._answering = False
        self._stop_asked = False
        self._last_resort: threading.Timer | None = None
        self._fault: Exception | None = None

    def run(self) -> None:
        """Mount and answer until unmounted or told to stop.

        Raises:
            UserError: The mount could not be made.
        """
        _raise_descriptor_limit()
        if self._manager.cache_layer is not None:
            suit_chunks()
        for number in _STOP_SIGNALS:  # trio takes them over while it runs
            signal.signal(number, self._note_signal)
        try:
            self._connecting = True
            self._connect()
            self._connecting = False
            self._register()
            trio.run(self._main)
        finally:
            self._end()
        if self._fault is not None:
            raise self._fault

    def _connect(self) -> None:
        self._tell("connecting the layers")
        absent = self._stack.connect(progress=self._tell)
        for journal in waiting_journals():
            _log.warning("not sent by this mount: %s", journal.in_words())
        if not absent:
            return
        reasons = "; ".join(
            f"layer {layer.name} is out of reach: {str(error).removeprefix(f'layer {layer.name}: ')}"
            for layer, error in absent
        )
        if not self._request.options.degraded:
            raise MountError(f"{reasons}; to mount in spite of it, add: -o degraded")
        _log.warning("mounting in spite of it (-o degraded): %s", reasons)

    def _register(self) -> None:
        """Two who mount at the same moment see each other here, for both registered before they look."""
        record = self._record()
        self._registration = Registration(record)
        for other in living():
            if other.mountpoint == record.mountpoint and other.process != record.process and other.visible():
                raise MountError(
                    f"{record.mountpoint}: process {other.process.pid} mounts {other.configuration} there"
                )

    async def _main(self) -> None:
        request = self._request
        self._tell("mounting")
        stack = self._stack
        stack.assemble(self._control())
        filesystem = Filesystem(stack.view, stack.writer)
        self._status.filesystem = filesystem
        stack.attach_index(filesystem.counters.requests.total)
        self._status.index = stack.index
        self._listen()
        chosen = request.options
        options = SessionOptions(
            request.config_file, chosen.allow_other, chosen.debug, chosen.no_exec, stack.read_only
        )
        self._session = Session(filesystem, request.mountpoint, options)
        async with trio.open_nursery() as nursery:
            await nursery.start(self._obey_signals)
            try:
                await self._session.serve(lambda: self._ready(nursery))
            except Exception as error:  # noqa: BLE001 -- raised again by run(), outside of the nursery
                self._fault = error
            self._answering = False
            nursery.cancel_scope.cancel()

    def _listen(self) -> None:
        """From here on the user can ask for something by `copickfs.daemon.channel`."""
        assert self._registration is not None  # noqa: S101 -- run() registers first
        request = self._request
        self._orders = Orders(
            self._manager, self._stack.writer, self._stack.index.keeper, request.config_file,
            offline=request.options.offline,
        )  # fmt: skip
        try:
            self._channel = Channel(self._registration.socket, self._orders.handlers())
        except OSError as error:
            raise MountError(f"{self._registration.socket}: {error.strerror}") from None

    def _ready(self, nursery: trio.Nursery) -> None:
        self._answering = True
        self._device = mounts_at(self._request.mountpoint)[-1].device
        _log.info(
            "mounted %s at %s, process %d", self._request.config_file, self._request.mountpoint, os.getpid()
        )
        if not self._progress.ready():
            _log.info("whoever started this daemon is gone: unmounting")
            self._stop_asked = True
        notify(f"READY=1\nSTATUS=mounted at {self._request.mountpoint}")
        self._stack.index.start()
        if self._stop_asked:
            nursery.start_soon(self._stop)
        gc.collect()
        gc.freeze()  # what lives from here on is never looked at again by the collector

    async def _obey_signals(self, task_status: trio.TaskStatus[None]) -> None:
        """The first signal ends the daemon in order, the second one at once."""
        with trio.open_signal_receiver(*_STOP_SIGNALS) as received:
            task_status.started()
            async for number in received:
                _log.info("%s: unmounting", signal.Signals(number).name)
                if self._stop_asked:
                    self._end_now("told to stop a second time")
                self._stop_asked = True
                if self._answering:
                    await self._stop()

    def _note_signal(self, number: int, _frame: object) -> None:
        """A signal before the mount answers, or after it has gone."""
        _log.info("%s: ending", signal.Signals(number).name)
        if self._stop_asked:
            self._end_now("told to stop a second time")
        self._stop_asked = True
        self._limit_end()
        if self._connecting:
            self._connecting = False
            raise MountError(f"stopped by {signal.Signals(number).name} while connecting the layers")

    async def _stop(self) -> None:
        notify("STOPPING=1")
        self._limit_end()
        if self._session is not None:
            await self._session.stop()

    def _limit_end(self) -> None:
        """From now on the process has `END_LIMIT_S` to end; a layer that hangs does not keep it."""
        if self._last_resort is None:
            self._last_resort = threading.Timer(
                END_LIMIT_S, self._end_now, [f"the end took more than {END_LIMIT_S:.0f} s"]
            )
            self._last_resort.daemon = True
            self._last_resort.start()

    def _end(self) -> None:
        self._limit_end()
        if self._orders is not None:
            self._orders.close()
        self._stack.close()
        self._say_farewell()
        self._leave_nothing()
        _log.info("ended")
        if self._last_resort is not None:
            self._last_resort.cancel()

    def _say_farewell(self) -> None:
        """What is still pending stays in the journal, and is sent by the next daemon."""
        pending = pending_of(self._manager.layers.values())
        for layer, document in pending.items():
            _log.info("kept for the next mount: %s", in_words(layer, document))
        if self._channel is not None:
            self._channel.close({"pending": pending})

    def _end_now(self, reason: str) -> None:
        """End the process without waiting for anything; the mount point is free afterwards."""
        _log.error("ending at once: %s", reason)
        stack = mounts_at(self._request.mountpoint)
        if stack and stack[-1].device == self._device:
            with contextlib.suppress(MountError):
                detach(self._request.mountpoint)
        self._leave_nothing()
        logging.shutdown()
        os._exit(1)

    def _leave_nothing(self) -> None:
        remove_directories(self._request.made_directories, self._request.directory_lock)
        if self._registration is not None:
            self._registration.remove()

    def _control(self) -> ControlLayer:
        request = self._request
        copick_config = copick_config_of(request.config, request.mountpoint)
        if not copick_config["pickable_objects"]:
            copick_config["pickable_objects"] = objects_told(self._manager.get_data_layers())
        return control_layer(
            status=self._status.document,
            metrics=self._status.metrics,
            configuration=redacted(request.config),
            copick_config=copick_config,
            owner=(os.getuid(), os.getgid()),
        )

    def _record(self) -> Record:
        request = self._request
        return Record(
            process=Process.of(os.getpid()),
            mountpoint=request.mountpoint,
            configuration=request.config_file,
            log_file=str(request.log_file) if request.log_file else None,
            started_s=self._status.started_s,
            private=request.private,
            uid=os.getuid(),
        )

    def _tell(self, stage: str) -> None:
        self._progress.stage(stage)
        notify(f"STATUS={stage}")


def _raise_descriptor_limit() -> None:
    """Every open file of the mount may be an open file of the daemon."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
