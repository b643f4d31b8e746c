"""Metrics: as scikit-learn has them on any arrays, and by hand where it has none."""

from typing import Any

import numpy as np
import pytest
import sklearn.metrics as theirs
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tonewise import metrics

LABELS = 4
Ids = NDArray[np.int64]


@st.composite
def ids(draw: st.DrawFn) -> tuple[Ids, Ids]:
    pairs = st.lists(st.tuples(*[st.integers(0, LABELS - 1)] * 2), min_size=1, max_size=40)
    gold, found = np.array(draw(pairs), np.int64).T
    return gold, found


@st.composite
def cells(draw: st.DrawFn) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (2, draw(st.integers(1, 30)), LABELS)
    gold, found = rng.random(shape) < draw(st.floats(0, 1))
    return gold, found


@given(ids())
def test_figures_of_one_label_are_those_of_scikit_learn(pair: tuple[Ids, Ids]) -> None:
    gold, found = pair
    hot, answered = metrics.one_hot(gold, LABELS), metrics.one_hot(found, LABELS)
    assert metrics.accuracy(gold, found) == pytest.approx(theirs.accuracy_score(gold, found))
    table = metrics.confusion(gold, found, LABELS)
    np.testing.assert_array_equal(table, theirs.confusion_matrix(gold, found, labels=range(LABELS)))
    supported = np.unique(gold)
    wanted = theirs.f1_score(gold, found, average="macro", labels=supported, zero_division=0)
    assert metrics.macro_f1(hot, answered) == pytest.approx(wanted)
    for ours, one in zip(metrics.hits_of(table), metrics.hits(hot, answered), strict=True):
        np.testing.assert_array_equal(ours, one)


@given(cells())
def test_figures_of_several_labels_are_those_of_scikit_learn(pair: tuple[Any, Any]) -> None:
    gold, found = pair
    wanted = theirs.precision_recall_fscore_support(gold, found, zero_division=0)
    ours = metrics.by_label(gold, found)
    for mine, other in zip((ours.precision, ours.recall, ours.f1, ours.support), wanted, strict=True):
        np.testing.assert_allclose(mine, other)
    micro = theirs.f1_score(gold, found, average="micro", zero_division=0)
    assert metrics.micro_f1(gold, found) == pytest.approx(micro)
    assert metrics.subset_accuracy(gold, found) == pytest.approx(theirs.accuracy_score(gold, found))
    if gold.any():
        weighted = theirs.f1_score(gold, found, average="weighted", zero_division=0)
        assert metrics.weighted_f1(gold, found) == pytest.approx(weighted)
    else:
        assert np.isnan([metrics.weighted_f1(gold, found), metrics.macro_f1(gold, found)]).all()


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=40))
def test_auroc_is_that_of_scikit_learn_with_ties(rows: list[tuple[bool, int]]) -> None:
    gold, scores = np.array([row[0] for row in rows]), np.array([row[1] / 7 for row in rows])
    if gold.all() or not gold.any():
        assert np.isnan(metrics.auroc(gold, scores))
    else:
        assert metrics.auroc(gold, scores) == pytest.approx(theirs.roc_auc_score(gold, scores))


@given(st.integers(0, 2**32))
def test_losses_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet(np.ones(3), 20) * 0.97 + 0.01
    ids = rng.integers(0, 3, 20)
    hot = metrics.one_hot(ids, 3)
    wanted = theirs.log_loss(ids, scores, labels=[0, 1, 2])
    assert metrics.log_loss(scores, hot, multi_label=False) == pytest.approx(wanted)
    brier = theirs.brier_score_loss(ids == 0, scores[:, 0])
    assert metrics.brier(scores[:, :1], hot[:, :1], multi_label=True) == pytest.approx(brier)
    assert metrics.brier(hot.astype(float), hot, multi_label=False) == 0
    assert metrics.brier(1 - hot[:, :2].astype(float), hot[:, :2], multi_label=False) == 2
    both = theirs.log_loss(hot[:, 0], scores[:, 0], labels=[False, True])
    assert metrics.log_loss(scores[:, :1], hot[:, :1], multi_label=True) == pytest.approx(both)


def test_a_score_of_zero_for_gold_is_a_great_loss_and_no_infinity() -> None:
    loss = metrics.log_loss(np.array([[0.0, 1.0]]), np.array([[True, False]]), multi_label=False)
    assert 30 < loss < 40


def test_ece_by_hand() -> None:
    confidence = np.array([0.6, 0.6, 0.9, 1.0])
    correct = np.array([True, False, True, True])
    bins = metrics.reliability(confidence, correct, bins=2)
    assert bins.confidence.tolist() == pytest.approx([0.6, 0.95])
    assert bins.accuracy.tolist() == [0.5, 1.0]
    assert bins.count.tolist() == [2, 2]
    assert metrics.ece(confidence, correct, bins=2) == pytest.approx(0.075)
    assert metrics.ece(confidence, correct, bins=1) == pytest.approx(0.025)


