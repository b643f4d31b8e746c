"""What a benchmark found: one row per model, engine and precision, the machine, and all of it as JSON."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from statistics import fmean, median
from typing import Any

import numpy as np

from tonewise import __version__
from tonewise.engines import ENGINES, choose_threads
from tonewise.engines.machine import processor
from tonewise.errors import EngineError

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Model:
    """A model that was measured, and what the texts are to it.

    tokens_mean, tokens_max  of a text, special ones included, before any cut
    truncated                texts that were cut to the model's length
    """

    ref: str
    digest: str
    tokens_mean: float | None = None
    tokens_max: int | None = None
    truncated: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One model on one engine in one precision: medians over the rounds, or why there are none.

    streams             of the bulk run; a single text is answered by one unless `streams` was set
    error               why it could not be measured, in one line; everything below is None then
    texts_per_second    many texts at once, from strings to predictions, warm
    p50_ms, …           of one text at a time, over texts of mixed length, after a warm-up on a few others
    cold_start_seconds  from the start of a process to its first answer, graphs cached
    first_start_seconds the same, once, as the cache was found
    peak_memory_mb      of the bulk run's process, MB of 10⁶ bytes
    padding             share of padding in the batches that were planned
    bucket_padding      what shape buckets added, as a share of all that ran; None without buckets
    labels_agree        share of answers that equal those of onnxruntime in fp32
    score_difference    mean absolute difference of all scores from those
    rounds              what each round found
    """

    model: str
    engine: str
    precision: str
    threads: int
    streams: int
    error: str | None = None
    texts_per_second: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    cold_start_seconds: float | None = None
    first_start_seconds: float | None = None
    peak_memory_mb: float | None = None
    padding: float | None = None
    bucket_padding: float | None = None
    labels_agree: float | None = None
    score_difference: float | None = None
    rounds: Sequence[Mapping[str, float]] = ()


@dataclass(frozen=True, slots=True)
class Results:
    """A whole benchmark.

    texts   where they came from, `count`, and `sha256` of them as a JSON array
    rounds  that every row was measured for
    notes   what a reader of the rows must know, a line each
    """

    machine: Mapping[str, Any]
    texts: Mapping[str, Any]
    rounds: int
    models: Sequence[Model]
    rows: Sequence[Row]
    notes: Sequence[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The whole of it for `json.dumps`; `schema` counts up when a name changes its meaning."""
        return {"schema": SCHEMA, **asdict(self)}

    def best(self, ref: str) -> Row | None:
        """The model's row of the highest throughput, if any was measured."""
        measured = [row for row in self.rows if row.model == ref and row.texts_per_second is not None]
        return max(measured, key=lambda row: row.texts_per_second or 0, default=None)


def three_digits(value: float | None) -> str:
    """As many as a timing deserves; nothing for None."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"


def medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of each figure over the rounds."""
    return {name: median(one[name] for one in rounds) for name in rounds[0]}


def agreement(answers: Sequence[Any], yardstick: Sequence[Any]) -> tuple[float, float]:
    """Share of equal answers, and mean absolute difference of scores, over all texts and heads.

    Both are lists of texts of heads of `[label or labels, scores]`. Raises EngineError when they are not
    of the same texts and heads.
    """
    try:
        pairs = [
            pair
            for ours, theirs in zip(answers, yardstick, strict=True)
            for pair in zip(ours, theirs, strict=True)
        ]
    except ValueError:
        raise EngineError("the answers are not of the same texts and heads as those in fp32") from None
    equal = fmean(ours[0] == theirs[0] for ours, theirs in pairs)
    scores = [np.subtract(ours[1], theirs[1]) for ours, theirs in pairs]
    return equal, float(np.abs(np.concatenate(scores)).mean())


def machine_facts(engines: Sequence[str]) -> dict[str, Any]:
    """What the figures were taken on, and the versions of what took them."""
    return {
        "processor": processor(),
        "processors": choose_threads(None),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {"tonewise": __version__, "numpy": np.__version__, **_versions(engines)},
    }


def _versions(engines: Sequence[str]) -> dict[str, str]:
    found = {}
    distributions = packages_distributions()
    for name in engines:
        module = ENGINES[name].module
        for distribution in distributions.get(module or "", [])[:1]:
            try:
                found[distribution] = version(distribution)
            except PackageNotFoundError:  # its folder is there, its metadata is not
                continue
    return found
