"""curl, as people try a server by hand: each dialect's shape, its statuses and its headers."""

import json
import shutil
import subprocess
from collections.abc import Callable
from email import message_from_string
from typing import Any

import numpy as np
import pytest

from tests.contracts.conftest import TEXT, TEXTS, Answers, Servers
from tests.contracts.server import bare_environment

pytestmark = pytest.mark.contracts
Curl = Callable[..., tuple[int, Any, Any]]


@pytest.fixture
def curl(tmp_path: Any) -> Curl:
    """`curl(url, body, *options)`: the status, the headers, and the body as JSON or as text."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")

    def go(url: str, body: Any = None, *options: str) -> tuple[int, Any, Any]:
        sent = ["-H", "content-type: application/json", "-d", json.dumps(body)] if body is not None else []
        done = subprocess.run(
            ["curl", "--silent", "--show-error", "--include", "--max-time", "60", *sent, *options, url],
            env=bare_environment(tmp_path),
            capture_output=True,
            text=True,
            check=True,
        )
        head, _, content = done.stdout.partition("\n\n")
        first, _, headers = head.partition("\n")
        told = message_from_string(headers)
        is_json = told["content-type"] == "application/json"
        return int(first.split()[1]), told, json.loads(content) if is_json else content

    return go


def as_elements(answers: Answers) -> list[dict[str, Any]]:
    return [{"label": label, "score": pytest.approx(score, abs=1e-4)} for label, score in answers.scores]


def test_hugging_faces_routes_answer_nested(curl: Curl, servers: Servers, answers: Answers) -> None:
    body = {"inputs": TEXT, "options": {"use_cache": False, "wait_for_model": True}}
    for path in ("/", "/models/tonewise/emotion", "/hf-inference/models/tonewise/emotion"):
        status, headers, found = curl(servers.open + path, body, "-H", "x-wait-for-model: true")
        assert (status, headers["x-cache"]) == (200, "miss")
        assert found == [as_elements(answers)]
    assert curl(f"{servers.open}/?shape=flat", {"inputs": TEXT})[2] == as_elements(answers)
    assert len(curl(f"{servers.open}/", {"inputs": TEXTS})[2]) == len(TEXTS)


def test_teis_predict_answers_flat_and_takes_two_strings_for_a_pair(
    curl: Curl, servers: Servers, answers: Answers
) -> None:
    url = f"{servers.open}/predict"
    assert curl(url, {"inputs": TEXT})[2] == as_elements(answers)
    pair = curl(url, {"inputs": [TEXT, TEXTS[0]]})[2]
    assert [set(one) for one in pair] == [{"label", "score"}] * len(answers.scores)
    batch = curl(url, {"inputs": [[TEXT], [TEXT, TEXTS[0]]]})[2]
    assert batch[0] == as_elements(answers)
    assert batch[1] == [{"label": one["label"], "score": pytest.approx(one["score"])} for one in pair]
    assert curl(url, {"inputs": ["a", "b", "c"]})[0] == 422


def test_our_own_route_answers_a_record_a_text(curl: Curl, servers: Servers, answers: Answers) -> None:
    url, body = f"{servers.open}/classify", {"texts": [TEXT, *TEXTS]}
    status, headers, found = curl(url, body, "-H", "x-use-cache: false", "-H", "x-request-id: mine-7")
    assert (status, headers["x-cache"], headers["x-request-id"]) == (200, "miss", "mine-7")
    assert "compute;dur=" in headers["server-timing"]
    assert [one["text"] for one in found["answers"]] == [TEXT, *TEXTS]
    head = found["answers"][0]["predictions"]["emotion"]
    assert head["scores"] == pytest.approx(dict(answers.scores), abs=1e-4)
    curl(url, body)
    assert curl(url, body)[1]["x-cache"] == "hit"


def test_vectors_of_each_dialect_are_the_same(curl: Curl, servers: Servers, answers: Answers) -> None:
    url = f"{servers.open}/models/tonewise/base/pipeline/feature-extraction"
    np.testing.assert_allclose(curl(url, {"inputs": TEXTS})[2], answers.vectors, atol=1e-4)
    found = curl(f"{servers.open}/v1/embeddings", {"input": TEXTS, "model": "base"})[2]
    np.testing.assert_allclose([one["embedding"] for one in found["data"]], answers.vectors, atol=1e-4)


@pytest.mark.parametrize("path", ["/", "/classify", "/predict", "/v1/embeddings", "/models/tonewise/emotion"])
def test_without_the_key_every_dialect_says_401_and_how_to_give_it(
    path: str, curl: Curl, servers: Servers
) -> None:
    for given in ((), ("-H", "authorization: Bearer tw_wrong")):
        status, headers, found = curl(servers.closed + path, {}, *given)
        assert (status, headers["www-authenticate"]) == (401, "Bearer")
        assert found["error"]


def test_with_the_key_it_answers(curl: Curl, servers: Servers, answers: Answers) -> None:
    given = ("-H", f"authorization: Bearer {servers.key}")
    assert curl(f"{servers.closed}/", {"inputs": TEXT}, *given)[2] == [as_elements(answers)]
    assert curl(f"{servers.closed}/v1/models/emotion/unload", None, "-X", "POST", *given)[0] == 403
    assert curl(f"{servers.closed}/health")[0] == 200


def test_refusals_have_each_dialects_status_and_words(curl: Curl, servers: Servers) -> None:
    told = "no model is called 'none' here; there are: emotion, base"
    status, _, found = curl(f"{servers.open}/models/none", {"inputs": TEXT})
    assert (status, found) == (404, {"error": told})
    status, _, found = curl(f"{servers.open}/classify", {"texts": TEXT, "model": "none"})
    assert (status, found) == (404, {"error": {"code": "not_found", "message": told}})
    status, _, found = curl(f"{servers.open}/v1/embeddings", {"input": TEXT, "model": "none"})
    error = {"message": told, "type": "invalid_request_error", "param": None, "code": "model_not_found"}
    assert (status, found) == (404, {"error": error})
    status, _, found = curl(f"{servers.open}/predict", {"inputs": []})
    assert (status, found) == (400, {"error": "inputs is empty", "error_type": "Empty"})


def test_a_body_that_is_no_json_is_the_callers_fault(curl: Curl, servers: Servers) -> None:
    broken = ("-H", "content-type: application/json", "-d", "{'inputs': broken")
    for path in ("/", "/classify", "/predict", "/v1/embeddings"):
        assert curl(servers.open + path, None, *broken)[0] == 400
