"""Our own routes: one record a text, what was asked is kept to, and what is wrong is told in its place."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.doubles import TEXTS, MakeModel, write_bundle
from tests.serve.conftest import Running, serving
from tonewise import Classifier, Example
from tonewise.sinks.record import record
from tonewise.store import HeadSpec


@pytest.fixture(scope="module")
def classifier(model: MakeModel) -> Classifier:
    return Classifier.load(f"{model()}/")


def test_an_answer_is_the_record_that_files_hold(server: Running, classifier: Classifier) -> None:
    status, answer, _ = server.ask("/classify", {"texts": TEXTS, "uncertainty": True})
    assert status == 200
    about = {"ref": server.service.models.default.ref, "digest": classifier.bundle.digest}
    for i, (found, text) in enumerate(zip(answer["answers"], TEXTS, strict=True)):
        wanted = record(Example(text, id=i + 1), classifier.classify(text), about, uncertainty=True)
        assert list(found) == list(wanted)
        (mine,), (its,) = found["predictions"].values(), wanted["predictions"].values()
        assert list(mine) == list(its)
        assert (found["id"], found["text"], found["model"]) == (i + 1, text, about)
    assert answer["usage"] == {"texts": len(TEXTS), "tokens": sum(map(len_of(classifier), TEXTS))}


def len_of(classifier: Classifier) -> Any:
    return lambda text: classifier.encode([text])[0].n_tokens


def scores_of(found: dict[str, Any]) -> dict[str, float]:
    (prediction,) = found["predictions"].values()
    scores: dict[str, float] = prediction["scores"]
    return scores


def test_scores_are_those_of_the_library(server: Running, classifier: Classifier) -> None:
    _, answer, _ = server.ask("/classify", {"texts": TEXTS})
    for found, wanted in zip(answer["answers"], classifier.classify(TEXTS), strict=True):
        assert scores_of(found) == pytest.approx(wanted.scores, abs=1e-4)
        (prediction,) = found["predictions"].values()
        assert prediction["label"] == wanted.label


def test_one_text_and_pairs_are_taken_too(server: Running, classifier: Classifier) -> None:
    _, alone, _ = server.ask("/classify", {"texts": "i am happy"})
    assert [one["text"] for one in alone["answers"]] == ["i am happy"]
    status, pair, _ = server.ask("/classify", {"texts": [["i am", "so sad"], "love"]})
    assert status == 200
    assert (pair["answers"][0]["text"], pair["answers"][0]["text_pair"]) == ("i am", "so sad")
    assert scores_of(pair["answers"][0]) == pytest.approx(
        classifier.classify(("i am", "so sad")).scores, abs=1e-4
    )
    status, answer, _ = server.ask("/classify", {"texts": [["a", "b", "c"]]})
    assert status == 400
    assert "texts[0] is a list of 3 strings" in answer["error"]["message"]


def test_top_k_logits_and_uncertainty_come_when_asked_for(server: Running, classifier: Classifier) -> None:
    asked = {"texts": ["i am happy"], "top_k": 1, "logits": True, "uncertainty": True}
    _, answer, _ = server.ask("/classify", asked)
    (head,) = answer["answers"][0]["predictions"].values()
    assert len(head["scores"]) == 1
    assert head["entropy"] > 0
    wanted = classifier.logits(["i am happy"])
    (logits,) = wanted.values()
    assert list(head["logits"].values()) == pytest.approx(logits[0].tolist(), abs=1e-3)


def test_a_policy_for_long_texts_holds_for_its_request_alone(server: Running) -> None:
    long = "so sad " * 100
    _, answer, headers = server.ask("/classify", {"texts": [long, "love"]})
    assert [one["truncated"] for one in answer["answers"]] == [True, False]
    assert headers["x-truncated-texts"] == "1"
    status, answer, headers = server.ask("/classify", {"texts": [long, "love"], "too_long": "error"})
    assert status == 200
    assert answer["answers"][0]["error"]["code"] == "too_long"
    assert "predictions" not in answer["answers"][0]
    assert "predictions" in answer["answers"][1]
    assert "x-truncated-texts" not in headers
    _, answer, _ = server.ask("/classify", {"texts": [long], "too_long": "window"})
    assert answer["answers"][0]["truncated"] is False
    status, answer, _ = server.ask("/classify", {"texts": [long], "max_length": 100_000})
    assert (status, answer["error"]["code"]) == (400, "bad_request")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"texts": ["a"], "topk": 3}, "unknown field `topk`"),
        ({"texts": 7}, "Expected `str | array`, got `int` - at `$.texts`"),
        ({}, "missing required field `texts`"),
        ({"texts": ["a"], "too_long": "cut"}, "Invalid enum value 'cut'"),
        ({"texts": ["a"], "top_k": 0}, "top_k is 0; the least is 1"),
        ({"texts": ["a"], "heads": ["none"]}, "no head 'none' in moods"),
        (b"{", "the body is not what /classify takes: Input data was truncated"),
        (b"", "the body is not what /classify takes"),
        (b'{"texts": NaN}', "malformed"),
        (b'{"texts": "\xff"}', "the body is not what /classify takes"),
        (b'{"texts": "\\ud800"}', "stands without its other half"),
        (b'{"texts": "a \\udc00"}', "stands without its other half"),
        (b'{"texts": "\\ud83d\\ude00', "Input data was truncated"),
        (b'{"texts": "\\\\ud83d', "Input data was truncated"),
        (b'{"texts":' + b"[" * 20_000 + b"]" * 20_000 + b"}", "the body is"),
    ],
)
def test_what_is_not_understood_is_refused_in_one_line(server: Running, body: Any, told: str) -> None:
    status, answer, _ = server.ask("/classify", body)
    assert (status, answer["error"]["code"]) == (400, "bad_request")
    assert told in answer["error"]["message"]
    assert "\n" not in answer["error"]["message"]


def test_nothing_to_classify_is_no_error(server: Running) -> None:
    assert server.ask("/classify", {"texts": []})[1] == {"answers": [], "usage": {"texts": 0, "tokens": 0}}


def test_a_null_byte_is_a_character(server: Running) -> None:
    status, answer, _ = server.ask("/classify", {"texts": ["a\0b"]})
    assert status == 200
    assert answer["answers"][0]["text"] == "a\0b"


def test_an_unknown_model_and_an_unknown_path_are_404(server: Running) -> None:
    status, answer, _ = server.ask("/classify", {"texts": ["a"], "model": "others"})
    assert (status, answer["error"]["code"]) == (404, "not_found")
    assert "there are: moods" in answer["error"]["message"]
    status, answer, _ = server.ask("/classification")
    assert (status, answer["error"]["code"]) == (404, "not_found")
    status, answer, headers = server.ask("/classify")
    assert status == 405
    assert headers["allow"] == "POST"


def test_several_heads_answer_together_or_as_asked(model: MakeModel, tmp_path: Path) -> None:
    heads = {
        "mood": HeadSpec(("low", "high", "flat"), "classifier", dense="pre_classifier", activation="relu"),
        "topic": HeadSpec(("food", "work"), "topic", "multi_label_classification", "mean"),
    }
    folder = write_bundle(tmp_path / "two", model(), heads, licence="mit")
    with serving(models=(f"both={folder}/", f"topics={folder}/#topic")) as running:
        _, answer, _ = running.ask("/classify", {"texts": ["i am happy"]})
        assert list(answer["answers"][0]["predictions"]) == ["mood", "topic"]
        _, answer, _ = running.ask("/classify", {"texts": ["i am happy"], "heads": ["topic"]})
        assert list(answer["answers"][0]["predictions"]) == ["topic"]
        _, alone, _ = running.ask("/classify", {"texts": ["i am happy"], "model": "topics"})
        assert alone["answers"][0]["predictions"] == answer["answers"][0]["predictions"]
        assert len({id(one.opened) for one in running.service.models}) == 1, "one encoder serves both names"
        status, answer, _ = running.ask("/models/tonewise/both", {"inputs": "a"})
        assert status == 400
        assert "both has 2 heads" in answer["error"]


def test_models_are_told_with_their_terms(server: Running, classifier: Classifier) -> None:
    status, answer, _ = server.ask("/v1/models")
    assert status == 200
    (one,) = answer["data"]
    assert (one["id"], one["name"], one["digest"]) == ("tonewise/moods", "moods", classifier.bundle.digest)
    assert one["state"] == "loaded"
    assert one["heads"][next(iter(one["heads"]))]["labels"] == list(
        classifier.heads[next(iter(classifier.heads))].labels
    )
    assert server.ask("/v1/models/moods")[1] == one
    assert server.ask("/v1/models/tonewise/moods")[1] == one
    assert server.ask("/v1/models/none")[0] == 404


def test_it_is_alive_and_ready(server: Running) -> None:
    assert server.ask("/health")[:2] == (200, {"status": "ok"})
    assert server.ask("/ready")[:2] == (200, {"status": "ready"})


def test_a_model_is_unloaded_and_opened_again_when_asked_for(server: Running) -> None:
    before = server.ask("/classify", {"texts": ["love"]})[1]
    status, answer, _ = server.ask("/v1/models/moods/unload", {})
    assert (status, answer["state"], answer["memory_bytes"]) == (200, "unloaded", None)
    assert server.ask("/ready")[0] == 503
    again = server.ask("/classify", {"texts": ["love"]}, x_use_cache="false")[1]
    assert again == before
    assert server.ask("/v1/models/moods")[1]["state"] == "loaded"


def test_another_version_takes_the_place_of_the_present_one(model: MakeModel) -> None:
    first, second = model(), model("bert")
    with serving(models=(f"moods={first}/",)) as running:
        before = running.ask("/v1/models/moods")[1]
        running.ask("/classify", {"texts": ["love"]})
        status, after, _ = running.ask("/v1/models/moods/load", {"ref": f"{second}/"})
        assert status == 200
        assert after["digest"] != before["digest"]
        answer = running.ask("/classify", {"texts": ["love"]})[1]
        assert answer["answers"][0]["model"]["digest"] == after["digest"]
        with Classifier.load(f"{second}/") as wanted:
            assert scores_of(answer["answers"][0]) == pytest.approx(wanted.classify("love").scores, abs=1e-4)
        status, told, _ = running.ask("/v1/models/moods/load", {"ref": "./nowhere"})
        assert (status, told["error"]["code"]) == (422, "bad_model")
        assert running.ask("/v1/models/moods")[1]["digest"] == after["digest"], "all stayed as it was"
        status, added, _ = running.ask("/v1/models/more/load", {"ref": f"{first}/"})
        assert (status, added["name"]) == (200, "more")
        assert running.ask("/classify", {"texts": ["love"], "model": "more"})[0] == 200


def test_answers_are_given_again_from_the_cache_and_said_to_be(server: Running) -> None:
    text = "never asked before"
    first, second = (server.ask("/classify", {"texts": [text]}) for _ in range(2))
    assert (first[2]["x-cache"], second[2]["x-cache"]) == ("miss", "hit")
    assert first[1] == second[1]
    mixed = server.ask("/classify", {"texts": [text, "nor this"]})
    assert mixed[2]["x-cache"] == "partial"
    assert server.ask("/classify", {"texts": [text]}, x_use_cache="false")[2]["x-cache"] == "miss"
    other = server.ask("/classify", {"texts": [text], "max_length": 4})
    assert other[2]["x-cache"] == "miss", "another policy is another answer"


def test_a_request_keeps_its_id_and_every_one_has_one(server: Running) -> None:
    assert server.ask("/health", x_request_id="abc-1")[2]["x-request-id"] == "abc-1"
    made = server.ask("/health", x_request_id="not a\tgood one")[2]["x-request-id"]
    assert len(made) == 16


def test_texts_stay_out_of_the_log_and_the_figures(server: Running) -> None:
    secret = "zebra marmalade"
    server.ask("/classify", {"texts": [secret]})
    server.ask("/classify", {"texts": [secret, 7]})
    assert server.lines
    assert not any("zebra" in json.dumps(line) for line in server.lines)
    status, page, headers = server.ask("/metrics")
    assert status == 200
    assert b"zebra" not in page
    assert headers["content-type"].startswith("text/plain")
    for name in (b"tonewise_requests_total", b"tonewise_model_info", b"tonewise_batch_tokens_bucket"):
        assert name in page


def test_texts_are_in_the_log_where_that_was_asked_for(model: MakeModel) -> None:
    with serving(models=(f"moods={model()}/",), log_texts=True) as running:
        running.ask("/classify", {"texts": ["zebra"]})
        assert any(line.get("said") == ["zebra"] for line in running.lines)
