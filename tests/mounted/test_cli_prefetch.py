"""``copickfs prefetch``: afterwards everything can be read without the servers."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from typing import TYPE_CHECKING, Any

import copick
import zarr

from tests import model
from tests.mounted.cached import LAYERS, RUN, TOMOGRAM, is_listing, refused, told
from tests.mounted.test_copick import assert_same, bare_project, content, entities, entities_of_run
from tests.objectstore import ObjectStore
from tests.sandbox import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Mounter
    from tests.mounted.cached import FarProject
    from tests.sandbox import Run, Sandbox
    from tests.webserver import WebHandler

PICKS = f"{RUN}/Picks"


def files_shown(far: FarProject, below: str = "") -> dict[str, str]:
    """The files of the merge, and the layers that decide."""
    merged = model.merge([far.local / name for name in LAYERS])
    return {
        path: LAYERS[node.layer]
        for path, node in merged.items()
        if node.kind == "file" and f"{path}/".startswith(below)
    }


def wanted(far: FarProject, below: str) -> dict[str, dict[str, Any]]:
    """What copick has to find: each entity as the layer has it that decides."""
    objects = json.loads((far.local / "config.json").read_text())["pickable_objects"]
    roots = [far.local / name for name in LAYERS]
    bare = [entities(bare_project(root, objects)) for root in roots]
    return {
        path: content(bare[node.layer][path])
        for path, node in model.merge(roots).items()
        if path.startswith(below) and (node.store or path.endswith((".json", ".glb")))
    }


def big(far: FarProject, size_bytes: int = 9 << 20) -> str:
    """A file of several blocks in the lower layer."""
    path = f"{RUN}/notes.bin"
    (far.local / "lab" / path).write_bytes(os.urandom(size_bytes))
    return path


def test_a_run_is_read_completely_by_copick_without_the_servers(
    far: FarProject, mount: Mounter, copickfs: Run
) -> None:
    said = told(copickfs, "prefetch", far.config, "--run", "TS_001")
    assert re.fullmatch(r"(\d+) of \1 files are in the cache: .* fetched, 0 B were there\n", said), said
    with far.away():
        project = copick.from_file(mount(far.config, "--offline") / "copick_config.json")
        assert [run.name for run in project.runs] == ["TS_001", "TS_002", "TS_003", "TS_004"]
        found = dict(entities_of_run(project.get_run("TS_001")))
        expected = wanted(far, f"{RUN}/")
        assert found.keys() == expected.keys()
        for path, entity in found.items():
            assert_same(content(entity), expected[path])


def test_of_everything_only_what_is_shown_is_fetched(far: FarProject, mount: Mounter, copickfs: Run) -> None:
    told(copickfs, "prefetch", far.config, ".", "-q")
    fetched = {tuple(request.split(" ")[0::2]) for request in far.contents()}
    shown = {(f"{layer}:", f"/{path}") for path, layer in files_shown(far).items()}
    assert {(layer, path) for layer, path in fetched if not path.startswith("/.")} == shown
    with far.away():
        point = mount(far.config, "--offline")
        for path, layer in files_shown(far).items():
            assert (point / path).read_bytes() == (far.local / layer / path).read_bytes()


def test_a_second_run_asks_for_nothing_but_the_roots(far: FarProject, copickfs: Run) -> None:
    path = big(far)
    told(copickfs, "prefetch", far.config, RUN)
    asked = [request for request in far.contents() if request.endswith(f"/{path}")]
    assert len(asked) == 1, "neighbouring blocks are asked for together"
    said = told(copickfs, "prefetch", far.config, RUN)
    assert " 0 B fetched, " in said
    assert far.requests() == [f"{layer}: GET /" for layer in LAYERS]
    # A version that is not the one in the cache is fetched, and nothing else.
    (far.local / "lab" / path).write_bytes(b"new")
    far.configure(ttl=0)  # at the start: what a run has listed it believes to its end
    told(copickfs, "prefetch", far.config, RUN, "-q")
    requests = [each for each in far.requests() if not each.endswith(" /")]
    assert len(requests) == len(set(requests))
    assert [each for each in requests if ": GET " in each and not is_listing(each)] == [f"lab: GET /{path}"]


def test_an_interrupted_run_is_gone_on_with(far: FarProject, sandbox: Sandbox, copickfs: Run) -> None:
    files = files_shown(far, f"{RUN}/")
    slow = threading.Event()

    def wait(handler: WebHandler) -> bool:
        if handler.command == "GET" and not handler.path.endswith("/"):
            slow.wait(0.1)
        return False

    for site in far.sites.values():
        site.fault = wait
    process = sandbox.start(sandbox.command("prefetch", far.config, RUN, "--jobs", "2"))
    wait_until(lambda: sum("GET" in each and each[-1] != "/" for each in far.sites["lab"].requests) > 10)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output) == (130, "")
    assert errors == "copickfs: stopped; the next run goes on from here\n"
    slow.set()
    first = far.contents()
    assert len(first) < len(files)
    told(copickfs, "prefetch", far.config, RUN, "-q")
    assert len(first) + len(far.contents()) == len(files)


def test_what_cannot_be_read_is_told(far: FarProject, copickfs: Run) -> None:
    closed = f"{RUN}/VoxelSpacing20.000/wbp.zarr/.zattrs"

    def refuse(handler: WebHandler) -> bool:
        if handler.command == "GET" and handler.path == f"/{closed}":
            handler.reply(403)
            return True
        return False

    far.sites["lab"].fault = refuse
    files = files_shown(far, f"{RUN}/")
    done = copickfs("prefetch", far.config, RUN)
    refused(done, closed, "not read", status=3)
    assert done.stdout.startswith(f"{len(files) - 1} of {len(files)} files are in the cache")


def test_a_server_that_goes_away_holds_nothing_up(far: FarProject, sandbox: Sandbox) -> None:
    gone = threading.Event()

    def go(handler: WebHandler) -> bool:
        if handler.command == "GET" and not handler.path.endswith("/"):
            if gone.is_set():
                handler.close_connection = True
                return True
            gone.set()
        return False

    far.sites["lab"].fault = go
    files = len(files_shown(far, f"{RUN}/"))
    done = sandbox.run("prefetch", far.config, RUN, "--jobs", "16")
    assert done.returncode == 3
    assert done.stdout.startswith(f"1 of {files} files are in the cache: "), done.stdout
    assert done.stderr.endswith(f"copickfs: {files - 1} paths were not read\n")
    far.sites["lab"].fault = None
    assert sandbox.run("prefetch", far.config, RUN).returncode == 0


def test_one_level_of_a_pyramid(far: FarProject, mount: Mounter, copickfs: Run) -> None:
    told(copickfs, "prefetch", far.config, "--tomogram", "wbp", "--run", "TS_001", "--level", "1", "-q")
    fetched = {request.split(" ")[2].removeprefix(f"/{TOMOGRAM}/") for request in far.contents()}
    levels = {path.split("/")[0] for path in fetched if not path.rpartition("/")[2].startswith(".")}
    assert levels == {"1"}
    assert {".zattrs", ".zgroup", "0/.zarray", "1/.zarray"} <= fetched
    said = told(copickfs, "prefetch", far.config, TOMOGRAM, "--level", "7")
    assert "1 stores have no such level" in said
    with far.away():
        group = zarr.open_group(str(mount(far.config, "--offline") / TOMOGRAM), mode="r")
        assert group["1"][:].shape == group["1"].shape
        assert group["0"].shape > group["1"].shape


def test_a_mount_uses_what_is_fetched_beside_it(far: FarProject, mount: Mounter, copickfs: Run) -> None:
    point = mount(far.config)
    told(copickfs, "prefetch", point, point / RUN, "-q")
    far.requests()
    for path, layer in files_shown(far, f"{RUN}/").items():
        assert (point / path).read_bytes() == (far.local / layer / path).read_bytes()
    assert far.contents() == []
    refused(copickfs("prefetch", point, far.local), "is not below", point)


def test_a_server_that_sends_no_parts(far: FarProject, mount: Mounter, copickfs: Run) -> None:
    far.sites["lab"].ranges = False
    path = big(far)
    told(copickfs, "prefetch", far.config, path, "-q")
    far.requests()
    told(copickfs, "prefetch", far.config, path, "-q")
    assert far.contents() == []
    with far.away():
        point = mount(far.config, "--offline")
        assert (point / path).read_bytes() == (far.local / "lab" / path).read_bytes()


def test_an_object_store(far: FarProject, mount: Mounter, copickfs: Run, tmp_path: Path) -> None:
    config = json.loads(far.config.read_text())
    with ObjectStore() as store:
        shown = files_shown(far, f"{RUN}/")
        store.fill({path: (far.local / layer / path).read_bytes() for path, layer in shown.items()})
        config["layers"] = ["lab"]
        config["layer_configs"] = {
            "lab": config["layer_configs"]["lab"] | {"root": store.url, "fs_args": store.fs_args}
        }
        file = tmp_path / "objects.json"
        file.write_text(json.dumps(config))
        told(copickfs, "prefetch", file, "--run", "TS_*", "-q")
    point = mount(file, "--offline")
    for path, layer in files_shown(far, f"{RUN}/").items():
        assert (point / path).read_bytes() == (far.local / layer / path).read_bytes()


def test_local_layers_are_passed_over(far: FarProject, copickfs: Run) -> None:
    config = json.loads(far.config.read_text())
    config["layer_configs"]["mine"]["root"] = str(far.local / "mine")
    far.config.write_text(json.dumps(config))
    files = files_shown(far)
    said = told(copickfs, "prefetch", far.config, ".")
    theirs = sum(layer == "lab" for layer in files.values())
    assert f"{theirs} of {theirs} files are in the cache" in said
    assert "files are of layers that are not fetched from" in said
    refused(copickfs("prefetch", far.config, ".", "--layer", "mine"), "layer mine is not cached")


def test_only_what_comes_from_one_layer(far: FarProject, copickfs: Run) -> None:
    told(copickfs, "prefetch", far.config, ".", "--layer", "mine", "-q")
    assert {request.split(":")[0] for request in far.contents()} == {"mine"}


def test_more_than_the_cache_may_hold(far: FarProject, copickfs: Run) -> None:
    big(far, 2 << 20)
    far.configure(cache={"max_size_bytes": 2 << 20})
    refused(copickfs("prefetch", far.config, RUN, "--pin"), "max_size_bytes", far.cache)
    assert far.contents() == []
    done = copickfs("prefetch", far.config, RUN)
    assert done.returncode == 3
    assert "what is fetched first makes room for what comes later" in done.stderr
    assert "not in the cache: others have taken its room" in done.stderr


def test_where_there_is_no_room_nothing_is_fetched(far: FarProject, copickfs: Run) -> None:
    far.configure(cache={"min_free_bytes": 1 << 60})
    refused(copickfs("prefetch", far.config, RUN), "has room for 0 B", "min_free_bytes", far.cache)
    assert far.contents() == []


def test_a_mount_that_asks_no_network_is_not_fetched_for(
    far: FarProject, mount: Mounter, copickfs: Run
) -> None:
    told(copickfs, "prefetch", far.config, PICKS, "-q")
    far.requests()
    point = mount(far.config, "--offline")
    refused(copickfs("prefetch", point, "."), point, "--offline", far.config)
    told(copickfs, "cache", point, "pin", PICKS)
    assert far.requests() == []


def test_a_bar_on_a_terminal(far: FarProject, sandbox: Sandbox) -> None:
    master, slave = os.openpty()
    done = sandbox.finish(sandbox.command("prefetch", far.config, RUN), stderr=slave)
    os.close(slave)
    shown = os.read(master, 1 << 16).decode()
    os.close(master)
    assert done.returncode == 0
    files = len(files_shown(far, f"{RUN}/"))
    assert f"{files} of {files} files" in shown


def test_mistakes_are_told_in_one_line(far: FarProject, copickfs: Run) -> None:
    for arguments, parts in [
        (["Nowhere"], ["Nowhere: there is no such file or directory in the merged tree"]),
        (["../x"], ["not a path of the tree"]),
        ([""], ["a PATH is empty; write . for everything"]),
        ([far.local], ["name its mount point before it"]),
        (["--run", "nobody"], ["nothing meets these criteria"]),
        (["--run", "TS_001", "--type", "cats"], ["no kind of entities"]),
        ([".", "--layer", "min"], ["no layer 'min'"]),
    ]:
        refused(copickfs("prefetch", far.config, *arguments), *parts)
    config = json.loads(far.config.read_text())
    del config["cache_config"]
    far.config.write_text(json.dumps(config))
    refused(copickfs("prefetch", far.config, "."), far.config, "cache_config", "there is no cache")
    refused(
        copickfs("prefetch", far.local / "nothing.json", "."), "no such configuration file or mount point"
    )
    far.configure(cache={"root": str(far.local)})
    refused(copickfs("prefetch", far.config, "."), far.config, "cache_config.root", "holds other files")
