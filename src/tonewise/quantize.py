"""Activation ranges from texts, with the agreement they give: a bundle that runs in int8."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tonewise.batching import Batch, collate
from tonewise.classifier import Classifier
from tonewise.config import Config, EngineConfig, HeadConfig
from tonewise.encoder.forward import NumpyOps, Observe, run_numpy
from tonewise.encoder.int8 import Quantization, Ranges, as_int8, rounded, smoothed
from tonewise.encoder.weights import NetworkSpec, Weights, load_weights
from tonewise.engines import ENGINES, choose_threads
from tonewise.errors import ConfigError, InputError, ModelError, RowError
from tonewise.head import HeadPrediction, Prediction
from tonewise.store import Bundle, resolve
from tonewise.store.manifest import BEHAVIOURS
from tonewise.store.writing import check_new_folder, copy_files, new_folder, pinned_files, write_manifest
from tonewise.tokenizer import Encoding, Row, Text

FIT_TOKENS = 24_000
"""Tokens that the ranges are fitted on: some 1,000 short texts, or 100 long ones."""
FIT_TEXTS = 4_000
COMPARED_TEXTS = 2_000
LEAST_TEXTS = 20
TARGET = 0.995
YARDSTICK = EngineConfig("onnxruntime", "fp32")
GROUP_TOKENS = 4_096
"""Of one pass in numpy, which holds all of its attention at once."""
SAMPLED_GROUPS, SAMPLED_TOKENS = 8, 256
"""What the harm to a layer is told from."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Compared:
    """int8 beside fp32 on the same texts.

    labels  share of labels that agree; of a multi-label head, of its yes and no
    scores  mean absolute difference of scores
    """

    labels: float
    scores: float


@dataclass(frozen=True, slots=True)
class Quantized:
    """What `quantize` wrote and measured.

    agreement  by engine
    fitted     texts that gave the ranges
    compared   other texts, which both precisions answered
    kept       linear layers that are left in higher precision
    """

    folder: Path
    digest: str
    agreement: Mapping[str, Compared]
    fitted: int
    compared: int
    kept: tuple[str, ...]


def quantize(
    ref: str | Path,
    texts: Sequence[Text],
    output: Path,
    *,
    config: Config | None = None,
    target: float = TARGET,
    compared: Sequence[Text] | None = None,
    progress: Progress = lambda told: None,
) -> Quantized:
    """Write a bundle to `output` that has the ranges of these unlabelled texts, and its measured agreement.

    Every other text gives the ranges, spread evenly over all of them up to 24,000 tokens; up to 2,000 of
    the rest, or of `compared` in their place, are answered in fp32, and in int8 by each installed engine
    that has it. Labels of texts that a model has learned from agree more often than those of others. As
    long as fewer labels than `target` agree, the layers that int8 harms most are left in higher precision.
    The bundle has the heads that `ref` selects. `progress` is told what goes on, a line each time.

    Raises InputError for fewer than 20 texts or none to compare on, ConfigError for a target that is no
    share, RowError for a text that cannot be read, ModelError for a model without labels or one whose
    labels do not agree even with half of its layers left out, OutputError when `output` is there already
    or cannot be written.
    """
    config = config or Config()
    if not 0 <= target <= 1:
        raise ConfigError(f"target is {target}; wanted: a share from 0 to 1")
    if len(texts) < LEAST_TEXTS:
        raise InputError(f"{len(texts)} texts are too few to fit ranges on; give at least {LEAST_TEXTS}")
    if compared is not None and not compared:
        raise InputError("there is no text to compare int8 on; leave `compared` out to compare on the others")
    check_new_folder(output)
    bundle = resolve(ref, config.store)
    _check_labels(bundle)
    with new_folder(output) as folder:
        fit, held, padding_id = _encoded(ref, texts, compared, config)
        progress(f"fitting ranges on {len(fit):,} texts")
        spec = NetworkSpec.from_config(bundle.network, bundle.ref)
        weights = load_weights(bundle.weights, spec, bundle.ref)
        found, order = fit_ranges(weights, _groups(fit, padding_id))
        progress(f"answering {len(held):,} texts in fp32")
        exact = _answers(ref, held, _with_engine(config, YARDSTICK))
        copy_files(bundle, folder)
        trials = _Trials(bundle, folder, found, held, exact, config)
        kept, agreement = _agreeing(trials, order, target, progress)
        digest = trials.write(kept, agreement)
    return Quantized(output, digest, agreement, len(fit), len(held), kept)


