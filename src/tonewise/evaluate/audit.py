"""A labelled set looked over: labels that are probably wrong, repeats, leaks, and the rows to look at."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from tonewise.classifier import Classifier
from tonewise.config import Config
from tonewise.errors import InputError, RowError
from tonewise.evaluate.answers import at_its_place
from tonewise.evaluate.near_duplicates import near_pairs
from tonewise.source.checks import Finding, check, is_empty, same_texts
from tonewise.source.labelled import Labelled
from tonewise.source.split import normalised

Kind = Literal[
    "label_error", "conflict", "near_conflict", "leak", "duplicate", "near_duplicate", "empty", "long"
]
KINDS: dict[Kind, str] = {
    "label_error": "labels that are probably wrong",
    "conflict": "rows whose text stands with another label too",
    "near_conflict": "rows nearly the same as one with another label",
    "leak": "validation rows whose text is among the others",
    "duplicate": "rows that repeat a text and its label",
    "near_duplicate": "rows nearly the same as one with the same label",
    "empty": "empty texts",
    "long": "texts longer than the base model reads",
}
BASE = "base"
NEAR = 0.8
SHARES = frozenset(("imbalance", "rare_label", "label_spelling", "many_labels", "one_label", "same_text"))
REFUSED = "see what is fatal, for which `tonewise train` refuses such a set"

Progress = Callable[[str], None]
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Suspect:
    """A row to look at.

    kind       why; a row may come under several
    where      the row as a person finds it: `reviews.csv line 7`
    suggested  of a label error, what the other rows say
    score      of a label error its quality, 0 (surely wrong) … 1; of what is nearly the same the Jaccard
               index; of a long text its tokens
    other      the row that it repeats or contradicts
    """

    kind: Kind
    where: str
    text: str
    text_pair: str | None
    labels: tuple[str, ...]
    suggested: tuple[str, ...] | None = None
    score: float | None = None
    other: str | None = None


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found.

    rows       of the set
    base       the model whose vectors the label errors were told from, and its digest
    agreement  share of rows whose label the other rows tell as it stands, of multi label micro F1: the lower,
               the less a label error means; None when label errors could not be looked for
    unjudged   why they could not; None when they were
    findings   about the set as a whole
    suspects   rows to look at, kind by kind, the worst of each first
    """

    rows: int
    labels: tuple[str, ...]
    base: str
    digest: str
    agreement: float | None
    unjudged: str | None
    findings: tuple[Finding, ...]
    suspects: tuple[Suspect, ...]

    def of(self, kind: Kind) -> tuple[Suspect, ...]:
        """The suspects of one kind, the worst first."""
        return tuple(one for one in self.suspects if one.kind == kind)

    def to_json(self, most: int | None = None) -> dict[str, Any]:
        """All of it as JSON values, with up to `most` rows of each kind."""
        return {
            "rows": self.rows,
            "labels": list(self.labels),
            "base": self.base,
            "digest": self.digest,
            "agreement": self.agreement,
            "unjudged": self.unjudged,
            "findings": [asdict(one) for one in self.findings],
            "counts": {kind: len(self.of(kind)) for kind in KINDS},
            "suspects": [asdict(one) for kind in KINDS for one in self.of(kind)[:most]],
        }


def audit(
    labelled: Labelled,
    *,
    validation: Labelled | None = None,
    base: str | Path = BASE,
    config: Config | None = None,
    progress: Progress = lambda told: None,
) -> Audit:
    """Look over a labelled set; nothing is changed.

    Label errors are told by a logistic regression over `base`'s vectors, which should not have been trained
    on these labels. Repeats are texts equal but for case and spaces, and those with a Jaccard index of 0.8.
    Without five different texts, or where a finding is fatal, the rest is told all the same.

    Raises MissingExtraError without cleanlab or scikit-learn, ModelError and its kin for the base, RowError
    for a text that cannot be tokenized.
    """
    import tonewise.evaluate.label_errors  # noqa: F401  # an optional part is opened before the work

    config = config or Config()
    config = replace(config, tokenizer=replace(config.tokenizer, too_long="truncate"))
    findings = check(labelled, validation)
    suspects = [*_repeats(labelled), *_leaks(labelled, validation)]
    progress("looking for texts that are nearly the same")
    suspects += _near(labelled)
    fatal = any(one.severity == "fatal" for one in findings)
    judged = _Judged(unjudged=REFUSED)
    with Classifier.load(base, config=config) as classifier:
        progress(f"tokenizing {len(labelled):,} texts")
        encodings = _located(labelled, lambda: classifier.encode(labelled.texts))
        tokens = [one.n_tokens for one in encodings]
        suspects += _unfit(labelled, tokens, classifier.tokenizer.max_length)
        if not fatal:
            progress(f"computing {len(labelled):,} vectors")
            judged = _judged(labelled, _located(labelled, lambda: classifier.embed(encodings)), progress)
        ref, digest = classifier.bundle.ref, classifier.bundle.digest
    suspects += judged.suspects
    places = {kind: place for place, kind in enumerate(KINDS)}
    suspects.sort(key=lambda one: places[one.kind])
    whole = tuple(one for one in findings if one.code in SHARES or one.severity == "fatal")
    told = (ref, digest, judged.agreement, judged.unjudged)
    return Audit(len(labelled), labelled.names, *told, whole, tuple(suspects))


