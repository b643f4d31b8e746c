"""Models side by side on the same labelled texts: quality, significance, speed, memory, size, terms, cost."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tonewise.benchmark.results import machine_facts, medians
from tonewise.benchmark.turns import Combination, Measured, Turns
from tonewise.classifier import Classifier
from tonewise.config import Config, HeadConfig
from tonewise.engines import ENGINES, choose_threads
from tonewise.errors import ConfigError
from tonewise.evaluate.answers import Progress, choose_head, in_labels_of
from tonewise.evaluate.evaluation import Evaluation, evaluate
from tonewise.evaluate.quality import Figure, Statistic, check_least, statistics
from tonewise.metrics import Interval, mcnemar, paired_bootstrap
from tonewise.source.labelled import Labelled

SCHEMA = 1
MOST_TIMED = 1_000
"""Texts that speed is measured with, drawn evenly from all."""
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model to compare: its ref, with one head, and the file that maps its labels to the data's, if any."""

    ref: str
    map: str | None = None


@dataclass(frozen=True, slots=True)
class Timing:
    """How speed is measured, and what it costs.

    rounds   turns that each model takes; medians count
    seconds  that a turn of many texts takes at least
    price    of an hour of this machine, in whatever currency; None: cost is told in hours alone
    """

    rounds: int = 3
    seconds: float = 1.0
    price: float | None = None

    def __post_init__(self) -> None:
        """Refuse what measures nothing. Raises ConfigError."""
        if self.rounds < 1:
            raise ConfigError(f"rounds is {self.rounds}; the least is 1")
        if self.price is not None and not 0 <= self.price < float("inf"):
            raise ConfigError(f"price is {self.price}; wanted: a number from 0 on")


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure less the best model's: its 95% interval over the same rows, and its two-sided p."""

    value: float
    interval: Interval
    p: float


@dataclass(frozen=True, slots=True)
class Row:
    """One model.

    accuracy           share of texts answered exactly; of several labels a text, all of them right
    ece                expected calibration error, as `quality.statistics` tells it
    than_best          by figure (accuracy, macro_f1); None for the best itself
    error              why speed could not be measured, in one line; what it would have told is None then
    texts_per_second   many texts at once, from strings to answers, warm
    p50_ms             of one text at a time, warm
    peak_memory_mb     of the process that answers many, MB of 10⁶ bytes, as is size_mb, that of its files
    hours_per_million  of this machine, for a million texts like these
    cost_per_million   that times the price of an hour
    """

    ref: str
    digest: str
    head: str
    engine: str
    precision: str
    map: str | None
    accuracy: Figure
    macro_f1: Figure
    ece: Figure
    than_best: Mapping[str, Difference] | None
    size_mb: float
    licence: str | None
    data_terms: str | None
    error: str | None = None
    texts_per_second: float | None = None
    p50_ms: float | None = None
    peak_memory_mb: float | None = None
    hours_per_million: float | None = None
    cost_per_million: float | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """All models, in the order they were named.

    data     rows, labels, kind, fingerprint, and by name the sha256 of each file
    timed    texts that speed was measured with
    draws    of each bootstrap, from `seed`
    best     place of the model of the highest accuracy; of several labels a text, of the highest macro F1
    machine  what speed was measured on, and versions
    """

    rows: tuple[Row, ...]
    best: int
    multi_label: bool
    data: Mapping[str, Any]
    timed: int
    timing: Timing
    draws: int
    seed: int
    machine: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The whole of it for `json.dumps`; `schema` counts up when a name changes its meaning."""
        written = json.dumps({"schema": SCHEMA, **asdict(self)})
        table: dict[str, Any] = json.loads(written, parse_constant=lambda name: None)  # JSON has no nan
        return table


@dataclass(frozen=True, slots=True)
class _Seen:
    """A model that has answered every text."""

    candidate: Candidate
    evaluation: Evaluation
    size: int

    def right(self) -> NDArray[np.bool_]:
        """bool[N]: the texts that are answered exactly."""
        return self.evaluation.answers.right(self.evaluation.gold.gold)

    def figure(self, name: str) -> Figure:
        found = self.evaluation.figures
        if name == "accuracy" and self.evaluation.multi_label:
            name = "subset_accuracy"
        return found[name]


def compare(  # noqa: PLR0913
    models: Sequence[str | Candidate],
    labelled: Labelled,
    *,
    config: Config | None = None,
    timing: Timing | None = None,
    draws: int = 1000,
    seed: int = 0,
    files: Mapping[str, str] | None = None,
    progress: Progress = lambda told: None,
) -> Comparison:
    """Every model in turn over the same rows: quality first, then speed, each turn in a process of its own.

    files  by name the sha256 of what the texts were read from, to be quoted

    A row that a model cannot answer ends the comparison, whatever `config.run.on_error` says: figures are of
    the same rows. Significance is beside the best model: McNemar's exact test for accuracy, a paired
    bootstrap for macro F1. Each p is that of its pair alone, not corrected for how many there are. Raises
    ConfigError for fewer than two models, and what `evaluate` raises.
    """
    if len(models) < 2:
        raise ConfigError(f"{len(models)} model to compare; name two or more")
    check_least(("draws", draws, 1), ("seed", seed, 0))
    config, timing = config or Config(), timing or Timing()
    config = replace(config, run=replace(config.run, on_error="stop"))
    candidates = [one if isinstance(one, Candidate) else Candidate(one) for one in models]
    seen = [_answered(one, labelled, config, draws, seed, progress) for one in candidates]
    multi_label = any(one.evaluation.multi_label for one in seen)
    leading = "macro_f1" if multi_label else "accuracy"
    best = int(np.argmax([one.figure(leading).value for one in seen]))
    texts = list(labelled.texts)
    timed = texts[:: max(1, -(-len(texts) // MOST_TIMED))]
    speeds = _timed(seen, timed, config, timing, progress)
    rows = []
    for place, one in enumerate(seen):
        progress(f"comparing {one.candidate.ref} with the best")
        than = None if place == best else dict(_differences(one, seen[best], draws, seed))
        rows.append(_row(one, than, speeds[place], timing.price))
    data = {**seen[0].evaluation.data, "files": dict(files or {})}
    machine = machine_facts(sorted({one.evaluation.model["engine"] for one in seen}))
    return Comparison(tuple(rows), best, multi_label, data, len(timed), timing, draws, seed, machine)


def _answered(
    one: Candidate, labelled: Labelled, config: Config, draws: int, seed: int, progress: Progress
) -> _Seen:
    def told(what: str) -> None:
        progress(f"{one.ref}: {what}")

    streams = config.engine.streams or choose_threads(config.engine.threads)
    many = replace(config, engine=replace(config.engine, streams=streams))
    with Classifier.load(one.ref, config=_config_for(one, many)) as classifier:
        in_labels_of(choose_head(classifier, None), labelled, one.ref, remedy=f"--map {one.ref}=FILE")
        found = evaluate(classifier, labelled, worst=0, draws=draws, seed=seed, progress=told)
        files = classifier.bundle.manifest.files
    return _Seen(one, found, sum(file.size for file in files.values()))


def _config_for(one: Candidate, config: Config) -> Config:
    """The same settings, with the labels mapped as the model needs it."""
    return config if one.map is None else replace(config, head=HeadConfig(one.map))


def _timed(
    seen: Sequence[_Seen], texts: Sequence[Any], config: Config, timing: Timing, progress: Progress
) -> list[Measured]:
    """All models in turns, so that noise meets them alike. Answering has filled the caches before."""
    with tempfile.TemporaryDirectory(prefix="tonewise-compare-") as folder:
        turns, found = [], [Measured() for _ in seen]
        for place, one in enumerate(seen):
            own = Path(folder) / str(place)
            own.mkdir()
            turns.append(Turns(_config_for(one.candidate, config), texts, own, timing.seconds))
        for number in range(1, timing.rounds + 1):
            for one, turn, measured in zip(seen, turns, found, strict=True):
                if not measured.error:
                    progress(f"speed, round {number} of {timing.rounds}: {one.candidate.ref}")
                    turn.take(_combination(one, config), measured)
    return found


def _combination(one: _Seen, config: Config) -> Combination:
    """The engine that answered, so that `auto` chooses once; the oracle's precision is no setting."""
    engine, precision = one.evaluation.model["engine"], one.evaluation.model["precision"]
    known = precision in ENGINES[engine].precisions
    return Combination(one.candidate.ref, engine, precision if known else config.engine.precision)


