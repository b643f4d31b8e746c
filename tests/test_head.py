"""Logits become scores and scores answers: for every finite logit, without a warning, at any temperature."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from tests.doubles import MakeModel
from tonewise import Classifier
from tonewise.errors import ModelError
from tonewise.head import Head, HeadPrediction, Prediction, pool_windows, poolings_of, sigmoid, softmax
from tonewise.store import HeadSpec

Floats = NDArray[np.float32]
HIDDEN = 4
finite = st.floats(-1e4, 1e4, width=32)
any_finite = st.floats(allow_nan=False, allow_infinity=False, width=32)


def logits(elements: st.SearchStrategy[float] = finite, least: int = 1) -> st.SearchStrategy[Floats]:
    shapes = arrays.array_shapes(min_dims=2, max_dims=2, min_side=least, max_side=8)
    return arrays.arrays(np.float32, shapes, elements=elements)


def head(labels: int = 3, **spec: Any) -> Head:
    names = tuple(f"l{i}" for i in range(labels))
    rng = np.random.default_rng(0)
    tensors = {
        "output.weight": rng.normal(size=(labels, HIDDEN)).astype(np.float32),
        "output.bias": rng.normal(size=labels).astype(np.float32),
    }
    if spec.get("dense"):
        tensors["dense.weight"] = rng.normal(size=(HIDDEN, HIDDEN)).astype(np.float32)
        tensors["dense.bias"] = rng.normal(size=HIDDEN).astype(np.float32)
    return Head("mood", HeadSpec(names, "classifier", **spec), tensors)


@given(logits())
def test_softmax_sums_to_one(values: Floats) -> None:
    scores = softmax(values)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert ((scores >= 0) & (scores <= 1)).all()
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)


@given(logits())
def test_softmax_is_that_of_float64(values: Floats) -> None:
    wide = values.astype(np.float64)
    exact = np.exp(wide - wide.max(axis=1, keepdims=True))
    exact /= exact.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(softmax(values), exact, atol=1e-5)


@given(logits(st.floats(-1e3, 1e3, width=16)), st.integers(-100, 100))
def test_softmax_does_not_see_what_is_added_to_all(values: Floats, shift: int) -> None:
    np.testing.assert_allclose(softmax(values + np.float32(shift)), softmax(values), atol=1e-3)


@given(logits(any_finite))
def test_sigmoid_is_a_probability_for_any_finite_logit(values: Floats) -> None:
    scores = sigmoid(values)
    assert scores.dtype == np.float32
    assert ((scores >= 0) & (scores <= 1)).all()
    np.testing.assert_allclose(scores + sigmoid(-values), 1, atol=1e-6)
    assert ((scores >= 0.5) == (values >= 0))[np.abs(values) > 1e-3].all()


@given(logits(least=2), st.floats(0.05, 20))
def test_temperature_never_changes_which_label_is_best(values: Floats, temperature: float) -> None:
    warm = head(values.shape[1], temperature=temperature)
    labels = [answer.label for answer in warm.decode(warm.scores(values))]
    chosen = values[np.arange(len(values)), [warm.labels.index(str(label)) for label in labels]]
    assert (chosen >= values.max(axis=1) - 1e-2).all()  # nearer ones may be equal in float32


@given(logits(least=2))
def test_a_higher_temperature_is_never_surer(values: Floats) -> None:
    count = values.shape[1]
    cold, warm = head(count).scores(values), head(count, temperature=3.0).scores(values)
    assert (warm.max(axis=1) <= cold.max(axis=1) + 1e-6).all()


@given(logits())
def test_multi_label_scores_do_not_depend_on_each_other(values: Floats) -> None:
    multi = head(values.shape[1], problem_type="multi_label_classification")
    np.testing.assert_array_equal(multi.scores(values), sigmoid(values))
    for row, answer in zip(multi.scores(values), multi.decode(multi.scores(values)), strict=True):
        assert answer.labels == tuple(
            name for name, score in zip(multi.labels, row, strict=True) if score >= 0.5
        )
        assert answer.label is None


@given(logits(any_finite))
def test_regression_leaves_values_as_they_are(values: Floats) -> None:
    own = head(values.shape[1], problem_type="regression", temperature=2.0)
    assert own.scores(values) is values
    assert [list(answer.scores.values()) for answer in own.decode(values)] == values.tolist()


def test_a_score_at_its_threshold_reaches_it() -> None:
    own = head(2, problem_type="multi_label_classification", thresholds=(0.5, 0.75))
    (answer,) = own.decode(np.array([[0.5, 0.7499]], np.float32))
    assert answer.labels == ("l0",)


@pytest.mark.parametrize(("floor", "label"), [(0.75, "l1"), (0.76, None)])
def test_a_score_under_the_floor_is_no_answer(floor: float, label: str | None) -> None:
    scores = np.array([[0.25, 0.75]], np.float32)
    (answer,) = head(2, abstain_below=floor).decode(scores)
    assert (answer.label, answer.abstained) == (label, label is None)
    several = head(2, abstain_below=floor, problem_type="multi_label_classification")
    (many,) = several.decode(scores)
    assert (many.labels, many.abstained) == (("l1",) if label else (), label is None)


@pytest.mark.parametrize(
    ("activation", "function"), [("tanh", np.tanh), ("relu", lambda x: x.clip(0)), ("none", lambda x: x)]
)
def test_a_dense_layer_comes_before_the_output(activation: Any, function: Any) -> None:
    own = head(dense="pooler", activation=activation)
    rng = np.random.default_rng(0)
    output, bias, dense, shift = (rng.normal(size=shape) for shape in ((3, 4), 3, (4, 4), 4))
    states = np.random.default_rng(1).normal(size=(5, HIDDEN))
    wanted = function(states @ dense.T + shift) @ output.T + bias
    found = own.logits(states.astype(np.float32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_scores_of_labels_that_become_one_are_summed() -> None:
    scores = np.array([[0.25, 0.35, 0.4], [0.1, 0.8, 0.1]], np.float32)
    own = head(3, mapping=("bad", "good", "bad"))
    merged = own.scores(np.log(scores))
    np.testing.assert_allclose(merged, [[0.65, 0.35], [0.2, 0.8]], atol=1e-6)
    first, second = own.decode(merged)
    assert (first.label, list(first.scores)) == ("bad", ["bad", "good"])
    assert second.label == "good"
    assert second.score == pytest.approx(0.8)
    assert own.shape.labels == ("bad", "good")


def test_of_several_labels_a_merged_one_holds_when_one_of_its_own_does() -> None:
    own = head(
        3,
        problem_type="multi_label_classification",
        thresholds=(0.9, 0.5, 0.2),
        mapping=("a", "b", "a"),
    )
    low, high, none = own.decode(np.array([[0.8, 0.4, 0.3], [0.95, 0.6, 0.1], [0.8, 0.4, 0.1]], np.float32))
    assert low.labels == ("a",)
    assert low.scores == pytest.approx({"a": 0.8, "b": 0.4})
    assert high.labels == ("a", "b")
    assert none.labels == ()


def test_the_floor_is_that_of_the_merged_score() -> None:
    logits = np.log(np.array([[0.3, 0.3, 0.4]], np.float32))
    own, mapped = head(3, abstain_below=0.5), head(3, abstain_below=0.5, mapping=("a", "a", "b"))
    assert own.decode(own.scores(logits))[0].abstained
    assert mapped.decode(mapped.scores(logits))[0].label == "a"


@given(logits(least=2))
def test_a_renamed_head_answers_as_before(values: Floats) -> None:
    count = values.shape[1]
    own, other = head(count), head(count, mapping=tuple(f"m{i}" for i in range(count)))
    for one, two in zip(own.decode(own.scores(values)), other.decode(other.scores(values)), strict=True):
        assert str(one.label).replace("l", "m") == two.label
        assert list(one.scores.values()) == list(two.scores.values())


def test_all_labels_may_become_one() -> None:
    own = head(2, mapping=("any", "any"))
    (answer,) = own.decode(own.scores(np.zeros((1, 2), np.float32)))
    assert (answer.label, answer.labels, answer.score) == ("any", None, 1)
    assert (answer.entropy, answer.margin) == (0, 1)


def test_an_answer_tells_how_sure_it_is() -> None:
    even = HeadPrediction("a", 0.5, {"a": 0.5, "b": 0.5})
    assert even.entropy == pytest.approx(np.log(2))
    assert even.margin == 0
    sure = HeadPrediction(None, 1.0, {"a": 1.0, "b": 0.0}, None, abstained=True)
    assert (sure.entropy, sure.margin) == (0, 1)
    several = HeadPrediction(None, 0.9, {"a": 0.9, "b": 0.25}, ("a",))
    wanted = -np.mean([p * np.log(p) + (1 - p) * np.log(1 - p) for p in (0.9, 0.25)])
    assert several.entropy == pytest.approx(wanted, abs=1e-6)
    value = HeadPrediction(None, 3.2, {"stars": 3.2})
    assert (value.entropy, value.margin) == (None, None)


def test_tensors_that_do_not_fit_the_labels_are_refused() -> None:
    tensors = {"output.weight": np.zeros((2, 4), np.float32), "output.bias": np.zeros(2, np.float32)}
    with pytest.raises(ModelError, match="head 'x' has 3 labels but 2 outputs"):
        Head("x", HeadSpec(("a", "b", "c"), "o"), tensors)
    wide = tensors | {"dense.weight": np.zeros((6, 6), np.float32), "dense.bias": np.zeros(6, np.float32)}
    with pytest.raises(ModelError, match="dense layer does not fit the 4 inputs"):
        Head("x", HeadSpec(("a", "b"), "o", dense="d"), wide)


@st.composite
def windows(draw: st.DrawFn) -> tuple[Floats, list[int]]:
    counts = draw(st.lists(st.integers(1, 4), min_size=1, max_size=6))
    scores = draw(arrays.arrays(np.float32, (sum(counts), 3), elements=st.floats(0, 1, width=32)))
    return scores, [sum(counts[:i]) for i in range(len(counts))]


@given(windows(), st.sampled_from(["mean", "max"]))
def test_windows_are_pooled_text_by_text(given_windows: tuple[Floats, list[int]], how: Any) -> None:
    scores, starts = given_windows
    pooled = pool_windows(scores, starts, how)
    assert pooled.shape == (len(starts), 3)
    assert pooled.dtype == np.float32
    for row, (start, stop) in zip(pooled, zip(starts, [*starts[1:], len(scores)], strict=True), strict=True):
        own = scores[start:stop]
        np.testing.assert_allclose(row, own.mean(axis=0) if how == "mean" else own.max(axis=0), atol=1e-6)


def test_poolings_are_named_once_in_a_fixed_order() -> None:
    heads = [head(pooling="mean"), head(pooling="first"), head(pooling="mean")]
    assert poolings_of(heads) == ("first", "mean")
    assert poolings_of([]) == ()


def test_the_one_head_answers_for_the_prediction() -> None:
    answer = HeadPrediction("joy", 0.9, {"joy": 0.9, "fear": 0.1}, abstained=False)
    one = Prediction({"mood": answer}, 3)
    assert (one.label, one.labels, one.score, one.scores, one.abstained) == (
        "joy",
        None,
        0.9,
        answer.scores,
        False,
    )
    with pytest.raises(AttributeError, match="names: mood, tone"):
        _ = Prediction({"mood": answer, "tone": answer}, 3).scores


def test_a_head_that_does_not_fit_its_encoder_is_refused_at_load(model: MakeModel, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    shutil.copytree(model(), folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["pre_classifier.weight"] = np.ascontiguousarray(tensors["pre_classifier.weight"][:, :-2])
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"head 'label' reads 30 numbers, but config\.json tells of 32"):
        Classifier.load(folder)
    tensors["pre_classifier.weight"] = tensors["pre_classifier.weight"][None]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"its tensor dense\.weight has 3 dimensions"):
        Classifier.load(folder)
