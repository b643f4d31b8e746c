"""A temperature and thresholds that fit labelled texts: a new bundle whose scores mean what they say."""

import html
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tonewise import metrics
from tonewise.calibration import fit_temperature, fit_thresholds
from tonewise.classifier import Classifier
from tonewise.config import Config
from tonewise.errors import ConfigError, InputError, ModelError, RowError
from tonewise.evaluate.answers import Progress, at_its_place, choose_head, in_labels_of, place_of
from tonewise.evaluate.quality import Figure, Rows, check_least, measured
from tonewise.evaluate.stale_figures import FRONT, without_figures
from tonewise.head import Head, sigmoid, softmax
from tonewise.source.labelled import Labelled
from tonewise.source.split import folds
from tonewise.store import HeadSpec
from tonewise.store.manifest import BEHAVIOURS
from tonewise.store.writing import check_new_folder, copy_files, new_folder, pinned_files, write_manifest

LEAST_ROWS = 20
CARD = "README.md"
TITLE = re.compile(r"^#[ \t]+(?P<name>\S.*?)[ \t]*$", re.MULTILINE)
MARK = re.compile(r"([\\`*\[\]<>&|~#]|(?<![^\W_])_|_(?![^\W_]))")
ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
UNQUOTED = re.compile(r'[`"$\\|]')
"""Of a card: its title, what a title escapes and what it has escaped, and what its paths leave out."""
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
    skipped        why rows were left out, a line each
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
    skipped: tuple[str, ...] = ()


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
    is fitted on all. The bundle has the heads that `ref` selects; activation ranges and agreement stay, and
    so does `abstain_below`, which then asks for another share. Its card loses the figures of the head that
    its front matter states, and tells those that were measured here.

    Raises InputError for fewer than 20 rows and for labels that are not the model's, ModelError for a head
    that is mapped or has no labels, ConfigError for settings, RowError for a text that cannot be answered
    unless the config says `on_error=skip`, OutputError when `output` is there already or cannot be written,
    and what `Classifier.load` raises.
    """
    config = config or Config()
    _check_settings(config, draws)
    _check_rows(labelled)
    check_new_folder(output)
    with Classifier.load(ref, config=config) as classifier:
        chosen = choose_head(classifier, head)
        _check_unmapped(chosen, classifier.bundle.ref)
        known = in_labels_of(chosen, labelled, classifier.bundle.ref, "", config.run.on_error)
        rows, logits, skipped = _logits(classifier, chosen.name, known, progress)
        unread = known.skipped
    _check_rows(known := known.take(rows), skipped)
    halves = folds(known, 2)
    progress("fitting")
    scored = _Scored(chosen, logits, known)
    some, others = halves
    old = Fit(chosen.spec.temperature, _thresholds(chosen) if chosen.is_multi_label else None)
    before, after = (scored.measured(fit, others, draws) for fit in (old, scored.fit(some)))
    new = scored.fit(np.arange(len(known)))
    left_out = tuple(str(error) for error in (*unread, *skipped))
    done = Calibrated(output, "", chosen.name, before, after, old, new, len(some), len(others), left_out)
    with new_folder(output) as folder:
        copy_files(classifier.bundle, folder)
        alone = len(classifier.bundle.heads) == 1
        names = (os.path.basename(os.path.abspath(one)) for one in (classifier.bundle.folder, output))
        _mend_card(folder / CARD, done, known.fingerprint(), *names, alone=alone)
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

        def of(name: str, statistic: Callable[[Rows], float]) -> Figure:
            return measured(statistic, len(rows), draws=draws, seed=0, name=name)

        return Measured(
            of("ece", lambda some: metrics.ece(told[some].ravel(), correct[some].ravel())),
            of("macro_f1", lambda some: metrics.macro_f1(gold[some], found[some])),
        )


def _check_settings(config: Config, draws: int) -> None:
    check_least(("draws", draws, 1))
    if config.head.map is not None:
        raise ConfigError("calibrate fits a model's own labels; leave the map out, and map what it writes")
    if config.tokenizer.too_long == "window":
        why = "users get the scores of a text's windows pooled, and a temperature comes before that"
        raise ConfigError(f"calibrate cannot fit too_long=window: {why}; choose truncate or error")


def _check_rows(labelled: Labelled, skipped: Sequence[RowError] = ()) -> None:
    if len(labelled) < LEAST_ROWS:
        why = f"; {len(skipped):,} were skipped, the first: {skipped[0]}" if skipped else ""
        told = f"{len(labelled)} rows are too few to calibrate on; give at least {LEAST_ROWS}"
        raise InputError(f"{told}{why}")


def _check_unmapped(head: Head, ref: str) -> None:
    if head.spec.mapping is not None:
        what = "answers in mapped labels; calibrate the model it was made from, and map what that gives"
        raise ModelError(f"{ref}: head '{head.name}' {what}")


def _thresholds(head: Head) -> tuple[float, ...]:
    return tuple(head.spec.thresholds or (0.5,) * len(head.labels))


def _logits(
    classifier: Classifier, head: str, labelled: Labelled, progress: Progress
) -> tuple[list[int], Floats, list[RowError]]:
    """The rows that could be answered, their logits, and what was skipped."""
    skip = classifier.config.run.on_error == "skip"
    rows: list[int] = []
    parts: list[Floats] = []
    skipped: list[RowError] = []
    for start in range(0, len(labelled), PART):
        end = min(start + PART, len(labelled))
        kept, logits, lost = _of_part(classifier, head, labelled.take(range(start, end)), skip=skip)
        rows += [start + row for row in kept]
        parts.append(logits)
        skipped += lost
        progress(f"answered {end:,} of {len(labelled):,} texts")
    return rows, np.concatenate(parts), skipped


def _of_part(
    classifier: Classifier, head: str, part: Labelled, *, skip: bool
) -> tuple[list[int], Floats, list[RowError]]:
    kept, skipped = list(range(len(part))), []
    if skip:  # all that cannot be read at once, so that below only failures of the engine are left
        read = classifier.tokenizer.encode_each(part.texts)
        told = zip(part.examples, read, strict=True)
        skipped = [RowError(place_of(one), fault) for one, fault in told if isinstance(fault, InputError)]
        kept = [row for row in kept if not isinstance(read[row], InputError)]
    while kept:
        some = part.take(kept)
        try:
            return kept, classifier.logits(some.texts)[head], skipped
        except RowError as error:
            row, placed = at_its_place(error, some)
            if not skip:
                raise placed from None
            skipped.append(placed)
            del kept[row]
    return [], np.zeros((0, len(part.names)), np.float32), skipped


def _mend_card(card: Path, of: Calibrated, fingerprint: str, old: str, new: str, *, alone: bool) -> None:
    """Tell the figures of the new scores in a card that is there, and leave out those of the old ones.

    `old` and `new` are the folders' names. Where the head is the only one (`alone`) all that the front
    matter states is of the old ones.
    """
    if not card.is_file():
        return
    # a card may be in any encoding; what is not understood is kept as it is
    text = card.read_text("utf-8", errors="surrogateescape")
    mended = without_figures(text, None if alone else of.head)
    gone = " The figures of it that the front matter stated are left out." if mended != text else ""
    told = [f"temperature {of.old.temperature:.4g} → {of.new.temperature:.4g}"]
    if of.new.thresholds is not None:
        told.append("thresholds of the best F1")
    mended = _renamed(mended, old, new)
    card.write_text(
        f"{mended.rstrip()}\n\n## Calibrated again: head {of.head}\n\n"
        f"By `tonewise calibrate`, on {of.fitted + of.held:,} rows ({fingerprint}): {', '.join(told)}. "
        f"Fitted on half of them, on the other ECE {of.before.ece.value:.4f} → {of.after.ece.value:.4f}, "
        f"macro F1 {of.before.macro_f1.value:.4f} → {of.after.macro_f1.value:.4f}. "
        f"What stands above was measured before.{gone}\n",
        "utf-8",
        errors="surrogateescape",
    )


def _renamed(card: str, old: str, new: str) -> str:
    """The card under the new folder's name, in its examples too, where its title was that of the old one."""
    front = FRONT.match(card)
    title = TITLE.search(card, front.end() if front else 0)
    if title is None or html.unescape(ESCAPED.sub(r"\1", title["name"])) != " ".join(old.split()):
        return card
    had, has = (f'"./{UNQUOTED.sub("", " ".join(name.split()))}"' for name in (old, new))
    shown = MARK.sub(r"\\\1", " ".join(new.split()))
    return f"{card[: title.start('name')]}{shown}{card[title.end('name') :].replace(had, has)}"


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
