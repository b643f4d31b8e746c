"""Around every request: keys, roles, limits, origins, deadlines, callers who leave; every fault bounded."""

import json
import socket
import threading
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

import pytest

from tests.doubles import MakeModel
from tests.serve.conftest import MOST_SECONDS, Running, serving
from tonewise.errors import EngineError, OverloadedError, RateLimitedError
from tonewise.serve import endpoint
from tonewise.serve.keys import Key, Keys

TEXT = {"texts": ["i am happy"]}


def keys(**known: Key) -> Keys:
    return Keys({sha256(secret.encode()).hexdigest(): key for secret, key in known.items()})


def until(seen: Callable[[], Any]) -> Any:
    end = time.monotonic() + MOST_SECONDS
    while not (found := seen()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


class Held:
    """A lane's compute that waits until it is let go."""

    def __init__(self, running: Running, kind: str = "classify") -> None:
        self.lane = running.service.models.default.opened.lanes[kind]  # type: ignore[union-attr, index]
        self.inner, self.lane.compute = self.lane.compute, self
        self.go, self.entered = threading.Event(), threading.Event()
        self.texts = 0

    def __call__(self, encodings: Sequence[Any]) -> Sequence[Any]:
        self.entered.set()
        assert self.go.wait(MOST_SECONDS)
        self.texts += len(encodings)
        return self.inner(encodings)


def test_a_key_is_asked_for_and_each_dialect_says_so_in_its_words(model: MakeModel) -> None:
    known = keys(good=Key("app"), chief=Key("boss", ("infer", "admin")))
    with serving(known, models=(f"moods={model()}/",)) as running:
        for path, body in (("/classify", TEXT), ("/", {"inputs": "a"}), ("/predict", {"inputs": "a"})):
            assert running.ask(path, body)[0] == 401
            assert running.ask(path, body, authorization="Bearer bad")[0] == 401
            assert running.ask(path, body, authorization="Basic good")[0] == 401
            assert running.ask(path, body, authorization="Bearer good")[0] == 200
        status, answer, headers = running.ask("/", {"inputs": "a"}, authorization="Bearer bad")
        assert answer == {"error": "Invalid credentials in Authorization header"}
        assert headers["www-authenticate"] == "Bearer"
        assert running.ask("/health")[0] == 200
        assert running.ask("/ready")[0] == 200
        assert running.ask("/metrics")[0] == 401
        status, answer, _ = running.ask("/v1/models/moods/unload", {}, authorization="Bearer good")
        assert (status, answer["error"]["code"]) == (403, "forbidden")
        assert "the key 'app' has the role infer, not admin" in answer["error"]["message"]
        assert running.ask("/v1/models/moods/unload", {}, authorization="Bearer chief")[0] == 200
        assert not any("good" in json.dumps(line) or "chief" in json.dumps(line) for line in running.lines)


def test_a_key_has_its_share_of_a_minute(model: MakeModel) -> None:
    known = keys(few=Key("few", requests_per_minute=2), all=Key("all"))
    with serving(known, models=(f"moods={model()}/",)) as running:
        first = running.ask("/classify", TEXT, authorization="Bearer few")
        assert first[0] == 200
        assert first[2]["ratelimit"].startswith('"requests";r=1;t=')
        assert first[2]["ratelimit-policy"] == '"requests";q=2;w=60'
        running.ask("/classify", TEXT, authorization="Bearer few")
        status, answer, headers = running.ask("/classify", TEXT, authorization="Bearer few")
        assert (status, answer["error"]["code"]) == (429, "rate_limited")
        assert 1 <= int(headers["retry-after"]) <= 30
        status, _, headers = running.ask("/classify", TEXT, authorization="Bearer all")
        assert status == 200
        assert "ratelimit" not in headers


def test_a_body_that_is_too_long_is_refused_by_its_length(model: MakeModel) -> None:
    with serving(models=(f"moods={model()}/",), max_body_bytes=1000) as running:
        status, answer, _ = running.ask("/classify", {"texts": ["a" * 2000]})
        assert (status, answer["error"]["code"]) == (413, "too_large")
        assert "1,000 are the most" in answer["error"]["message"]
        parts = iter([b'{"texts":["', *[b"a" * 500] * 10, b'"]}'])
        found = running.pool.request(
            "POST",
            f"{running.url}/classify",
            body=parts,
            headers={"content-type": "application/json", "transfer-encoding": "chunked"},
        )
        assert found.status == 413
        assert running.service.admission.tokens == 0
        assert running.ask("/classify", TEXT)[0] == 200


def test_a_chunked_body_is_read(server: Running) -> None:
    parts = iter([b'{"texts":', b'["love"]}'])
    headers = {"content-type": "application/json"}
    found = server.pool.request("POST", f"{server.url}/classify", body=parts, headers=headers)
    assert found.status == 200
    assert len(found.json()["answers"]) == 1


def test_more_than_waits_already_may_is_refused_at_once_and_told_when_to_come(model: MakeModel) -> None:
    with serving(models=(f"moods={model()}/",), max_queue_tokens=30, streams=1, cache_bytes=0) as running:
        held = Held(running)
        answers: list[Any] = []
        first = threading.Thread(target=lambda: answers.append(running.ask("/classify", TEXT)))
        first.start()
        assert held.entered.wait(MOST_SECONDS)
        status, answer, headers = running.ask("/classify", {"texts": ["so sad"] * 12})
        assert (status, answer["error"]["code"]) == (429, "overloaded")
        assert int(headers["retry-after"]) >= 1
        assert "x-queue-tokens" in headers
        assert running.ask("/health")[0] == 200, "what asks for no model is answered"
        held.go.set()
        first.join()
        assert answers[0][0] == 200
        assert running.service.admission.tokens == 0
        assert running.ask("/classify", {"texts": ["so sad"] * 12})[0] == 200, "an empty house takes it"


def test_a_deadline_passes_and_the_work_is_dropped(model: MakeModel) -> None:
    with serving(models=(f"moods={model()}/",), streams=1, cache_bytes=0) as running:
        held = Held(running)
        blocking = threading.Thread(target=lambda: running.ask("/classify", TEXT))
        blocking.start()
        assert held.entered.wait(MOST_SECONDS)
        status, answer, _ = running.ask("/classify", {"texts": ["love"] * 3}, x_timeout_seconds="0.05")
        assert (status, answer["error"]["code"]) == (504, "deadline")
        held.go.set()
        blocking.join()
        assert running.ask("/classify", TEXT)[0] == 200
        assert held.texts == 2, "the three were never computed"
        assert running.ask("/classify", TEXT, x_timeout_seconds="soon")[0] == 400
        assert running.ask("/classify", TEXT, x_timeout_seconds="-1")[0] == 400


def test_a_caller_who_left_is_dropped(model: MakeModel) -> None:
    with serving(models=(f"moods={model()}/",), streams=1, cache_bytes=0) as running:
        held = Held(running)
        blocking = threading.Thread(target=lambda: running.ask("/classify", TEXT))
        blocking.start()
        assert held.entered.wait(MOST_SECONDS)
        body = json.dumps({"texts": ["love"] * 5}).encode()
        with socket.create_connection(("127.0.0.1", running.port)) as caller:
            caller.sendall(request("/classify", body))
            until(lambda: running.on_loop(lambda: len(running.service.scheduler.waiting)) == 5)
        until(lambda: any(line.get("status") == 499 for line in running.lines))
        held.go.set()
        blocking.join()
        assert running.ask("/classify", TEXT)[0] == 200
        assert held.texts == 2
        assert running.service.admission.tokens == 0


def request(path: str, body: bytes, *more: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: localhost", "content-type: application/json", *more]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


def test_half_a_body_holds_no_place(server: Running) -> None:
    before = len(server.lines)
    with socket.create_connection(("127.0.0.1", server.port)) as caller:
        caller.sendall(request("/classify", b'{"texts": ["a"]}' + b" " * 50)[:-50])
        until(lambda: server.service.admission.tokens > 0)
    until(lambda: any(line.get("status") == 499 for line in server.lines[before:]))
    assert server.service.admission.tokens == 0


def test_a_sender_of_a_byte_at_a_time_is_cut_off(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "BODY_SECONDS", 0.2)
    with socket.create_connection(("127.0.0.1", server.port), timeout=MOST_SECONDS) as caller:
        caller.sendall(request("/classify", b'{"texts": ["a"]}')[:-10])
        assert caller.recv(1000).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "https://elsewhere.example"}, 403),
        ({"origin": "null"}, 403),
        ({"host": "rebound.example:8321"}, 403),
        ({"host": "localhost"}, 200),
        ({"host": "[::1]:8321"}, 200),
        ({"host": "127.0.0.1:8321", "origin": "http://127.0.0.1:8321"}, 200),
        ({"content-type": "text/plain"}, 400),
        ({"content-type": "application/json; charset=utf-8"}, 200),
    ],
)
def test_a_page_of_another_origin_cannot_ask_through_its_readers_browser(
    server: Running, headers: dict[str, str], status: int
) -> None:
    assert server.ask("/classify", TEXT, **headers)[0] == status


