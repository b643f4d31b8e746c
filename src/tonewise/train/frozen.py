"""A head on frozen states: logistic regression, its strength of regularisation chosen by cross-validation."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from tonewise.metrics import log_loss
from tonewise.train.parts import Kind

Floats = NDArray[np.float32]
STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Inverse regularisation of states of mean norm √H, from strong to weak."""
MIDDLING = 0.1
MOST_ITERATIONS = 300


def fit_head(
    states: Floats,
    targets: Floats,
    kind: Kind,
    folds: Sequence[NDArray[np.int64]],
    weights: Floats | None = None,
) -> tuple[dict[str, Floats], Floats]:
    """`output.weight` [L, H] and `output.bias` [L] for states float32[N, H], and logits [N, L] out of fold.

    The strength with the least out-of-fold log loss is taken for the fit on all rows. With weights
    float32[L] a row counts by its label's, and each of several labels by its own.
    """
    scale = float(np.sqrt(np.mean(np.square(states)))) or 1.0
    scaled = (states / scale).astype(np.float64)
    tried = [_out_of_fold(scaled, targets, kind, folds, strength, weights) for strength in STRENGTHS]
    losses = [_loss(logits, targets, kind) for logits in tried]
    best = int(np.argmin(losses))
    weight, bias = _fit(scaled, targets, kind, STRENGTHS[best], weights)
    head = {"output.weight": (weight / scale).astype(np.float32), "output.bias": bias.astype(np.float32)}
    return head, tried[best]


def quick_head(states: Floats, targets: Floats, kind: Kind) -> dict[str, Floats]:
    """A head as `fit_head` gives it, of middling strength: good enough to begin with."""
    scale = float(np.sqrt(np.mean(np.square(states)))) or 1.0
    weight, bias = _fit((states / scale).astype(np.float64), targets, kind, MIDDLING)
    return {"output.weight": (weight / scale).astype(np.float32), "output.bias": bias.astype(np.float32)}


def _out_of_fold(
    states: NDArray[np.float64],
    targets: Floats,
    kind: Kind,
    folds: Sequence[NDArray[np.int64]],
    strength: float,
    weights: Floats | None,
) -> Floats:
    found = np.zeros(targets.shape, np.float32)
    for held in folds:
        learned = np.setdiff1d(np.arange(len(states)), held)
        weight, bias = _fit(states[learned], targets[learned], kind, strength, weights)
        found[held] = states[held] @ weight.T + bias
    return found


def _fit(
    states: NDArray[np.float64],
    targets: Floats,
    kind: Kind,
    strength: float,
    weights: Floats | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """float64[L, H] and float64[L]. A label that no row has, or all have, gets a bias alone."""
    weights = np.ones(targets.shape[1], np.float32) if weights is None else weights
    if kind == "multi":
        columns = [
            # A label's weight is on all of its rows, which is as much as a weaker regularisation.
            _regress(states, column > 0.5, strength * float(weight))
            for column, weight in zip(targets.T, weights, strict=True)
        ]
        return np.stack([weight for weight, _ in columns]), np.array([bias for _, bias in columns])
    rows, labels = np.nonzero(targets)
    shares = targets[rows, labels] * weights[labels]
    classes = np.unique(labels)
    weight = np.zeros((targets.shape[1], states.shape[1]))
    bias = np.full(targets.shape[1], -10.0)
    if len(classes) == 1:
        bias[classes] = 0.0
        return weight, bias
    model = _regression(strength, states[rows], labels, shares)
    if len(classes) == 2:  # one row stands for both
        weight[classes[1]], bias[classes] = model.coef_[0], (0.0, float(model.intercept_[0]))
    else:
        weight[classes], bias[classes] = model.coef_, model.intercept_
    return weight, bias


def _regress(
    states: NDArray[np.float64], holds: NDArray[np.bool_], strength: float
) -> tuple[NDArray[np.float64], float]:
    if holds.all() or not holds.any():
        return np.zeros(states.shape[1]), 10.0 if holds.any() else -10.0
    model = _regression(strength, states, holds.astype(np.int64), None)
    return model.coef_[0], float(model.intercept_[0])


def _regression(
    strength: float, states: NDArray[np.float64], labels: NDArray[np.int64], shares: Floats | None
) -> Any:
    model = LogisticRegression(C=strength, max_iter=MOST_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # cross-validation judges what was reached
        # So small products take longer when threads share them.
        with threadpool_limits(1, "blas"):
            return model.fit(states, labels, sample_weight=shares)


def _loss(logits: Floats, targets: Floats, kind: Kind) -> float:
    if kind == "multi":
        scores = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -50, 50)))
    else:
        exponent = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
        scores = exponent / exponent.sum(axis=1, keepdims=True)
    return log_loss(scores.astype(np.float32), targets, kind == "multi")
