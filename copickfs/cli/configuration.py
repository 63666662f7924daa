"""From the flags of a command to the options of a mount."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from copickfs.daemon.options import MountOptions, check_level, parse_options

if TYPE_CHECKING:
    from pathlib import Path


def mount_options(
    *,
    options: tuple[str, ...] = (),
    foreground: bool = False,
    read_only: bool = False,
    allow_other: bool = False,
    offline: bool = False,
    log_file: Path | None = None,
    log_level: str | None = None,
    sloppy: bool = False,
) -> MountOptions:
    """The options of a mount; a flag of the command line wins over the same option of ``-o``.

    Raises:
        MountError: An option is not known.
    """
    fields: dict[str, Any] = parse_options(options, sloppy=sloppy)
    flags = {
        "foreground": foreground,
        "read_only": read_only,
        "allow_other": allow_other,
        "offline": offline,
    }
    fields.update({name: True for name, given in flags.items() if given})
    if log_file is not None:
        fields["log_file"] = log_file.absolute()
    if log_level is not None:
        fields["log_level"] = check_level(log_level)
    return MountOptions(**fields)
