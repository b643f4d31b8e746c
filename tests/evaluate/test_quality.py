"""Each headline figure of drawn rows is that of the metric on the same rows, written out."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.models import LABELS
from tonewise import metrics
from tonewise.evaluate.answers import Answers
from tonewise.evaluate.quality import measured, statistics
from tonewise.source import Example
from tonewise.source.labelled import Kind, Labelled

N = 50


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", ["single", "soft", "multi"])
def test_a_figure_of_drawn_rows_is_the_metric_of_these_rows(kind: Kind, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet(np.ones(3), N).round(1).astype(np.float32)  # with ties
    abstained = rng.random(N) < 0.2
    several = kind == "multi"
    found = scores > 0.3 if several else metrics.one_hot(scores.argmax(axis=1), 3)
    found = found & ~abstained[:, None]
    targets = {
        "single": np.eye(3)[rng.integers(0, 3, N)],
        "soft": rng.dirichlet(np.ones(3), N),
        "multi": rng.random((N, 3)) < 0.4,
    }[kind].astype(np.float32)
    labelled = Labelled(tuple(Example("") for _ in range(N)), LABELS, targets, kind)
    answers = Answers(scores, found, abstained, np.ones(N, np.int64), np.zeros(N, bool))
    rows = rng.integers(0, N, N)
    of = {name: one(rows) for name, one in statistics(labelled, answers, multi_label=several).items()}

    gold, drawn, told = labelled.gold[rows], scores[rows], found[rows]
    wanted = {
        "macro_f1": metrics.macro_f1(gold, told),
        "weighted_f1": metrics.weighted_f1(gold, told),
        "auroc": np.mean([metrics.auroc(gold[:, i], drawn[:, i]) for i in range(3)]),
        "brier": metrics.brier(drawn, targets[rows], multi_label=several),
    }
    if several:
        wanted |= {"micro_f1": metrics.micro_f1(gold, told)}
        exact = (gold == told).all(axis=1) & ~abstained[rows]  # also where no label is right
        wanted |= {"subset_accuracy": float(exact.mean())}
        wanted |= {"ece": metrics.ece(drawn.ravel(), gold.ravel())}
    else:
        right = gold[np.arange(N), drawn.argmax(axis=1)]
        wanted |= {"accuracy": float((gold & told).any(axis=1).mean())}
        wanted |= {"ece": metrics.ece(drawn.max(axis=1), right)}
    assert of == pytest.approx(wanted)


def test_an_ece_lies_in_its_interval_where_the_percentiles_leave_it_out() -> None:
    rng = np.random.default_rng(1)
    sure = rng.uniform(0.4, 1, 300)
    right = rng.random(300) < sure

    def ece(rows: NDArray[np.int64]) -> float:
        return metrics.ece(sure[rows], right[rows])

    plain, found = (measured(ece, 300, draws=200, seed=0, name=name) for name in ("", "ece"))
    assert plain.value == found.value < plain.interval.low
    assert found.interval.low <= found.value <= found.interval.high
