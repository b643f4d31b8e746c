"""What held-out logits say: figures of one half by what the other gave, temperatures, thresholds."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tonewise.calibration import fit_temperature, fit_thresholds
from tonewise.head import sigmoid, softmax
from tonewise.metrics import ece, macro_f1
from tonewise.source.example import Example
from tonewise.source.labelled import Kind, Labelled
from tonewise.source.split import folds
from tonewise.train.outcome import judge

Floats = NDArray[np.float32]
NAMES = ("sadness", "joy", "anger")


def held_of(targets: NDArray[np.float32], kind: Kind = "single") -> Labelled:
    names = NAMES[: targets.shape[1]]
    examples = (
        Example(
            f"text {i}", labels=tuple(name for name, value in zip(names, row, strict=True) if value > 0.5)
        )
        for i, row in enumerate(targets)
    )
    return Labelled(tuple(examples), names, targets.astype(np.float32), kind)


def drawn(n: int, sharpness: float = 1.0, seed: int = 0) -> tuple[Labelled, Floats]:
    """Labels drawn from the scores of logits, and those logits times a sharpness."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (n, 3)).astype(np.float32)
    gold = [rng.choice(3, p=row / row.sum()) for row in softmax(logits).astype(np.float64)]
    return held_of(np.eye(3, dtype=np.float32)[gold]), logits * np.float32(sharpness)


def several(n: int, seed: int = 0) -> tuple[Labelled, Floats]:
    """Labels that hold where a logit is above 1, with noise: 0.5 is no good threshold."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, 3)).astype(np.float32)
    targets = (logits + rng.normal(0, 0.3, (n, 3)) > 1).astype(np.float32)
    return held_of(targets, "multi"), logits


def test_the_temperature_that_sharpened_the_logits_is_found() -> None:
    held, logits = drawn(4_000, sharpness=3.0)
    found = judge(held, logits)
    assert found.temperature == pytest.approx(3, rel=0.1)
    assert found.ece is not None
    before, after = (one.value for one in found.ece)
    assert before > 0.15
    assert after < 0.03


def test_the_ece_of_a_half_is_that_of_the_other_halfs_temperature() -> None:
    held, logits = drawn(60, sharpness=4.0)
    halves = folds(held, 2)
    sure = np.zeros(60)
    for mine, other in (halves, halves[::-1]):
        temperature = fit_temperature(logits[other], held.targets[other], multi_label=False)
        sure[mine] = softmax(logits[mine] / np.float32(temperature)).max(axis=1)
    right = logits.argmax(axis=1) == held.ids
    found = judge(held, logits)
    assert found.ece is not None
    assert found.ece[1].value == pytest.approx(ece(sure, right))
    flattering = softmax(logits / np.float32(found.temperature)).max(axis=1)
    assert found.ece[1].value != pytest.approx(ece(flattering, right))


def test_accuracy_and_f1_are_of_all_rows_with_their_intervals() -> None:
    held, logits = drawn(300)
    found = judge(held, logits)
    figures = {one.name: one for one in found.figures}
    right = float((logits.argmax(axis=1) == held.ids).mean())
    assert figures["Accuracy"].value == pytest.approx(right)
    interval = figures["Accuracy"].interval
    assert interval is not None
    assert interval.low < right < interval.high
    assert found.metric == pytest.approx(macro_f1(held.gold, np.eye(3, dtype=bool)[logits.argmax(axis=1)]))
    assert found.confusion is not None
    assert found.confusion.sum() == found.rows == 300
    assert np.trace(found.confusion) == round(right * 300)


def test_thresholds_of_several_labels_come_from_the_other_half() -> None:
    held, logits = several(2_000)
    found = judge(held, logits)
    assert found.thresholds is not None
    scores = 1 / (1 + np.exp(-1 / found.temperature))
    assert np.asarray(found.thresholds) == pytest.approx(scores, abs=0.08)
    assert found.metric > 0.85
    assert [one.name for one in found.figures] == ["Macro F1", "Micro F1", "Exact match"]
    assert found.confusion is None
    assert found.ece is not None
    plain = 1 / (1 + np.exp(-logits))
    assert found.ece[0].value == pytest.approx(ece(plain.ravel(), held.gold.ravel()), abs=1e-6)
    assert found.reliability is not None
    assert found.reliability.count.sum() == logits.size


def test_the_f1_of_a_half_is_that_of_the_other_halfs_thresholds() -> None:
    held, logits = several(60)
    halves = folds(held, 2)
    holds = np.zeros((60, 3), np.bool_)
    for mine, other in (halves, halves[::-1]):
        temperature = np.float32(fit_temperature(logits[other], held.targets[other], multi_label=True))
        scores = sigmoid(logits / temperature)
        holds[mine] = scores[mine] >= np.asarray(fit_thresholds(scores[other], held.gold[other]), np.float32)
    found = judge(held, logits)
    assert found.metric == pytest.approx(macro_f1(held.gold, holds))
    flattering = sigmoid(logits / np.float32(found.temperature)) >= np.asarray(found.thresholds, np.float32)
    assert found.metric < macro_f1(held.gold, flattering)


@pytest.mark.parametrize("rows", [2, 19])
def test_under_twenty_rows_there_is_no_temperature(rows: int) -> None:
    held, logits = drawn(rows, sharpness=5.0)
    assert judge(held, logits).temperature == 1
    assert judge(held, logits).rows == rows


def test_twenty_rows_have_one() -> None:
    held, logits = drawn(20, sharpness=5.0)
    assert judge(held, logits).temperature != 1


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_one_text_or_one_label_alone_is_judged_all_the_same(kind: Kind) -> None:
    rng = np.random.default_rng(2)
    targets = np.zeros((41, 3), np.float32)
    targets[:, 0] = 1
    targets[7] = (0, 1, 0)  # in one half alone
    logits = rng.normal(0, 2, (41, 3)).astype(np.float32)
    for rows in ([7], [0, 1], list(range(7)), list(range(41))):
        found = judge(held_of(targets, kind).take(rows), logits[rows])
        assert found.rows == len(rows)
        assert np.isfinite([one.value for one in found.figures]).all()
        assert np.isfinite(found.temperature)


def test_a_label_that_no_held_out_row_has_costs_no_f1() -> None:
    targets = np.eye(3, dtype=np.float32)[np.arange(60) % 2]
    found = judge(held_of(targets), targets * 5)
    assert found.metric == 1
    assert found.by_label.support.tolist() == [30, 30, 0]


def test_soft_labels_are_judged_by_the_likeliest_and_calibrated_by_their_shares() -> None:
    rng = np.random.default_rng(3)
    targets = softmax(rng.normal(0, 1.5, (500, 3)).astype(np.float32))
    found = judge(held_of(targets, "soft"), np.log(targets) * np.float32(2.5))
    assert found.temperature == pytest.approx(2.5, rel=0.02)
    assert found.figures[0].value == 1


def test_each_ece_lies_in_its_interval() -> None:
    for seed in range(5):
        ece_of_both = judge(*drawn(300, seed=seed)).ece
        assert ece_of_both is not None
        for figure in ece_of_both:
            assert figure.interval is not None
            assert figure.interval.low <= figure.value <= figure.interval.high