def test_other_origins_are_let_in_where_that_was_said(model: MakeModel) -> None:
    with serving(models=(f"moods={model()}/",), cors_origins=("https://app.example",)) as running:
        status, _, headers = running.ask("/classify", TEXT, origin="https://app.example")
        assert status == 200
        assert headers["access-control-allow-origin"] == "https://app.example"
        assert running.ask("/classify", TEXT, origin="https://other.example")[0] == 403


def test_without_being_told_so_no_other_origin_is_named(server: Running) -> None:
    headers = server.ask("/health", origin="https://app.example")[2]
    assert "access-control-allow-origin" not in headers


def test_a_method_that_is_not_for_a_path_is_told_those_that_are(server: Running) -> None:
    found = server.pool.request("PUT", server.url + "/")
    assert found.status == 405
    assert {one.strip() for one in found.headers["allow"].split(",")} == {"GET", "HEAD", "POST"}


def test_behind_tls_a_path_with_a_slash_too_many_leads_back_to_tls(server: Running) -> None:
    headers = {"x-forwarded-proto": "https"}
    found = server.pool.request("GET", server.url + "/health/", headers=headers, redirect=False)
    assert found.status == 307
    assert found.headers["location"].startswith("https://")


@pytest.mark.parametrize(
    ("error", "late"), [(OverloadedError("too late"), ["anyone"]), (RateLimitedError("too many"), [])]
)
def test_an_answer_that_would_be_late_is_a_sign_of_a_storm_a_rate_limit_is_none(
    model: MakeModel, monkeypatch: pytest.MonkeyPatch, error: Exception, late: list[str]
) -> None:
    with serving(models=(f"moods={model()}/",), cache_bytes=0) as running:
        told: list[str] = []
        monkeypatch.setattr(running.service.admission, "late", told.append)

        async def refuse(*_: Any, **__: Any) -> Any:
            raise error

        monkeypatch.setattr(running.service.scheduler, "answer", refuse)
        assert running.ask("/classify", TEXT)[0] == 429
        assert told == late


