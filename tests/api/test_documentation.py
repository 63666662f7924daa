"""The examples of the documents do what is printed there, and all that is public tells what it does."""

from __future__ import annotations

import doctest
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import copickfs
from copickfs import api
from copickfs.demo import write_demo
from copickfs.stack import close_shared

DOCUMENTS = Path(__file__).parents[2] / "docs"


@pytest.mark.usefixtures("isolated")
@pytest.mark.parametrize(("name", "least"), [("api.md", 30), ("fsspec.md", 20)])
def test_the_examples_are_what_happens(
    name: str, least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = DOCUMENTS / name
    write_demo(tmp_path / "demo")
    monkeypatch.chdir(tmp_path / "demo")
    text = re.sub(r"^```.*$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE)
    examples = doctest.DocTestParser().get_doctest(text, {}, document.name, str(document), 0)
    assert len(examples.examples) > least
    said: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(examples, out=said.append)
    close_shared()
    assert not runner.failures, "".join(said)


@pytest.mark.parametrize("name", api.__all__)
def test_everything_public_has_a_docstring(name: str) -> None:
    thing = getattr(api, name)
    assert thing.__doc__
    if inspect.isclass(thing):
        for key, member in vars(thing).items():
            if not key.startswith("_") and (callable(member) or isinstance(member, property)):
                assert inspect.getdoc(member), f"{name}.{key}"


def test_the_daemon_does_not_import_copick() -> None:
    program = (
        "import sys, copickfs, copickfs.daemon.service, copickfs.stack; "
        "print([name for name in sys.modules if name.split('.')[0] in ('copick', 'zarr', 'numpy')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_package_is_typed() -> None:
    assert (Path(copickfs.__file__).parent / "py.typed").exists()


@pytest.mark.soak
def test_users_type_checkers_see_the_annotations(tmp_path: Path) -> None:
    user = tmp_path / "user.py"
    user.write_text(
        "from copickfs.api import from_file\n"
        "root = from_file('config.json')\n"
        "names: list[str] = [layer.name for layer in root.layer_manager.get_data_layers()]\n"
        "summary: int = root.index_all_layers().runs\n"
        "wrong: str = root.flush(1.0)\n"
        "import copickfs\n"
        "copickfs.from_flie\n" + "".join(f"reveal_type(copickfs.{name})\n" for name in copickfs.__all__)
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(user)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "user.py:5: error" in done.stdout, done.stdout + done.stderr
    assert 'has no attribute "from_flie"' in done.stdout
    assert done.stdout.count(": error:") == 2
    assert done.stdout.count("Revealed type is") == len(copickfs.__all__)
    assert 'Revealed type is "Any"' not in done.stdout
