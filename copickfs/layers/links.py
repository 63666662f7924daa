"""Which symbolic links of a local layer are followed, and which are shown as links."""

from __future__ import annotations

import errno
import logging
import os
import stat

from copickfs.errors import AccessDenied

_log = logging.getLogger(__name__)
_MAX_REPORTS = 1_000
_MAX_LINKS = 40

_ABSOLUTE_MARK = "/"
_RELATIVE_MARK = ".//"


def marked(text: str) -> str:
    """How the text of a symbolic link made through the mount is stored: it leads to the same place."""
    return (_ABSOLUTE_MARK if text.startswith("/") else _RELATIVE_MARK) + text


def unmarked(stored: str) -> str | None:
    """The text that was `marked`; None if ``stored`` is that of a link which others have made."""
    if stored.startswith(_ABSOLUTE_MARK + "/"):
        return stored.removeprefix(_ABSOLUTE_MARK)
    return stored.removeprefix(_RELATIVE_MARK) if stored.startswith(_RELATIVE_MARK) else None


class LinkRules:
    """The rules for one layer. Thread-safe.

    Args:
        layer: Name of the layer, for the log.
        root: Its directory, absolute and without symbolic links.
        confined: Links that lead out of the root are refused.
        mountpoint: Where the daemon's own mount is, or ``""``. It must never be asked anything by the
            daemon, which would wait for its own answer.
    """

    def __init__(self, layer: str, root: str, *, confined: bool, mountpoint: str = "") -> None:
        self._layer = layer
        self._root = root
        self._prefix = root.rstrip("/") + "/"
        self._confined = confined
        self._mountpoint = mountpoint
        self._reported: set[str] = set()

    def target(self, path: str, full: str) -> os.stat_result | None:
        """What the link at ``path``, ``full`` on disk, stands for; None if it is shown as a link."""
        if self._leads_into_mount(full):
            return None
        try:
            target = os.stat(full)
        except OSError:
            return None
        return target if self._followed(path, full, target) else None

    def _followed(self, path: str, full: str, target: os.stat_result) -> bool:
        if self._confined and not self._inside(os.path.realpath(full)):
            self._report(path)
            return False
        return not (stat.S_ISDIR(target.st_mode) and self._leads_back(path, target))

    def lstat(self, path: str, full: str) -> os.stat_result:
        """`os.lstat`; in a confined layer of what is certainly inside of it.

        A directory on the way may have become a link out of the layer since it was looked at.

        Raises:
            AccessDenied: It has.
        """
        if not self._confined:
            return os.lstat(full)
        descriptor = os.open(full, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            self.check_descriptor(path, descriptor)
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)

    def text(self, path: str, full: str) -> str:
        """`os.readlink`; in a confined layer of what is certainly inside of it, as `lstat`."""
        if not self._confined:
            return os.readlink(full)
        descriptor = os.open(full, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            self.check_descriptor(path, descriptor)
            return os.readlink("", dir_fd=descriptor)
        finally:
            os.close(descriptor)

    def check_descriptor(self, path: str, descriptor: int) -> None:
        """Check what an open descriptor really is. Raises `AccessDenied`, as `check_inside`."""
        if self._confined and not self._inside(os.readlink(f"/proc/self/fd/{descriptor}")):
            self._report(path)
            raise AccessDenied(errno.EACCES, f"layer {self._layer}: {path!r} leads out of the layer")

    def check_inside(self, path: str, full: str) -> None:
        """Check where a path really leads.

        Raises:
            AccessDenied: The layer is confined, and this is outside of it.
        """
        if self._confined and not self._inside(os.path.realpath(full)):
            self._report(path)
            raise AccessDenied(errno.EACCES, f"layer {self._layer}: {path!r} leads out of the layer")

    def _leads_into_mount(self, full: str) -> bool:
        """True if the link leads into the daemon's own mount; found out without asking the mount."""
        if not self._mountpoint:
            return False
        pending = full.split("/")[::-1]
        current, links = "", 0
        while pending:
            part = pending.pop()
            if part == "..":
                current = current.rpartition("/")[0]
            if part in ("", ".", ".."):
                continue
            current = f"{current}/{part}"
            if current == self._mountpoint:
                return True
            try:
                text = os.readlink(current)
            except OSError:
                continue  # no link
            links += 1
            if links > _MAX_LINKS:
                return False  # the system will say ELOOP
            current = "" if text.startswith("/") else current.rpartition("/")[0]
            pending.extend(text.split("/")[::-1])
        return False

    def _inside(self, real_path: str) -> bool:
        return real_path == self._root or real_path.startswith(self._prefix)

    def _leads_back(self, path: str, target: os.stat_result) -> bool:
        """True if the target is a directory on the link's own path: a walk would never end."""
        directory = path
        while directory:
            directory = directory.rpartition("/")[0]
            above = os.stat(self._prefix + directory)
            if (above.st_dev, above.st_ino) == (target.st_dev, target.st_ino):
                return True
        return False

    def _report(self, path: str) -> None:
        if path in self._reported or len(self._reported) >= _MAX_REPORTS:
            return
        self._reported.add(path)
        _log.info(
            "layer %s: the symbolic link %r leads out of %s and is refused, because this mount serves "
            "other users; make its target a layer of its own",
            self._layer,
            path,
            self._root,
        )