def test_one_poisonous_text_has_its_error_and_the_others_their_answers(model: MakeModel) -> None:
    with serving(models=(f"moods={model()}/",), cache_bytes=0) as running:
        lane = running.service.models.default.opened.lanes["classify"]  # type: ignore[union-attr]
        inner = lane.compute

        def compute(encodings: Sequence[Any]) -> Sequence[Any]:
            answers = list(inner(encodings))
            return [
                EngineError("it choked") if one.n_tokens == 3 else found
                for one, found in zip(encodings, answers, strict=True)
            ]

        lane.compute = compute
        status, answer, _ = running.ask("/classify", {"texts": ["i am happy", "love", "so sad"]})
        assert status == 200
        assert [one.get("error", {}).get("code") for one in answer["answers"]] == [
            None,
            "engine_failed",
            None,
        ]
        assert running.ask("/", {"inputs": ["i am happy", "love"]})[:2] == (
            500,
            {"error": "text 2: it choked"},
        )
        assert running.ask("/predict", {"inputs": [["love"]]})[0] == 424


def test_an_engine_that_always_fails_is_told_and_not_ready(model: MakeModel) -> None:
    with serving(models=(f"moods={model()}/",), cache_bytes=0) as running:
        lane = running.service.models.default.opened.lanes["classify"]  # type: ignore[union-attr]
        lane.compute = lambda encodings: [EngineError("it is out of order") for _ in encodings]
        running.on_loop(running.service.scheduler.last_success.clear)
        status, answer, _ = running.ask("/classify", TEXT)
        assert status == 200
        assert answer["answers"][0]["error"]["code"] == "engine_failed"
        assert running.ask("/ready")[0] == 503
        assert running.ask("/health")[0] == 200


