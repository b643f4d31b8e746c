"""Pure arrays: accuracy, F1, AUROC, calibration error, and what chance does to them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Counts = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]

BINS = 15
DRAWS = 1000
LEAST_PROBABILITY = 1e-15


@dataclass(frozen=True, slots=True)
class LabelFigures:
    """Each label's precision, recall and f1 float64[L], support int64[L]; 0 where nothing is divided."""

    precision: Doubles
    recall: Doubles
    f1: Doubles
    support: Counts


@dataclass(frozen=True, slots=True)
class Reliability:
    """Bins of rising confidence: mean confidence and accuracy float64[B], rows int64[B]."""

    confidence: Doubles
    accuracy: Doubles
    count: Counts


@dataclass(frozen=True, slots=True)
class Interval:
    """From `low` to `high`; both nan where the statistic never was a number."""

    low: float
    high: float


# What is right.


def accuracy(gold: Counts, found: Counts) -> float:
    """Share of equal ids in int[N] and int[N]; nan of no rows."""
    return _mean(gold == found)


def confusion(gold: Counts, found: Counts, labels: int) -> Counts:
    """int64[L, L]: rows of gold, columns of found; ids are 0 to `labels` - 1."""
    pairs = np.bincount(np.asarray(gold) * labels + found, minlength=labels * labels)
    return pairs.astype(np.int64).reshape(labels, labels)


def one_hot(ids: Counts, labels: int) -> Bools:
    """bool[N, L] of int[N]; an id under 0 has no label."""
    hot: Bools = np.asarray(ids)[:, None] == np.arange(labels)
    return hot


def subset_accuracy(gold: Bools, found: Bools) -> float:
    """Share of rows of bool[N, L] whose labels are all as they should be; nan of no rows."""
    return _mean((gold == found).all(axis=1))


def by_label(gold: Bools, found: Bools) -> LabelFigures:
    """Precision, recall, F1 and support of each label in bool[N, L]."""
    return label_figures(*hits(gold, found))


def macro_f1(gold: Bools, found: Bools) -> float:
    """Mean F1 of the labels of bool[N, L] that have support; nan without any."""
    return macro(*hits(gold, found))


def weighted_f1(gold: Bools, found: Bools) -> float:
    """F1 of the labels of bool[N, L], weighted by their support; nan without any."""
    return weighted(*hits(gold, found))


def micro_f1(gold: Bools, found: Bools) -> float:
    """F1 over all cells of bool[N, L] alike; 0 where no cell holds."""
    return micro(*hits(gold, found))


# The same from counts, which a bootstrap has sooner than arrays of cells.


def hits(gold: Bools, found: Bools) -> tuple[Counts, Counts, Counts]:
    """For each label of bool[N, L] int64[L]: rows right, rows found, rows of gold."""
    return _per_label(gold & found), _per_label(found), _per_label(gold)


def hits_of(table: Counts) -> tuple[Counts, Counts, Counts]:
    """What `hits` returns, of a confusion int64[L, L or more]; further columns are answers of no label."""
    labels = len(table)
    return table.diagonal(), table[:, :labels].sum(axis=0), table.sum(axis=1)


def label_figures(right: Counts, found: Counts, gold: Counts) -> LabelFigures:
    """Of what `hits` returns."""
    return LabelFigures(_share(right, found), _share(right, gold), _f1(right, found, gold), gold)


def macro(right: Counts, found: Counts, gold: Counts) -> float:
    """`macro_f1` of what `hits` returns."""
    return _mean(_f1(right, found, gold)[gold > 0])


def weighted(right: Counts, found: Counts, gold: Counts) -> float:
    """`weighted_f1` of what `hits` returns."""
    return float(_f1(right, found, gold) @ gold / gold.sum()) if gold.any() else float("nan")


def micro(right: Counts, found: Counts, gold: Counts) -> float:
    """`micro_f1` of what `hits` returns."""
    return float(_f1(*(some.sum(keepdims=True) for some in (right, found, gold)))[0])


# How well scores rank, and how true they are.


def ranked(values: Floats) -> tuple[Doubles, Counts]:
    """The distinct values of float[N], rising, and int64[N]: which of them each row has."""
    distinct, place = np.unique(np.asarray(values, np.float64), return_inverse=True)
    return distinct, place.astype(np.int64)


def auroc(gold: Bools, scores: Floats) -> float:
    """Chance that a row of gold scores above another; ties count half; nan when either kind is absent.

    gold bool[N], scores float[N]; by ranks (Mann and Whitney 1947).
    """
    gold = np.asarray(gold, bool)
    distinct, place = ranked(scores)
    positive, negative = (np.bincount(place[some], minlength=len(distinct)) for some in (gold, ~gold))
    return auroc_of_counts(positive, negative)


def auroc_of_counts(positive: Counts, negative: Counts) -> float:
    """`auroc` of rows counted by score, rising: those of gold and the others, int64[U] each."""
    if not positive.any() or not negative.any():
        return float("nan")
    beaten = np.cumsum(negative) - negative / 2
    return float(positive @ beaten / (positive.sum() * negative.sum()))


def reliability(confidence: Floats, correct: Bools, bins: int = BINS) -> Reliability:
    """Up to `bins` bins of as many rows each, by confidence float[N]; B is less where rows are fewer.

    Rows of equal confidence share their mean of correct bool[N]; so it does not matter which of them
    falls to which side of a bin's edge.
    """
    distinct, place = ranked(confidence)
    count = np.bincount(place, minlength=len(distinct))
    right = np.bincount(place, weights=correct, minlength=len(distinct))
    return reliability_of_counts(distinct, count, right, bins)


