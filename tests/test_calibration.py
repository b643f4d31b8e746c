"""Temperature, thresholds, uncertainty: the known one is found again, and no label changes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tonewise import metrics
from tonewise.calibration import entropy, fit_temperature, fit_thresholds, margin
from tonewise.errors import InputError
from tonewise.head import sigmoid, softmax

Floats = NDArray[np.float32]


def logits(seed: int, n: int = 4000, labels: int = 5) -> Floats:
    return np.random.default_rng(seed).normal(0, 2, (n, labels)).astype(np.float32)


def drawn(scores: Floats, seed: int) -> NDArray[np.bool_]:
    """One label a text, by these chances."""
    rng = np.random.default_rng(seed)
    ids = (scores.cumsum(axis=1) < rng.random((len(scores), 1))).sum(axis=1)
    return metrics.one_hot(np.minimum(ids, scores.shape[1] - 1), scores.shape[1])


@pytest.mark.parametrize("wanted", [0.3, 1.0, 2.5, 8.0])
def test_a_known_temperature_is_found_again(wanted: float) -> None:
    z = logits(0)
    gold = drawn(softmax(z), 1)
    found = fit_temperature(z * np.float32(wanted), gold, multi_label=False)
    assert found == pytest.approx(wanted, rel=0.05)
    soft = fit_temperature(z * np.float32(wanted), softmax(z), multi_label=False)
    assert soft == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("wanted", [0.3, 1.0, 2.5])
def test_so_is_one_of_several_labels(wanted: float) -> None:
    z = logits(2)
    gold = np.random.default_rng(3).random(z.shape) < sigmoid(z)
    assert fit_temperature(z * np.float32(wanted), gold, multi_label=True) == pytest.approx(wanted, rel=0.05)
    soft = fit_temperature(z * np.float32(wanted), sigmoid(z), multi_label=True)
    assert soft == pytest.approx(wanted, rel=1e-4)


@given(st.integers(0, 2**32), st.integers(1, 30), st.booleans(), st.floats(0.1, 30))
def test_no_temperature_has_a_smaller_loss(seed: int, n: int, several: bool, scale: float) -> None:
    z = logits(seed, n, 3) * np.float32(scale)
    rng = np.random.default_rng(seed)
    gold = rng.random(z.shape) < 0.5 if several else metrics.one_hot(rng.integers(0, 3, n), 3)
    found = fit_temperature(z, gold, multi_label=several)
    assert 0.05 <= found <= 20

    def loss(temperature: float) -> float:
        wide = z.astype(np.float64) / temperature
        if several:
            return float((np.logaddexp(0, wide) - gold * wide).mean())
        highest = wide.max(axis=1, keepdims=True)
        sums = np.log(np.exp(wide - highest).sum(axis=1)) + highest[:, 0]
        return float((sums - wide[gold]).mean())

    for other in (0.05, found * 0.98, found * 1.02, 1.0, 20.0):
        assert loss(found) <= loss(min(max(other, 0.05), 20)) + 1e-9


def test_what_is_told_apart_without_fault_ends_at_the_bound() -> None:
    gold = metrics.one_hot(np.array([0, 1, 2, 0]), 3)
    right = gold.astype(np.float32) * 5
    assert fit_temperature(right, gold, multi_label=False) == 0.05
    assert fit_temperature(-right, gold, multi_label=False) == 20
    assert fit_temperature(right * 2 - 5, gold, multi_label=True) == 0.05


def test_without_a_difference_the_temperature_is_one() -> None:
    gold = metrics.one_hot(np.array([0, 1]), 2)
    assert fit_temperature(np.zeros((2, 2), np.float32), gold, multi_label=True) == 1
    assert fit_temperature(np.full((2, 2), 3, np.float32), gold, multi_label=False) == 1
    with pytest.raises(InputError, match="no rows"):
        fit_temperature(np.zeros((0, 2), np.float32), gold[:0], multi_label=False)


@given(
    st.lists(st.lists(st.floats(-1e4, 1e4, width=32), min_size=3, max_size=3), min_size=1, max_size=8),
    st.floats(0.05, 20),
)
def test_temperature_never_changes_a_label(rows: list[list[float]], temperature: float) -> None:
    z = np.array(rows, np.float32)
    scores = softmax(z / np.float32(temperature))
    chosen = scores.argmax(axis=1)[:, None]
    # beside the best logit itself none can win but one that float32 scores cannot tell from it
    gap = z.max(axis=1) - np.take_along_axis(z, chosen, axis=1)[:, 0]
    assert (gap <= temperature * 1e-6).all()
    clear = np.ptp(np.partition(z, -2, axis=1)[:, -2:], axis=1) > temperature * 1e-6
    np.testing.assert_array_equal(chosen[clear, 0], z.argmax(axis=1)[clear])


def f1(scores: Floats, gold: NDArray[np.bool_], threshold: float) -> float:
    return float(metrics.by_label(gold[:, None], (scores >= np.float32(threshold))[:, None]).f1[0])


@given(st.integers(0, 2**32), st.integers(1, 25), st.integers(2, 200))
def test_no_threshold_has_a_better_f1(seed: int, n: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    scores = (rng.integers(0, steps, (n, 2)) / (steps - 1)).astype(np.float32)
    gold = rng.random((n, 2)) < 0.4
    for column, threshold in enumerate(fit_thresholds(scores, gold)):
        score, wanted = scores[:, column], gold[:, column]
        if not wanted.any():
            assert threshold == 0.5
            continue
        best = f1(score, wanted, threshold)
        assert all(f1(score, wanted, one) <= best + 1e-12 for one in score)
        assert threshold == np.float32(threshold)


def test_a_threshold_lies_in_the_middle_between_scores() -> None:
    scores = np.array([[0.9], [0.7], [0.3], [0.1]], np.float32)
    gold = np.array([[True], [True], [False], [False]])
    assert fit_thresholds(scores, gold) == pytest.approx((0.5,))
    assert fit_thresholds(scores, ~gold & (scores > 0.2)) == pytest.approx((0.2,))
    assert fit_thresholds(scores, np.ones_like(gold)) == pytest.approx((0.05,))


def test_of_equally_good_thresholds_the_nearest_to_a_half_is_taken() -> None:
    gold = np.array([[True], [False], [False], [True]])  # the first alone, or all: an F1 of 2/3
    assert fit_thresholds(np.array([[0.9], [0.8], [0.5], [0.4]], np.float32), gold) == pytest.approx((0.2,))
    assert fit_thresholds(np.array([[0.8], [0.6], [0.5], [0.2]], np.float32), gold) == pytest.approx((0.7,))


def test_neighbours_in_float32_are_told_apart() -> None:
    low = np.float32(0.5)
    high = np.nextafter(low, np.float32(1))
    scores, gold = np.array([[high], [low]], np.float32), np.array([[True], [False]])
    (threshold,) = fit_thresholds(scores, gold)
    assert (scores >= np.float32(threshold)).tolist() == gold.tolist()


def test_uncertainty_by_hand() -> None:
    scores = np.array([[0.5, 0.5, 0], [1, 0, 0], [0.25, 0.25, 0.5]])
    np.testing.assert_allclose(entropy(scores, multi_label=False), np.log([2, 1, 2**1.5]))
    np.testing.assert_allclose(margin(scores, multi_label=False), [0, 1, 0.25])
    several = np.array([[0.5, 0.5], [1, 0], [0.9, 0.2]])
    mean = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1) + 0.2 * np.log(0.2) + 0.8 * np.log(0.8)) / 2
    np.testing.assert_allclose(entropy(several, multi_label=True), [np.log(2), 0, mean])
    np.testing.assert_allclose(margin(several, multi_label=True), [0, 0.5, 0.3])
    np.testing.assert_allclose(margin(np.array([[0.7]]), multi_label=False), [0.7])


@given(st.integers(0, 2**32), st.integers(2, 12))
def test_uncertainty_stays_within_its_bounds(seed: int, labels: int) -> None:
    scores = softmax(logits(seed, 10, labels) * 5)
    assert ((entropy(scores, False) >= 0) & (entropy(scores, False) <= np.log(labels) + 1e-6)).all()
    assert ((margin(scores, False) >= 0) & (margin(scores, False) <= 1)).all()
