"""Where the daemons of a user keep their state files and their logs."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from copickfs.basedirs import runtime_home, state_home
from copickfs.errors import MountError

_SYSTEM_RUNTIME = Path("/run")


def runtime_directory() -> Path:
    """The directory for state files, made if it is not there: nobody else can write to it.

    Raises:
        MountError: It cannot be made, or somebody else has made it.
    """
    faults = []
    for directory in own_runtime_directories():
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
            _require_private(directory)
        except OSError as error:
            faults.append(f"{directory}: {error.strerror}")
        else:
            return directory
    raise MountError(f"no place for state files ({'; '.join(faults)}); set XDG_RUNTIME_DIR")


def runtime_directories() -> list[Path]:
    """Every directory that may hold state files this user can read; for root those of all users."""
    found = list(own_runtime_directories())
    owner = None if os.getuid() == 0 else os.getuid()
    if os.getuid() == 0:
        with contextlib.suppress(OSError):
            found += sorted(Path("/run/user").glob("*/copickfs"))
        places = Path(tempfile.gettempdir()).glob("copickfs-*")
        found += sorted(place for place in places if place.name.removeprefix("copickfs-").isdigit())
    return [directory for directory in dict.fromkeys(found) if _is_private(directory, owner)]


def own_runtime_directories() -> list[Path]:
    """The places for this user's state files, the preferred one first."""
    uid = os.getuid()
    named = runtime_home()
    bases = [] if named is None else [named]
    bases.append(_SYSTEM_RUNTIME if uid == 0 else _SYSTEM_RUNTIME / "user" / str(uid))
    return [*(base / "copickfs" for base in bases), Path(tempfile.gettempdir()) / f"copickfs-{uid}"]


def default_log_file(mountpoint: str) -> Path:
    """The log of a daemon that was not told where to log.

    Raises:
        MountError: There is no directory to write it to.
    """
    name = mountpoint.strip("/").replace("/", "-")[-100:] or "root"
    try:
        directory = state_home() / "copickfs"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(directory, os.W_OK | os.X_OK):
            return directory / f"{name}.log"
    except (OSError, RuntimeError):  # no home, or one that is read-only, as in many a cluster job
        pass
    return _temporary_directory("copickfs-log") / f"{name}.log"


def _temporary_directory(prefix: str) -> Path:
    directory = Path(tempfile.gettempdir()) / f"{prefix}-{os.getuid()}"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        _require_private(directory)
    except OSError as error:
        raise MountError(f"{directory}: {error.strerror}; name a log with --log-file") from None
    return directory


def _require_private(directory: Path) -> None:
    if not _is_private(directory, os.getuid()):
        raise PermissionError(1, "is not a directory that only this user can write to")


def _is_private(directory: Path, owner: int | None) -> bool:
    """In a directory that everybody may write to, a name can be somebody else's, or a trap."""
    try:
        status = directory.lstat()
    except OSError:
        return False
    wanted = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o022
    return wanted and owner in (None, status.st_uid)
