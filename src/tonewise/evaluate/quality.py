"""The headline figures of answers, each with what chance does to it, and those of every label."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tonewise import metrics
from tonewise.errors import ConfigError
from tonewise.evaluate.answers import Answers
from tonewise.metrics import Interval, LabelFigures, Reliability
from tonewise.source.labelled import Labelled

Rows = NDArray[np.int64]
Statistic = Callable[[Rows], float]


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value, and its 95% bootstrap interval, in which it lies."""

    value: float
    interval: Interval


def measured(statistic: Statistic, n: int, *, draws: int, seed: int, name: str = "") -> Figure:
    """A statistic of all `n` rows, and of `draws` samples of them; `name` tells whether it is an ECE."""
    interval = metrics.basic_bootstrap if name == "ece" else metrics.bootstrap
    return Figure(statistic(np.arange(n)), interval(statistic, n, draws=draws, seed=seed))


def check_least(*told: tuple[str, int, int]) -> None:
    """Raise ConfigError for a setting under its least, each as its name, its value and the least."""
    for name, value, least in told:
        if value < least:
            raise ConfigError(f"{name} is {value}; the least is {least}")


def statistics(labelled: Labelled, answers: Answers, *, multi_label: bool) -> Mapping[str, Statistic]:
    """Each headline figure as a function of row numbers int64[n], the main ones first.

    One label a text: accuracy, macro_f1, weighted_f1, auroc, ece, brier. Several: micro_f1, macro_f1,
    weighted_f1, subset_accuracy, auroc, ece, brier. Macro figures are means over labels with support;
    ece is of the best score, of several labels that of every label's; an abstained answer is wrong, but
    its scores count as they are.
    """
    shared = {
        "auroc": _auroc(labelled, answers),
        "ece": _ece(labelled, answers, multi_label=multi_label),
        "brier": _brier(labelled, answers, multi_label=multi_label),
    }
    return {**(_of_several if multi_label else _of_one)(labelled, answers), **shared}


def _of_one(labelled: Labelled, answers: Answers) -> dict[str, Statistic]:
    gold, found, labels = labelled.ids, answers.ids, len(labelled.names)
    right = gold == found
    cells = gold * (labels + 1) + np.where(found < 0, labels, found)

    def hits(rows: Rows) -> tuple[Rows, Rows, Rows]:
        table = np.bincount(cells[rows], minlength=labels * (labels + 1)).reshape(labels, labels + 1)
        return metrics.hits_of(table)

    return {
        "accuracy": lambda rows: float(right[rows].mean()),
        "macro_f1": lambda rows: metrics.macro(*hits(rows)),
        "weighted_f1": lambda rows: metrics.weighted(*hits(rows)),
    }


def _of_several(labelled: Labelled, answers: Answers) -> dict[str, Statistic]:
    gold, found = labelled.gold, answers.found
    right = answers.right(gold)

    def hits(rows: Rows) -> tuple[Rows, Rows, Rows]:
        return metrics.hits(gold[rows], found[rows])

    return {
        "micro_f1": lambda rows: metrics.micro(*hits(rows)),
        "macro_f1": lambda rows: metrics.macro(*hits(rows)),
        "weighted_f1": lambda rows: metrics.weighted(*hits(rows)),
        "subset_accuracy": lambda rows: float(right[rows].mean()),
    }


@dataclass(frozen=True, slots=True)
class _Sorted:
    """Scores in rising order, sorted once for all draws.

    distinct  float64[U]
    starts    int64[U], where each of them begins among all M scores
    rows      int64[M], the text of each score
    right     bool[M], whether its label is of gold
    """

    distinct: NDArray[np.float64]
    starts: Rows
    rows: Rows
    right: NDArray[np.bool_]

    @classmethod
    def of(cls, scores: NDArray[np.float32], right: NDArray[np.bool_]) -> "_Sorted":
        """Of [N], or [N, L]."""
        order = np.argsort(scores, axis=None, kind="stable")
        distinct, starts = np.unique(scores.ravel()[order].astype(np.float64), return_index=True)
        return cls(distinct, starts, order // (scores.size // len(scores)), right.ravel()[order])

    def counts(self, rows: Rows) -> tuple[Rows, Rows]:
        """How often each distinct score stands in these rows, int64[U], and how often it is right."""
        drawn = np.bincount(rows, minlength=int(self.rows.max()) + 1)[self.rows]
        return np.add.reduceat(drawn, self.starts), np.add.reduceat(drawn * self.right, self.starts)


def _auroc(labelled: Labelled, answers: Answers) -> Statistic:
    columns = [_Sorted.of(*pair) for pair in zip(answers.scores.T, labelled.gold.T, strict=True)]

    def macro(rows: Rows) -> float:
        counted = (column.counts(rows) for column in columns)
        found = [metrics.auroc_of_counts(right, every - right) for every, right in counted]
        known = [one for one in found if not math.isnan(one)]
        return float(np.mean(known)) if known else float("nan")

    return macro


def confidence(
    labelled: Labelled, answers: Answers, *, multi_label: bool
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Best scores float32[N] and whether they were right, bool[N]; of several labels all of them, [N, L]."""
    if multi_label:
        return answers.scores, labelled.gold
    best = answers.scores.argmax(axis=1)
    return answers.scores.max(axis=1), labelled.gold[np.arange(len(best)), best]


def _ece(labelled: Labelled, answers: Answers, *, multi_label: bool) -> Statistic:
    told = _Sorted.of(*confidence(labelled, answers, multi_label=multi_label))
    return lambda rows: metrics.ece_of(metrics.reliability_of_counts(told.distinct, *told.counts(rows)))


def _brier(labelled: Labelled, answers: Answers, *, multi_label: bool) -> Statistic:
    squares = (answers.scores.astype(np.float64) - labelled.targets) ** 2
    each = squares.mean(axis=1) if multi_label else squares.sum(axis=1)
    return lambda rows: float(each[rows].mean())


def reliability(labelled: Labelled, answers: Answers, *, multi_label: bool) -> Reliability:
    """15 bins of as many answers each; of several labels, of their scores."""
    told, correct = confidence(labelled, answers, multi_label=multi_label)
    return metrics.reliability(told.ravel(), correct.ravel())


def of_labels(labelled: Labelled, answers: Answers) -> tuple[LabelFigures, NDArray[np.float64]]:
    """Precision, recall, F1 and support of each label, and AUROC float64[L], nan without support."""
    scored = zip(labelled.gold.T, answers.scores.T, strict=True)
    areas = np.array([metrics.auroc(gold, scores) for gold, scores in scored], np.float64)
    return metrics.by_label(labelled.gold, answers.found), areas


def confusion(labelled: Labelled, answers: Answers) -> Rows:
    """int64[L, L + 1] of one label a text: rows of gold, columns of found, abstained last."""
    labels = len(labelled.names)
    found = np.where(answers.ids < 0, labels, answers.ids)
    return metrics.confusion(labelled.ids, found, labels + 1)[:labels]
