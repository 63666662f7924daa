"""``--dataset``: datasets of a portal where a command takes a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from copickfs.cli.command import Command, mistakes
from copickfs.errors import MountError

if TYPE_CHECKING:
    import os

_OPTION = "--dataset"
_PLACE_OF_CONFIG = "portal:"


class ConfiguredCommand(Command):
    """A command whose first argument is a configuration, or instead of it datasets that options name.

    The command gets the name of the datasets for its first argument; see `copickfs.config.datasets`.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.params += [
            click.Option(
                [_OPTION, "dataset"], multiple=True, type=click.IntRange(0, 10**18 - 1), metavar="N",
                help="Instead of CONFIG: a dataset of the CryoET Data Portal; may be repeated.",
            ),
            click.Option(
                ["--write"], metavar="DIR", help=f"With {_OPTION}: the directory for what is written."
            ),
            click.Option(["--graphql-url"], metavar="URL", help=f"With {_OPTION}: of another portal."),
        ]  # fmt: skip

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Has the name of the datasets take the place of the first argument."""
        if _names_datasets(args):
            args = [_PLACE_OF_CONFIG, *args]
        rest = super().parse_args(ctx, args)
        ids, *others = (ctx.params.pop(name, None) for name in ("dataset", "write", "graphql_url"))
        if ids:
            argument = next(each.name for each in self.params if isinstance(each, click.Argument))
            taken: type = type(ctx.params[argument])
            ctx.params[argument] = taken(_name(ids, *others))
        elif any(each is not None for each in others):
            raise click.UsageError(f"--write and --graphql-url belong to {_OPTION}", ctx)
        return rest


def make_write_directory(configuration: str | os.PathLike[str]) -> None:
    """Make the directory that is written of datasets that are mounted. A file's directories are left alone.

    Raises:
        MountError: It cannot be made.
    """
    from copickfs.config.datasets import datasets_named

    datasets = datasets_named(str(configuration))
    if datasets is None or not datasets.write:
        return
    try:
        Path(datasets.write).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MountError(f"{datasets.write}: cannot be made for what is written: {error.strerror}") from None


def _names_datasets(args: list[str]) -> bool:
    own = args[: args.index("--")] if "--" in args else args
    return any(each == _OPTION or each.startswith(f"{_OPTION}=") for each in own)


def _name(ids: tuple[int, ...], write: str | None, graphql_url: str | None) -> str:
    from copickfs.config.datasets import datasets_from

    with mistakes():
        return str(datasets_from(ids, write, graphql_url))
