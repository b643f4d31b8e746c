"""The client as programs use it: against a real server, and against a stub that is busy, slow or strange."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from tests.contracts.server import in_process, serving
from tests.contracts.stub import Reply, stub
from tonewise import Classifier
from tonewise.client import KINDS, Client, LabelScore
from tonewise.errors import (
    ConfigError,
    DeadlineError,
    ForbiddenError,
    InputError,
    NotFoundError,
    OverloadedError,
    RateLimitedError,
    RequestError,
    RowError,
    ServiceError,
    TonewiseError,
    TooLargeError,
    TooLongError,
    UnauthorizedError,
    UnavailableError,
)

TEXTS = ["i am happy", "they left me all alone", "how dare you", "", "ça alors 🙂"]
LONG = "so very sad " * 400


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("server"), "emotion", "base") as where:
        yield where


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client(address, timeout_seconds=60) as opened:
        yield opened


@pytest.fixture(scope="module")
def emotion(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Classifier]:
    with in_process("emotion", tmp_path_factory.mktemp("cache")) as opened:
        yield opened


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Classifier]:
    with in_process("base", tmp_path_factory.mktemp("cache")) as opened:
        yield opened


def scores_of(found: list[LabelScore]) -> dict[str, float]:
    return {one.label: one.score for one in found}


# Against a real server.


def test_a_text_gives_its_labels_best_first(client: Client, emotion: Classifier) -> None:
    found = client.text_classification("i am happy")
    answer = emotion.classify("i am happy")
    assert found[0].label == answer.label
    assert scores_of(found) == pytest.approx(answer.scores, abs=1e-4)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def test_a_list_gives_a_list_for_each_text(client: Client, emotion: Classifier) -> None:
    found = client.text_classification(TEXTS)
    assert len(found) == len(TEXTS)
    for row, answer in zip(found, emotion.classify(TEXTS), strict=True):
        assert scores_of(row) == pytest.approx(answer.scores, abs=1e-4)
    assert client.text_classification([]) == []


def test_the_best_labels_are_kept_and_another_function_is_applied(
    client: Client, emotion: Classifier
) -> None:
    best = client.text_classification("i am happy", top_k=2, function_to_apply="none")
    logits = emotion.logits(["i am happy"])["emotion"][0]
    assert [one.score for one in best] == pytest.approx(np.sort(logits)[::-1][:2].tolist(), abs=1e-3)


def test_a_tuple_is_a_pair_alone_and_in_a_list(client: Client, emotion: Classifier) -> None:
    pair = ("i am happy", "how dare you")
    scores = emotion.classify(pair).scores
    assert scores_of(client.text_classification(pair)) == pytest.approx(scores, abs=1e-4)
    (record,) = client.classify(pair)
    assert (record["text"], record["text_pair"]) == pair
    _, record = client.classify(["alone", pair])
    assert record["predictions"]["emotion"]["scores"] == pytest.approx(scores, abs=1e-4)


def test_records_say_what_files_say(client: Client, emotion: Classifier) -> None:
    records = client.classify(TEXTS, top_k=2, logits=True, uncertainty=True)
    logits = emotion.logits(TEXTS)["emotion"]
    for number, (record, answer) in enumerate(zip(records, emotion.classify(TEXTS), strict=True)):
        head = record["predictions"]["emotion"]
        assert (record["id"], record["text"]) == (number + 1, TEXTS[number])
        assert (head["label"], record["n_tokens"]) == (answer.label, answer.n_tokens)
        best = sorted(answer.scores.items(), key=lambda item: -item[1])[:2]
        assert head["scores"] == pytest.approx(dict(best), abs=1e-4)
        assert list(head["logits"].values()) == pytest.approx(logits[number].tolist(), abs=1e-3)
        assert head["entropy"] > 0
        assert record["model"]["digest"] == emotion.bundle.digest


def test_heads_and_lengths_are_chosen_and_a_cut_is_told(client: Client) -> None:
    (record,) = client.classify("so very sad", heads=["emotion"], max_length=4, too_long="truncate")
    assert list(record["predictions"]) == ["emotion"]
    assert record["truncated"]
    with pytest.raises(RequestError, match="no head 'mood'"):
        client.classify("so sad", heads=["mood"])


def test_a_text_that_failed_raises_or_stands_in_its_place(client: Client) -> None:
    with pytest.raises(RowError, match="text 2: "):
        client.classify(["so sad", LONG], too_long="error")
    first, second = client.classify(["so sad", LONG], too_long="error", on_error="return")
    assert isinstance(first, dict)
    assert isinstance(second, RowError)
    assert isinstance(second.cause, TooLongError)
    with pytest.raises(ConfigError, match="on_error cannot be 'skip'"):
        client.classify("so sad", on_error="skip")  # type: ignore[call-overload]


def test_vectors_are_those_of_the_model(client: Client, base: Classifier) -> None:
    wanted, found = base.embed(TEXTS), client.embed(TEXTS, model="base")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    np.testing.assert_allclose(client.feature_extraction(TEXTS[0], model="base"), wanted[:1], atol=1e-4)
    assert client.embed([], model="base").shape == (0, 0)


def test_vectors_may_be_raw_or_shorter(client: Client, base: Classifier) -> None:
    raw = base.embed(["i am happy"], normalize=False)
    found = client.feature_extraction("i am happy", model="base", normalize=False)
    np.testing.assert_allclose(found, raw, rtol=1e-3, atol=1e-4)
    short = client.embed("i am happy", model="base", dimensions=8, normalize=True)
    np.testing.assert_allclose(short, raw[:, :8] / np.linalg.norm(raw[:, :8]), atol=1e-4)
    with pytest.raises(TooLongError, match="tokens"):
        client.feature_extraction(LONG, model="base", truncate=False)


def test_similarity_is_the_cosine_of_vectors(client: Client, base: Classifier) -> None:
    found = client.sentence_similarity("i am happy", ["so glad", "the train is late"], model="base")
    one, *others = base.embed(["i am happy", "so glad", "the train is late"])
    assert found == pytest.approx([float(one @ other) for other in others], abs=1e-4)


def test_the_client_s_own_model_is_asked_where_a_call_names_none(address: str, base: Classifier) -> None:
    with Client(address, model="base") as client:
        with pytest.raises(TonewiseError, match="no head"):
            client.classify("so sad")
        np.testing.assert_allclose(client.embed("so sad"), base.embed(["so sad"]), atol=1e-4)
        assert client.classify("so sad", model="emotion")[0]["predictions"]
        assert client.text_classification("so sad", model="tonewise/emotion")


def test_the_server_tells_what_it_serves(client: Client) -> None:
    assert client.health_check() is True
    assert client.get_endpoint_info()["model_id"] == "tonewise/emotion"
    assert [one["name"] for one in client.models()] == ["emotion", "base"]


def test_an_unknown_model_is_not_found_whatever_is_asked(client: Client) -> None:
    for ask in (client.classify, client.text_classification, client.embed):
        with pytest.raises(NotFoundError, match="no model is called 'nobody/none' here; there are: emotion"):
            ask("so sad", model="nobody/none")


def test_threads_share_a_client_and_each_gets_its_own_answers(client: Client, emotion: Classifier) -> None:
    texts = [f"i am {word} number {i}" for i in range(10) for word in ("happy", "sad", "afraid", "angry")]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(client.text_classification, texts))
    for row, answer in zip(found, emotion.classify(texts), strict=True):
        assert scores_of(row) == pytest.approx(answer.scores, abs=1e-4)


def test_it_works_where_the_hub_is_offline_and_opens_no_hub_client(address: str) -> None:
    program = (
        "import sys; from tonewise.client import Client; c = Client(sys.argv[1]);"
        "print(c.text_classification('i am happy')[0].label, c.health_check());"
        "print({'huggingface_hub', 'onnxruntime', 'click', 'msgspec'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, address],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n")[:2] == ["joy True", "set()"]


# Against a stub.


def problem(code: str, told: str = "told") -> dict[str, Any]:
    return {"error": {"code": code, "message": told}}


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Every pause that the client wants, in seconds; none is made."""
    found: list[float] = []
    monkeypatch.setattr("tonewise.client.sleep", found.append)
    return found


