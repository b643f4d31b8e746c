"""Models in one process: opened on demand, shared, swapped under load, within the memory they may have."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from tests.doubles import MakeModel
from tests.serve.conftest import Running, serving
from tonewise.errors import ModelError, UnavailableError

TEXT = {"texts": ["love"]}


def weights(folder: Any) -> int:
    return int((folder / "model.safetensors").stat().st_size)


@contextmanager
def room_for_one(model: MakeModel, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A server of two models whose memory one of them fills."""
    monkeypatch.setattr("tonewise.serve.models.resident_bytes", lambda: 0)  # what tests hold is not theirs
    first, second = model(), model("bert")
    most = weights(first) + weights(second) - 1
    with serving(models=(f"first={first}/", f"second={second}/"), max_model_bytes=most) as running:
        yield running


def test_beyond_the_memory_limit_the_model_unused_longest_goes_first(
    model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with room_for_one(model, monkeypatch) as running:

        def states() -> dict[str, str]:
            return {one["name"]: one["state"] for one in running.ask("/v1/models")[1]["data"]}

        assert states() == {"first": "loaded", "second": "unloaded"}
        assert running.ask("/classify", TEXT | {"model": "second"})[0] == 200
        assert states() == {"first": "unloaded", "second": "loaded"}
        assert running.ask("/classify", TEXT)[0] == 200
        assert states() == {"first": "loaded", "second": "unloaded"}


def test_a_model_that_can_never_fit_is_refused(model: MakeModel) -> None:
    with (
        pytest.raises(UnavailableError, match="max_model_bytes is 10"),
        serving(models=(f"moods={model()}/",), max_model_bytes=10),
    ):
        pass


def test_a_server_that_cannot_start_leaves_no_thread(model: MakeModel) -> None:
    before = set(threading.enumerate())
    with pytest.raises(UnavailableError), serving(models=(f"moods={model()}/",), max_model_bytes=10):
        pass
    deadline = time.monotonic() + 10
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(threading.enumerate()) <= before


def test_a_version_is_swapped_without_a_failed_request(model: MakeModel) -> None:
    refs = [f"{model()}/", f"{model('bert')}/"]
    with serving(models=(f"moods={refs[0]}",), cache_bytes=0) as running:
        done = threading.Event()
        found: list[tuple[int, str]] = []

        def ask() -> None:
            while not done.is_set():
                status, answer, _ = running.ask("/classify", {"texts": ["i am happy", "so sad"]})
                found.append((status, answer["answers"][0].get("model", {}).get("digest", str(answer))))

        callers = [threading.Thread(target=ask) for _ in range(4)]
        for caller in callers:
            caller.start()
        for i in range(6):
            assert running.ask("/v1/models/moods/load", {"ref": refs[(i + 1) % 2]})[0] == 200
        done.set()
        for caller in callers:
            caller.join()
        assert {status for status, _ in found} == {200}
        assert len({digest for _, digest in found}) == 2


def test_what_was_swapped_out_is_closed_once_nothing_uses_it(model: MakeModel) -> None:
    with serving(models=(f"moods={model()}/",)) as running:
        old = running.service.models.default.opened
        assert old is not None
        running.ask("/v1/models/moods/load", {"ref": f"{model('bert')}/"})
        assert old.classifier._closed
        now = running.service.models.default.opened
        assert now is not None
        assert not now.classifier._closed


def test_many_who_ask_for_a_model_open_it_once(model: MakeModel) -> None:
    with serving(models=(f"moods={model()}/",)) as running:
        running.ask("/v1/models/moods/unload", {})
        opened: list[Any] = []
        inner = running.service.models._classifier
        running.service.models._classifier = lambda bundle: opened.append(1) or inner(bundle)  # type: ignore[func-returns-value, method-assign]
        callers = [threading.Thread(target=running.ask, args=("/classify", TEXT)) for _ in range(6)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        assert len(opened) == 1


def test_a_packaged_head_is_named_as_the_library_names_it() -> None:
    with serving(models=("spam", "sentiment")) as running:
        _, answer, _ = running.ask("/models/tonewise/spam", {"inputs": "WINNER! claim your free prize now"})
        assert answer[0][0]["label"] == "spam"
        _, answer, _ = running.ask("/models/sentiment", {"inputs": "a wonderful film"})
        assert answer[0][0]["label"] == "positive"
        names = [(one["id"], one["memory_bytes"]) for one in running.ask("/v1/models")[1]["data"]]
        assert [name for name, _ in names] == ["tonewise/spam", "tonewise/sentiment"]


def test_a_name_is_given_once(model: MakeModel) -> None:
    with (
        pytest.raises(ModelError, match="two models are called 'a'"),
        serving(models=(f"a={model()}/", f"a={model()}/")),
    ):
        pass


def test_it_is_ready_while_the_default_model_made_room_for_another(
    model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with room_for_one(model, monkeypatch) as running:
        assert running.ask("/classify", TEXT | {"model": "second"})[0] == 200
        assert running.service.models.default.opened is None
        assert running.ask("/ready")[0] == 200
        running.ask("/v1/models/second/unload", {})
        assert running.ask("/ready")[0] == 503


def test_it_is_ready_once_what_it_made_room_for_is_open(
    model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with room_for_one(model, monkeypatch) as running, ThreadPoolExecutor() as pool:
        inner, begun, go = running.service.models._classifier, threading.Event(), threading.Event()

        def slow(bundle: Any) -> Any:
            begun.set()
            assert go.wait(60)
            return inner(bundle)

        monkeypatch.setattr(running.service.models, "_classifier", slow)
        asked = pool.submit(running.ask, "/classify", TEXT | {"model": "second"})
        assert begun.wait(60)
        assert all(one.opened is None for one in running.service.models)
        ready = pool.submit(running.ask, "/ready")
        go.set()
        assert (ready.result()[0], asked.result()[0]) == (200, 200)


def test_an_id_names_the_model_that_is_swapped(model: MakeModel) -> None:
    with serving(models=(f"moods={model()}/",)) as running:
        status, told, _ = running.ask("/v1/models/tonewise/moods/load", {"ref": f"{model('bert')}/"})
        assert (status, told["name"]) == (200, "moods")
        assert len(running.service.models) == 1
