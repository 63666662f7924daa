"""A demo project whose layers are behind web servers, and a cache in front of them."""

from __future__ import annotations

import contextlib
import json
import shutil
from typing import TYPE_CHECKING, Any, Self

from tests.webserver import WebServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.sandbox import Run

LAYERS = ("mine", "lab")
RUN = "ExperimentRuns/TS_001"
TOMOGRAM = f"{RUN}/VoxelSpacing20.000/wbp.zarr"


class FarProject:
    """A demo project on two web servers, and its configuration.

    Args:
        directory: Where to put everything.
        demo: The demo project.

    Attributes:
        local: Where its files are.
        sites: The servers by the names of their layers, the highest first.
        cache: The cache's directory.
        config: The configuration file.
    """

    def __init__(self, directory: Path, demo: Path) -> None:
        self.local = directory / "demo"
        shutil.copytree(demo, self.local)
        self.sites = {name: WebServer(self.local / name) for name in LAYERS}
        self.cache = directory / "cache"
        self.config = directory / "far.json"
        self.configure()

    def configure(self, cache: dict[str, Any] | None = None, **layer: Any) -> Path:
        """Write the configuration, with other keys for the cache or for all layers."""
        config = json.loads((self.local / "config.json").read_text())
        config.pop("default_write_layer")
        for name, site in self.sites.items():
            config["layer_configs"][name] |= {
                "root": site.url, "read_only": True, "timeout": 3, "ttl": 3_600,
                "on_unavailable": "error", **layer,
            }  # fmt: skip
        config["cache_config"] = {"root": str(self.cache), "min_free_bytes": 0, **(cache or {})}
        self.config.write_text(json.dumps(config))
        return self.config

    def requests(self) -> list[str]:
        """All requests since the last call, with the layer that was asked."""
        found = [f"{name}: {request}" for name, site in self.sites.items() for request in site.requests]
        for site in self.sites.values():
            site.requests.clear()
        return found

    def contents(self) -> list[str]:
        """Those of them that ask for a file's contents."""
        return [request for request in self.requests() if ": GET " in request and not is_listing(request)]

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Without the servers."""
        for site in self.sites.values():
            site.stop()
        try:
            yield
        finally:
            for site in self.sites.values():
                site.start()

    def __enter__(self) -> Self:
        for site in self.sites.values():
            site.start()
        return self

    def __exit__(self, *_: object) -> None:
        for site in self.sites.values():
            site.stop()


def is_listing(request: str) -> bool:
    """True for the request of a directory."""
    return request.split(" ")[2].endswith("/")


def told(copickfs: Run, *arguments: Any, status: int = 0) -> str:
    """What a command prints; it must end with ``status``, and say nothing on standard error if that is 0."""
    done = copickfs(*arguments)
    assert done.returncode == status, done.stderr
    if not status:
        assert done.stderr == ""
    return done.stdout


def refused(done: Any, *parts: object, status: int = 1) -> None:
    """The command has failed with one line that says all of this."""
    assert done.returncode == status, done
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("copickfs: ")
    for part in parts:
        assert str(part) in done.stderr
