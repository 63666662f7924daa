"""``copickfs cache``: what it shows, what stays, what goes."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.mounted.cached import RUN, TOMOGRAM, refused, told
from tests.sandbox import needs_root

if TYPE_CHECKING:
    from tests.conftest import Mounter
    from tests.mounted.cached import FarProject
    from tests.sandbox import Run

PICKS = f"{RUN}/Picks"
DOCUMENT = Path(__file__).parents[2] / "docs" / "cache.md"


def documented(heading: str) -> set[str]:
    """The keys in the table below a heading of docs/cache.md."""
    section = DOCUMENT.read_text().split(f"\n### {heading}\n")[1].split("\n#")[0]
    return set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (.*?) \|", section, re.MULTILINE))))


def statistics(copickfs: Run, target: Any) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(told(copickfs, "cache", target, "stat", "--json"))
    return answer


def cached(copickfs: Run, target: Any, *arguments: Any) -> dict[str, dict[str, Any]]:
    """What is listed, by path."""
    answer = json.loads(told(copickfs, "cache", target, "list", *arguments, "--json"))
    return {each["path"]: each for each in answer["objects"]}


def content_files(far: FarProject) -> list[Path]:
    return sorted(path for path in (far.cache / "content").rglob("*") if path.is_file())


def test_what_is_shown(far: FarProject, copickfs: Run) -> None:
    empty = statistics(copickfs, far.config)
    assert (empty["root"], empty["used_bytes"], empty["sources"]) == (str(far.cache), 0, [])
    assert copickfs("cache", far.config, "list").stderr == "nothing is in the cache\n"
    assert told(copickfs, "cache", far.config, "verify") == "0 files are as they were written\n"
    assert not far.cache.exists(), "a look makes no directory"
    told(copickfs, "prefetch", far.config, RUN, "-q")
    told(copickfs, "cache", far.config, "pin", PICKS, "--layer", "lab")

    shown = statistics(copickfs, far.config)
    assert set(shown) == documented("The document of `stat --json`")
    (source,) = shown["sources"]
    assert set(source) == documented("A source")
    assert source["layers"] == ["lab"], "of mine nothing is shown in this run"
    files = content_files(far)
    assert source["files"] == source["objects"] == len(files)
    assert source["size_bytes"] == sum(file.stat().st_size for file in files)
    assert 0 < source["pinned_bytes"] < source["disk_bytes"] == shown["used_bytes"]
    assert shown["pins"] == [{"source": source["source"], "layers": ["lab"], "path": PICKS}]
    text = told(copickfs, "cache", far.config, "stat")
    assert f"directory  {far.cache}\n" in text
    assert f"pinned     lab: {PICKS}\n" in text

    listed = cached(copickfs, far.config)
    assert {f"{source['source']}/{path}" for path in listed} == {
        str(file.relative_to(far.cache / "content")) for file in files
    }
    for path, each in listed.items():
        assert set(each) == documented("The document of `list --json`")
        assert each["cached_bytes"] == each["size_bytes"] == (far.local / "lab" / path).stat().st_size
        assert each["pinned"] == path.startswith(PICKS)
    assert cached(copickfs, far.config, PICKS).keys() == {path for path in listed if path.startswith(PICKS)}
    assert cached(copickfs, far.config, "--layer", "mine") == {}
    assert f"{TOMOGRAM}/0/.zarray" in told(copickfs, "cache", far.config, "list", TOMOGRAM)


def test_what_is_of_another_configuration(far: FarProject, copickfs: Run, tmp_path: Path) -> None:
    told(copickfs, "prefetch", far.config, PICKS, "-q")
    config = json.loads(far.config.read_text())
    config["layers"] = ["mine"]
    config["layer_configs"].pop("lab")
    other = tmp_path / "other.json"
    other.write_text(json.dumps(config))
    (source,) = statistics(copickfs, other)["sources"]
    assert source["layers"] == []
    assert source["source"] in told(copickfs, "cache", other, "stat")
    assert cached(copickfs, other).keys() == cached(copickfs, far.config).keys() != set()
    assert cached(copickfs, other, ".") == {}


def test_what_is_pinned_stays_when_room_is_made(far: FarProject, copickfs: Run) -> None:
    first, second = (f"{RUN}/{name}.bin" for name in ("first", "second"))
    for path in (first, second):
        (far.local / "lab" / path).write_bytes(os.urandom(4 << 20))
    far.configure(cache={"max_size_bytes": 7 << 20})
    assert "nothing of it is in the cache" in told(copickfs, "cache", far.config, "pin", PICKS)
    told(copickfs, "prefetch", far.config, PICKS, "-q")
    pinned = cached(copickfs, far.config).keys()
    told(copickfs, "prefetch", far.config, first, "-q")
    assert cached(copickfs, far.config).keys() == pinned | {first}
    told(copickfs, "prefetch", far.config, second, "-q")
    assert cached(copickfs, far.config).keys() == pinned | {second}, "what is older stays, as it is pinned"


def test_what_is_not_there_is_not_pinned(far: FarProject, copickfs: Run) -> None:
    absent = f"{RUN}/Pick"
    with far.away():
        done = copickfs("cache", far.config, "pin", absent)
    assert done.returncode == 0
    assert "nobody can tell now whether it is there" in done.stderr
    told(copickfs, "cache", far.config, "unpin", absent)
    refused(copickfs("cache", far.config, "pin", PICKS, absent), absent, "there is no such file or directory")
    refused(copickfs("cache", far.config, "pin", ""), "a PATH is empty; write . for everything")
    assert statistics(copickfs, far.config)["pins"] == []


def test_pins_are_let_go(far: FarProject, copickfs: Run) -> None:
    told(copickfs, "prefetch", far.config, "--run", "TS_001", "--type", "picks", "--pin", "-q")
    assert all(each["pinned"] for each in cached(copickfs, far.config).values())
    inner = f"{PICKS}/lab_1_ribosome.json"
    told(copickfs, "cache", far.config, "pin", RUN)
    refused(copickfs("cache", far.config, "unpin", inner), inner, "stays with", "which is pinned")
    told(copickfs, "cache", far.config, "unpin", ".")
    assert statistics(copickfs, far.config)["pins"] == []
    assert not any(each["pinned"] for each in cached(copickfs, far.config).values())
    refused(copickfs("cache", far.config, "unpin", RUN), "nothing is pinned there")


def test_clear(far: FarProject, copickfs: Run) -> None:
    told(copickfs, "prefetch", far.config, ".", "-q")
    every = cached(copickfs, far.config)
    told(copickfs, "cache", far.config, "pin", PICKS)
    said = told(copickfs, "cache", far.config, "clear", RUN)
    gone = [path for path in every if path.startswith(RUN) and not path.startswith(PICKS)]
    assert said.startswith(f"{len(gone)} files removed, ")
    assert said.endswith(" that is pinned stays\n")
    assert cached(copickfs, far.config).keys() == every.keys() - set(gone)
    told(copickfs, "cache", far.config, "clear", "--layer", "mine")
    assert cached(copickfs, far.config, "--layer", "mine") == {}
    told(copickfs, "cache", far.config, "clear")
    assert {path for path in every if path.startswith(PICKS)} == cached(copickfs, far.config).keys()
    told(copickfs, "cache", far.config, "clear", "--pinned")
    assert content_files(far) == []
    assert statistics(copickfs, far.config)["pins"] != []


def test_verify(far: FarProject, mount: Mounter, copickfs: Run) -> None:
    told(copickfs, "prefetch", far.config, RUN, "-q")
    files = content_files(far)
    assert told(copickfs, "cache", far.config, "verify") == f"{len(files)} files are as they were written\n"
    chunk = next(file for file in files if str(file).endswith(f"{TOMOGRAM}/0/0/0/0"))
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)
    (far.cache / "content" / "stray").write_bytes(b"stray")
    done = copickfs("cache", far.config, "verify")
    refused(done, "1 damaged files and 1 unknown ones were removed", status=3)
    assert done.stdout == f"{len(files) - 1} files are as they were written\n"
    assert not chunk.exists()
    assert not (far.cache / "content" / "stray").exists()
    far.requests()
    told(copickfs, "prefetch", far.config, RUN, "-q")
    assert far.contents() == [f"lab: GET /{TOMOGRAM}/0/0/0/0"]
    assert told(copickfs, "cache", mount(far.config), "verify", "-q") == ""


def test_a_file_that_somebody_removed_is_fetched_again(far: FarProject, copickfs: Run) -> None:
    told(copickfs, "prefetch", far.config, RUN, "-q")
    next(file for file in content_files(far) if str(file).endswith(f"{TOMOGRAM}/0/0/0/0")).unlink()
    far.requests()
    told(copickfs, "prefetch", far.config, RUN, "-q")
    assert far.contents() == [f"lab: GET /{TOMOGRAM}/0/0/0/0"]


def test_by_mount_point(far: FarProject, mount: Mounter, copickfs: Run) -> None:
    point = mount(far.config)
    told(copickfs, "cache", point, "pin", point / PICKS)
    name = next((far.local / "lab" / PICKS).iterdir()).name
    (point / PICKS / name).read_bytes()
    told(copickfs, "prefetch", point, point / PICKS, "-q")
    assert cached(copickfs, point, point / PICKS)[f"{PICKS}/{name}"]["pinned"]
    every = cached(copickfs, point)
    for path, directory in [(point, None), (".", point), ("Picks", point / RUN), ("../TS_001", point / RUN)]:
        answer = json.loads(
            copickfs("cache", point, "list", path, "--json", cwd=directory, check=True).stdout
        )
        assert {each["path"] for each in answer["objects"]} == set(every), path
    refused(copickfs("cache", point, "list", "../..", cwd=point / "ExperimentRuns"), "is not below", point)
    refused(copickfs("cache", point, "list", far.local), "is not below", point)
    refused(copickfs("cache", far.config, "list", point), "name its mount point before it")


def test_the_status_of_a_mount_tells_of_the_cache(far: FarProject, mount: Mounter, copickfs: Run) -> None:
    told(copickfs, "prefetch", far.config, TOMOGRAM, "-q")
    point = mount(far.config)
    name = next((far.local / "lab" / PICKS).iterdir()).name
    (point / PICKS / name).read_bytes()
    (point / TOMOGRAM / "0/0/0/0").read_bytes()
    shown = told(copickfs, "status", point)
    entry = mount.status(point)
    hits = sum(layer["cache_hits"] for layer in entry["layers"])
    pieces = hits + sum(layer["cache_misses"] for layer in entry["layers"])
    assert pieces > hits > 0
    where = f"{entry['cache']['memory_hits']} times in memory, {entry['cache']['disk_hits']} on the disk"
    assert f"{100 * hits / pieces:.0f} % of {pieces} pieces were there ({where})\n" in shown
    assert f"cache          {far.cache}\n" in shown
    lines = {line.split()[0]: line for line in shown.splitlines() if " filesystem " in line}
    assert f" {100 * hits / pieces:.0f} % " in lines["lab"]
    assert " - " in lines["mine"]


@pytest.mark.parametrize(
    "command", [["stat"], ["list"], ["pin", "."], ["unpin", "."], ["clear"], ["verify"]], ids=lambda c: c[0]
)
def test_without_a_cache_that_can_be_used(far: FarProject, copickfs: Run, command: list[str]) -> None:
    far.configure(cache={"root": str(far.local)})
    refused(copickfs("cache", far.config, *command), far.config, "cache_config.root", "holds other files")
    assert not (far.local / ".copickfs").exists()
    config = json.loads(far.config.read_text())
    del config["cache_config"]
    far.config.write_text(json.dumps(config))
    refused(copickfs("cache", far.config, *command), far.config, "cache_config", "there is no cache")


@needs_root
def test_on_a_disk_that_cannot_be_written(far: FarProject, copickfs: Run) -> None:
    far.configure(cache={"root": "/proc/cache"})
    for command in (["cache", far.config, "pin", "."], ["prefetch", far.config, "."]):
        refused(copickfs(*command), "the cache cannot be used: /proc/cache")
