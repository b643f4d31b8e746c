"""Each dialect in its own shapes, statuses and words; the traps of wire formats are each met."""

from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.doubles import TEXTS, MakeModel
from tests.serve.conftest import Running, serving
from tonewise import Classifier


@pytest.fixture(scope="module")
def classifier(model: MakeModel) -> Iterator[Classifier]:
    with Classifier.load(f"{model()}/") as opened:
        yield opened


def best_first(classifier: Classifier, text: Any) -> list[tuple[str, float]]:
    return sorted(classifier.classify(text).scores.items(), key=lambda item: -item[1])


def assert_elements(found: list[dict[str, Any]], wanted: list[tuple[str, float]]) -> None:
    assert [one["label"] for one in found] == [label for label, _ in wanted]
    assert [one["score"] for one in found] == pytest.approx([score for _, score in wanted], abs=1e-4)


# Hugging Face.

PATHS = (
    "/",
    "/models/moods",
    "/models/tonewise/moods",
    "/hf-inference/models/tonewise/moods",
    "/models/tonewise/moods/pipeline/text-classification",
    "/pipeline/text-classification",
)


@pytest.mark.parametrize("path", PATHS)
def test_hugging_face_gets_a_list_of_lists_for_a_text_and_for_many(
    server: Running, classifier: Classifier, path: str
) -> None:
    status, answer, headers = server.ask(path, {"inputs": TEXTS[0], "parameters": {}})
    assert status == 200
    assert len(answer) == 1
    assert_elements(answer[0], best_first(classifier, TEXTS[0]))
    assert {"x-compute-time", "x-compute-characters", "x-request-id"} <= headers.keys()
    _, answer, _ = server.ask(path, {"inputs": TEXTS, "parameters": {}})
    assert len(answer) == len(TEXTS)
    assert_elements(answer[2], best_first(classifier, TEXTS[2]))


def test_the_odd_client_may_ask_for_the_flat_shape(server: Running) -> None:
    nested = server.ask("/", {"inputs": "love"})[1]
    assert server.ask("/?shape=flat", {"inputs": "love"})[1] == nested[0]


def test_parameters_are_kept_to(server: Running, classifier: Classifier) -> None:
    _, answer, _ = server.ask("/", {"inputs": "love", "parameters": {"top_k": 1}})
    assert_elements(answer[0], best_first(classifier, "love")[:1])
    (logits,) = classifier.logits(["love"]).values()
    raw = logits[0]
    applied = {
        "none": raw,
        "sigmoid": 1 / (1 + np.exp(-raw)),
        "softmax": np.exp(raw) / np.exp(raw).sum(),
    }
    for name, values in applied.items():
        _, answer, _ = server.ask("/", {"inputs": "love", "parameters": {"function_to_apply": name}})
        wanted = sorted(values.tolist(), reverse=True)
        assert [one["score"] for one in answer[0]] == pytest.approx(wanted, abs=1e-3)


def test_a_pair_is_an_object(server: Running, classifier: Classifier) -> None:
    _, answer, _ = server.ask("/", {"inputs": {"text": "i am", "text_pair": "so sad"}})
    assert_elements(answer[0], best_first(classifier, ("i am", "so sad")))


def test_the_cache_is_passed_by_in_both_ways_that_clients_know(server: Running) -> None:
    body = {"inputs": "a text that is kept"}
    server.ask("/", body)
    assert server.ask("/", body)[2]["x-cache"] == "hit"
    assert (
        server.ask("/", body | {"options": {"use_cache": False, "wait_for_model": True}})[2]["x-cache"]
        == "miss"
    )
    assert server.ask("/", body, x_use_cache="false", x_wait_for_model="true")[2]["x-cache"] == "miss"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"inputs": "a", "parameters": {"topk": 1}}, "unknown parameter 'topk'"),
        ({"inputs": "a", "parameters": {"top_k": 0}}, "top_k is 0"),
        ({"inputs": "a", "parameters": {"function_to_apply": "relu"}}, "function_to_apply is 'relu'"),
        ({"inputs": [1]}, "the body is not what / takes"),
        ({"inputs": {"txt": "a"}}, "missing required field `text`"),
        ({"inputs": "a", "truncation_direction": "left"}, "cut at their end"),
        ({}, "missing required field `inputs`"),
    ],
)
def test_hugging_face_is_told_of_errors_in_its_shape(server: Running, body: Any, told: str) -> None:
    status, answer, _ = server.ask("/", body)
    assert status == 400
    assert list(answer) == ["error"]
    assert told in answer["error"]


