"""The ``copickfs`` command, and the mount helper that mount(8) calls.

Commands are imported when they are used, so that ``copickfs --help`` and a mount pay for no other.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

import click

import copickfs

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "mount": "Mount a configuration on a directory.",
    "umount": "Unmount, and wait until the daemon has ended.",
    "status": "Show the mounts of this user.",
    "find": "Find runs, tomograms, picks, ... across all layers.",
    "search": "Search their names for words.",
    "index": "Bring the index up to date that find and search use.",
    "prefetch": "Fetch a part of the tree into the cache, to be read offline.",
    "cache": "Look after the cache: what is in it, what stays, what goes.",
    "flush": "Wait until what was written is where it belongs.",
    "materialize": "Make partial copies of stores whole.",
    "run": "Run a command with a mount of its own.",
    "check": "Check a configuration and whether its layers can be reached.",
    "demo": "Write a small project to try copickfs on.",
}


class LazyGroup(click.Group):
    """A group whose commands are the modules of ``copickfs.cli``."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """The names, in the order in which they are used."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(f"copickfs.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101 -- a mistake in this package, not of a user
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(copickfs.__version__, prog_name="copickfs", message="%(prog)s %(version)s")
def group() -> None:
    """Mount any number of copick project layers as one directory tree."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``copickfs`` and exit. ``copickfs CONFIG MOUNTPOINT -o ...`` mounts, as mount.fuse calls it."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if _is_mount_helper_call(given):
        mount_helper(given)
    group.main(args=given, prog_name="copickfs")


def mount_helper(arguments: Sequence[str] | None = None) -> None:
    """Run ``mount.fuse.copickfs CONFIG MOUNTPOINT [-sfnv] [-o OPTIONS]`` and exit; see mount(8)."""
    from copickfs.cli.helper import helper

    given = list(sys.argv[1:] if arguments is None else arguments)
    helper.main(args=given, prog_name="mount.fuse.copickfs")


def _is_mount_helper_call(arguments: list[str]) -> bool:
    if len(arguments) < 2 or arguments[0].startswith("-") or arguments[0] in COMMANDS:  # noqa: PLR2004
        return False
    if arguments[0].startswith("portal:"):  # datasets, in a table of file systems
        return True
    return os.sep in arguments[0] or arguments[0].endswith(".json") or os.path.isfile(arguments[0])  # noqa: PTH113
