"""What a model's card claims: the figures of its `model-index`, each with the data that it is of."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from tonewise.errors import ModelError
from tonewise.store.licence import front_block

METRICS = {
    "accuracy": "accuracy",
    "f1": "f1",
    "precision": "precision",
    "recall": "recall",
    "loss": "loss",
    "auc": "auc",
    "auroc": "auc",
    "roc_auc": "auc",
    "rocauc": "auc",
    "ece": "ece",
    "expected_calibration_error": "ece",
}
AVERAGES = ("macro", "micro", "weighted")
NUMBER = re.compile(r"\s*([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)\s*(%?)")
COUNTS = ("rows", "num_examples", "num_rows")
LONGEST = 100
HEAD = "Head "
"""How the cards of `train` begin a task's name, where a model has several heads."""
OUT_OF_FOLD = "out-of-fold"
"""The split of rows that a model has learned, in figures by models that had not."""


@dataclass(frozen=True, slots=True)
class DataName:
    """The data that a figure is of, as the card names it; `type` is the hub's name of the set."""

    type: str
    name: str = ""
    config: str | None = None
    split: str | None = None
    revision: str | None = None
    rows: int | None = None

    @property
    def out_of_fold(self) -> bool:
        """Whether the model has learned these rows since the figures were measured."""
        return (self.split or "").lower().replace("_", "-").replace(" ", "-") == OUT_OF_FOLD

    def __str__(self) -> str:
        told = [self.type or self.name or "data without a name"]
        told += [f"config {self.config}"] if self.config else []
        told += [f"split {self.split}"] if self.split else ["no split told"]
        told += [f"revision {self.revision[:12]}"] if self.revision else []
        return ", ".join(told)


@dataclass(frozen=True, slots=True)
class Claim:
    """A figure of the card.

    name      as the card writes it
    metric    accuracy | f1 | precision | recall | auc | ece | loss; None for one that is not measured here
    average   macro | micro | weighted, where the card says
    value     a share from 0 to 1; of a loss nats; of what is not measured here, as it stands; nan where the
              card states no number
    decimals  digits after the point of `value` that the card states
    head      the head that it is of, where the card says
    written   what the card states instead of a number
    """

    name: str
    metric: str | None
    average: str | None
    value: float
    decimals: int
    data: DataName
    verified: bool = False
    head: str | None = None
    written: str | None = None


def read_claims(path: Path, ref: str) -> tuple[Claim, ...]:
    """The figures in the YAML front matter of a model card (Hugging Face's model card metadata).

    A share may be written as one (0.938) or in percent (93.8, "93.8%"). What is no number is for
    `check_numbers` to refuse, once it is known which figures are wanted. Raises ModelError for a card without
    figures, or one that cannot be read.
    """
    block = front_block(path)
    if block is None:
        raise ModelError(f"{ref}: {_why(path)}, so there are no stated figures to reproduce")
    claims = tuple(_claims(_index(block, ref)))
    if not claims:
        raise ModelError(f"{ref}: its card states no figure in model-index, so there is none to reproduce")
    return claims


def check_numbers(claims: Iterable[Claim], ref: str) -> None:
    """Raise ModelError for the first figure of a kind measured here that is no number."""
    for claim in claims:
        if claim.metric is not None and claim.written is not None:
            raise ModelError(f"{ref}: '{claim.name}' of its card is {claim.written!r}; a number is wanted")


def _why(path: Path) -> str:
    return "its card has no front matter" if path.is_file() else "it has no card (README.md)"


def _index(block: str, ref: str) -> list[Any]:
    try:
        # an alias may stand for far more than its length
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(block, yaml.SafeLoader)):
            raise ModelError(f"{ref}: its card has YAML aliases, which are not read")
        table = yaml.safe_load(block)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        told = " ".join(str(error).split())[:LONGEST]
        raise ModelError(f"{ref}: the front matter of its card is no YAML: {told}") from None
    found = table.get("model-index") if isinstance(table, dict) else None
    if found is None:
        raise ModelError(f"{ref}: its card has no model-index, so it states no figure to reproduce")
    return _list(found)


def _claims(index: list[Any]) -> Iterator[Claim]:
    for model in index:
        for result in _list(_table(model).get("results")):
            data = _data(_table(_table(result).get("dataset")))
            head = head_of(result)
            for metric in _list(_table(result).get("metrics")):
                yield replace(_claim(_table(metric), data), head=head)


def head_of(result: Any) -> str | None:
    """The head that a result of `model-index` is of, where its task's name says it."""
    task = _text(_table(_table(result).get("task")).get("name"))
    return task.removeprefix(HEAD) if task.startswith(HEAD) else None


def _claim(metric: Mapping[str, Any], data: DataName) -> Claim:
    kind, name = str(metric.get("type") or "").strip(), _text(metric.get("name"))
    told = " ".join(str(metric.get(key) or "") for key in ("type", "name", "config", "args")).lower()
    average = next((one for one in AVERAGES if one in told), None)
    plain = kind.lower().replace("-", "_").replace(" ", "_")
    for word in AVERAGES:
        plain = plain.replace(f"_{word}", "").replace(f"{word}_", "")
    known = METRICS.get(plain)
    stated = metric.get("value")
    value, decimals = _value(stated, known not in (None, "loss"))
    written = str(stated)[:40] if math.isnan(value) else None
    verified = metric.get("verified") is True
    return Claim(name or kind or "?", known, average, value, decimals, data, verified, written=written)


def _value(value: Any, is_share: bool) -> tuple[float, int]:
    """A stated number, and how many digits after its point; percent as a share. nan for no number."""
    match = None if isinstance(value, bool) else NUMBER.match(str(value))
    number = float(match[1]) if match else math.nan
    if match is None or not math.isfinite(number):
        return math.nan, 0
    decimals = 0 if "e" in match[1].lower() else len(match[1].partition(".")[2])
    if not is_share or (not match[2] and number <= 1):
        return number, decimals
    return number / 100, decimals + 2


def _data(table: Mapping[str, Any]) -> DataName:
    args = table.get("args")
    more = args if isinstance(args, dict) else {}
    config = _text(table.get("config")) or (_text(args) if isinstance(args, str) else "")
    counts = [more.get(key, table.get(key)) for key in COUNTS]
    return DataName(
        _text(table.get("type")),
        _text(table.get("name")),
        config or _text(more.get("config")) or None,
        _text(table.get("split")) or _text(more.get("split")) or None,
        _text(table.get("revision")) or None,
        next((one for one in counts if type(one) is int and one > 0), None),
    )


def _text(value: Any) -> str:
    return "" if value is None or isinstance(value, (dict, list)) else str(value).strip()[:LONGEST]


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
