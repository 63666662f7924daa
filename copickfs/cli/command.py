"""What all commands share: how errors are shown, in copickfs's own command line and in copick's."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from copickfs.errors import CacheUnavailable, IndexUnavailable, Transient, UserError

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Sequence

FAILURE = 1
MISTAKE = 2
INTERRUPTED = 130
DEBUG_VARIABLE = "COPICKFS_DEBUG"

_ARGUMENTS = "copickfs.arguments"


class Failure(click.ClickException):
    """A failure shown as one line, ``copickfs: <message>``."""

    exit_code = FAILURE

    def show(self, file: Any = None) -> None:
        """Write the line to standard error."""
        click.echo(f"copickfs: {' '.join(self.message.split())}", file=file, err=True)


class Mistake(Failure):
    """A command line that nothing can be done with, shown in the same way."""

    exit_code = MISTAKE


@contextlib.contextmanager
def mistakes() -> Iterator[None]:
    """What the user can mend is wrong in the command line itself here."""
    try:
        yield
    except UserError as error:
        raise Mistake(str(error)) from None


class _Plain(click.Command):
    """What is a command whose failures are one line and an exit status, never a traceback.

    Set ``COPICKFS_DEBUG=1`` to see where an unforeseen error came from.
    """

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Keeps the arguments as they were written, for `restart_alone`."""
        arguments = list(args)
        context = super().make_context(info_name, args, parent, **extra)
        context.meta[_ARGUMENTS] = arguments
        return context

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command and turn what it raises into a `Failure`."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except (UserError, Transient) as error:
            raise Failure(str(error)) from None
        except IndexUnavailable as error:
            raise Failure(f"the index cannot be used: {error}") from None
        except CacheUnavailable as error:
            raise Failure(f"the cache cannot be used: {error}") from None
        except BrokenPipeError:
            raise  # nobody reads on: click ends in silence
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except Exception as error:
            if os.environ.get(DEBUG_VARIABLE):
                raise
            if isinstance(error, OSError) and error.strerror:
                raise Failure(f"{error.filename or 'output'}: {error.strerror}") from None
            raise Failure(
                f"unforeseen error: {type(error).__name__}: {error}; set {DEBUG_VARIABLE}=1 to see where"
            ) from None


class Command(_Plain):
    """A command that fails in one line."""


class Group(_Plain, click.Group):
    """A group of such commands."""

    command_class = Command


def restart_alone(context: click.Context) -> None:
    """Go on in a process without threads, if this one has any.

    A daemon is forked, and a fork takes along one thread only. In copick's command line numerical
    libraries have started theirs by now; in copickfs's own there are none.
    """
    if len(os.listdir("/proc/self/task")) > 1:  # noqa: PTH208
        _execute([context.command.name or "", *context.meta[_ARGUMENTS]])


@contextlib.contextmanager
def stopping(stop: threading.Event) -> Iterator[None]:
    """Signals end the run in order; who interrupts it twice does not want to wait for that."""
    numbers = (signal.SIGINT, signal.SIGTERM)

    def end(number: int, _frame: object) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = [signal.signal(number, end) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _execute(arguments: Sequence[str]) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", "copickfs", *arguments])  # noqa: S606
