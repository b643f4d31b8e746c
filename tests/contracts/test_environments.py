"""An environment is made once, again when it is to hold something else, and never half."""

import json
import shutil
from pathlib import Path

import pytest

from tests.contracts import environments
from tests.contracts.environments import EnvironmentFailedError, node_of, python_of

pytestmark = pytest.mark.contracts


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(environments, "FOLDER", tmp_path)
    monkeypatch.setattr(environments, "PYTHON", {"own": (str(tmp_path / "package"),)})
    return tmp_path


def write_package(folder: Path) -> None:
    """The least that pip installs, with nothing to download."""
    wheel = folder / "least-1-py3-none-any.whl"
    about = folder / "content" / "least-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: least\nVersion: 1\n")
    (about / "WHEEL").write_text(
        "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    (about / "RECORD").write_text("")
    shutil.make_archive(str(wheel), "zip", folder / "content")
    wheel.with_suffix(".whl.zip").rename(wheel)


def test_one_that_fits_is_used_again_and_another_is_made_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_package(folder)
    wheel = str(folder / "least-1-py3-none-any.whl")
    monkeypatch.setattr(environments, "PYTHON", {"own": (wheel,)})
    python = python_of("own")
    assert python.exists()
    (folder / "own" / "mine").touch()
    assert python_of("own") == python
    assert (folder / "own" / "mine").exists()
    monkeypatch.setattr(environments, "PYTHON", {"own": (wheel, wheel)})
    python_of("own")
    assert not (folder / "own" / "mine").exists()
    assert json.loads((folder / "own" / "installed.json").read_text())[:2] == [wheel, wheel]


def test_one_that_cannot_be_made_says_why_and_leaves_no_stamp(folder: Path) -> None:
    for _ in range(2):
        with pytest.raises(EnvironmentFailedError, match="package"):
            python_of("own")
        assert not (folder / "own" / "installed.json").exists()


def test_one_for_node_that_cannot_be_made_says_why(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    monkeypatch.setattr(environments, "NODE", {"node": ("file:./nowhere",)})
    with pytest.raises(EnvironmentFailedError, match="npm install"):
        node_of("node")
