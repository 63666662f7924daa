"""A walk through a project finds the listings of the next runs at hand, and each is asked for once."""

from __future__ import annotations

import contextlib
from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest

from copickfs.errors import CopickfsError, Transient, WouldBlock
from copickfs.layers.listahead import FIRST_SIBLINGS, MOST_SIBLINGS
from copickfs.layers.remote import FsspecLayer
from tests.sandbox import wait_until
from tests.units.conftest import own_threads
from tests.webserver import WebServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUNS = [f"TS_{number:03d}" for number in range(40)]
TOP = "ExperimentRuns"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[WebServer]:
    for run in RUNS:
        for name in ("Picks", "VoxelSpacing10.000/deep"):
            (tmp_path / TOP / run / name).mkdir(parents=True)
        (tmp_path / TOP / run / "Picks/a_1_x.json").write_text("{}")
    with WebServer(tmp_path) as server:
        server.listing = "json"
        yield server
    wait_until(lambda: not own_threads(), what="the end of the layer's threads")


@contextlib.contextmanager
def connected(site: WebServer) -> Iterator[FsspecLayer]:
    with contextlib.closing(FsspecLayer("lab", site.url, timeout_s=5)) as layer:
        layer.connect()
        yield layer


def listed(site: WebServer) -> Counter[str]:
    return Counter(request.partition(" ")[2] for request in site.requests if request.startswith("GET"))


def is_at_hand(layer: FsspecLayer, directory: str) -> bool:
    try:
        layer.scan_nowait(directory)
    except WouldBlock:
        return False
    return True


def test_the_next_runs_are_listed_as_deep_as_the_last_one(site: WebServer) -> None:
    with connected(site) as layer:
        layer.scan(TOP)
        for run in RUNS[:2]:
            layer.scan(f"{TOP}/{run}")
            layer.scan(f"{TOP}/{run}/Picks")
        ahead = [f"{TOP}/{run}{below}" for run in RUNS[2 : 1 + FIRST_SIBLINGS] for below in ("", "/Picks")]
        wait_until(lambda: all(f"/{path}/" in listed(site) for path in ahead), what="the next runs")
        assert f"/{TOP}/{RUNS[2]}/VoxelSpacing10.000/" not in listed(site), "where nobody has looked before"
        assert f"/{TOP}/{RUNS[10]}/" not in listed(site), "too far ahead"
        wait_until(lambda: all(is_at_hand(layer, path) for path in ahead), what="their listings")


def test_a_whole_walk_asks_for_each_directory_once(site: WebServer) -> None:
    with connected(site) as layer:
        walk(layer, "")
        counts = listed(site)
        directories = {f"/{TOP}/{run}{below}/" for run in RUNS for below in
                       ("", "/Picks", "/VoxelSpacing10.000", "/VoxelSpacing10.000/deep")}  # fmt: skip
        assert directories <= set(counts)
        assert {path: n for path, n in counts.items() if path != "/" and n != 1} == {}


def walk(layer: FsspecLayer, directory: str) -> None:
    for entry in layer.scan(directory):
        if entry.is_dir:
            walk(layer, f"{directory}/{entry.name}".lstrip("/"))


def test_who_jumps_about_is_not_gone_ahead_of(site: WebServer) -> None:
    with connected(site) as layer:
        layer.scan(TOP)
        for number in (20, 3, 31, 8, 25, 11):
            layer.scan(f"{TOP}/{RUNS[number]}")
        assert sum(path.startswith(f"/{TOP}/TS") for path in listed(site)) == 6


def test_no_more_than_so_many_are_listed_ahead(site: WebServer) -> None:
    with connected(site) as layer:
        layer.scan(TOP)
        for run in RUNS[:3]:
            layer.scan(f"{TOP}/{run}")
        most = 3 + 2 * FIRST_SIBLINGS
        wait_until(lambda: is_at_hand(layer, f"{TOP}/{RUNS[most - 1]}"), what="the runs ahead")
        assert sum(path.startswith(f"/{TOP}/TS") for path in listed(site)) <= 3 + MOST_SIBLINGS


def test_a_server_that_fails_is_asked_by_readers_only(site: WebServer) -> None:
    with connected(site) as layer:
        layer.scan(TOP)
        layer.scan(f"{TOP}/{RUNS[0]}")

        def broken(handler: object) -> bool:
            handler.reply(HTTPStatus.FORBIDDEN)  # type: ignore[attr-defined]
            return True

        site.fault = broken
        with pytest.raises(CopickfsError):
            layer.scan(f"{TOP}/{RUNS[1]}")
        site.fault = None
        layer.refresh()
        layer.scan(f"{TOP}/{RUNS[1]}")
        site.stop()
        with pytest.raises(Transient):
            layer.scan(f"{TOP}/{RUNS[30]}")
