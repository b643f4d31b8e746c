"""Several heads over one forward pass, what their outputs mean, logits and vectors."""

from collections.abc import Iterator
from pathlib import Path
from threading import current_thread
from typing import Any

import numpy as np
import pytest

from tests.doubles import TEXTS, MakeModel, Recorder, scores_of, with_head, write_bundle
from tonewise import Classifier, Example
from tonewise.batching import Batch
from tonewise.config import load_config
from tonewise.errors import EngineError, InputError, ModelError, RowError
from tonewise.store import HeadSpec


@pytest.fixture
def classifier(model: MakeModel) -> Iterator[Classifier]:
    with Classifier.load(model()) as opened:
        yield opened


@pytest.fixture(scope="module")
def two_heads(model: MakeModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    heads = {
        "mood": HeadSpec(("low", "high", "flat"), "classifier", dense="pre_classifier", activation="relu"),
        "topic": HeadSpec(("food", "work"), "topic", "multi_label_classification", "mean"),
    }
    return write_bundle(tmp_path_factory.mktemp("two") / "bundle", model(), heads, licence="mit")


def test_several_heads_are_answered_by_one_forward_pass(two_heads: Path) -> None:
    with Classifier.load(two_heads) as classifier:
        classifier.engine = recorder = Recorder(classifier.engine)
        answers = classifier.classify(TEXTS)
        assert sum(len(batch) for batch in recorder.batches) == len(TEXTS)
    assert recorder.poolings == ("first", "mean")
    for answer in answers:
        assert list(answer.heads) == ["mood", "topic"]
        assert answer.heads["mood"].label in ("low", "high", "flat")
        assert answer.heads["mood"].labels is None
        assert answer.heads["topic"].label is None
        assert set(answer.heads["topic"].labels or ()) <= {"food", "work"}


def test_a_prediction_of_several_heads_has_no_single_label(two_heads: Path) -> None:
    with Classifier.load(two_heads) as classifier:
        answer = classifier.classify("i am happy")
    with pytest.raises(AttributeError, match=r"use \.heads\[NAME\]; names: mood, topic"):
        _ = answer.label


def test_a_ref_selects_heads_and_their_answers_stay_the_same(two_heads: Path) -> None:
    with Classifier.load(two_heads) as both, Classifier.load(f"{two_heads}#topic") as one:
        assert list(one.heads) == ["topic"]
        assert one.engine.poolings == ("mean",)
        wanted = [answer.heads["topic"].scores for answer in both.classify(TEXTS)]
        for answer, scores in zip(one.classify(TEXTS), wanted, strict=True):
            assert answer.scores == pytest.approx(scores, abs=1e-5)
    with Classifier.load(f"{two_heads}#topic,mood") as turned:
        assert list(turned.heads) == ["topic", "mood"]
    with pytest.raises(ModelError, match="no head 'tone'; it has mood, topic"):
        Classifier.load(f"{two_heads}#tone")


def test_a_model_without_heads_embeds_but_does_not_classify(model: MakeModel, tmp_path: Path) -> None:
    source = model()
    bare = write_bundle(tmp_path / "bare", source, {})
    with Classifier.load(bare) as classifier:
        for classify in (classifier.classify, lambda texts: list(classifier.stream(map(Example, texts)))):
            with pytest.raises(ModelError, match="no head to classify with"):
                classify(["a"])
        assert classifier.embed(["a"]).shape == (1, 32)


def test_multi_label_gives_every_label_that_reaches_its_threshold(model: MakeModel, tmp_path: Path) -> None:
    options: dict[str, Any] = {"problem_type": "multi_label_classification", "thresholds": (0.0, 0.5, 1.1)}
    for answer in with_head(tmp_path / "b", model(), **options).classify(TEXTS):
        logits = {name: np.log(score / (1 - score)) for name, score in answer.scores.items()}
        assert answer.label is None
        assert answer.labels == (("a", "b") if logits["b"] >= 0 else ("a",))
        assert answer.score == max(answer.scores.values())


def test_one_output_is_a_probability(model: MakeModel, tmp_path: Path) -> None:
    classifier = with_head(tmp_path / "b", model(), labels=("spam",), thresholds=(0.3,))
    answers = classifier.classify(TEXTS)
    logits = classifier.logits(TEXTS)["own"][:, 0]
    assert scores_of(answers)[:, 0] == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-6)
    assert [answer.labels for answer in answers] == [
        ("spam",) if s > 0.3 else () for s in scores_of(answers)[:, 0]
    ]
    assert len({answer.labels for answer in answers}) == 2, "the texts should show both cases"


