"""A temperature and thresholds that fit labelled texts: a new bundle whose scores mean what they say."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tonewise import metrics
from tonewise.calibration import fit_temperature, fit_thresholds
from tonewise.classifier import Classifier
from tonewise.config import Config
from tonewise.errors import ConfigError, InputError, ModelError
from tonewise.evaluate.answers import Progress, choose_head, in_labels_of
from tonewise.evaluate.quality import Figure, Rows, measured
from tonewise.head import Head, sigmoid, softmax
from tonewise.source.labelled import Labelled
from tonewise.source.split import folds
from tonewise.store import HeadSpec
from tonewise.store.manifest import BEHAVIOURS
from tonewise.store.writing import check_new_folder, copy_files, new_folder, pinned_files, write_manifest
from tonewise.tokenizer import Text

LEAST_ROWS = 20
CARD = "README.md"
PART = 1024
"""Texts that are answered between two words of progress."""
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Fit:
    """What scores are made with.

    thresholds  of several labels a text, one a label; None otherwise
    """

    temperature: float
    thresholds: tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class Measured:
    """How true scores are, and how right the labels, on texts that a fit has not seen."""

    ece: Figure
    macro_f1: Figure


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What `calibrate` wrote and measured.

    before, after  with what the model had, and with what one half of the texts gave; both on the other half
    old, new       what the model had, and what is written: fitted on all rows
    fitted, held   rows of the two halves
    """

    folder: Path
    digest: str
    head: str
    before: Measured
    after: Measured
    old: Fit
    new: Fit
    fitted: int
    held: int


def calibrate(
    ref: str | Path,
    labelled: Labelled,
    output: Path,
    *,
    config: Config | None = None,
    head: str | None = None,
    draws: int = 1000,
    progress: Progress = lambda told: None,
) -> Calibrated:
    """Write a bundle to `output` whose head has a temperature refitted to these texts (Guo et al. 2017).

    Where several labels may hold, thresholds of the best F1 follow, a label without support keeping its
    own. Half of the texts, stratified by hash, gives what is measured on the other half; what is written
    is fitted on all. Logits of a text's windows are averaged. The bundle has the heads that `ref` selects;
    activation ranges and agreement stay, and so does `abstain_below`, which then asks for another share.

    Raises InputError for fewer than 20 rows and for labels that are not the model's, ModelError for a head
    that is mapped or has no labels, ConfigError for settings, RowError for a text that cannot be answered,
    OutputError when `output` is there already or cannot be written, and what `Classifier.load` raises.
    """
    config = config or Config()
    if draws < 1:
        raise ConfigError(f"draws is {draws}; the least is 1")
    if config.head.map is not None:
        raise ConfigError("calibrate fits a model's own labels; leave the map out, and map what it writes")
    if len(labelled) < LEAST_ROWS:
        raise InputError(f"{len(labelled)} rows are too few to calibrate on; give at least {LEAST_ROWS}")
    check_new_folder(output)
    with Classifier.load(ref, config=config) as classifier:
        chosen = choose_head(classifier, head)
        _check_unmapped(chosen, classifier.bundle.ref)
        known = in_labels_of(chosen, labelled, classifier.bundle.ref)
        halves = folds(known, 2)
        logits = _logits(classifier, chosen.name, known.texts, progress)
    progress("fitting")
    scored = _Scored(chosen, logits, known)
    some, others = halves
    old = Fit(chosen.spec.temperature, _thresholds(chosen) if chosen.is_multi_label else None)
    before, after = (scored.measured(fit, others, draws) for fit in (old, scored.fit(some)))
    new = scored.fit(np.arange(len(known)))
    done = Calibrated(output, "", chosen.name, before, after, old, new, len(some), len(others))
    with new_folder(output) as folder:
        copy_files(classifier.bundle, folder)
        _add_to_card(folder / CARD, done, known.fingerprint())
        digest = _write(classifier, folder, chosen, new)
    return replace(done, digest=digest)