def reliability_of_counts(
    distinct: Doubles, count: Counts, correct: Counts | Doubles, bins: int = BINS
) -> Reliability:
    """`reliability` of rows counted by confidence, rising: all and the correct of them, [U] each."""
    shared = correct / np.maximum(count, 1)
    ordered, right = np.repeat(distinct, count), np.repeat(shared, count)
    edges = np.linspace(0, len(ordered), min(bins, len(ordered)) + 1).astype(np.int64)
    starts, sizes = edges[:-1], np.diff(edges)
    if not len(sizes):
        return Reliability(np.zeros(0), np.zeros(0), sizes)
    return Reliability(
        np.add.reduceat(ordered, starts) / sizes, np.add.reduceat(right, starts) / sizes, sizes
    )


def ece(confidence: Floats, correct: Bools, bins: int = BINS) -> float:
    """Expected calibration error over bins of equal mass; nan of no rows.

    The mean distance of accuracy from confidence, weighted by rows (Naeini et al. 2015).
    """
    return ece_of(reliability(confidence, correct, bins))


def ece_of(bins: Reliability) -> float:
    """`ece` of bins that are there already."""
    gaps = np.abs(bins.accuracy - bins.confidence) * bins.count
    return float(gaps.sum() / bins.count.sum()) if bins.count.any() else float("nan")


def brier(scores: Floats, gold: Floats | Bools, multi_label: bool) -> float:
    """Mean squared distance of scores float[N, L] from gold, 0 at best; nan of no rows.

    Summed over labels, 2 at worst (Brier 1950); of multi label their mean, 1 at worst.
    """
    squares = (np.asarray(scores, np.float64) - gold) ** 2
    return _mean(squares.mean(axis=1) if multi_label else squares.sum(axis=1))


def log_loss(scores: Floats, gold: Floats | Bools, multi_label: bool) -> float:
    """Mean of -ln of what gold scored, in nats; of multi label the mean over labels; nan of no rows."""
    wide, wanted = np.asarray(scores, np.float64), np.asarray(gold, np.float64)
    loss = -wanted * np.log(np.maximum(wide, LEAST_PROBABILITY))
    if multi_label:
        loss -= (1 - wanted) * np.log(np.maximum(1 - wide, LEAST_PROBABILITY))
    return _mean(loss.mean(axis=1) if multi_label else loss.sum(axis=1))


# What chance does.


def bootstrap(
    statistic: Callable[[Counts], float], n: int, *, draws: int = DRAWS, level: float = 0.95, seed: int = 0
) -> Interval:
    """The percentile interval of a statistic of `n` rows (Efron 1979).

    `statistic` is given int64[n], the row numbers of a draw with replacement; draws where it is nan are
    left out.
    """
    return _interval(_drawn(statistic, n, draws, seed), level)


def basic_bootstrap(
    statistic: Callable[[Counts], float], n: int, *, draws: int = DRAWS, level: float = 0.95, seed: int = 0
) -> Interval:
    """The basic interval of an error such as ECE, which is 0 at best and which chance only makes greater.

    Draws are above the value as the value is above the truth, so their percentiles would count chance
    twice: here what they are above it is taken off (Davison and Hinkley 1997, 5.2). Never under 0; the
    value is always inside.
    """
    value = statistic(np.arange(n)) if n else float("nan")
    drawn = bootstrap(statistic, n, draws=draws, level=level, seed=seed)
    low, high = np.clip(2 * value - drawn.high, 0, value), np.maximum(value, 2 * value - drawn.low)
    return Interval(float(low), float(high))


def paired_bootstrap(
    difference: Callable[[Counts], float], n: int, *, draws: int = DRAWS, seed: int = 0
) -> tuple[Interval, float]:
    """The 95% interval of a difference of two answers to the same `n` rows, and its two-sided p.

    `difference` is given int64[n], row numbers drawn with replacement. p is twice the share of draws on
    the rarer side of 0, one draw added to each (Davison and Hinkley 1997); nan without a draw.
    """
    found = _drawn(difference, n, draws, seed)
    if not len(found):
        return _interval(found, 0.95), float("nan")
    rarer = min(np.count_nonzero(found <= 0), np.count_nonzero(found >= 0))
    return _interval(found, 0.95), min(1.0, 2 * (int(rarer) + 1) / (len(found) + 1))


def mcnemar(first: Bools, second: Bools) -> float:
    """Two-sided exact p that two models, right on bool[N] and bool[N] of the same rows, are alike.

    The binomial test of the rows on which just one of them is right (McNemar 1947).
    """
    one, other = int(np.sum(first & ~second)), int(np.sum(second & ~first))
    n, least = one + other, min(one, other)
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])  # of factorials
    k = np.arange(least + 1)
    tail = np.exp(logs[n] - logs[k] - logs[n - k] - n * np.log(2)).sum()
    return min(1.0, float(2 * tail))


def _drawn(statistic: Callable[[Counts], float], n: int, draws: int, seed: int) -> Doubles:
    rng = np.random.default_rng(seed)
    found = np.array([statistic(rng.integers(0, n, n)) for _ in range(draws if n else 0)], np.float64)
    return found[~np.isnan(found)]


def _interval(found: Doubles, level: float) -> Interval:
    if not len(found):
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def _mean(values: NDArray[Any]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _per_label(cells: Bools) -> Counts:
    return np.asarray(np.count_nonzero(cells, axis=0), np.int64)


def _f1(right: Counts, found: Counts, gold: Counts) -> Doubles:
    return _share(2 * right, found + gold)


def _share(part: Counts, whole: Counts) -> Doubles:
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)
