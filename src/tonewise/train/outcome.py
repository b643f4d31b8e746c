"""What held-out logits say of a head: its temperature, its thresholds, its figures and how sure they are."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tonewise.calibration import fit_temperature, fit_thresholds
from tonewise.errors import InputError
from tonewise.head import sigmoid, softmax
from tonewise.metrics import (
    LabelFigures,
    Reliability,
    accuracy,
    basic_bootstrap,
    bootstrap,
    by_label,
    confusion,
    ece,
    macro_f1,
    micro_f1,
    one_hot,
    reliability,
    subset_accuracy,
    weighted_f1,
)
from tonewise.source.labelled import Labelled
from tonewise.source.split import folds
from tonewise.train.facts import Figure

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
LEAST_ROWS = 20
"""Under so many held-out rows a temperature would be chance."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """Of one head on N held-out rows.

    temperature, thresholds  fitted on all of the rows
    figures                  with thresholds, or temperature, fitted on one half and measured on the other
    ece                      before and after the temperature, the latter in the same manner; of several
                             labels over all scores, without an interval
    """

    temperature: float
    thresholds: tuple[float, ...] | None
    figures: tuple[Figure, ...]
    ece: tuple[Figure, Figure] | None
    by_label: LabelFigures
    confusion: NDArray[np.int64] | None
    reliability: Reliability | None
    rows: int

    @property
    def metric(self) -> float:
        """Macro F1."""
        return next(one.value for one in self.figures if one.average == "macro")


def judge(held: Labelled, logits: Floats) -> Outcome:
    """Fit on logits float32[N, L] of rows that the head did not learn from, and measure.

    Each half's scores are made with what was fitted on the other half, so no figure is of the rows that
    its temperature or threshold came from.
    """
    found = _fitted(held, logits)
    crossed = _crossed(held, logits)
    return (_several if held.multi_label else _one)(held, logits, found, crossed)


@dataclass(frozen=True, slots=True, eq=False)
class _Scores:
    temperature: float
    thresholds: tuple[float, ...] | None
    scores: Floats
    holds: Bools


def _fitted(held: Labelled, logits: Floats, on: NDArray[np.int64] | None = None) -> _Scores:
    """Fit on some rows, or all, and answer all."""
    rows = np.arange(len(held)) if on is None else on
    several = held.multi_label
    temperature = 1.0
    if len(rows) >= LEAST_ROWS:
        temperature = fit_temperature(logits[rows], held.targets[rows], multi_label=several)
    scores = (sigmoid if several else softmax)(logits / np.float32(temperature))
    if not several:
        return _Scores(temperature, None, scores, one_hot(scores.argmax(axis=1), scores.shape[1]))
    thresholds = fit_thresholds(scores[rows], held.gold[rows])
    return _Scores(temperature, thresholds, scores, scores >= np.asarray(thresholds, np.float32))


def _crossed(held: Labelled, logits: Floats) -> _Scores:
    """Scores and answers of each half by what the other half gave."""
    try:
        halves = folds(held, 2)
    except InputError:  # one text alone has no halves
        return _fitted(held, logits)
    scores, holds = np.zeros_like(logits), np.zeros(logits.shape, np.bool_)
    for mine, other in (halves, halves[::-1]):
        found = _fitted(held, logits, other)
        scores[mine], holds[mine] = found.scores[mine], found.holds[mine]
    return _Scores(1.0, None, scores, holds)


def _one(held: Labelled, logits: Floats, found: _Scores, crossed: _Scores) -> Outcome:
    gold, ids = held.ids, found.scores.argmax(axis=1)
    right = ids == gold
    plain = softmax(logits).max(axis=1)
    sure = crossed.scores.max(axis=1)
    before = _figure("ECE, not calibrated", "ece", len(held), lambda rows: ece(plain[rows], right[rows]))
    after = _figure("ECE", "ece", len(held), lambda rows: ece(sure[rows], right[rows]))
    truth, holds = held.gold, found.holds
    figures = (
        _figure("Accuracy", "accuracy", len(held), lambda rows: accuracy(gold[rows], ids[rows])),
        *_f1(truth, holds, ("macro", "weighted")),
    )
    return Outcome(
        found.temperature,
        None,
        figures,
        (before, after),
        by_label(truth, holds),
        confusion(gold, ids, len(held.names)),
        reliability(sure, right),
        len(held),
    )


def _several(held: Labelled, logits: Floats, found: _Scores, crossed: _Scores) -> Outcome:
    truth, holds = held.gold, crossed.holds
    plain, sure = sigmoid(logits), crossed.scores
    # Of N x L scores: to draw all of them again a thousand times would take longer than to train.
    before = Figure("ECE, not calibrated", ece(plain.ravel(), truth.ravel()), None, "ece")
    after = Figure("ECE", ece(sure.ravel(), truth.ravel()), None, "ece")
    exact = _figure(
        "Exact match", "accuracy", len(held), lambda rows: subset_accuracy(truth[rows], holds[rows])
    )
    return Outcome(
        found.temperature,
        found.thresholds,
        (*_f1(truth, holds, ("macro", "micro")), exact),
        (before, after),
        by_label(truth, holds),
        None,
        reliability(sure.ravel(), truth.ravel()),
        len(held),
    )


def _f1(truth: Bools, holds: Bools, averages: tuple[str, ...]) -> tuple[Figure, ...]:
    kinds = {"macro": macro_f1, "weighted": weighted_f1, "micro": micro_f1}

    def of(kind: Callable[[Bools, Bools], float]) -> Callable[[NDArray[np.int64]], float]:
        return lambda rows: kind(truth[rows], holds[rows])

    return tuple(
        replace(_figure(f"{name.capitalize()} F1", "f1", len(truth), of(kinds[name])), average=name)
        for name in averages
    )


def _figure(name: str, metric: str, n: int, statistic: Callable[[NDArray[np.int64]], float]) -> Figure:
    interval = basic_bootstrap if metric == "ece" else bootstrap
    return Figure(name, statistic(np.arange(n)), interval(statistic, n), metric)
