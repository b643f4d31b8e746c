"""Labels that are probably wrong: confident learning (cleanlab) on out-of-fold scores over vectors."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tonewise.errors import MissingExtraError
from tonewise.source.labelled import Labelled
from tonewise.source.split import folds

try:
    from cleanlab import filter as cleanlab_filter
    from cleanlab import multilabel_classification as cleanlab_multi
    from cleanlab import rank as cleanlab_rank
except ImportError:
    raise MissingExtraError("cleanlab", "audit") from None
try:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import StandardScaler
except ImportError:
    raise MissingExtraError("scikit-learn", "audit") from None

FOLDS = 5
ITERATIONS = 300
STRENGTH = 16.0
"""C of the regression times the rows, over columns of unit variance: the same penalty in sets of any size."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class LabelErrors:
    """What the labels look like from the other rows.

    scores   float32[N, L]: of a row by models that were fitted without it; L as in the set
    quality  float64[N]: cleanlab's label quality, 0 (surely wrong) … 1
    rows     the rows whose label is probably wrong, the surest first
    """

    scores: NDArray[np.float32]
    quality: NDArray[np.float64]
    rows: tuple[int, ...]


def find_label_errors(
    labelled: Labelled, vectors: NDArray[np.float32], progress: Progress = lambda told: None
) -> LabelErrors:
    """Fit on four fifths, look at the fifth, in turn; equal texts are on the same side.

    `vectors` float32[N, H] should not come from a model that was trained on these very labels: it has
    learnt their errors too. Method: confident learning (Northcutt, Jiang and Chuang 2021), pruned by
    noise rate, ranked by self-confidence. Raises InputError for fewer than five different texts.
    """
    scores = np.zeros((len(labelled), len(labelled.names)), np.float32)
    parts = folds(labelled, FOLDS)
    for number, held in enumerate(parts, 1):
        progress(f"scoring labels, fold {number} of {len(parts)}")
        fit = np.setdiff1d(np.arange(len(labelled)), held)
        scores[held] = _scored(labelled, vectors, fit, held)
    there = np.flatnonzero(_varies(labelled.gold))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cleanlab tells of rare labels, as our own checks do
        if labelled.multi_label and len(there) == 1:  # cleanlab wants two; yes and no are two
            told = scores[:, there[0]]
            quality, rows = _one(labelled.gold[:, there[0]].astype(np.int64), np.stack([1 - told, told], 1))
        elif labelled.multi_label:
            quality, rows = _several(labelled.gold[:, there], scores[:, there])
        else:
            quality, rows = _one(np.searchsorted(there, labelled.ids), scores[:, there])
    return LabelErrors(scores, quality, tuple(rows.tolist()))


def _varies(gold: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which labels hold for some rows and not for others: bool[L] of bool[N, L]."""
    return np.asarray(gold.any(axis=0) & ~gold.all(axis=0))


def _scored(
    labelled: Labelled, vectors: NDArray[np.float32], fit: NDArray[np.int64], held: NDArray[np.int64]
) -> NDArray[np.float32]:
    """float32[len(held), L]; a label that does not vary in the rows to fit on scores what it is there."""
    gold = labelled.gold[fit]
    scores = np.tile(gold.mean(axis=0, dtype=np.float32), (len(held), 1))
    varied = np.flatnonzero(_varies(gold))
    if labelled.multi_label:
        for label in varied:
            scores[:, label] = _fitted(vectors[fit], gold[:, label]).predict_proba(vectors[held])[:, 1]
    elif len(varied):
        model = _fitted(vectors[fit], labelled.ids[fit])
        scores[:, model.classes_] = model.predict_proba(vectors[held])
    return scores


def _fitted(vectors: NDArray[np.float32], gold: NDArray[np.int64] | NDArray[np.bool_]) -> Pipeline:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # some steps more would change no ranking
        regression = LogisticRegression(C=STRENGTH / len(gold), max_iter=ITERATIONS)
        return make_pipeline(StandardScaler(), regression).fit(vectors, gold)


def _one(
    ids: NDArray[np.int64], scores: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rows = cleanlab_filter.find_label_issues(
        ids, scores, return_indices_ranked_by="self_confidence", n_jobs=1
    )
    return cleanlab_rank.get_label_quality_scores(ids, scores), rows


def _several(
    gold: NDArray[np.bool_], scores: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    held = [np.flatnonzero(row).tolist() for row in gold]
    rows = cleanlab_multi.filter.find_label_issues(
        held, scores, return_indices_ranked_by="self_confidence", n_jobs=1
    )
    return cleanlab_multi.get_label_quality_scores(held, scores), rows
