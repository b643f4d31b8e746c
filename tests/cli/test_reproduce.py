"""`reproduce`: stated beside measured, and an exit status that says whether they agree."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.doubles import MakeModel
from tests.evaluate.cards import TEXTS, answered, card, joined, with_card, write_rows
from tests.evaluate.conftest import Bundles, bundles

__all__ = ["bundles"]  # a fixture
ENGINE = ("--engine", "onnxruntime", "--precision", "fp32", "--threads", "1")


@pytest.fixture
def data(model: MakeModel, here: Path) -> str:
    return write_rows(here / "rows.jsonl", answered(model(), 10)).name


@pytest.mark.parametrize(
    ("stated", "status", "told"),
    [
        (95.0, 0, "95.00%    95.00%   +0.00  within"),
        (95.5, 0, "95.50%    95.00%   -0.50  within"),
        (97.0, 9, "97.00%    95.00%   -2.00  OUTSIDE"),
    ],
)
def test_right_slightly_wrong_and_plainly_wrong(
    cli: Cli, model: MakeModel, here: Path, data: str, stated: float, status: int, told: str
) -> None:
    text = card([{"type": "accuracy", "name": "Accuracy", "value": stated}])
    done = cli("reproduce", with_card(model, here / "m", text), "--data", data, *ENGINE)
    assert (done.status, done.err) == (status, "")
    assert told in done.text
    assert f"{int(status == 0)} of 1 figures are within ±1 points of the card's" in done.text
    assert "ok      precision: fp32 on onnxruntime" in done.text


def test_json_tells_all_of_it_with_the_same_status(cli: Cli, model: MakeModel, here: Path, data: str) -> None:
    folder = with_card(model, here / "m", card([{"type": "accuracy", "value": 0.97}]))
    done = cli("reproduce", folder, "--data", data, "--json", *ENGINE)
    found = json.loads(done.text)
    assert (done.status, found["reproduced"]) == (9, False)
    (part,) = found["parts"]
    assert part["rows"] == len(TEXTS)
    assert part["lines"][0]["points"] == pytest.approx(-2)
    assert cli("reproduce", folder, "--data", data, "--tolerance", "2", *ENGINE).status == 0


def test_what_cannot_be_done_is_one_line(cli: Cli, model: MakeModel, here: Path, data: str) -> None:
    done = cli("reproduce", model(), "--data", data)
    assert (done.status, done.out) == (4, b"")
    assert "it has no card (README.md), so there are no stated figures to reproduce" in done.err
    folder = with_card(model, here / "m", card([{"type": "accuracy", "value": 0.97}]))
    offline = cli("reproduce", folder, "--offline")
    assert (offline.status, offline.err.count("\n")) == (3, 1)
    assert "wanted: acme/feelings, split test, as a file with --data FILE" in offline.err


def test_rows_that_were_skipped_and_data_that_was_not_read_are_told(
    cli: Cli, model: MakeModel, here: Path, data: str
) -> None:
    with (here / data).open("a") as file:
        file.write('{"text": "a", "label": null}\n')
    other = card([{"type": "perplexity", "value": "N/A"}], split="x")
    text = joined(card([{"type": "accuracy", "value": 0.95}]), other)
    done = cli("reproduce", with_card(model, here / "m", text), "--data", data, "--on-error", "skip", *ENGINE)
    assert (done.status, done.err) == (0, "")
    assert f"1 row was skipped; the first: rows.jsonl line {len(TEXTS) + 1}: " in done.text
    assert "acme/feelings, split x: not read, as nothing of it is measured" in done.text
    assert "perplexity     N/A" in done.text
    assert "1 of 1 figures are within ±1 points of the card's; 1 could not be measured" in done.text


def test_figures_that_cannot_be_measured_again_are_told_with_the_reason(
    cli: Cli, model: MakeModel, here: Path, data: str
) -> None:
    why = "out-of-fold figures of rows that the model has since learned; evaluate it on other labelled rows"
    learned = card([{"type": "accuracy", "name": "Accuracy", "value": 0.529}], split="out-of-fold")
    done = cli("reproduce", with_card(model, here / "alone", learned), "--data", data, *ENGINE)
    told = f"tonewise: the card's figures (Accuracy) cannot be measured again: {why}\n"
    assert (done.status, done.out, done.err) == (4, b"", told)
    both = joined(learned, card([{"type": "accuracy", "value": 0.95}]))
    done = cli("reproduce", with_card(model, here / "both", both), "--data", data, *ENGINE)
    assert (done.status, done.err) == (0, "")
    assert f"acme/feelings, split out-of-fold: cannot be measured again: {why}" in done.text
    assert "Accuracy  52.90%         —       —  not measured" in done.text
    assert "1 of 1 figures are within ±1 points of the card's; 1 could not be measured" in done.text


def test_a_figure_of_no_head_is_told_beside_those_of_the_head(cli: Cli, bundles: Bundles, here: Path) -> None:
    folder = bundles(one={}, other={})
    metrics = [{"type": "accuracy", "name": "Accuracy", "value": 0.5}]
    (folder / "README.md").write_text(joined(card(metrics), card(metrics, head="one")), "utf-8")
    file = write_rows(here / "some.jsonl", [(text, 0) for text in TEXTS])
    done = cli("reproduce", folder, "--head", "one", "--data", file, "--engine", "stub", "--tolerance", "100")
    assert (done.status, done.err) == (0, "")
    assert "not measured: the model has several heads, and the card does not say of which one" in done.text
    assert "1 of 1 figures" in done.text


def test_json_has_no_nan(cli: Cli, model: MakeModel, here: Path, data: str) -> None:
    metrics: list[dict[str, Any]] = [{"type": "accuracy", "value": 0.95}, {"type": "mcc", "value": None}]
    done = cli("reproduce", with_card(model, here / "m", card(metrics)), "--data", data, "--json", *ENGINE)
    lines = json.loads(done.text, parse_constant=pytest.fail)["parts"][0]["lines"]
    assert (lines[1]["claim"]["value"], lines[1]["claim"]["written"]) == (None, "None")


def test_the_config_of_the_data_can_be_named(cli: Cli, model: MakeModel, here: Path, data: str) -> None:
    folder = with_card(model, here / "m", card([{"type": "accuracy", "value": 0.95}], config="plain"))
    command = ("reproduce", folder, "--data", data, *ENGINE)
    assert cli(*command, "--dataset-config", "plain").status == 0
    other = cli(*command, "--dataset-config", "other")
    assert (other.status, other.err.count("\n")) == (2, 1)
    assert "the card states no figure of that data; it has: acme/feelings, config plain" in other.err
