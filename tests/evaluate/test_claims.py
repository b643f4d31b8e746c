"""A card's figures are read as they are meant: shares or percent, kinds, averages, the data they are of."""

import math
from pathlib import Path
from typing import Any

import pytest

from tests.evaluate.cards import card
from tonewise.errors import ModelError
from tonewise.evaluate.claims import Claim, DataName, check_numbers, read_claims


def claims(folder: Path, text: str) -> tuple[Claim, ...]:
    (folder / "README.md").write_text(text, "utf-8")
    return read_claims(folder / "README.md", "m")


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (0.938, (0.938, 3)),
        (93.8, (0.938, 3)),
        ("93.8%", (0.938, 3)),
        ("0.93 ± 0.01", (0.93, 2)),
        (1, (1.0, 0)),
        (1.0, (1.0, 1)),
        ("0.5%", (0.005, 3)),
    ],
)
def test_shares_and_percent_are_the_same_figure(
    tmp_path: Path, value: Any, wanted: tuple[float, int]
) -> None:
    (found,) = claims(tmp_path, card([{"type": "accuracy", "value": value}]))
    assert found.value == pytest.approx(wanted[0])
    assert found.decimals == wanted[1]


@pytest.mark.parametrize(
    ("metric", "wanted"),
    [
        ({"type": "accuracy", "name": "Accuracy"}, ("accuracy", None)),
        ({"type": "f1", "name": "F1 Macro"}, ("f1", "macro")),
        ({"type": "f1_micro"}, ("f1", "micro")),
        ({"type": "precision", "args": {"average": "weighted"}}, ("precision", "weighted")),
        ({"type": "recall", "config": "macro"}, ("recall", "macro")),
        ({"type": "roc_auc"}, ("auc", None)),
        ({"type": "loss"}, ("loss", None)),
        ({"type": "matthews_correlation"}, (None, None)),
    ],
)
def test_kind_and_average_are_told(tmp_path: Path, metric: dict[str, Any], wanted: object) -> None:
    (found,) = claims(tmp_path, card([metric | {"value": 0.5}]))
    assert (found.metric, found.average) == wanted


def test_a_figure_of_another_kind_stays_as_it_is(tmp_path: Path) -> None:
    (found,) = claims(tmp_path, card([{"type": "perplexity", "value": 12.5}]))
    assert (found.metric, found.value) == (None, 12.5)


def test_the_data_is_named_as_the_card_does(tmp_path: Path) -> None:
    more: dict[str, Any] = {"config": "split", "revision": "a" * 40, "args": {"num_rows": 7}}
    (found,) = claims(tmp_path, card([{"type": "loss", "value": 1.5, "verified": True}], **more))
    assert found.data == DataName("acme/feelings", "Feelings", "split", "test", "a" * 40, 7)
    assert (found.value, found.verified) == (1.5, True)
    (old,) = claims(tmp_path, card([{"type": "f1", "value": 0.5}], args="sst2", split=None))
    assert (old.data.config, old.data.split) == ("sst2", None)


def test_the_head_is_told_by_the_name_of_the_task(tmp_path: Path) -> None:
    metrics = [{"type": "accuracy", "value": 0.5}]
    assert [one.head for one in claims(tmp_path, card(metrics, head="mood"))] == ["mood"]
    assert [one.head for one in claims(tmp_path, card(metrics))] == [None]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("# A model", "m: its card has no front matter, so there are no stated figures"),
        ("---\nlicense: mit\n---\n", "m: its card has no model-index, so it states no figure to reproduce"),
        ("---\nmodel-index: []\n---\n", "m: its card states no figure in model-index"),
        ("---\nmodel-index: 7\n---\n", "m: its card states no figure in model-index"),
        ("---\na: [\n---\n", "m: the front matter of its card is no YAML: "),
        ("---\na: &x [1]\nmodel-index: [*x]\n---\n", "m: its card has YAML aliases"),
    ],
)
def test_a_card_without_figures_is_one_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ModelError) as caught:
        claims(tmp_path, text)
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["good", None, True, float("nan")])
def test_what_is_no_number_is_refused_where_it_is_measured(tmp_path: Path, value: Any) -> None:
    found = claims(tmp_path, card([{"type": "f1", "name": "F1", "value": value}, {"type": "f1", "value": 1}]))
    assert [math.isnan(one.value) for one in found] == [True, False]
    assert [one.written for one in found] == [str(value), None]
    with pytest.raises(ModelError, match=f"m: 'F1' of its card is '{value}'; a number is wanted"):
        check_numbers(found, "m")
    check_numbers(claims(tmp_path, card([{"type": "perplexity", "value": value}])), "m")


def test_no_card_at_all_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"m: it has no card \(README\.md\)"):
        read_claims(tmp_path / "README.md", "m")
