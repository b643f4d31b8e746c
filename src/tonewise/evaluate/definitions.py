"""What a stated figure may mean: each definition of a metric that cards use, by its name."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tonewise import metrics
from tonewise.evaluate.answers import Answers
from tonewise.evaluate.claims import Claim
from tonewise.evaluate.quality import confidence
from tonewise.source.labelled import Labelled

Figures = Mapping[str, float]


def definitions(labelled: Labelled, answers: Answers, claim: Claim, *, multi_label: bool) -> Figures:
    """Measured values by definition, the usual one first; empty for a metric that is not measured here.

    Of two labels precision, recall, F1 and AUC are usually those of the last one; of more the macro mean.
    Macro means of precision, recall and F1 are usually as scikit-learn has them: over the labels that occur
    in gold or answers, and where several labels may hold over all. Next come those over the labels with
    support, as `train` and `evaluate` have them. Accuracy of several labels a text is that of whole rows, ECE
    is that of every label's score, and else of the best one.
    What is no number for these texts is left out.
    """
    found: dict[str, float] = {}
    if claim.metric == "accuracy":
        found = {"accuracy": float(answers.right(labelled.gold).mean())}
    elif claim.metric == "loss":
        found = {"cross-entropy": metrics.log_loss(answers.scores, labelled.gold, multi_label)}
    elif claim.metric == "ece":
        told, right = confidence(labelled, answers, multi_label=multi_label)
        found = {f"{metrics.BINS} bins of equal mass": metrics.ece(told.ravel(), right.ravel())}
    elif claim.metric == "auc":
        found = _named(claim, labelled, _areas(labelled, answers), multi_label=multi_label)
    elif claim.metric in ("f1", "precision", "recall"):
        figures = _figures(labelled.gold, answers.found, claim.metric, multi_label=multi_label)
        found = _named(claim, labelled, figures, multi_label=multi_label)
    return {name: value for name, value in found.items() if not math.isnan(value)}


def _named(
    claim: Claim, labelled: Labelled, found: dict[str, float | NDArray[np.float64]], *, multi_label: bool
) -> dict[str, float]:
    """Those that the card may mean, in the order in which they are tried."""
    each = np.asarray(found.pop("each"), np.float64)
    figures = {name: float(value) for name, value in found.items()}
    if claim.average is not None:
        return {name: value for name, value in figures.items() if name.partition(",")[0] == claim.average}
    if len(labelled.names) == 2 and not multi_label:
        last, first = f"of {labelled.names[1]}", f"of {labelled.names[0]}"
        return {last: float(each[1]), **figures, first: float(each[0])}
    return figures


def _figures(
    gold: NDArray[np.bool_], found: NDArray[np.bool_], metric: str, *, multi_label: bool
) -> dict[str, float | NDArray[np.float64]]:
    figures = metrics.by_label(gold, found)
    each = {"f1": figures.f1, "precision": figures.precision, "recall": figures.recall}[metric]
    right, said, wanted = (int(some.sum()) for some in metrics.hits(gold, found))
    whole = {"f1": said + wanted, "precision": 2 * said, "recall": 2 * wanted}[metric]
    support = figures.support
    return {
        **_macro(each, gold, found, multi_label=multi_label),
        "weighted": float(each @ support / max(1, support.sum())),
        "micro": 2 * right / max(1, whole),
        "each": each,
    }


def _macro(
    each: NDArray[np.float64], gold: NDArray[np.bool_], found: NDArray[np.bool_], *, multi_label: bool
) -> dict[str, float]:
    """The mean over each choice of labels, the usual one first; one where all of them come to the same."""
    supported, occurs = gold.any(axis=0), gold.any(axis=0) | found.any(axis=0)
    usual = {"macro, all labels": np.ones(len(each), bool)} if multi_label else {}
    occurring = {"macro, labels that occur": occurs}
    choices = (usual or occurring) | {"macro, labels with support": supported} | occurring
    means = {name: float(each[some].mean()) for name, some in choices.items() if some.any()}
    if len(set(means.values())) == 1:
        return {"macro": next(iter(means.values()))}
    return means


def _areas(labelled: Labelled, answers: Answers) -> dict[str, float | NDArray[np.float64]]:
    gold = labelled.gold
    columns = zip(gold.T, answers.scores.T, strict=True)
    each = np.array([metrics.auroc(own, scores) for own, scores in columns])
    known = ~np.isnan(each)
    weights = gold.sum(axis=0)[known]
    return {
        "macro": float(each[known].mean()) if known.any() else float("nan"),
        "weighted": float(each[known] @ weights / weights.sum()) if known.any() else float("nan"),
        "micro": metrics.auroc(gold.ravel(), answers.scores.ravel()),
        "each": each,
    }