def test_a_fault_of_our_own_keeps_its_words_to_the_log(model: MakeModel) -> None:
    with serving(models=(f"moods={model()}/",)) as running:
        text = TEXT["texts"][0]

        def broken(*_: Any, **__: Any) -> Any:
            raise ZeroDivisionError(text)

        running.service.predictions = broken  # type: ignore[method-assign]
        status, answer, headers = running.ask("/classify", TEXT)
        assert status == 500
        assert text not in json.dumps(answer)
        assert "Traceback" not in json.dumps(answer)
        (line,) = [one for one in running.lines if one["event"] == "fault"]
        assert line["id"] == headers["x-request-id"]
        assert line["kind"] == "ZeroDivisionError"
        assert text not in json.dumps(line)


def test_a_worker_that_dies_is_replaced_and_its_requests_answered(model: MakeModel) -> None:
    with serving(models=(f"moods={model()}/",), cache_bytes=0) as running:
        lane = running.service.models.default.opened.lanes["classify"]  # type: ignore[union-attr]
        inner = lane.compute
        died: list[int] = []

        def once(encodings: Sequence[Any]) -> Sequence[Any]:
            if not died:
                died.append(1)
                raise SystemError("the thread is gone")
            return inner(encodings)

        lane.compute = once
        assert running.ask("/classify", TEXT)[0] == 200
        assert running.service.scheduler.restarts == 1
        died.clear()
        lane.compute = lambda encodings: (_ for _ in ()).throw(SystemError("always"))
        status, answer, _ = running.ask("/classify", TEXT)
        assert (status, answer["error"]["code"]) == (500, "engine_failed")
        assert "SystemError" in answer["error"]["message"]
        assert running.ask("/health")[0] == 200


def test_an_engine_that_hangs_is_left_behind_and_a_second_hang_ends_the_process(model: MakeModel) -> None:
    running = Running(models=(f"moods={model()}/",), cache_bytes=0, hang_seconds=0.3)
    try:
        held = Held(running)
        status, answer, _ = running.ask("/classify", TEXT)
        assert (status, answer["error"]["code"]) == (500, "engine_failed")
        assert "did not come back within 0.3 s" in answer["error"]["message"]
        until(lambda: running.service.mending is None)
        assert running.ask("/classify", TEXT)[0] == 200, "a fresh engine answers"
        assert running.ask("/ready")[0] == 200
        again = Held(running)
        running.ask("/classify", {"texts": ["so sad"]})
        running.join()
        assert isinstance(running.failed, EngineError)
        assert "hung twice" in str(running.failed)
    finally:
        held.go.set()
        again.go.set()
        running.close()


def test_told_to_stop_it_finishes_what_it_has_and_takes_nothing_new(model: MakeModel) -> None:
    with serving(models=(f"moods={model()}/",), streams=1, cache_bytes=0) as running:
        held = Held(running)
        answers: list[Any] = []
        last = threading.Thread(target=lambda: answers.append(running.ask("/classify", TEXT)))
        last.start()
        assert held.entered.wait(MOST_SECONDS)
        running.stop()
        until(lambda: running.service.stopping)
        held.go.set()
        last.join()
        assert answers[0][0] == 200
        running.join()
        assert running.failed is None
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", running.port))


def test_a_log_that_cannot_be_written_costs_no_answer(model: MakeModel) -> None:
    with serving(models=(f"moods={model()}/",)) as running:

        def full(line: bytes) -> None:
            raise OSError(28, "No space left on device")

        running.app.log._write = full
        assert running.ask("/classify", TEXT)[0] == 200
        assert running.app.log.lost == 1


def test_headers_are_bounded_in_number_and_size(server: Running) -> None:
    for more in ("x-long: " + "a" * 40_000, "\r\n".join(f"x-{i}: a" for i in range(200))):
        with socket.create_connection(("127.0.0.1", server.port), timeout=MOST_SECONDS) as caller:
            caller.sendall(request("/classify", b"{}", more))
            assert caller.recv(100).startswith(b"HTTP/1.1 400 ")


def test_a_connection_that_never_says_anything_is_closed(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tonewise.serve.server.HEADER_SECONDS", 0.1)
    with socket.create_connection(("127.0.0.1", server.port), timeout=MOST_SECONDS) as caller:
        assert caller.recv(100) == b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=MOST_SECONDS) as caller:
        caller.sendall(b"POST /classify HTTP/1.1\r\nhost: localhost\r\n")
        assert caller.recv(100) == b""