@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 20))
def test_bins_hold_equal_mass_and_do_not_depend_on_the_order_of_rows(seed: int, n: int, bins: int) -> None:
    rng = np.random.default_rng(seed)
    confidence, correct = rng.integers(0, 5, n) / 4, rng.random(n) < 0.5
    one = metrics.reliability(confidence, correct, bins)
    order = rng.permutation(n)
    other = metrics.reliability(confidence[order], correct[order], bins)
    assert one.count.sum() == n
    assert one.count.max() - one.count.min() <= 1
    for name in ("confidence", "accuracy", "count"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.accuracy @ one.count == pytest.approx(correct.sum())


def test_no_rows_give_nan() -> None:
    none = np.zeros(0)
    assert np.isnan([metrics.ece(none, none.astype(bool)), metrics.accuracy(none, none)]).all()  # type: ignore[arg-type]
    assert np.isnan(metrics.bootstrap(lambda rows: 1.0, 0).low)


def test_a_bootstrap_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        sample = rng.random(100) < 0.7
        found = metrics.bootstrap(lambda rows, of=sample: of[rows].mean(), 100, draws=200, seed=seed)  # type: ignore[misc]
        held += found.low <= 0.7 <= found.high
    assert 0.88 <= held / 200 <= 0.99


def test_a_bootstrap_is_repeatable_and_leaves_out_what_is_no_number() -> None:
    values = np.arange(20.0)

    def mean(rows: Ids) -> float:
        return float(values[rows].mean()) if rows[0] else float("nan")

    one = metrics.bootstrap(mean, 20, draws=100, seed=3)
    assert one == metrics.bootstrap(mean, 20, draws=100, seed=3) != metrics.bootstrap(mean, 20, draws=100)
    assert one.low < values.mean() < one.high
    wide = metrics.bootstrap(mean, 20, draws=100, level=0.99, seed=3)
    assert wide.low <= one.low < one.high <= wide.high
    assert np.isnan(metrics.bootstrap(lambda rows: float("nan"), 20).high)


def test_an_ece_lies_in_its_basic_interval_which_takes_off_what_chance_adds() -> None:
    rng = np.random.default_rng(0)
    beside = 0
    for n in (1, 2, 5, 30, *[200] * 10, 1000):
        sure = rng.uniform(0.4, 1, n)
        right = rng.random(n) < sure

        def statistic(rows: Ids, sure: Any = sure, right: Any = right) -> float:
            return metrics.ece(sure[rows], right[rows])

        value = statistic(np.arange(n))
        basic, plain = (how(statistic, n, draws=200) for how in (metrics.basic_bootstrap, metrics.bootstrap))
        assert 0 <= basic.low <= value <= basic.high
        assert basic.high == pytest.approx(max(value, 2 * value - plain.low))
        beside += not plain.low <= value <= plain.high
    assert beside  # of the percentiles that could not be said
    assert np.isnan(metrics.basic_bootstrap(lambda rows: 1.0, 0).low)
    assert np.isnan(metrics.basic_bootstrap(lambda rows: float("nan"), 9).high)


def test_mcnemar_by_hand() -> None:
    def right(both: int, one: int, other: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        first = np.array([True] * both + [True] * one + [False] * other)
        return first, np.array([True] * both + [False] * one + [True] * other)

    assert metrics.mcnemar(*right(50, 0, 0)) == 1
    assert metrics.mcnemar(*right(50, 5, 5)) == 1
    assert metrics.mcnemar(*right(3, 5, 0)) == pytest.approx(2 / 32)
    assert metrics.mcnemar(*right(9, 8, 2)) == pytest.approx(2 * (1 + 10 + 45) / 1024)
    assert metrics.mcnemar(*right(0, 2, 8)) == metrics.mcnemar(*right(0, 8, 2))
    assert metrics.mcnemar(*right(0, 60_000, 61_000)) == pytest.approx(0.0040, abs=2e-4)


def test_a_paired_bootstrap_tells_a_difference_from_none() -> None:
    rng = np.random.default_rng(0)
    same, better = rng.normal(0, 1, 200), rng.normal(0.5, 1, 200)
    interval, p = metrics.paired_bootstrap(lambda rows: float(better[rows].mean()), 200)
    assert interval.low > 0
    assert p == pytest.approx(2 / 1001)
    interval, p = metrics.paired_bootstrap(lambda rows: float(same[rows].mean()), 200)
    assert interval.low < 0 < interval.high
    assert p > 0.05
    assert metrics.paired_bootstrap(lambda rows: 0.0, 20)[1] == 1
