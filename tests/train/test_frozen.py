"""Heads on frozen states: what scikit-learn would say, at the strength that answers other folds best."""

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from tonewise.head import softmax
from tonewise.train.frozen import STRENGTHS, fit_head, quick_head
from tonewise.train.parts import Kind

Floats = NDArray[np.float32]
N, H = 120, 8


def states_of(labels: int = 3, noise: float = 1.0, seed: int = 0) -> tuple[Floats, Floats]:
    """States around a centre for each label, and one-hot targets."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 2, (labels, H))
    gold = np.arange(N) % labels
    states = centres[gold] + rng.normal(0, noise, (N, H))
    return (states * 5).astype(np.float32), np.eye(labels, dtype=np.float32)[gold]


def folds_of(n: int = N, k: int = 5) -> list[NDArray[np.int64]]:
    order = np.random.default_rng(9).permutation(n)
    return [np.sort(order[i::k]) for i in range(k)]


def logits_of(head: dict[str, Floats], states: Floats) -> NDArray[Any]:
    return states @ head["output.weight"].T + head["output.bias"]


def reference(states: Floats, gold: NDArray[np.int64], strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=300).fit(scaled(states), gold)


def scaled(states: Floats) -> NDArray[np.float64]:
    return np.asarray(states / np.sqrt(np.mean(np.square(states))), np.float64)


@pytest.mark.parametrize("labels", [2, 3])
def test_the_head_is_scikit_learns_at_the_strength_that_answers_others_best(labels: int) -> None:
    states, targets = states_of(labels, noise=4.0)
    gold, folds = targets.argmax(axis=1), folds_of()
    losses, out = [], []
    for strength in STRENGTHS:
        scores = np.zeros((N, labels))
        for held in folds:
            rest = np.setdiff1d(np.arange(N), held)
            scale = np.sqrt(np.mean(np.square(states)))
            model = LogisticRegression(C=strength, max_iter=300).fit(states[rest] / scale, gold[rest])
            scores[held] = model.predict_proba(states[held] / scale)
        losses.append(-np.log(scores[np.arange(N), gold]).mean())
        out.append(scores)
    best = int(np.argmin(losses))
    assert 0 < best < len(STRENGTHS) - 1, "the test is of a choice"
    head, logits = fit_head(states, targets, "single", folds)
    np.testing.assert_allclose(softmax(logits), out[best], atol=1e-3)
    expected = reference(states, gold, STRENGTHS[best]).predict_proba(scaled(states))
    np.testing.assert_allclose(softmax(logits_of(head, states)), expected, atol=1e-3)
    assert {name: (one.dtype.name, one.shape) for name, one in head.items()} == {
        "output.weight": ("float32", (labels, H)),
        "output.bias": ("float32", (labels,)),
    }


def test_no_row_is_answered_by_a_head_that_learned_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tonewise.train.frozen.STRENGTHS", (0.1,))
    states, targets = states_of()
    turned, held = targets.copy(), folds_of()[2]
    turned[held] = np.roll(turned[held], 1, axis=1)
    first, second = (fit_head(states, one, "single", folds_of())[1] for one in (targets, turned))
    np.testing.assert_array_equal(first[held], second[held])
    assert not np.array_equal(first, second), "the others have learned of it"


def test_a_label_that_a_fold_does_not_learn_is_never_its_answer() -> None:
    states, targets = states_of()
    alone = np.flatnonzero(targets[:, 2])
    folds = [alone, np.setdiff1d(np.arange(N), alone)]
    head, logits = fit_head(states, targets, "single", folds)
    assert np.isfinite(logits).all()
    assert (logits[alone].argmax(axis=1) != 2).all()
    assert (logits[folds[1]].argmax(axis=1) == 2).all(), "there it is the only one"
    assert np.mean(logits_of(head, states).argmax(axis=1) == targets.argmax(axis=1)) > 0.9


def test_a_label_without_any_row_stays_unlikely() -> None:
    states, targets = states_of(2)
    wide = np.pad(targets, ((0, 0), (1, 1)))
    head, _ = fit_head(states, wide, "single", folds_of())
    scores = softmax(logits_of(head, states).astype(np.float32))
    assert scores[:, [0, 3]].max() < 0.05
    assert np.mean(scores.argmax(axis=1) == wide.argmax(axis=1)) > 0.9


def test_several_labels_are_a_regression_each_and_constant_ones_a_bias() -> None:
    states, targets = states_of(noise=4.0)
    several = np.maximum(targets, np.roll(targets, 1, axis=1))
    several = np.concatenate([several, np.zeros((N, 1)), np.ones((N, 1))], axis=1).astype(np.float32)
    head, logits = fit_head(states, several, "multi", folds_of())
    assert (logits[:, 3] < -5).all()
    assert (logits[:, 4] > 5).all()
    assert not head["output.weight"][3:].any()
    found = logits_of(head, states)[:, :3]
    candidates = []
    for strength in STRENGTHS:
        model = OneVsRestClassifier(LogisticRegression(C=strength, max_iter=300))
        candidates.append(model.fit(scaled(states), several[:, :3]).predict_proba(scaled(states)))
    distances = [np.abs(1 / (1 + np.exp(-found)) - one).max() for one in candidates]
    assert min(distances) < 1e-3


def test_soft_labels_are_weighted_rows() -> None:
    states, targets = states_of()
    soft = targets * np.float32(0.7) + np.float32(0.1)
    head, _ = fit_head(states, soft, "soft", folds_of())
    scores = softmax(logits_of(head, states).astype(np.float32))
    assert scores.max(axis=1).mean() == pytest.approx(0.8, abs=0.05)
    hard, _ = fit_head(states, targets, "soft", folds_of())
    np.testing.assert_array_equal(
        hard["output.weight"], fit_head(states, targets, "single", folds_of())[0]["output.weight"]
    )


def test_a_head_to_begin_with_is_near_the_one_that_is_chosen() -> None:
    states, targets = states_of(noise=4.0)
    chosen, _ = fit_head(states, targets, "single", folds_of())
    quick = quick_head(states, targets, "single")
    found = [logits_of(head, states).argmax(axis=1) for head in (chosen, quick)]
    assert np.mean(found[0] == found[1]) > 0.9


def test_states_that_are_all_nought_give_a_head_all_the_same() -> None:
    _, targets = states_of()
    head, logits = fit_head(np.zeros((N, H), np.float32), targets, "single", folds_of())
    assert np.isfinite(logits).all()
    assert np.isfinite(head["output.bias"]).all()


def test_a_fit_that_is_cut_short_raises_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tonewise.train.frozen.MOST_ITERATIONS", 1)
    states, targets = states_of()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_head(states, targets, "single", folds_of())


@pytest.mark.parametrize("kind", ["single", "soft"])
def test_a_row_counts_by_the_weight_of_its_label(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tonewise.train.frozen.STRENGTHS", (0.1,))
    states, targets = states_of(noise=4.0)
    weights = np.array([0.5, 1.0, 4.0], np.float32)
    gold = targets.argmax(axis=1)
    model = LogisticRegression(C=0.1, max_iter=300)
    expected = model.fit(scaled(states), gold, sample_weight=weights[gold]).predict_proba(scaled(states))
    head, logits = fit_head(states, targets, kind, folds_of(), weights)
    np.testing.assert_allclose(softmax(logits_of(head, states)), expected, atol=1e-3)
    plain = fit_head(states, targets, kind, folds_of())[1]
    assert (logits.argmax(axis=1) == 2).sum() > (plain.argmax(axis=1) == 2).sum(), "out of fold too"


def test_each_of_several_labels_counts_by_its_own_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tonewise.train.frozen.STRENGTHS", (0.1,))
    states, targets = states_of(noise=4.0)
    weights = np.array([0.5, 1.0, 4.0], np.float32)
    head, _ = fit_head(states, targets, "multi", folds_of(), weights)
    for i, weight in enumerate(weights):
        model = LogisticRegression(C=0.1, max_iter=300)
        every = np.full(N, weight)
        model.fit(scaled(states), targets[:, i] > 0.5, sample_weight=every)
        expected = model.decision_function(scaled(states))
        np.testing.assert_allclose(logits_of(head, states)[:, i], expected, atol=1e-2)
