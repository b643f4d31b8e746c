"""What every test stands on: no network, no settings of the user, a cache of its own."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.models import make_model

settings.register_profile("unhurried", deadline=None)  # a busy machine is no fault
settings.load_profile("unhurried")

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@pytest.fixture(autouse=True)
def alone(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test runs without the user's variables, lock and cache."""
    for name in [name for name in os.environ if name.startswith("TONEWISE_") and name != "TONEWISE_DATA"]:
        monkeypatch.delenv(name)
    home = tmp_path_factory.getbasetemp() / "home"
    home.mkdir(exist_ok=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    monkeypatch.setenv("HF_HOME", str(home / "hf"))


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that leaves this machine fails the test that tries it."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        outside = self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in LOOPBACK
        if outside:
            raise AssertionError(f"a test tried to connect to {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`model("bert", labels=…)`: a folder with a small random classifier, made once per arguments."""
    made: dict[str, Path] = {}

    def make(family: str = "distilbert", **options: Any) -> Path:
        key = f"{family}-{sorted(options.items())!r}"
        if key not in made:
            made[key] = make_model(tmp_path_factory.mktemp(family) / "model", family, **options)
        return made[key]

    return make


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of the real sets; a test that asks for it is marked `data`."""
    folder = os.environ.get("TONEWISE_DATA")
    if not folder:
        pytest.skip("TONEWISE_DATA does not name the folder of the real sets")
    return Path(folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever uses the real sets carries their mark."""
    for item in items:
        if "data" in getattr(item, "fixturenames", ()):
            item.add_marker("data")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: an empty one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
