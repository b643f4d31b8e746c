"""What is wrong with a labelled set, or odd about it: findings with counts and rows, before anything runs."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tonewise.source.example import Example
from tonewise.source.labelled import FEW_LABELS, Labelled, looks_like_ids, told_as_ids
from tonewise.source.split import normalised
from tonewise.source.table import listed

Severity = Literal["fatal", "warning"]
ROWS_NAMED = 10
LEAST_EXAMPLES = 2
IMBALANCE = 50.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    code      its stable name
    severity  fatal where nothing sensible can follow
    message   one line, with the count in it
    count     rows that it is about, or labels
    rows      the first ten of them, as a person finds them: `reviews.csv line 7`
    """

    code: str
    severity: Severity
    message: str
    count: int
    rows: tuple[str, ...] = ()


def check(labelled: Labelled, validation: Labelled | None = None) -> tuple[Finding, ...]:
    """All that is found, fatal things first. Texts are compared but for case and spaces."""
    found = [*_of_texts(labelled), *_of_labels(labelled), *_repeated(labelled)]
    if not any(one.severity == "fatal" for one in found):  # which tell the same by its cause
        found += _once_each(labelled)
    if validation is not None:
        found += leaks(labelled, validation)
    return tuple(sorted(found, key=lambda one: one.severity != "fatal"))


def same_texts(labelled: Labelled) -> list[list[int]]:
    """The rows of each text that stands more than once, in their order; empty ones are another matter."""
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for row, one in enumerate(labelled.examples):
        if not is_empty(one):
            rows[normalised(one)].append(row)
    return [some for some in rows.values() if len(some) > 1]


def is_empty(example: Example) -> bool:
    """Whether there is nothing to read."""
    return not (example.text.strip() or (example.text_pair or "").strip())


def _of_texts(labelled: Labelled) -> Iterator[Finding]:
    examples = labelled.examples
    empty = [row for row, one in enumerate(examples) if is_empty(one)]
    if len(empty) == len(examples) > 1:
        message = "all {0} texts are empty; name the column that holds them with --text-column"
        yield _about(labelled, empty, "empty_text", message, "fatal")
        return
    if len(examples) > 1 and len({normalised(one) for one in examples}) == 1:
        yield _about(labelled, range(len(examples)), "same_text", "all {0} texts are the same", "fatal")
    if empty:
        yield _about(labelled, empty, "empty_text", "empty texts: {0}")


def _of_labels(labelled: Labelled) -> Iterator[Finding]:
    counts = labelled.gold.sum(axis=0)
    if len(labelled) and not (labelled.targets != labelled.targets[0]).any():
        held = listed([labelled.names[i] for i in np.flatnonzero(labelled.gold[0])]) or "none"
        message = f"all {{0}} rows have the same label ({held}); two are the least"
        yield _about(labelled, range(len(labelled)), "one_label", message, "fatal")
    seen = int((counts > 0).sum())
    once = int((counts == 1).sum())
    if labelled.multi_label and seen > FEW_LABELS and once > seen / 2:
        message = f"{seen:,} different labels in {len(labelled):,} rows, most of them once: {once:,}"
        yield Finding("many_labels", "warning", message, seen)
    elif not (labelled.multi_label or labelled.named) and looks_like_ids(counts):
        yield Finding("many_labels", "fatal", told_as_ids(seen, len(labelled), labelled.column), seen)
        return
    yield from _rare(labelled, counts)
    yield from _alike(labelled.names)


def _once_each(labelled: Labelled) -> Iterator[Finding]:
    counts = labelled.gold.sum(axis=0)
    if counts.any() and counts.max() < LEAST_EXAMPLES:
        of = f" of column '{labelled.column}'" if labelled.column else ""
        remedy = f"give {LEAST_EXAMPLES} rows of each or more, or name another column with --label-column"
        message = f"in {len(labelled):,} rows no label{of} occurs twice; {remedy}"
        rows = _places(labelled, np.flatnonzero(labelled.gold.any(axis=1)))
        yield Finding("once_each", "fatal", message, int(counts.sum()), rows)


def _rare(labelled: Labelled, counts: NDArray[np.int64]) -> Iterator[Finding]:
    rare = np.flatnonzero(counts < LEAST_EXAMPLES)
    if len(rare):
        rows = np.flatnonzero(labelled.gold[:, rare].any(axis=1))
        names = listed([labelled.names[i] for i in rare])
        message = f"labels with fewer than {LEAST_EXAMPLES} examples: {len(rare):,} ({names})"
        yield Finding("rare_label", "warning", message, len(rare), _places(labelled, rows))
    there = counts[counts > 0]
    if len(there) > 1 and there.max() / there.min() > IMBALANCE:
        least, most = int(np.argmin(np.where(counts > 0, counts, counts.max()))), int(counts.argmax())
        told = [f"'{labelled.names[i]}' {counts[i]:,}" for i in (most, least)]
        message = f"labels are out of balance, {there.max() / there.min():,.0f} to 1: {' and '.join(told)}"
        yield Finding("imbalance", "warning", message, len(there))


def _alike(names: Sequence[str]) -> Iterator[Finding]:
    spelt: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        spelt[" ".join(name.casefold().split())].append(name)
    alike = [some for some in spelt.values() if len(some) > 1]
    if alike:
        told = "; ".join(" = ".join(map(repr, some)) for some in alike[:ROWS_NAMED])
        message = f"labels that differ only in case or spaces: {len(alike):,} ({told})"
        yield Finding("label_spelling", "warning", message, len(alike))


def _repeated(labelled: Labelled) -> Iterator[Finding]:
    again: list[int] = []
    at_odds: list[int] = []
    for rows in same_texts(labelled):
        labels = {frozenset(labelled.examples[row].labels) for row in rows}
        if len(labels) > 1:
            at_odds += rows
        else:
            again += rows[1:]
    if again:
        yield _about(labelled, again, "duplicate", "rows that repeat a text and its label: {0}")
    if at_odds:
        yield _about(labelled, at_odds, "conflict", "rows whose text stands with another label too: {0}")


def leaks(labelled: Labelled, validation: Labelled) -> Iterator[Finding]:
    """Of the checks those for which both sets are needed."""
    known = {normalised(one) for one in labelled.examples}
    rows = [
        row for row, one in enumerate(validation.examples) if normalised(one) in known and not is_empty(one)
    ]
    if rows:
        message = "validation texts that are among the training texts, so that figures flatter: {0}"
        yield _about(validation, rows, "leak", message)


def _about(
    labelled: Labelled, rows: Sequence[int], code: str, message: str, severity: Severity = "warning"
) -> Finding:
    told = message.format(f"{len(rows):,}")
    return Finding(code, severity, told, len(rows), _places(labelled, sorted(rows)))


def _places(labelled: Labelled, rows: Sequence[int] | NDArray[np.int64]) -> tuple[str, ...]:
    return tuple(labelled.examples[row].where for row in rows[:ROWS_NAMED])