def test_a_model_that_is_not_there_is_404_in_its_shape(server: Running) -> None:
    status, answer, _ = server.ask("/models/owner/name", {"inputs": "a"})
    assert status == 404
    assert "no model is called 'owner/name'" in answer["error"]
    status, answer, _ = server.ask("/models/moods/pipeline/fill-mask", {"inputs": "a"})
    assert status == 400
    assert "no task 'fill-mask'" in answer["error"]


def test_features_and_similarity_are_those_of_the_library(server: Running, classifier: Classifier) -> None:
    wanted = classifier.embed(TEXTS)
    path = "/models/moods/pipeline/feature-extraction"
    _, answer, _ = server.ask(path, {"inputs": TEXTS, "normalize": True})
    unit = wanted / np.linalg.norm(wanted, axis=1, keepdims=True)
    assert np.allclose(answer, unit, atol=1e-4)
    _, packed, _ = server.ask(path, {"inputs": TEXTS[0], "normalize": True, "encoding_format": "base64"})
    assert np.allclose(np.frombuffer(b64decode(packed[0]), "<f4"), unit[0], atol=1e-4)
    inputs = {"source_sentence": TEXTS[0], "sentences": TEXTS[1:]}
    for at in ("/models/moods/pipeline/sentence-similarity", "/models/moods"):
        _, found, _ = server.ask(at, {"inputs": inputs, "parameters": {}})
        assert found == pytest.approx((unit[1:] @ unit[0]).tolist(), abs=1e-4)


# Text Embeddings Inference.


def test_tei_is_flat_for_a_text_and_a_list_of_two_strings_is_a_pair(
    server: Running, classifier: Classifier
) -> None:
    _, flat, headers = server.ask("/predict", {"inputs": "love"})
    assert_elements(flat, best_first(classifier, "love"))
    assert {"x-compute-tokens", "x-queue-time", "x-inference-time", "x-total-time"} <= headers.keys()
    _, pair, _ = server.ask("/predict", {"inputs": ["i am", "so sad"]})
    assert_elements(pair, best_first(classifier, ("i am", "so sad")))
    _, batch, _ = server.ask("/predict", {"inputs": [["love"], ["i am", "so sad"]]})
    assert_elements(batch[0], best_first(classifier, "love"))
    assert_elements(batch[1], best_first(classifier, ("i am", "so sad")))
    (logits,) = classifier.logits(["love"]).values()
    _, raw, _ = server.ask("/predict", {"inputs": "love", "raw_scores": True})
    assert [one["score"] for one in raw] == pytest.approx(sorted(logits[0].tolist(), reverse=True), abs=1e-3)


@pytest.mark.parametrize(
    ("path", "body", "status", "kind"),
    [
        ("/predict", {"inputs": ["a", "b", "c"]}, 422, "Validation"),
        ("/predict", {"inputs": []}, 400, "Empty"),
        ("/predict", {"inputs": [["a", "b", "c"]]}, 422, "Validation"),
        ("/predict", {"inputs": "so sad " * 100, "truncate": False}, 422, "Validation"),
        ("/embed", {"inputs": "a", "prompt_name": "query"}, 422, "Validation"),
        ("/embed", {"inputs": [1, "a"]}, 400, "Validation"),
        ("/embed", {"inputs": [[100_000]]}, 422, "Validation"),
        ("/embed", {"inputs": [["a"] * 2000]}, 400, "Validation"),
        ("/tokenize", {"inputs": []}, 400, "Empty"),
    ],
)
def test_tei_is_told_of_errors_in_its_shape(
    server: Running, path: str, body: Any, status: int, kind: str
) -> None:
    found, answer, _ = server.ask(path, body)
    assert (found, answer["error_type"]) == (status, kind), answer


