"""All mounts of a user, alive and dead: the state files joined with the kernel's table of mounts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from copickfs.daemon import registry
from copickfs.daemon.mounts import mounts, resolve
from copickfs.daemon.probe import State, ask
from copickfs.errors import MountError

if TYPE_CHECKING:
    from copickfs.daemon.registry import Record

_REMEDIES = {
    State.DEAD: "clean with: copickfs umount {}",
    State.SILENT: "look into its log, or remove it with: copickfs umount --force {}",
}


def survey() -> list[dict[str, Any]]:
    """The documents of every mount of this user (for root: of all users), as ``docs/status.md`` has them."""
    uid = os.getuid()
    records = [record for record in registry.living() if uid in (0, record.uid)]
    visible = {record.mountpoint: record for record in records if record.visible()}
    hidden = [record for record in records if not record.visible()]
    tops = {mount.mountpoint: mount for mount in mounts() if mount.is_copickfs}
    documents = [
        _document(mount.mountpoint, mount.mountpoint, visible.get(mount.mountpoint), mount.source)
        for mount in tops.values()
        if uid in (0, mount.user_id)
    ]
    documents += [
        _document(record.mountpoint, f"/proc/{record.process.pid}/root{record.mountpoint}", record, "")
        for record in hidden
    ]
    return sorted(documents, key=lambda document: str(document["mountpoint"]))


def survey_one(path: str) -> dict[str, Any]:
    """The document of the mount at ``path``.

    Raises:
        MountError: There is no mount of copickfs of this user.
    """
    mountpoint = resolve(path)
    for document in survey():
        if document["mountpoint"] == mountpoint:
            return document
    raise MountError(f"{mountpoint}: no copickfs mount of this user is there")


def _document(mountpoint: str, way: str, record: Record | None, source: str) -> dict[str, Any]:
    answer = ask(way)
    known: dict[str, Any] = {
        "configuration": record.configuration if record else source,
        "pid": record.process.pid if record else None,
        "log_file": record.log_file if record else None,
        "private": record.private if record else False,
    }
    return {
        **known,
        **answer.document,
        "mountpoint": mountpoint,
        "state": answer.state.value,
        "remedy": _REMEDIES[answer.state].format(mountpoint) if answer.state in _REMEDIES else "",
    }