def refusal(reply: Reply) -> TonewiseError:
    """What a client raises that is answered so."""
    with stub(reply) as server, Client(server.address) as client:
        with pytest.raises(TonewiseError) as raised:
            client.text_classification("so sad")
        return raised.value


def test_a_busy_server_is_asked_again_when_it_says(pauses: list[float]) -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    busy = [
        Reply(429, problem("overloaded"), {"retry-after": "3"}),
        Reply(429, problem("overloaded"), {"retry-after": soon}),
        Reply(503, problem("unavailable"), {"retry-after": "a while"}),
    ]
    with stub(*busy, Reply()) as server, Client(server.address) as client:
        assert client.models() == []
        assert server.paths == ["/v1/models"] * 4
    assert pauses[0] == 3
    assert 10 < pauses[1] <= 20
    assert pauses[2] == 1.0


def test_without_a_time_each_pause_is_twice_the_last_and_four_tries_are_all(pauses: list[float]) -> None:
    refused = Reply(429, problem("rate_limited", "used up"), {"x-queue-tokens": "70000"})
    with stub(refused) as server, Client(server.address) as client:
        with pytest.raises(RateLimitedError, match="used up") as raised:
            client.models()
        assert len(server.asked) == 4
    assert pauses == [0.25, 0.5, 1.0]
    assert (raised.value.retry_after_seconds, raised.value.queued_tokens) == (1, 70_000)


