"""What a stated figure may mean: each definition of a metric that cards use, by its name."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tonewise import metrics
from tonewise.evaluate.answers import Answers
from tonewise.evaluate.claims import Claim
from tonewise.source.labelled import Labelled

Figures = Mapping[str, float]


def definitions(labelled: Labelled, answers: Answers, claim: Claim, *, multi_label: bool) -> Figures:
    """Measured values by definition, the usual one first; empty for a metric that is not measured here.

    Of two labels precision, recall, F1 and AUC are usually those of the last one; of more the macro mean.
    Macro figures are over the labels that occur in gold or answers, as scikit-learn has them; accuracy of
    several labels a text is that of whole rows.
    """
    if claim.metric == "accuracy":
        return {"accuracy": metrics.subset_accuracy(labelled.gold, answers.found)}
    if claim.metric == "loss":
        return {"cross-entropy": metrics.log_loss(answers.scores, labelled.gold, multi_label)}
    if claim.metric == "auc":
        return _named(claim, labelled, _areas(labelled, answers), multi_label=multi_label)
    if claim.metric in ("f1", "precision", "recall"):
        found = _figures(labelled.gold, answers.found, claim.metric)
        return _named(claim, labelled, found, multi_label=multi_label)
    return {}


def _named(
    claim: Claim, labelled: Labelled, found: dict[str, float | NDArray[np.float64]], *, multi_label: bool
) -> Figures:
    """Those that the card may mean, in the order in which they are tried."""
    each = np.asarray(found.pop("each"), np.float64)
    figures = {name: float(value) for name, value in found.items()}
    if claim.average is not None:
        return {name: value for name, value in figures.items() if name == claim.average}
    if len(labelled.names) == 2 and not multi_label:
        last, first = f"of {labelled.names[1]}", f"of {labelled.names[0]}"
        return {last: float(each[1]), **figures, first: float(each[0])}
    return figures


def _figures(
    gold: NDArray[np.bool_], found: NDArray[np.bool_], metric: str
) -> dict[str, float | NDArray[np.float64]]:
    figures = metrics.by_label(gold, found)
    each = {"f1": figures.f1, "precision": figures.precision, "recall": figures.recall}[metric]
    occurs = gold.any(axis=0) | found.any(axis=0)
    right, said, wanted = (int(some.sum()) for some in metrics.hits(gold, found))
    whole = {"f1": said + wanted, "precision": 2 * said, "recall": 2 * wanted}[metric]
    support = figures.support
    return {
        "macro": float(each[occurs].mean()),
        "weighted": float(each @ support / max(1, support.sum())),
        "micro": 2 * right / max(1, whole),
        "each": each,
    }


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
