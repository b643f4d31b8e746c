"""Medians, agreement, and how figures are written."""

import pytest

from tonewise.benchmark.results import agreement, machine_facts, medians, three_digits
from tonewise.errors import EngineError


def test_a_median_is_taken_of_each_figure() -> None:
    rounds = [{"a": 1.0, "b": 30.0}, {"a": 9.0, "b": 10.0}, {"a": 2.0, "b": 20.0}]
    assert medians(rounds) == {"a": 2, "b": 20}


def test_agreement_counts_answers_of_all_heads_and_scores_of_all_labels() -> None:
    ours = [[["joy", [0.5, 0.5]], [["a", "b"], [0.25]]], [["joy", [1.0, 0.0]], [["b"], [0.5]]]]
    theirs = [[["joy", [0.75, 0.25]], [["a"], [0.25]]], [["joy", [1.0, 0.0]], [["b"], [0.0]]]]
    assert agreement(ours, ours) == (1, 0)
    assert agreement(ours, theirs) == pytest.approx((0.75, (0.25 + 0.25 + 0.5) / 6))


def test_answers_of_other_texts_have_no_agreement() -> None:
    with pytest.raises(EngineError, match="not of the same texts"):
        agreement([[["joy", [1.0]]]], [])


def test_versions_are_those_of_the_engines_that_are_installed() -> None:
    versions = machine_facts(["onnxruntime", "stub"])["versions"]
    assert list(versions) == ["tonewise", "numpy", "onnxruntime"]


@pytest.mark.parametrize(
    ("value", "told"), [(None, ""), (0.0534, "0.0534"), (4, "4.00"), (99.5, "99.5"), (1562.4, "1,562")]
)
def test_a_timing_has_three_digits(value: float | None, told: str) -> None:
    assert three_digits(value) == told
