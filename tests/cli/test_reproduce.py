"""`reproduce`: stated beside measured, and an exit status that says whether they agree."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.doubles import MakeModel
from tests.evaluate.cards import TEXTS, answered, card, with_card, write_rows

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