@dataclass(frozen=True, slots=True)
class _Scored:
    """Logits float32[N, L] of one head beside the gold labels."""

    head: Head
    logits: Floats
    gold: Labelled

    def fit(self, rows: Rows) -> Fit:
        """Temperature and thresholds of some rows."""
        several = self.head.is_multi_label
        logits, gold = self.logits[rows], self.gold.gold[rows]
        temperature = fit_temperature(logits, self.gold.targets[rows], multi_label=several)
        if not several:
            return Fit(temperature, None)
        found = fit_thresholds(sigmoid(logits / np.float32(temperature)), gold)
        had = _thresholds(self.head)
        told = zip(found, had, np.count_nonzero(gold, axis=0).tolist(), strict=True)
        return Fit(temperature, tuple(new if rows_of else old for new, old, rows_of in told))

    def measured(self, fit: Fit, rows: Rows, draws: int) -> Measured:
        """ECE and macro F1 of some rows under a fit, with their intervals."""
        scaled = self.logits[rows] / np.float32(fit.temperature)
        gold = self.gold.gold[rows]
        if fit.thresholds is not None:
            scores = sigmoid(scaled)
            found, told, correct = scores >= np.asarray(fit.thresholds, np.float32), scores, gold
        else:
            scores = softmax(scaled)
            best = scores.argmax(axis=1)
            found = metrics.one_hot(best, gold.shape[1])
            told, correct = scores.max(axis=1), gold[np.arange(len(best)), best]

        def of(statistic: Callable[[Rows], float]) -> Figure:
            return measured(statistic, len(rows), draws=draws, seed=0)

        return Measured(
            of(lambda some: metrics.ece(told[some].ravel(), correct[some].ravel())),
            of(lambda some: metrics.macro_f1(gold[some], found[some])),
        )


def _check_unmapped(head: Head, ref: str) -> None:
    if head.spec.mapping is not None:
        what = "answers in mapped labels; calibrate the model it was made from, and map what that gives"
        raise ModelError(f"{ref}: head '{head.name}' {what}")


def _thresholds(head: Head) -> tuple[float, ...]:
    return tuple(head.spec.thresholds or (0.5,) * len(head.labels))


def _logits(classifier: Classifier, head: str, texts: Sequence[Text], progress: Progress) -> Floats:
    parts = []
    for start in range(0, len(texts), PART):
        parts.append(classifier.logits(texts[start : start + PART])[head])
        progress(f"answered {start + len(parts[-1]):,} of {len(texts):,} texts")
    return np.concatenate(parts)


def _add_to_card(card: Path, of: Calibrated, fingerprint: str) -> None:
    """Say in a card that is there that its figures are of other scores, and which they are now."""
    if not card.is_file():
        return
    told = [f"temperature {of.old.temperature:.4g} → {of.new.temperature:.4g}"]
    if of.new.thresholds is not None:
        told.append("thresholds of the best F1")
    card.write_text(
        f"{card.read_text('utf-8').rstrip()}\n\n## Calibrated again: head {of.head}\n\n"
        f"By `tonewise calibrate`, on {of.fitted + of.held:,} rows ({fingerprint}): {', '.join(told)}. "
        f"Fitted on half of them, on the other ECE {of.before.ece.value:.4f} → {of.after.ece.value:.4f}, "
        f"macro F1 {of.before.macro_f1.value:.4f} → {of.after.macro_f1.value:.4f}. "
        "What stands above was measured before.\n",
        "utf-8",
    )


def _write(classifier: Classifier, folder: Path, head: Head, fit: Fit) -> str:
    """Write the manifest, and return its digest."""
    bundle = classifier.bundle
    spec: HeadSpec = replace(head.spec, temperature=fit.temperature, thresholds=fit.thresholds)
    manifest = replace(
        bundle.manifest,
        files=pinned_files(folder),
        heads={**bundle.heads, head.name: spec},
        parent=bundle.digest,
        behaviours=BEHAVIOURS,
    )
    write_manifest(folder, manifest)
    return manifest.digest