def fit_ranges(weights: Weights, groups: Sequence[Batch]) -> tuple[Quantization, list[str]]:
    """The quantization that batches without padding ask for, and its layers, the most harmed first.

    A layer is harmed by the error of its output, rounded input times rounded weight, against its norm.
    """
    seen = Ranges()
    _observe(weights, groups, seen.observe)
    found = seen.found()
    errors: dict[str, list[float]] = {}

    def compare(name: str, x: NDArray[np.float32]) -> None:
        some = x.reshape(-1, x.shape[-1])[:SAMPLED_TOKENS]
        linear = weights.linears[name]
        exact = some @ linear.weight.dense().T
        divisor = found.divisor(name, some.shape[1])
        coded = as_int8(smoothed(linear, divisor).weight).dense()
        values = rounded(some if divisor is None else some / divisor, *found.ranges[name])
        off, norm = float(np.linalg.norm(values @ coded.T - exact)), float(np.linalg.norm(exact))
        errors.setdefault(name, []).append(off / max(norm, 1e-30))

    _observe(weights, groups[:: -(-len(groups) // SAMPLED_GROUPS)], compare)
    harm = {name: float(np.mean(some)) for name, some in errors.items()}
    return found, sorted(harm, key=harm.__getitem__, reverse=True)


def _observe(weights: Weights, groups: Sequence[Batch], observe: Observe) -> None:
    ops = _QuickOps(weights, np.float32, observe)
    for batch in groups:
        run_numpy(ops, batch, ("first", "mean"))


class _QuickOps(NumpyOps):
    """The network with an error function of seven digits, in a tenth of the oracle's time.

    Abramowitz and Stegun 1964, Handbook of Mathematical Functions, 7.1.26.
    """

    def activate(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.spec.activation != "gelu":
            found: NDArray[np.float32] = super().activate(x)
            return found
        size = np.abs(x) * np.float32(2**-0.5)
        t = 1 / (1 + np.float32(0.3275911) * size)
        total = np.zeros_like(t)
        for term in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
            total = (total + np.float32(term)) * t
        tail = total * np.exp(-size * size) / 2  # of the normal distribution beyond |x|
        result: NDArray[np.float32] = np.where(x < 0, x * tail, x - x * tail)
        return result


def _check_labels(bundle: Bundle) -> None:
    if not any(head.problem_type != "regression" for head in bundle.heads.values()):
        what = "only gives numbers" if bundle.heads else "has no head"
        raise ModelError(f"{bundle.ref} {what}, so there are no labels that could agree")


def _encoded(
    ref: str | Path, texts: Sequence[Text], compared: Sequence[Text] | None, config: Config
) -> tuple[list[Encoding], list[Encoding], int]:
    """What ranges are fitted on, the other texts, which are answered, and the id of padding."""
    others, places = (
        (texts, range(1, len(texts), 2)) if compared is None else (compared, range(len(compared)))
    )
    with Classifier.load(ref, config=_with_engine(config, EngineConfig("stub"))) as reader:
        fit = _encode(reader, texts, _spread(range(0, len(texts), 2), FIT_TEXTS))
        held = _encode(reader, others, _spread(places, COMPARED_TEXTS))
    tokens = sum(len(row.input_ids) for encoding in fit for row in encoding.rows)
    return fit[:: -(-tokens // FIT_TOKENS)], held, reader.tokenizer.padding_id


def _spread(places: range, most: int) -> range:
    """As many of the places as there may be, at even steps."""
    return places[:: -(-len(places) // most)]


def _encode(reader: Classifier, texts: Sequence[Text], places: range) -> list[Encoding]:
    """The texts at these places. Raises RowError that names the first that cannot be read."""
    encodings: list[Encoding] = []
    found = reader.tokenizer.encode_each([texts[place] for place in places])
    for place, encoding in zip(places, found, strict=True):
        if isinstance(encoding, InputError):
            raise RowError(f"text {place + 1}", encoding)
        encodings.append(encoding)
    return encodings


def _groups(encodings: Sequence[Encoding], padding_id: int) -> list[Batch]:
    """Rows of one length together: no padding is observed."""
    rows = sorted((row for encoding in encodings for row in encoding.rows), key=_width)
    groups = []
    for width, equal in groupby(rows, key=_width):
        some, most = list(equal), max(1, GROUP_TOKENS // width)
        for start in range(0, len(some), most):
            part = range(start, min(start + most, len(some)))
            groups.append(collate(some, part, padding_id))
    return groups


def _width(row: Row) -> int:
    return len(row.input_ids)


@dataclass(frozen=True, slots=True)
class _Trials:
    """A bundle in the making, tried with some of its layers left out."""

    bundle: Bundle
    folder: Path
    found: Quantization
    held: Sequence[Encoding]
    exact: Sequence[Prediction]
    config: Config

    def write(self, kept: Sequence[str], agreement: Mapping[str, Compared] | None = None) -> str:
        """Write the manifest without these layers, and return its digest."""
        ranges = {name: pair for name, pair in self.found.ranges.items() if name not in kept}
        factors = {name: some for name, some in self.found.smoothing.items() if name not in kept}
        manifest = replace(
            self.bundle.manifest,
            files=pinned_files(self.folder),
            heads=self.bundle.heads,
            activation_ranges=ranges,
            smoothing={
                name: {str(i): factor for i, factor in some.items()} for name, some in factors.items()
            },
            agreement={name: one.labels for name, one in (agreement or {}).items()},
            parent=self.bundle.digest,
            behaviours=BEHAVIOURS,
        )
        write_manifest(self.folder, manifest)
        return manifest.digest

    def agreement(self) -> dict[str, Compared]:
        """Of what was written, by engine. Its graphs are of no use to anybody later."""
        with tempfile.TemporaryDirectory(prefix=".graphs.", dir=self.folder) as cache:
            config = replace(self.config, store=replace(self.config.store, cache_dir=cache))
            engines = [name for name, kind in ENGINES.items() if "int8" in kind.precisions and kind.installed]
            return {
                name: self._compared(_with_engine(config, EngineConfig(name, "int8"))) for name in engines
            }

    def _compared(self, config: Config) -> Compared:
        labels, scores = [], []
        for wanted, found in zip(self.exact, _answers(self.folder, self.held, config), strict=True):
            for name, head in wanted.heads.items():
                other = found.heads[name]
                scores += [abs(score - other.scores[label]) for label, score in head.scores.items()]
                if self.bundle.heads[name].problem_type != "regression":
                    labels.append(_same(head, other))
        return Compared(float(np.mean(labels)), float(np.mean(scores)))


def _agreeing(
    trials: _Trials, order: Sequence[str], target: float, progress: Progress
) -> tuple[tuple[str, ...], dict[str, Compared]]:
    """Leave out more and more of the layers, as ordered, until the labels agree: which, and how many do."""
    worst = 0.0
    for count in _growing(len(order) // 2):
        left = f", {count} of {len(order)} layers left out" if count else ""
        progress(f"answering {len(trials.held):,} texts in int8{left}")
        trials.write(order[:count])
        agreement = trials.agreement()
        worst = min(one.labels for one in agreement.values())
        if worst >= target:
            return tuple(order[:count]), agreement
    raise ModelError(
        f"{trials.bundle.ref}: int8 agrees on {worst:.2%} of labels even with half of the layers left out, "
        f"and {target:.2%} are wanted (--target)"
    )


def _growing(most: int) -> Iterator[int]:
    """0, 1, 2, 4 … and `most`."""
    count = 0
    while count < most:
        yield count
        count = max(1, 2 * count)
    yield most


def _with_engine(config: Config, engine: EngineConfig) -> Config:
    """The same settings with another engine, on as many threads, each with a stream; its own labels."""
    threads = choose_threads(config.engine.threads)
    own = replace(engine, threads=threads, streams=threads)
    return replace(config, engine=own, head=HeadConfig())


def _answers(ref: str | Path, held: Sequence[Encoding], config: Config) -> list[Prediction]:
    with Classifier.load(ref, config=config) as classifier:
        return classifier.classify(list(held))


def _same(wanted: HeadPrediction, found: HeadPrediction) -> float:
    """1 or 0 for a label, given or abstained from; for several the share of yes and no that are the same."""
    if wanted.labels is None:
        return float((_best(wanted), wanted.abstained) == (_best(found), found.abstained))
    return 1 - len(set(wanted.labels) ^ set(found.labels or ())) / len(wanted.scores)


def _best(answer: HeadPrediction) -> str:
    return max(answer.scores, key=answer.scores.__getitem__)
