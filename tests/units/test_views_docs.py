"""docs/views.md: its renderer is one, and its list of formats is the list of those that are installed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec
import pytest

from copickfs.config.kinds import renderer_points
from copickfs.demo import write_demo
from copickfs.errors import Unreadable
from copickfs.stack import close_shared

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENT = (Path(__file__).parents[2] / "docs" / "views.md").read_text(encoding="utf-8")
PICKS = "ExperimentRuns/TS_001/Picks/lab_1_ribosome.json"
VIEW = "Views/TS_001/Picks/lab_1_ribosome.bild"


def block(language: str) -> str:
    """The one block of code in a language."""
    [found] = re.findall(rf"^```{language}$(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    return str(found).lstrip()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The demo project, and the renderer as a package that is installed."""
    directory = tmp_path_factory.mktemp("views")
    module = directory / "installed/lab_renderers.py"
    points = directory / "installed/lab_renderers-1.dist-info/entry_points.txt"
    points.parent.mkdir(parents=True)
    module.write_text(block("python"))
    header, _, entry = block("toml").partition("\n")
    assert header == '[project.entry-points."copickfs.renderers"]'
    points.write_text(f"[copickfs.renderers]\n{entry.replace(chr(34), '')}")
    (points.parent / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-renderers\nVersion: 1\n")
    write_demo(directory / "demo")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(module.parent)
        for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
            monkeypatch.setenv(name, str(directory / name))
        yield directory / "demo"
        close_shared()


def test_the_renderer_is_found_and_makes_its_files(demo: Path) -> None:
    files = fsspec.filesystem("copickfs", config=str(demo / "config.json"))
    text = files.cat(VIEW).decode().splitlines()
    points = [point["location"] for point in json.loads(files.cat(PICKS))["points"]]
    assert points
    assert text[0].startswith(".color ")
    spheres = [[float(number) for number in line.split()[1:]] for line in text[1:]]
    assert [each[:3] for each in spheres] == [[round(point[axis], 3) for axis in "xyz"] for point in points]
    [ribosome] = [
        each
        for each in json.loads((demo / "config.json").read_text())["pickable_objects"]
        if each["name"] == "ribosome"
    ]
    assert {each[3] for each in spheres} == {ribosome["radius"]}
    assert text[0].split()[1:] == [f"{number / 255:.3f}" for number in ribosome["color"][:3]]
    assert files.info(VIEW)["size"] == len("\n".join(text)) + 1
    (demo / "lab" / PICKS.replace("ribosome", "other")).write_text('{"points": [{"location": {"x": 1}}]}')
    with pytest.raises(Unreadable, match="are no picks"):
        files.cat(VIEW.replace("ribosome", "other"))


def test_views_chooses_it(demo: Path) -> None:
    document = json.loads((demo / "config.json").read_text())
    for chosen, is_there in ((["bild"], True), (["stl"], False), (False, False)):
        config = {**document, "views": chosen}
        files = fsspec.filesystem("copickfs", config=config, base_directory=str(demo))
        assert files.exists(VIEW) is is_there
    assert not files.exists("Views")


def test_the_names_are_those_of_the_demo(demo: Path) -> None:
    files = fsspec.filesystem("copickfs", config=str(demo / "config.json"))
    for directory, pattern in (("VoxelSpacing20.000", ""), ("Picks", "_ribosome.")):
        listed = sorted(
            name.rpartition("/")[2] for name in files.ls(f"Views/TS_001/{directory}", detail=False)
        )
        names = [name for name in listed if pattern in name and not name.endswith(".bild")]
        assert "  ".join(names) in DOCUMENT.splitlines()


def test_the_renderer_is_as_short_as_is_said() -> None:
    assert len(block("python").splitlines()) <= 30


def test_every_format_is_in_the_table() -> None:
    rows = [line for line in DOCUMENT.splitlines() if line.startswith("| ") and line.endswith("` |")]
    told = {word for row in rows for word in re.findall(r"`(\w+)`", row.rstrip(" |").rpartition(" | ")[2])}
    told.discard("views")
    own = {word for word, point in renderer_points().items() if point.value.startswith("copickfs.")}
    assert told == own
