"""Temperature, thresholds and uncertainty: fitted on held-out scores."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tonewise.errors import InputError

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]

LEAST_TEMPERATURE, MOST_TEMPERATURE = 0.05, 20.0
HALVINGS = 50


def fit_temperature(logits: Floats, gold: Floats | NDArray[np.bool_], *, multi_label: bool) -> float:
    """The temperature, from 0.05 to 20, at which logits float[N, L] have the least log loss.

    gold  one-hot, multi-hot or soft targets, [N, L]

    The loss is convex in 1 / temperature, so its slope is halved to 0 (temperature scaling: Guo et al.
    2017). Data that some temperature tells apart without fault ends at the bound. Where no temperature
    changes the loss it is 1. Raises InputError without rows.
    """
    z, wanted = np.asarray(logits, np.float64), np.asarray(gold, np.float64)
    if not len(z):
        raise InputError("a temperature cannot be fitted on no rows")
    if not multi_label:
        z = z - z.max(axis=1, keepdims=True)
    slope = _slope_of_several(z, wanted) if multi_label else _slope_of_one(z, wanted)
    low, high = 1 / MOST_TEMPERATURE, 1 / LEAST_TEMPERATURE
    at_low, at_high = slope(low), slope(high)
    if at_low >= 0 or at_high <= 0:
        if at_low == at_high == 0:
            return 1.0
        return MOST_TEMPERATURE if at_low >= 0 else LEAST_TEMPERATURE
    for _ in range(HALVINGS):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return float(1 / (low * high) ** 0.5)


def _slope_of_one(z: Doubles, gold: Doubles) -> Callable[[float], float]:
    """The derivative of the loss by 1 / temperature; every row of `z` has 0 as its maximum."""
    told = float(np.sum(gold * z))
    mass = gold.sum(axis=1)

    def slope(inverse: float) -> float:
        part = np.exp(z * inverse)
        return float(np.sum(mass * np.sum(part * z, axis=1) / part.sum(axis=1)) - told)

    return slope


def _slope_of_several(z: Doubles, gold: Doubles) -> Callable[[float], float]:
    """The derivative of the loss by 1 / temperature, over all cells alike."""
    told = float(np.sum((gold - 0.5) * z))
    return lambda inverse: float(np.sum(np.tanh(z * (inverse / 2)) * z) / 2 - told)


def fit_thresholds(scores: Floats, gold: NDArray[np.bool_]) -> tuple[float, ...]:
    """For each label of scores float[N, L] the threshold with the best F1; 0.5 for one without support.

    A threshold lies in the middle between neighbouring scores (the least score's neighbour is 0); of
    equally good ones the nearest to 0.5 is taken. Heads compare in float32, so it is one.
    """
    columns = zip(np.asarray(scores, np.float32).T, np.asarray(gold, bool).T, strict=True)
    return tuple(_threshold(score, wanted) for score, wanted in columns)


def _threshold(scores: NDArray[np.float32], gold: NDArray[np.bool_]) -> float:
    if not gold.any():
        return 0.5
    order = np.argsort(-scores, kind="stable")
    falling, right = scores[order], np.cumsum(gold[order])
    below = np.append(falling[1:], np.float32(0))
    found = np.arange(1, len(falling) + 1)
    f1 = np.where(falling > below, 2 * right / (found + gold.sum()), -1.0)
    f1[-1] = 2 * right[-1] / (found[-1] + gold.sum())  # all of them, whatever the least score is
    middles = ((falling.astype(np.float64) + below) / 2).astype(np.float32)
    middles = np.where(middles > below, middles, falling)  # no float32 lies between
    best = np.flatnonzero(f1 == f1.max())
    return float(middles[best[np.argmin(np.abs(middles[best] - 0.5))]])


def entropy(scores: Floats, multi_label: bool) -> Doubles:
    """Uncertainty of each row of scores float[N, L] in nats, float64[N]: 0 to ln L.

    Of multi label the mean over labels of their binary entropies: 0 to ln 2.
    """
    wide = np.clip(np.asarray(scores, np.float64), 0, 1)
    if multi_label:
        result: Doubles = (_terms(wide) + _terms(1 - wide)).mean(axis=1)
    else:
        result = _terms(wide).sum(axis=1)
    return result


def margin(scores: Floats, multi_label: bool) -> Doubles:
    """How clear each answer of scores float[N, L] is, float64[N]: best score minus second, 0 to 1.

    Of multi label the least distance of a score from 0.5: 0 to 0.5. A lone label's margin is its score.
    """
    wide = np.asarray(scores, np.float64)
    if multi_label:
        least: Doubles = np.abs(wide - 0.5).min(axis=1)
        return least
    if wide.shape[1] == 1:
        return wide[:, 0]
    second, best = np.partition(wide, -2, axis=1)[:, -2:].T
    gap: Doubles = best - second
    return gap


def _terms(share: Doubles) -> Doubles:
    return -share * np.log(np.where(share > 0, share, 1))