def _differences(one: _Seen, best: _Seen, draws: int, seed: int) -> Iterator[tuple[str, Difference]]:
    ours, theirs = one.right(), best.right()
    apart = ours.astype(np.int8) - theirs.astype(np.int8)
    n = len(apart)
    interval, _ = paired_bootstrap(lambda rows: float(apart[rows].mean()), n, draws=draws, seed=seed)
    yield "accuracy", Difference(float(apart.mean()), interval, mcnemar(ours, theirs))
    first, second = (_statistic(some.evaluation, "macro_f1") for some in (one, best))

    def macro(rows: NDArray[np.int64]) -> float:
        return first(rows) - second(rows)

    interval, p = paired_bootstrap(macro, n, draws=draws, seed=seed)
    yield "macro_f1", Difference(macro(np.arange(n)), interval, p)


def _statistic(of: Evaluation, name: str) -> Statistic:
    return statistics(of.gold, of.answers, multi_label=of.multi_label)[name]


def _row(one: _Seen, than_best: Mapping[str, Difference] | None, speed: Measured, price: float | None) -> Row:
    model = one.evaluation.model
    row = Row(
        one.candidate.ref,
        model["digest"],
        model["head"],
        model["engine"],
        model["precision"],
        one.candidate.map,
        one.figure("accuracy"),
        one.figure("macro_f1"),
        one.figure("ece"),
        than_best,
        one.size / MILLION,
        model["licence"],
        model["data_terms"],
        speed.error,
    )
    if speed.error:
        return row
    middle = medians(speed.rounds)
    hours = MILLION / middle["texts_per_second"] / 3600
    return replace(
        row,
        texts_per_second=middle["texts_per_second"],
        p50_ms=middle["p50_ms"],
        peak_memory_mb=middle["peak_memory_mb"],
        hours_per_million=hours,
        cost_per_million=None if price is None else hours * price,
    )