def test_too_many_texts_are_422_or_what_old_clients_look_for(server: Running, model: MakeModel) -> None:
    body = {"inputs": [["a"]] * 1025}
    assert server.ask("/predict", body)[0] == 422
    with serving(models=(f"moods={model()}/",), max_texts=2, too_many_status=413) as running:
        assert running.ask("/predict", {"inputs": [["a"]] * 3})[0] == 413
        assert running.ask("/predict", {"inputs": [["a"]] * 2})[0] == 200
        assert running.ask("/tokenize", {"inputs": ["a"] * 3})[0] == 413


def test_tei_embeds_compares_and_tokenizes(server: Running, classifier: Classifier) -> None:
    unit = classifier.embed(TEXTS, normalize=True)
    assert np.allclose(server.ask("/embed", {"inputs": TEXTS})[1], unit, atol=1e-4)
    assert np.allclose(server.ask("/embed", {"inputs": TEXTS[0]})[1], unit[:1], atol=1e-4)
    ids = list(classifier.encode([TEXTS[0]])[0].rows[0].input_ids)
    assert np.allclose(server.ask("/embed", {"inputs": ids})[1], unit[:1], atol=1e-4)
    whole = server.ask("/embed", {"inputs": TEXTS, "normalize": False})[1]
    assert np.allclose(whole, classifier.embed(TEXTS, normalize=False), atol=1e-4)
    short = np.array(server.ask("/embed", {"inputs": TEXTS[0], "dimensions": 8})[1])
    assert np.allclose(short, unit[:1, :8] / np.linalg.norm(unit[:1, :8]), atol=1e-4)
    inputs = {"source_sentence": TEXTS[0], "sentences": TEXTS[1:]}
    similar = server.ask("/similarity", {"inputs": inputs})[1]
    assert similar == pytest.approx((unit[1:] @ unit[0]).tolist(), abs=1e-4)
    (tokens,) = server.ask("/tokenize", {"inputs": "love"})[1]
    assert [one["id"] for one in tokens] == list(classifier.encode(["love"])[0].rows[0].input_ids)
    assert tokens[0] == {"id": tokens[0]["id"], "text": "[CLS]", "special": True, "start": None, "stop": None}
    (inner,) = server.ask("/tokenize", {"inputs": "love", "add_special_tokens": False})[1]
    assert [one["id"] for one in inner] == [one["id"] for one in tokens[1:-1]]


def test_info_says_what_answers(server: Running, classifier: Classifier) -> None:
    status, answer, _ = server.ask("/info")
    assert status == 200
    (head,) = classifier.heads.values()
    assert answer["model_id"] == "tonewise/moods"
    assert answer["model_sha"] == classifier.bundle.digest
    assert answer["model_type"]["classifier"]["id2label"] == {
        str(i): name for i, name in enumerate(head.labels)
    }
    assert answer["max_input_length"] == classifier.tokenizer.max_length


# OpenAI.


def test_openai_gets_numbers_or_base64(server: Running, classifier: Classifier) -> None:
    unit = classifier.embed(TEXTS, normalize=True)
    body: dict[str, Any] = {"input": TEXTS, "model": "moods"}
    status, answer, _ = server.ask("/v1/embeddings", body)
    assert status == 200
    assert [one["index"] for one in answer["data"]] == list(range(len(TEXTS)))
    assert np.allclose([one["embedding"] for one in answer["data"]], unit, atol=1e-4)
    tokens = sum(one.n_tokens for one in classifier.encode(TEXTS))
    assert answer["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    _, packed, _ = server.ask("/v1/embeddings", body | {"encoding_format": "base64"})
    found = np.frombuffer(b64decode(packed["data"][1]["embedding"]), "<f4")
    assert np.allclose(found, unit[1], atol=1e-4)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"input": "a", "model": "gpt"}, 404, "model_not_found"),
        ({"input": [], "model": "moods"}, 400, "bad_request"),
        ({"input": "a"}, 400, "bad_request"),
        ({"input": "a", "model": "moods", "dimensions": 1000}, 400, "bad_request"),
    ],
)
def test_openai_is_told_of_errors_in_its_shape(server: Running, body: Any, status: int, code: str) -> None:
    found, answer, _ = server.ask("/v1/embeddings", body)
    assert (found, answer["error"]["code"]) == (status, code)
    assert answer["error"].keys() == {"message", "type", "param", "code"}
