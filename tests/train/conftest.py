"""What the tests of training stand on: torch, on one thread."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

from tests.models import one_thread, opened
from tonewise.store import Bundle


@pytest.fixture(autouse=True)
def on_one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Models so small lose by a second one, in torch and in BLAS."""
    monkeypatch.setattr("tonewise.train.session.choose_threads", lambda asked: 1)
    with one_thread(), threadpool_limits(1):
        yield


@pytest.fixture
def bundle(model: Callable[..., Path]) -> Bundle:
    """A small DistilBERT."""
    return opened(model())
