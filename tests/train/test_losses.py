"""Losses, each held to its formula in float64."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tonewise.train.losses import TEMPERATURE, loss_of, weights_of
from tonewise.train.parts import Kind, Target

RNG = np.random.default_rng(0)
N, L = 12, 4
ROWS = [3, 0, 7, 7, 11]
LOGITS = RNG.normal(0, 2, (len(ROWS), L)).astype(np.float32)
WEIGHTS = np.array([0.5, 2.0, 1.0, 0.25])
Floats = NDArray[np.float64]


def single(kind: Kind = "single") -> Target:
    return Target(kind, np.eye(L, dtype=np.float32)[RNG.integers(0, L, N)])


def soft() -> Target:
    values = RNG.random((N, L))
    return Target("soft", (values / values.sum(axis=1, keepdims=True)).astype(np.float32))


def several() -> Target:
    return Target("multi", (RNG.random((N, L)) < 0.4).astype(np.float32))


def found(target: Target, smoothing: float = 0.0, weights: Any = None, logits: Any = LOGITS) -> float:
    given = None if weights is None else torch.tensor(weights, dtype=torch.float32)
    return loss_of(torch.from_numpy(logits), target, ROWS, smoothing, given).item()


def log_softmax(x: Floats) -> Floats:
    highest = x.max(axis=1, keepdims=True)
    result: Floats = x - highest - np.log(np.exp(x - highest).sum(axis=1, keepdims=True))
    return result


def crossed(target: Target, smoothing: float, weights: Floats) -> float:
    """Cross-entropy of one label or soft ones: −Σ w (y (1 − s) + s / L) log p."""
    values = target.values[ROWS].astype(np.float64) * (1 - smoothing) + smoothing / L
    return float(-(weights * values * log_softmax(LOGITS.astype(np.float64))).sum())


def binary(target: Target, smoothing: float, weights: Floats) -> float:
    """Of several labels: −Σ w (y log p + (1 − y) log (1 − p))."""
    values = target.values[ROWS].astype(np.float64) * (1 - smoothing) + smoothing / 2
    z = LOGITS.astype(np.float64)
    return float((weights * (np.logaddexp(0, z) - values * z)).sum())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("make", [single, soft])
def test_one_label_costs_its_cross_entropy(make: Any, weights: Any, smoothing: float) -> None:
    target = make()
    wanted = crossed(target, smoothing, np.ones(L) if weights is None else weights)
    assert found(target, smoothing, weights) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_several_labels_cost_their_binary_cross_entropies(weights: Any, smoothing: float) -> None:
    target = several()
    wanted = binary(target, smoothing, np.ones(L) if weights is None else weights)
    assert found(target, smoothing, weights) == pytest.approx(wanted, rel=1e-5)


def test_imitation_costs_the_divergence_of_softened_scores() -> None:
    target = Target("logits", RNG.normal(0, 2, (N, L)).astype(np.float32))
    wanted = log_softmax(target.values[ROWS].astype(np.float64) / TEMPERATURE)
    own = log_softmax(LOGITS.astype(np.float64) / TEMPERATURE)
    divergence = float((np.exp(wanted) * (wanted - own)).sum()) * TEMPERATURE**2
    assert found(target) == pytest.approx(divergence, rel=1e-5)


def test_imitation_of_several_labels_costs_it_label_by_label() -> None:
    target = Target("multi_logits", RNG.normal(0, 2, (N, L)).astype(np.float32))
    p, q = (1 / (1 + np.exp(-x.astype(np.float64) / TEMPERATURE)) for x in (target.values[ROWS], LOGITS))
    divergence = (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).sum() * TEMPERATURE**2
    assert found(target) == pytest.approx(divergence, rel=1e-5)


@pytest.mark.parametrize(("kind", "shift"), [("logits", 3.0), ("multi_logits", 0.0)])
def test_who_answers_alike_pays_nothing(kind: Kind, shift: float) -> None:
    values = np.zeros((N, L), np.float32)
    values[ROWS[1:]] = LOGITS[1:]  # row 7 is met twice
    logits = torch.from_numpy(values[ROWS] + np.float32(shift)).requires_grad_()
    loss = loss_of(logits, Target(kind, values), ROWS, 0.0, None)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx(0, abs=1e-5)
    assert logits.grad is not None
    assert logits.grad.abs().max().item() < 1e-6


@pytest.mark.parametrize("kind", ["single", "multi", "soft", "logits", "multi_logits"])
def test_a_targets_weight_multiplies_its_loss(kind: Kind) -> None:
    values = single().values
    once, thrice = (found(Target(kind, values, weight)) for weight in (1.0, 3.0))
    assert once > 0
    assert thrice == pytest.approx(3 * once, rel=1e-6)


def test_a_loss_is_a_sum_over_rows_in_float32_whatever_the_logits_are() -> None:
    target = single()
    logits = torch.from_numpy(LOGITS).bfloat16()
    whole = loss_of(logits, target, ROWS, 0.1, None)
    parts = [loss_of(logits[i : i + 1], target, [row], 0.1, None).item() for i, row in enumerate(ROWS)]
    assert whole.dtype is torch.float32
    assert whole.item() == loss_of(logits.float(), target, ROWS, 0.1, None).item()
    assert whole.item() == pytest.approx(sum(parts), rel=1e-6)


@pytest.mark.parametrize("kind", ["single", "multi", "soft"])
def test_class_weights_are_by_the_counts_and_of_mean_one_over_the_rows(kind: Kind) -> None:
    values = np.repeat(np.eye(3, dtype=np.float32), [60, 30, 10], axis=0)
    weights = weights_of(Target(kind, values), 0.5)
    assert weights is not None
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights / weights[0], [1, 2**0.5, 6**0.5], rtol=1e-6)
    assert (values @ weights).mean() == pytest.approx(1, rel=1e-6)


def test_a_label_without_rows_makes_no_infinite_weight() -> None:
    weights = weights_of(Target("single", np.eye(3, dtype=np.float32)[[0, 0, 1]]), 1.0)
    assert weights is not None
    assert np.isfinite(weights).all()


@pytest.mark.parametrize(("kind", "power"), [("single", 0.0), ("logits", 1.0), ("multi_logits", 1.0)])
def test_nothing_is_weighted_unasked_nor_what_is_imitated(kind: Kind, power: float) -> None:
    assert weights_of(Target(kind, np.eye(3, dtype=np.float32)[[0, 0, 1]]), power) is None
