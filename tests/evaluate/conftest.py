"""Texts that a stub has answered, and gold labels that agree with it as often as a test says."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.doubles import MakeModel, write_bundle
from tests.evaluate import cards
from tests.models import LABELS, WORDS
from tonewise import Classifier
from tonewise.source import Example
from tonewise.source.labelled import Labelled, Labels, read_labelled
from tonewise.store import HeadSpec

N = 60
WRONG = 12
Bundles = Callable[..., Path]


def texts(n: int = N, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [f"{' '.join(rng.choice(WORDS[5:40], 3 + i % 9))} {i % 3 + 1}" for i in range(n)]


def turned(label: str, labels: Sequence[str] = LABELS) -> str:
    """Another label than this one."""
    return labels[(labels.index(label) + 1) % len(labels)]


def gold_of(answers: Sequence[Any], wrong: int = WRONG, labels: Sequence[str] = LABELS) -> list[str]:
    """The labels that were found; the first `wrong` of them another."""
    return [turned(one.label, labels) if i < wrong else one.label for i, one in enumerate(answers)]


def labelled_by(
    classifier: Classifier,
    wrong: int = WRONG,
    columns: Mapping[str, Sequence[Any]] | None = None,
    labels: tuple[str, ...] = LABELS,
) -> Labelled:
    """Texts on which a classifier of one label a text errs `wrong` times, with other columns beside them."""
    some = texts()
    gold = gold_of(classifier.classify(some), wrong, labels)
    rows = zip(some, gold, strict=True)
    examples = [
        Example(
            text,
            None,
            i + 1,
            (label,),
            {name: one[i] for name, one in (columns or {}).items()},
            f"row {i + 1}",
        )
        for i, (text, label) in enumerate(rows)
    ]
    return read_labelled(examples, None, Labels(names=labels))


@pytest.fixture
def stub(model: MakeModel) -> Classifier:
    """A model of the labels LABELS whose answers cost nothing and mean nothing."""
    return Classifier.load(model(), engine="stub")


@pytest.fixture
def bundles(model: MakeModel, tmp_path: Path) -> Bundles:
    """`bundles(own=dict(labels=…))`: a bundle with these heads."""

    def make(**heads: dict[str, Any]) -> Path:
        made = {}
        for name, one in heads.items():
            settings = {"labels": LABELS, "output": name} | one
            made[name] = HeadSpec(settings.pop("labels"), settings.pop("output"), **settings)
        return write_bundle(tmp_path / f"bundle-{len(list(tmp_path.iterdir()))}", model(), made)

    return make


@pytest.fixture(scope="module")
def rows(model: MakeModel) -> list[tuple[str, int]]:
    """Texts with the label that a model gives each, ten of them another."""
    return cards.answered(model(), cards.WRONG)


@pytest.fixture(scope="module")
def file(rows: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(cards.write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl", rows))
