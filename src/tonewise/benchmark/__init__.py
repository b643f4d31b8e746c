"""This machine, these texts: models × engines × precisions, their speed, memory, padding and agreement."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from tonewise.benchmark.results import Model, Results, Row, machine_facts
from tonewise.benchmark.texts import Sample, own_sample
from tonewise.benchmark.turns import Combination, Measured, Progress, Turns
from tonewise.config import Config, Precision
from tonewise.engines import ENGINES
from tonewise.errors import ConfigError
from tonewise.store import Bundle, resolve

__all__ = [
    "Model",
    "Plan",
    "Progress",
    "Results",
    "Row",
    "Sample",
    "benchmark",
    "default_engines",
    "own_sample",
]

PRECISIONS = tuple(one for one in get_args(Precision) if one != "auto")


def default_engines() -> tuple[str, ...]:
    """Those that are installed, without the oracle and the double."""
    return tuple(
        name for name, kind in ENGINES.items() if kind.installed and name not in ("reference", "stub")
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, and how long.

    refs        models
    engines     default: those that are installed
    precisions  default: those that the engine has, int8 only for models with activation ranges
    rounds      turns that each combination takes
    seconds     that a bulk measurement takes at least
    """

    refs: Sequence[str]
    engines: Sequence[str] = ()
    precisions: Sequence[str] = ()
    rounds: int = 3
    seconds: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what does not exist. Raises ConfigError."""
        if self.rounds < 1:
            raise ConfigError(f"rounds is {self.rounds}; the least is 1")
        for what, names, there in (
            ("engine", self.engines, ENGINES),
            ("precision", self.precisions, PRECISIONS),
        ):
            if unknown := [name for name in names if name not in there]:
                raise ConfigError(f"no {what} '{unknown[0]}'; there are: {', '.join(there)}")


def benchmark(
    plan: Plan,
    config: Config | None = None,
    sample: Sample | None = None,
    *,
    progress: Progress = lambda told: None,
) -> Results:
    """Measure models × engines × precisions, in turns, on the sample or else on sentences of our own.

    Of `config` all but the engine's name and precision counts. A combination that cannot run is a row
    with the reason. Raises ModelError and its kin for a model that cannot be had.
    """
    config, sample = config or Config(), sample or own_sample()
    engines = list(dict.fromkeys(plan.engines or default_engines()))
    bundles = {ref: resolve(ref, config.store) for ref in dict.fromkeys(plan.refs)}
    chosen = [one for ref in bundles for one in _combinations(ref, bundles[ref], engines, plan.precisions)]
    with tempfile.TemporaryDirectory(prefix="tonewise-bench-") as folder:
        turns = Turns(config, sample.texts, Path(folder), plan.seconds)
        found = _measure(turns, chosen, plan.rounds, progress)
    return Results(
        machine_facts([*engines, "onnxruntime"]),
        {"source": sample.source, "count": len(sample.texts), "sha256": sample.sha256},
        plan.rounds,
        [_model(ref, bundle.digest, found) for ref, bundle in bundles.items()],
        [turns.row(one, found[one], found[one.yardstick]) for one in chosen],
        [note for ref in bundles for note in _notes(ref, bundles[ref], engines, plan.precisions, found)],
    )


def _combinations(
    ref: str, bundle: Bundle, engines: Sequence[str], precisions: Sequence[str]
) -> list[Combination]:
    def wanted(engine: str) -> Sequence[str]:
        having = ENGINES[engine].precisions
        fitting = [one for one in having if one != "int8" or bundle.manifest.activation_ranges]
        return list(dict.fromkeys(precisions)) or fitting

    return [Combination(ref, engine, one) for engine in engines for one in wanted(engine)]


def _measure(
    turns: Turns, chosen: Sequence[Combination], rounds: int, progress: Progress
) -> dict[Combination, Measured]:
    """All combinations and their yardsticks prepared, then those that can run in turns."""
    found = {}
    for one in dict.fromkeys([*chosen, *(one.yardstick for one in chosen)]):
        progress(f"preparing: {one}")
        found[one] = turns.prepare(one)
    for number in range(1, rounds + 1):
        for one in chosen:
            if not found[one].error:
                progress(f"round {number} of {rounds}: {one}")
                turns.take(one, found[one])
    return found


def _model(ref: str, digest: str, found: dict[Combination, Measured]) -> Model:
    for one, measured in found.items():
        if one.model == ref and measured.answered:
            seen = measured.answered
            return Model(ref, digest, seen["tokens_mean"], seen["tokens_max"], seen["truncated"])
    return Model(ref, digest)


def _notes(
    ref: str,
    bundle: Bundle,
    engines: Sequence[str],
    precisions: Sequence[str],
    found: dict[Combination, Measured],
) -> list[str]:
    notes = []
    able = any("int8" in ENGINES[name].precisions for name in engines)
    if able and not precisions and not bundle.manifest.activation_ranges:
        why = "the model has no activation ranges; --precisions int8 tries without"
        notes.append(f"{ref}: int8 is left out, since {why}")
    if error := found[Combination(ref, "onnxruntime", "fp32")].error:
        notes.append(f"{ref}: agreement is not known, since onnxruntime in fp32 did not answer: {error}")
    return notes
