"""The packaged model, as packaged, through the command line: how often it is right, and int8 beside fp32."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

LEAST_ACCURACY = 0.933
LEAST_AGREEMENT = 0.995


@pytest.mark.slow
def test_the_packaged_model_is_as_good_as_its_card_says(cli: Cli, data: Path, here: Path) -> None:
    labels: dict[str, list[str]] = {}
    for precision in ("int8", "fp32"):
        output = here / f"{precision}.jsonl"
        done = cli("classify", data / "emotion" / "validation.tsv", "--precision", precision, "-o", output)
        assert (done.status, done.err) == (0, "")
        found = [json.loads(line) for line in output.read_text().splitlines()]
        labels[precision] = [one["predictions"]["emotion"]["label"] for one in found]
        gold = [one["fields"]["label"] for one in found]
        right = sum(ours == theirs for ours, theirs in zip(labels[precision], gold, strict=True))
        assert len(gold) == 2000
        assert right / len(gold) >= LEAST_ACCURACY, precision
    same = sum(a == b for a, b in zip(labels["int8"], labels["fp32"], strict=True))
    assert same / len(labels["int8"]) >= LEAST_AGREEMENT
