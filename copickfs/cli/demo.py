"""``copickfs demo``: write a small project to try copickfs on."""

from __future__ import annotations

import shlex
from pathlib import Path

import click


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Write a demo that is already there anew.")
def demo(directory: Path, *, force: bool) -> None:
    """Write a small, real copick project to DIR: two layers that overlap, and config.json."""
    from copickfs.demo import write_demo

    config_path = write_demo(directory, force=force)
    config = shlex.quote(str(config_path))
    click.echo(
        f"{directory}: a copick project of four runs in two layers\n"
        f"  lab/         a colleague's curated layer: TS_001, TS_002, TS_003\n"
        f"  mine/        your own layer, above it:            TS_002, TS_003, TS_004\n"
        f"  config.json  the configuration that stacks them\n"
        f"\n"
        f"Next:\n"
        f"  mkdir -p ~/copick\n"
        f"  copickfs mount {config} ~/copick\n"
        f"  ls ~/copick/ExperimentRuns\n"
        f"  copickfs umount ~/copick"
    )
