"""``copickfs run``: a mount for the time of one command.

The process that runs this is the parent of both, the daemon and the command. The daemon has a session of
its own, so that nothing sent to the process group reaches it, and the kernel ends both when this process
dies, however it dies. The command keeps terminal, standard streams and process group.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from copickfs.daemon import kernel, registry
from copickfs.daemon.detach import detach
from copickfs.daemon.launch import launch
from copickfs.daemon.mountpoint import clean_stale_mounts
from copickfs.daemon.mounts import mounts_at, resolve
from copickfs.daemon.pending import kept_in_words
from copickfs.daemon.questions import Farewell
from copickfs.daemon.request import check_request
from copickfs.daemon.transient_directory import make_directory, remove_directories
from copickfs.errors import MountError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from copickfs.daemon.options import MountOptions
    from copickfs.daemon.process import Process
    from copickfs.daemon.request import MountRequest

NOT_FOUND = 127
NOT_EXECUTABLE = 126
_SIGNALLED = 128

_RELAYED = {
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2,
    signal.SIGALRM, signal.SIGCONT, signal.SIGTSTP, signal.SIGWINCH,
}  # fmt: skip
_JOB_CONTROL = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
_END_LIMIT_S = 20.0


def run_job(
    config: Any, config_file: str, mountpoint: str, options: MountOptions, command: Sequence[str]
) -> int:
    """Mount, run ``command``, unmount.

    Args:
        config: The configuration.
        config_file: Its absolute path.
        mountpoint: Where to mount; made for the time of the job if it is not there.
        options: How to mount.
        command: Program and arguments.

    Returns:
        The command's exit status as a shell gives it: 128 + n if signal n ended it, 127 if there is
        no such program, 126 if it cannot be executed.

    Raises:
        MountError: The mount could not be made.
    """
    resolved = resolve(mountpoint)
    clean_stale_mounts(resolved)  # from inside of a namespace it could not be removed
    private = enter_private_namespace()
    if not private:
        sys.stderr.write(
            "copickfs: private mounts are not permitted here: mounting for all processes to see\n"
        )
    options = dataclasses.replace(options, foreground=False)
    for number in (signal.SIGTERM, signal.SIGHUP):  # until the command runs, after that it gets them
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)
    directory = make_directory(resolved)
    try:
        request = dataclasses.replace(
            check_request(config, config_file, resolved, options),
            private=private,
            made_directories=directory.made,
            directory_lock=directory.lock,
        )
        daemon = launch(request, follow_parent=True)
        try:
            return _run_command(command, daemon)
        finally:
            _end_daemon(daemon, request)
    finally:
        remove_directories(directory.made, directory.lock)


def enter_private_namespace() -> bool:
    """Give this process mounts of its own; False, and nothing has changed, where that is not permitted."""
    pid = os.fork()
    if pid == 0:  # tried first where it does no harm: half-way into a namespace there is no way back
        try:
            kernel.enter_mount_namespace()
        except OSError:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if status != 0:
        return False
    kernel.enter_mount_namespace()
    return True


def _leave(number: int, _frame: object) -> NoReturn:
    sys.exit(_SIGNALLED + number)


class _CannotRun(Exception):
    """The command does not start.

    Args:
        program: Its name.
        reason: Why.
        status: What the exit status has to be.
    """

    def __init__(self, program: str, reason: str, status: int) -> None:
        super().__init__(f"{program}: {reason}")
        self.status = status


def _run_command(command: Sequence[str], daemon: Process) -> int:
    handled = {*_RELAYED, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, handled)
    try:
        process = _start(command, before)
    except _CannotRun as error:
        sys.stderr.write(f"copickfs: {error}\n")
        return error.status
    daemon_lives = True
    while True:
        received = signal.sigwaitinfo(handled)
        if received.si_signo == signal.SIGCHLD:
            if (status := _exit_status(process)) is not None:
                return status
            if daemon_lives and not daemon.alive():
                daemon_lives = False
                sys.stderr.write(f"copickfs: the daemon has ended before {command[0]}\n")
        elif received.si_code <= 0:
            # Sent by a process, to this one; what the terminal sends, the command has received itself.
            process.send_signal(received.si_signo)


def _start(command: Sequence[str], signals: set[int]) -> subprocess.Popen[bytes]:
    """Start the command with ``signals`` blocked and no others; the kernel kills it with this process."""
    program, parent = command[0], os.getpid()

    def in_the_child() -> None:
        kernel.end_with_parent(signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)

    if "/" not in program and shutil.which(program, mode=os.F_OK) is None:
        raise _CannotRun(program, "command not found", NOT_FOUND)
    try:
        # This process has one thread, so code between fork and exec is safe.
        return subprocess.Popen(command, preexec_fn=in_the_child)  # noqa: PLW1509
    except (FileNotFoundError, NotADirectoryError):
        raise _CannotRun(program, "command not found", NOT_FOUND) from None
    except OSError as error:
        raise _CannotRun(program, os.strerror(error.errno or 0), NOT_EXECUTABLE) from None


def _exit_status(process: subprocess.Popen[bytes]) -> int | None:
    """The command's exit status, None while it lives. When it is stopped, so is this process."""
    while True:
        change = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WSTOPPED | os.WNOHANG)
        if change is None:
            return None
        if change.si_code == os.CLD_EXITED:
            process.returncode = change.si_status
            return change.si_status
        if change.si_code in (os.CLD_KILLED, os.CLD_DUMPED):
            process.returncode = -change.si_status
            return _SIGNALLED + change.si_status
        if change.si_status in _JOB_CONTROL:
            os.kill(os.getpid(), signal.SIGSTOP)  # the shell sees its job stopped


def _end_daemon(daemon: Process, request: MountRequest) -> None:
    with Farewell(registry.find(request.mountpoint)) as farewell:
        daemon.send(signal.SIGTERM)
        daemon.wait(_END_LIMIT_S)
        for line in kept_in_words(farewell.pending()):
            sys.stderr.write(f"copickfs: {line}\n")
    stack = mounts_at(request.mountpoint)
    if stack and stack[-1].is_copickfs:  # the daemon is dead or stuck and could not unmount
        with contextlib.suppress(MountError):
            detach(request.mountpoint, abort=True)
    daemon.send(signal.SIGKILL)
    daemon.wait(_END_LIMIT_S)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(daemon.pid, os.WNOHANG)