def test_no_pause_goes_beyond_the_time_that_a_call_has(pauses: list[float]) -> None:
    busy = Reply(429, problem("overloaded"), {"retry-after": "60"})
    with stub(busy) as server, Client(server.address, timeout_seconds=20) as client:
        with pytest.raises(OverloadedError) as raised:
            client.models()
        assert len(server.asked) == 1
    assert pauses == []
    assert raised.value.retry_after_seconds == 60


@pytest.mark.parametrize("status", [400, 404, 408, 413, 422, 424, 500, 502, 504])
def test_no_other_refusal_is_asked_again(status: int, pauses: list[float]) -> None:
    refused = Reply(status, problem("error"), {"retry-after": "0"})
    with stub(refused, Reply()) as server, Client(server.address) as client:
        with pytest.raises(TonewiseError):
            client.models()
        assert len(server.asked) == 1


def test_a_connection_that_breaks_is_not_asked_again(pauses: list[float]) -> None:
    with stub(Reply(drop=True), Reply()) as server, Client(server.address) as client:
        with pytest.raises(ServiceError, match=f"the connection to {server.address} broke"):
            client.models()
        assert len(server.asked) == 1


def test_the_server_is_told_what_time_is_left(pauses: list[float]) -> None:
    busy = Reply(429, problem("overloaded"), {"retry-after": "0"})
    with stub(busy, Reply()) as server, Client(server.address, timeout_seconds=9) as client:
        client.models()
        first, second = map(float, server.header("x-timeout-seconds"))
    assert 0 < second <= first <= 9


def test_a_silent_server_is_given_up_when_the_time_is_over() -> None:
    held = Event()
    with stub(Reply(hold=held)) as server, Client(server.address, timeout_seconds=0.2) as client:
        with pytest.raises(DeadlineError, match=r"did not answer within 0\.2 s; raise timeout_seconds"):
            client.models()
        assert client.health_check() is False
        held.set()


def test_no_server_is_told_with_its_address_and_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with Client(address) as client:
        with pytest.raises(ServiceError, match=f"no server answers at {address}: Connection refused; start "):
            client.classify("so sad")
        assert client.health_check() is False


def test_every_code_of_ours_becomes_its_error() -> None:
    assert {"bad_input", "too_long", "overloaded", "unauthorized", "deadline", "engine_failed"} <= set(KINDS)
    with stub(Reply()) as server, Client(server.address) as client:
        for code, kind in KINDS.items():
            server.replies = [Reply(500, problem(code, f"of {code}"))]
            with pytest.raises(kind, match=f"of {code}") as raised:
                client.models()
            assert type(raised.value) is kind


def test_without_a_code_the_status_tells(pauses: list[float]) -> None:
    kinds: dict[int, type[TonewiseError]] = {400: RequestError, 401: UnauthorizedError}
    kinds |= {403: ForbiddenError, 404: NotFoundError, 413: TooLargeError}
    kinds |= {422: InputError, 502: ServiceError, 503: UnavailableError}
    for status, kind in kinds.items():
        for body in (b"<html>a proxy's page</html>", ["?"], {"error": None}):
            found = refusal(Reply(status, body))
            assert type(found) is kind
            assert str(found).startswith(f"the server answered {status} ")
        assert str(refusal(Reply(status, {"error": "plain words"}))) == "plain words"