@dataclass(frozen=True, slots=True)
class _Judged:
    """What the other rows say of each label, as in an `Audit`."""

    suspects: tuple[Suspect, ...] = ()
    agreement: float | None = None
    unjudged: str | None = None


def _judged(labelled: Labelled, vectors: NDArray[np.float32], progress: Progress) -> _Judged:
    from tonewise.evaluate.label_errors import find_label_errors

    try:
        found = find_label_errors(labelled, vectors, progress)
    except InputError as error:  # too few texts for it, which are enough to be looked over
        return _Judged(unjudged=str(error))
    errors = tuple(_label_errors(labelled, found.rows, found.scores, found.quality))
    return _Judged(errors, _agreement(labelled, found.scores))


def _located(labelled: Labelled, ask: Callable[[], Made]) -> Made:
    """What a Classifier makes of all texts; an error names the row as a person finds it."""
    try:
        return ask()
    except RowError as error:
        raise at_its_place(error, labelled)[1] from None


def _suspect(labelled: Labelled, row: int, kind: Kind, **told: Any) -> Suspect:
    one = labelled.examples[row]
    return Suspect(kind, one.where, one.text, one.text_pair, one.labels, **told)


def _repeats(labelled: Labelled) -> Iterator[Suspect]:
    for rows in same_texts(labelled):
        labels = [frozenset(labelled.examples[row].labels) for row in rows]
        alike = len(set(labels)) == 1
        for place, row in enumerate(rows):
            others = [other for other, its in zip(rows, labels, strict=True) if its != labels[place]]
            if others:
                where = labelled.examples[others[0]].where
                yield _suspect(labelled, row, "conflict", other=where)
            elif alike and place:
                yield _suspect(labelled, row, "duplicate", other=labelled.examples[rows[0]].where)


def _leaks(labelled: Labelled, validation: Labelled | None) -> Iterator[Suspect]:
    if validation is None:
        return
    known = {normalised(one): one.where for one in reversed(labelled.examples)}
    for row, one in enumerate(validation.examples):
        where = known.get(normalised(one))
        if where is not None and not is_empty(one):
            yield _suspect(validation, row, "leak", other=where)


def _near(labelled: Labelled) -> list[Suspect]:
    rows = [(row, one) for row, one in enumerate(labelled.examples) if not is_empty(one)]
    first = {normalised(one): row for row, one in reversed(rows)}
    texts = sorted(first, key=lambda text: first[text])
    found = []
    for earlier, later, alike in near_pairs(texts, NEAR):
        one, row = labelled.examples[first[texts[earlier]]], first[texts[later]]
        same = set(one.labels) == set(labelled.examples[row].labels)
        kind: Kind = "near_duplicate" if same else "near_conflict"
        found.append(_suspect(labelled, row, kind, score=round(alike, 4), other=one.where))
    return sorted(found, key=lambda one: -(one.score or 0))


def _unfit(labelled: Labelled, tokens: Sequence[int], most: int) -> list[Suspect]:
    empty = [row for row, one in enumerate(labelled.examples) if is_empty(one)]
    long = sorted((row for row, count in enumerate(tokens) if count > most), key=lambda row: -tokens[row])
    return [
        *(_suspect(labelled, row, "empty") for row in empty),
        *(_suspect(labelled, row, "long", score=float(tokens[row])) for row in long),
    ]


def _label_errors(labelled: Labelled, rows: Sequence[int], scores: Any, quality: Any) -> Iterator[Suspect]:
    for row in rows:
        if labelled.multi_label:
            places = np.flatnonzero(scores[row] > 0.5)
        else:
            places = scores[row].argmax(keepdims=True)
        suggested = tuple(labelled.names[place] for place in places)
        yield _suspect(labelled, row, "label_error", suggested=suggested, score=round(float(quality[row]), 4))


def _agreement(labelled: Labelled, scores: Any) -> float:
    if labelled.multi_label:
        found = scores > 0.5
        return float(2 * (found & labelled.gold).sum() / max(1, found.sum() + labelled.gold.sum()))
    return float((scores.argmax(axis=1) == labelled.ids).mean())
