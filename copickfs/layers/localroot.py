"""The root directory of a local layer: there, or out of reach."""

from __future__ import annotations

import logging
import os

from copickfs.errors import ConfigError, Unavailable
from copickfs.model import Health

_log = logging.getLogger(__name__)


class LocalRoot:
    """Tells a file that is not there from a layer that is gone. Thread-safe.

    Args:
        layer: Name of the layer, for errors and the log.
        path: The directory, absolute and without symbolic links.

    Attributes:
        device: ``st_dev`` of the file system that it was on when it was connected.
        health: State of the layer.
    """

    def __init__(self, layer: str, path: str) -> None:
        self._layer = layer
        self._path = path
        self.device = -1
        self.health = Health("unknown")

    def connect(self) -> int:
        """Check that the directory can be read; its device.

        Raises:
            ConfigError: It cannot.
        """
        path = self._path
        try:
            self.device = os.stat(path).st_dev
            os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except FileNotFoundError:
            raise ConfigError(f"no such directory: {path}; create it or correct 'root'") from None
        except NotADirectoryError:
            raise ConfigError(f"not a directory: {path}; 'root' must name a directory") from None
        except PermissionError:
            raise ConfigError(f"no permission to read {path}; ask its owner, or correct 'root'") from None
        self.health = Health("ok")
        return self.device

    def check(self) -> None:
        """Call it before saying that something does not exist.

        Raises:
            Unavailable: The root is gone, or is another file system than it was at the start.
        """
        try:
            here = os.stat(self._path).st_dev == self.device
        except OSError:
            here = False
        if here:
            if self.health.state != "ok":
                _log.info("layer %s: %s is back", self._layer, self._path)
                self.health = Health("ok")
            return
        message = f"{self._path} is gone or was unmounted"
        if self.health.state != "down":
            _log.warning("layer %s: %s", self._layer, message)
            self.health = Health("down", message)
        raise Unavailable(f"layer {self._layer}: {message}")