def test_a_code_in_a_header_tells_more_than_the_status() -> None:
    found = refusal(Reply(400, {"error": "600 tokens"}, {"x-error-code": "too_long"}))
    assert (type(found), str(found)) == (TooLongError, "600 tokens")


def test_a_refusal_for_too_many_texts_is_told_from_one_for_bytes() -> None:
    for status, items in ((422, True), (413, False)):
        found = refusal(Reply(status, problem("too_large")))
        assert isinstance(found, TooLargeError)
        assert found.items is items


def test_a_fault_of_the_server_says_under_which_id_its_log_has_more() -> None:
    found = refusal(Reply(500, problem("error", "internal error"), {"x-request-id": "ab12"}))
    assert (type(found), str(found)) == (ServiceError, "internal error (request ab12)")


@pytest.mark.parametrize("body", [b"hello", [], {"answers": 3}, {"answers": []}, {"answers": ["x"]}, None])
def test_an_answer_of_another_shape_is_told(body: Any) -> None:
    with stub(Reply(body=body)) as server, Client(server.address) as client:
        for ask in (client.classify, client.text_classification, client.embed):
            with pytest.raises(ServiceError, match="answers otherwise than 'tonewise serve' does"):
                ask("so sad")


def test_the_key_is_sent_and_never_shown() -> None:
    with stub(Reply(401, problem("unauthorized"))) as server:
        client = Client(server.address, api_key="tw_secret")
        with client, pytest.raises(UnauthorizedError) as raised:
            client.models()
        assert server.header("authorization") == ["Bearer tw_secret"]
        assert "secret" not in repr(client) + str(raised.value)
        assert repr(client) == f"Client('{server.address}', model=None, timeout_seconds=30)"
        with Client(server.address) as client, pytest.raises(UnauthorizedError):
            client.models()
        assert server.header("authorization")[1:] == [None]


def test_the_key_is_not_taken_to_another_place() -> None:
    with stub(Reply()) as other:
        moved = Reply(307, {}, {"location": f"{other.address}/v1/models"})
        with stub(moved) as server:
            client = Client(server.address, api_key="tw_secret")
            with client, pytest.raises(ServiceError, match="the server answered 307"):
                client.models()
        assert other.asked == []


def test_a_proxys_path_stands_before_every_route() -> None:
    with stub(Reply()) as server, Client(f"{server.address}/text/") as client:
        client.models()
        client.health_check()
        assert server.paths == ["/text/v1/models", "/text/health"]


def test_a_connection_is_used_again() -> None:
    with stub(Reply()) as server, Client(server.address) as client:
        for _ in range(3):
            client.models()
        assert len(server.callers) == 1


def test_a_closed_client_says_so() -> None:
    with stub(Reply()) as server:
        with Client(server.address) as client:
            client.models()
        client.close()
        for ask in (client.models, client.health_check):
            with pytest.raises(ServiceError, match="the client is closed"):
                ask()
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8321", "localhost", "ftp://host", "http://", "http://host?x=1", "http://[::"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="wanted: http://HOST:PORT"):
        Client(url)


def test_secrets_in_the_wrong_place_are_refused_and_not_repeated() -> None:
    settings: Any = (
        {"base_url": "http://me:secret@host"},
        {"api_key": "tw_secret\n"},
        {"api_key": "secret é"},
    )
    for wrong in settings:
        with pytest.raises(ConfigError) as raised:
            Client(**wrong)
        assert "secret" not in str(raised.value)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(ConfigError, match="timeout_seconds is"):
        Client(timeout_seconds=seconds)


def test_what_json_cannot_hold_is_refused_before_it_is_sent() -> None:
    wrong: tuple[Any, ...] = (["\ud800"], [b"bytes"], b"bytes", 7, None, {"text": "so sad"}, [object()])
    with stub(Reply()) as server, Client(server.address) as client:
        for texts in wrong:
            for ask in (client.classify, client.text_classification, client.embed):
                with pytest.raises(InputError):
                    ask(texts)
        assert server.asked == []


def test_without_urllib3_it_says_what_to_install(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['urllib3'] = None\n"
        "try: import tonewise.client\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    told = "MissingExtraError urllib3 is not installed; run: pip install 'tonewise[client]'"
    assert done.stdout.strip() == told
