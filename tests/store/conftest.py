"""A home of its own for each test, a hub to pull from, and a packaged model."""

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tonewise.store import File, HeadSpec, Manifest, packaged
from tonewise.store.files import sha256_of

from .hub_server import Hub, Model, tiny_model

VARIABLES = ("HF_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders that are nobody's, and a working folder that is no project."""
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


@pytest.fixture
def hub(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with one good model, `acme/mood`; pauses between attempts take no time."""
    from huggingface_hub import constants

    server = Hub()
    server.add("acme/mood", Model(tiny_model()))
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    yield server
    server.close()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any connection fails the test."""

    def connect(*args: object, **kwargs: object) -> None:
        pytest.fail("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def write_bundle(folder: Path, *, licence: str | None = "apache-2.0", data_terms: str | None = None) -> Path:
    """A folder with a manifest: two heads over one encoder."""
    write_folder(folder, tiny_model())
    files = {path.name: File(sha256_of(path), path.stat().st_size) for path in sorted(folder.iterdir())}
    heads = {
        "mood": HeadSpec(("low", "high"), "classifier"),
        "topic": HeadSpec(("food", "travel", "work"), "topic", "multi_label_classification", "mean"),
    }
    manifest = Manifest(
        files=files, heads=heads, licence=licence, data_terms=data_terms, languages=("en",), name=folder.name
    )
    (folder / "tonewise.json").write_text(manifest.to_json(), "utf-8")
    return folder


@pytest.fixture
def packaged_mood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A packaged model called `mood`."""
    monkeypatch.setattr(packaged, "ROOT", tmp_path / "packaged")
    return write_bundle(tmp_path / "packaged" / "mood", data_terms="research only")


@pytest.fixture
def packaged_topic(packaged_mood: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, and `topic` the packaged name of its second head."""
    monkeypatch.setattr(packaged, "HEADS", {"topic": "mood"})
    return packaged_mood


def lock_table(home: Path) -> dict[str, dict[str, object]]:
    """The models in the user's own lock."""
    path = home / "data" / "tonewise" / "tonewise.lock"
    models: dict[str, dict[str, object]] = json.loads(path.read_text("utf-8"))["models"]
    return models


def is_root() -> bool:
    return os.geteuid() == 0
