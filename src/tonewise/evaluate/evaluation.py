"""`evaluate`: one pass over labelled texts, and every figure of what came back."""

import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tonewise import __version__
from tonewise.classifier import Classifier
from tonewise.config import Config
from tonewise.errors import ConfigError
from tonewise.evaluate import quality
from tonewise.evaluate.answers import Answers, Progress, answer, choose_head, in_labels_of
from tonewise.evaluate.quality import Figure
from tonewise.evaluate.slices import Slice, check_columns, slices
from tonewise.head import Head, rounded_score
from tonewise.metrics import LabelFigures, Reliability
from tonewise.source.labelled import Labelled

SCHEMA = 1
IN_SLICES = {False: ("accuracy", "macro_f1"), True: ("micro_f1", "macro_f1", "subset_accuracy")}
"""Figures of a slice, by whether several labels may hold."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong answer.

    label, score  of one label a text, what was found; of several, the label that is furthest off
    """

    where: str
    id: int | str
    text: str
    gold: tuple[str, ...]
    found: tuple[str, ...]
    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good one head of a model is on a labelled set.

    model        ref, digest, head, engine, precision, and what else makes its answers: `map` is the file that
                 was given, `mapping` what each of the head's own labels is answered as; None for neither
    data         rows, fingerprint, kind, and by name the sha256 of each file
    figures      the headline by name, as `quality.statistics` tells them
    labels       those of the head, L; a label without support counts in no macro figure
    auroc        float64[L], nan without support
    thresholds   of several labels a text, where the labels are the model's own
    confusion    int64[L, L + 1], rows of gold, abstained last; None of several labels a text
    slices       in the order of the columns asked for
    worst        the mistakes that were made with the most confidence, the worst first
    abstained    share of texts that got no answer, which counts as a wrong one
    truncated    share of texts that were cut
    skipped      why rows were left out, a line each
    gold, answers  the arrays that all this was made from
    """

    model: Mapping[str, Any]
    data: Mapping[str, Any]
    made: Mapping[str, Any]
    figures: Mapping[str, Figure]
    labels: tuple[str, ...]
    multi_label: bool
    by_label: LabelFigures
    auroc: NDArray[np.float64]
    thresholds: tuple[float, ...] | None
    confusion: NDArray[np.int64] | None
    reliability: Reliability
    slices: tuple[Slice, ...]
    worst: tuple[Mistake, ...]
    abstained: float
    truncated: float
    skipped: tuple[str, ...]
    gold: Labelled = field(repr=False)
    answers: Answers = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """All but the arrays of each text, for `json.dumps`; what is not a number is None."""
        table: dict[str, Any] = {
            "schema": SCHEMA,
            "model": dict(self.model),
            "data": dict(self.data),
            "made": dict(self.made),
            "figures": {name: asdict(one) for name, one in self.figures.items()},
            "labels": self.label_rows(),
            "confusion": None if self.confusion is None else self.confusion.tolist(),
            "reliability": {name: some.tolist() for name, some in asdict(self.reliability).items()},
            "slices": [asdict(one) for one in self.slices],
            "worst": [asdict(one) for one in self.worst],
            "abstained": self.abstained,
            "truncated": self.truncated,
            "skipped": list(self.skipped),
        }
        known: dict[str, Any] = _without_nan(table)
        return known

    def label_rows(self) -> list[dict[str, Any]]:
        """A row a label: label, precision, recall, f1, support, auroc, threshold (None where it has none)."""
        of = self.by_label
        thresholds = self.thresholds or (None,) * len(self.labels)
        columns = (of.precision, of.recall, of.f1, of.support, self.auroc)
        rows = zip(self.labels, *(column.tolist() for column in columns), thresholds, strict=True)
        names = ("label", "precision", "recall", "f1", "support", "auroc", "threshold")
        return [dict(zip(names, row, strict=True)) for row in rows]


def evaluate(  # noqa: PLR0913
    model: Classifier | str | Path,
    labelled: Labelled,
    *,
    config: Config | None = None,
    head: str | None = None,
    slices: Sequence[str] = (),
    worst: int = 20,
    draws: int = 1000,
    seed: int = 0,
    files: Mapping[str, str] | None = None,
    progress: Progress = lambda told: None,
) -> Evaluation:
    """Answer every text once, as users get it, and measure the answers against the gold labels.

    slices  columns to tell apart; `length` is that in tokens
    worst   mistakes to keep
    draws   of the bootstrap, from `seed`
    files   by name the sha256 of what the texts were read from, to be quoted

    `config` is for a model that is named by its ref; an open Classifier has its own. Raises ConfigError
    for settings, ModelError for a model without labels, InputError for labels that are not the model's
    and for an unknown column, RowError for a text that cannot be answered, and what `Classifier.load` raises.
    With `on_error=skip` rows of such labels and such texts are left out and told in `skipped`.
    """
    quality.check_least(("worst", worst, 0), ("draws", draws, 1), ("seed", seed, 0))
    check_columns(slices, labelled)
    if isinstance(model, Classifier):
        if config is not None:
            raise ConfigError("an open Classifier has its own config; give none beside it")
        return _evaluated(model, labelled, _Wanted(head, tuple(slices), worst, draws, seed), files, progress)
    with Classifier.load(model, config=config or Config()) as classifier:
        wanted = _Wanted(head, tuple(slices), worst, draws, seed)
        return _evaluated(classifier, labelled, wanted, files, progress)


@dataclass(frozen=True, slots=True)
class _Wanted:
    head: str | None
    slices: tuple[str, ...]
    worst: int
    draws: int
    seed: int


def _evaluated(
    classifier: Classifier,
    labelled: Labelled,
    wanted: _Wanted,
    files: Mapping[str, str] | None,
    progress: Progress,
) -> Evaluation:
    head = choose_head(classifier, wanted.head)
    on_error = classifier.config.run.on_error
    fitted = in_labels_of(head, labelled, classifier.bundle.ref, on_error=on_error)
    gold, answers, skipped = answer(classifier, head, fitted, progress)
    progress(f"measuring {len(gold):,} answers, {wanted.draws:,} draws")
    several = head.is_multi_label
    statistics = quality.statistics(gold, answers, multi_label=several)
    chance = {"draws": wanted.draws, "seed": wanted.seed}
    by_label, auroc = quality.of_labels(gold, answers)
    measured = quality.measured
    in_slices = {name: statistics[name] for name in IN_SLICES[several]}
    return Evaluation(
        model=_model_facts(classifier, head),
        data=_data_facts(labelled, files),
        made={"date": datetime.now(UTC).isoformat(timespec="seconds"), **_versions(), **chance},
        figures={name: measured(one, len(gold), name=name, **chance) for name, one in statistics.items()},
        labels=head.labels,
        multi_label=several,
        by_label=by_label,
        auroc=auroc,
        thresholds=_thresholds(head),
        confusion=None if several else quality.confusion(gold, answers),
        reliability=quality.reliability(gold, answers, multi_label=several),
        slices=tuple(slices(wanted.slices, gold, answers, in_slices, **chance)),
        worst=tuple(_worst(gold, answers, wanted.worst, multi_label=several)),
        abstained=float(answers.abstained.mean()),
        truncated=float(answers.truncated.mean()),
        skipped=tuple(str(error) for error in (*fitted.skipped, *skipped)),
        gold=gold,
        answers=answers,
    )


def _worst(gold: Labelled, answers: Answers, most: int, *, multi_label: bool) -> list[Mistake]:
    """Abstained answers are wrong, but nobody was sure of them."""
    off = np.abs(answers.scores - gold.gold) if multi_label else answers.scores
    wrong = (gold.gold != answers.found) if multi_label else (answers.found & ~gold.gold)
    off = np.where(wrong & ~answers.abstained[:, None], off, -1)
    cells = off.argmax(axis=1)
    surest = off[np.arange(len(off)), cells]
    rows = [int(row) for row in np.argsort(-surest, kind="stable")[:most] if surest[row] >= 0]
    return [_mistake(gold, answers, row, int(cells[row])) for row in rows]


def _mistake(gold: Labelled, answers: Answers, row: int, cell: int) -> Mistake:
    example = gold.examples[row]
    text = example.text if example.text_pair is None else f"{example.text} ⏐ {example.text_pair}"
    found = tuple(name for name, held in zip(gold.names, answers.found[row], strict=True) if held)
    score = rounded_score(float(answers.scores[row, cell]))
    return Mistake(example.where, example.id, text, example.labels, found, gold.names[cell], score)


def _thresholds(head: Head) -> tuple[float, ...] | None:
    if not head.is_multi_label or head.spec.mapping is not None:
        return None
    return tuple(head.spec.thresholds or (0.5,) * len(head.labels))


def _model_facts(classifier: Classifier, head: Head) -> dict[str, Any]:
    bundle, tokenizer = classifier.bundle, classifier.config.tokenizer
    return {
        "ref": bundle.ref,
        "digest": bundle.digest,
        "head": head.name,
        "problem_type": head.spec.problem_type,
        "temperature": head.spec.temperature,
        "map": _map_told(classifier.config.head.map),
        "mapping": _mapping(head),
        "engine": classifier.engine.name,
        "precision": classifier.engine.precision,
        "max_length": classifier.tokenizer.max_length,
        "too_long": tokenizer.too_long,
        "licence": bundle.manifest.licence,
        "data_terms": bundle.manifest.data_terms,
    }


def _map_told(given: str | Path | Mapping[str, Any] | None) -> str | None:
    return "a table" if isinstance(given, Mapping) else None if given is None else str(given)


def _mapping(head: Head) -> dict[str, str] | None:
    mapping = head.spec.mapping
    return None if mapping is None else dict(zip(head.spec.labels, mapping, strict=True))


def _data_facts(labelled: Labelled, files: Mapping[str, str] | None) -> dict[str, Any]:
    return {
        "rows": len(labelled),
        "kind": labelled.kind,
        "labels": list(labelled.names),
        "fingerprint": labelled.fingerprint(),
        "files": dict(files or {}),
    }


def _versions() -> dict[str, str]:
    return {"tonewise": __version__, "python": platform.python_version(), "numpy": np.__version__}


def _without_nan(value: Any) -> Any:
    """JSON has no nan."""
    if isinstance(value, Mapping):
        return {name: _without_nan(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