def test_regression_gives_the_value_itself(model: MakeModel, tmp_path: Path) -> None:
    classifier = with_head(
        tmp_path / "b", model(), labels=("stars",), problem_type="regression", temperature=3.0
    )
    answers = classifier.classify(TEXTS)
    assert [answer.score for answer in answers] == pytest.approx(
        classifier.logits(TEXTS)["own"][:, 0].tolist()
    )
    assert {(answer.label, answer.labels, answer.abstained) for answer in answers} == {(None, None, False)}


def test_temperature_softens_scores_and_keeps_logits(model: MakeModel, tmp_path: Path) -> None:
    plain = with_head(tmp_path / "plain", model())
    warm = with_head(tmp_path / "warm", model(), temperature=4.0)
    np.testing.assert_array_equal(plain.logits(TEXTS)["own"], warm.logits(TEXTS)["own"])
    for cold, soft in zip(plain.classify(TEXTS), warm.classify(TEXTS), strict=True):
        assert soft.label == cold.label
        assert soft.score < cold.score
    expected = np.exp(plain.logits(TEXTS)["own"] / 4)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(scores_of(warm.classify(TEXTS)), expected, rtol=1e-5)


def test_a_head_abstains_below_its_floor(model: MakeModel, tmp_path: Path) -> None:
    plain = with_head(tmp_path / "plain", model()).classify(TEXTS)
    floor = float(np.median([answer.score for answer in plain]))
    answers = with_head(tmp_path / "b", model(), abstain_below=floor).classify(TEXTS)
    for before, answer in zip(plain, answers, strict=True):
        abstained = before.score < floor
        assert (answer.abstained, answer.label) == (abstained, None if abstained else before.label)
        assert answer.scores == before.scores
    assert {answer.abstained for answer in answers} == {True, False}


def test_what_a_manifest_may_not_ask_of_a_head(model: MakeModel, tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"activation": "swish"}, "activation 'swish'; known: tanh, relu, none"),
        ({"problem_type": "ranking"}, "problem_type 'ranking'"),
        ({"pooling": "last"}, "pooling 'last'"),
        ({"temperature": 0.0}, "temperature 0.0"),
        ({"thresholds": (0.5,)}, "3 labels but 1 thresholds"),
        ({"labels": ("a", "a", "b")}, "names a label twice"),
        ({"output": "classifier", "labels": ("a", "b")}, "2 labels but 3 outputs"),
        ({"output": "nowhere.else", "dense": "also.nowhere"}, "no tensor"),
    ]
    for i, (head, told) in enumerate(cases):
        with pytest.raises(ModelError, match=told):
            with_head(tmp_path / str(i), model(), **head)


def test_logits_are_the_heads_raw_outputs(two_heads: Path) -> None:
    with Classifier.load(two_heads) as classifier:
        logits = classifier.logits(TEXTS)
        answers = classifier.classify(TEXTS)
        assert {name: found.shape for name, found in classifier.logits([]).items()} == {
            "mood": (0, 3),
            "topic": (0, 2),
        }
    assert {name: (found.shape, found.dtype) for name, found in logits.items()} == {
        "mood": ((6, 3), np.float32),
        "topic": ((6, 2), np.float32),
    }
    topic = [list(answer.heads["topic"].scores.values()) for answer in answers]
    np.testing.assert_allclose(topic, 1 / (1 + np.exp(-logits["topic"])), atol=1e-6)
    mood = [answer.heads["mood"].label for answer in answers]
    assert mood == [("low", "high", "flat")[i] for i in logits["mood"].argmax(axis=1)]


@pytest.mark.parametrize("wrong", ["a text", ("a", "pair"), {"a": 1}, iter(["a"]), 3])
def test_logits_and_vectors_want_a_list(classifier: Classifier, wrong: Any) -> None:
    for ask in (classifier.logits, classifier.embed):
        with pytest.raises(InputError, match="wanted a list of texts"):
            ask(wrong)


def test_vectors_have_length_one_unless_told(classifier: Classifier) -> None:
    unit = classifier.embed(TEXTS)
    raw = classifier.embed(TEXTS, normalize=False)
    assert (unit.shape, unit.dtype) == ((6, 32), np.float32)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(raw / np.linalg.norm(raw, axis=1, keepdims=True), unit, atol=1e-6)
    assert classifier.embed([]).shape == (0, 32)


def test_the_vector_of_a_long_text_is_the_mean_of_its_windows_by_tokens(model: MakeModel) -> None:
    with Classifier.load(model(), too_long="window", max_length=8, stride=0) as classifier:
        text = "i am happy you are sad they love"  # windows of 6 and 2 words
        (encoding,) = classifier.encode([text])
        lengths = [len(row.input_ids) for row in encoding.rows]
        parts = classifier.embed(["i am happy you are sad", "they love"], normalize=False)
        whole = classifier.embed([text, "love"], normalize=False)
    assert lengths == [8, 4]
    np.testing.assert_allclose(whole[0], np.average(parts, axis=0, weights=lengths), atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_the_scores_of_windows_are_pooled(model: MakeModel, pooling: str) -> None:
    how = load_config(
        {"too_long": "window", "max_length": 8, "stride": 0, "window_pooling": pooling}, environment={}
    )
    with Classifier.load(model(), config=how) as classifier:
        answers = classifier.classify(["love", "i am happy you are sad they love", "sad"])
        parts = scores_of(classifier.classify(["i am happy you are sad", "they love"]))
    expected = parts.mean(axis=0) if pooling == "mean" else parts.max(axis=0)
    np.testing.assert_allclose(scores_of(answers)[1], expected, atol=1e-5)
    assert [answer.truncated for answer in answers] == [False, False, False]
    assert answers[1].n_tokens == 10


def test_a_text_that_is_cut_says_so(model: MakeModel) -> None:
    with Classifier.load(model(), max_length=6) as classifier:
        long, short = classifier.classify(["i am happy you are sad", "i am happy you"])
    assert (long.truncated, long.n_tokens) == (True, 8)
    assert (short.truncated, short.n_tokens) == (False, 6)
    assert long.scores == pytest.approx(short.scores, abs=1e-6)


def test_a_text_that_is_too_long_may_be_an_error(model: MakeModel) -> None:
    with Classifier.load(model(), too_long="error", max_length=6) as classifier:
        with pytest.raises(RowError, match="text 2: 8 tokens, where the model takes 6") as caught:
            classifier.classify(["love", "i am happy you are sad"])
        assert caught.value.code == "too_long"


def test_states_can_be_decoded_for_some_heads_alone(two_heads: Path) -> None:
    with Classifier.load(two_heads) as classifier:
        encodings = classifier.encode(TEXTS)
        states = classifier.infer(encodings)
        every, some = (
            classifier.decode(encodings, states),
            classifier.decode(encodings, states, heads=["topic"]),
        )
    for whole, part in zip(every, some, strict=True):
        assert not isinstance(whole, EngineError)
        assert not isinstance(part, EngineError)
        assert part.heads == {"topic": whole.heads["topic"]}


def test_the_steps_give_the_logits_and_vectors_that_the_whole_gives(classifier: Classifier) -> None:
    encodings = classifier.encode(TEXTS)
    logits = classifier.decode_logits(encodings, classifier.infer(encodings))
    whole = classifier.logits(TEXTS)
    for i, of in enumerate(logits):
        assert not isinstance(of, EngineError)
        assert all(np.allclose(of[name], whole[name][i], atol=1e-5) for name in whole)
    found = classifier.decode_vectors(encodings, classifier.infer(encodings, to_embed=True))
    assert np.allclose(np.array(found), classifier.embed(TEXTS), atol=1e-5)
    assert classifier.decode_logits([], classifier.infer([])) == []
    assert classifier.decode_vectors([], classifier.infer([], to_embed=True)) == []


def test_of_the_steps_too_the_failed_text_alone_has_an_error(classifier: Classifier) -> None:
    encodings = classifier.encode(TEXTS)
    guilty = set(encodings[2].rows[0].input_ids)

    def fail(batch: Batch) -> EngineError | None:
        bad = any(
            set(row[mask > 0]) == guilty
            for row, mask in zip(batch.input_ids, batch.attention_mask, strict=True)
        )
        return EngineError("no") if bad else None

    classifier.engine = Recorder(classifier.engine, fail)
    logits = classifier.decode_logits(encodings, classifier.infer(encodings))
    assert [isinstance(one, EngineError) for one in logits] == [i == 2 for i in range(len(TEXTS))]
    classifier._embedder = classifier.engine = Recorder(classifier._engine_for_embedding(), fail)
    vectors = classifier.decode_vectors(encodings, classifier.infer(encodings, to_embed=True))
    assert [isinstance(one, EngineError) for one in vectors] == [i == 2 for i in range(len(TEXTS))]


def test_the_caller_may_say_how_many_batches_are_in_flight(model: MakeModel) -> None:
    with Classifier.load(model(), streams=2, max_batch_tokens=16) as classifier:
        encodings = classifier.encode(TEXTS)
        seen = set()
        classifier.engine = recorder = Recorder(
            classifier.engine, lambda batch: seen.add(current_thread().name)
        )
        recorder.streams = 2
        alone = classifier.infer(encodings, streams=1)
        assert seen == {current_thread().name}
        assert np.allclose(alone.values, classifier.infer(encodings).values, atol=1e-5)
        assert len(seen) > 1
