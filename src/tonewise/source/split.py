"""A labelled set in two, or in folds: stratified, by the hash of each text, equal texts together."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tonewise.errors import ConfigError, InputError
from tonewise.source.example import Example
from tonewise.source.labelled import Labelled

ENOUGH_TEXTS = 5
"""Different texts of a label from which on one of them is for validation."""


@dataclass(frozen=True, slots=True)
class Group:
    """The rows of one text; `labels` are those of any of them, and `key` is the text's hash."""

    key: str
    rows: tuple[int, ...]
    labels: frozenset[str]


def split(labelled: Labelled, share: float = 0.1, seed: int = 0) -> tuple[Labelled, Labelled]:
    """Training and validation rows, each in their first order.

    Of each label's different texts those with the least hashes are for validation, `share` of them, and at
    least one of five. So the sides depend on the texts alone: not on the order of rows, and a row more or
    less moves at most one other text of its label. A text with several labels counts to the rarest. Equal
    texts (but for case and spaces) stay together, and every label keeps a text to train on. The second
    side is empty where no label has texts enough. Raises ConfigError for a share that is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise ConfigError(f"the share for validation is {share}; wanted: between 0 and 1")
    held: list[Group] = []
    kept: list[Group] = []
    for groups in _strata(labelled, seed):
        least = 1 if len(groups) >= ENOUGH_TEXTS else 0
        count = min(max(int(share * len(groups) + 0.5), least), len(groups) - 1)
        held += groups[:count]
        kept += groups[count:]
    there = {label for group in kept for label in group.labels}
    for group in sorted(held, key=lambda one: one.key, reverse=True):
        if group.labels - there:  # a label all of whose texts count to rarer ones
            held.remove(group)
            there |= group.labels
    rows = np.zeros(len(labelled), np.bool_)
    rows[[row for group in held for row in group.rows]] = True
    return labelled.take(~rows), labelled.take(rows)


def folds(labelled: Labelled, k: int = 5, seed: int = 0) -> list[NDArray[np.int64]]:
    """The rows of k parts, int64[N/k] or so each, every row in one: stratified, equal texts together.

    Raises ConfigError for k below 2 and InputError for fewer different texts than parts.
    """
    if k < 2:
        raise ConfigError(f"{k} folds; the least is 2")
    groups = [group for stratum in _strata(labelled, seed) for group in stratum]
    if len(groups) < k:
        raise InputError(f"{len(groups)} different texts cannot make {k} folds")
    return [
        np.array(sorted(row for group in groups[first::k] for row in group.rows), np.int64)
        for first in range(k)
    ]


def normalised(example: Example) -> str:
    """The text without what makes no other text of it: case, and how much space stands where."""
    texts = (example.text,) if example.text_pair is None else (example.text, example.text_pair)
    return "\0".join(" ".join(text.casefold().split()) for text in texts)


def _strata(labelled: Labelled, seed: int) -> list[list[Group]]:
    """The texts by their rarest label, in the order of their hashes."""
    count = Counter(label for one in labelled.examples for label in one.labels)
    strata: defaultdict[str, list[Group]] = defaultdict(list)
    for group in _groups(labelled.examples, seed):
        rarest = min(group.labels, key=lambda label: (count[label], label), default="")
        strata[rarest].append(group)
    return [sorted(strata[label], key=lambda one: one.key) for label in sorted(strata)]


def _groups(examples: Sequence[Example], seed: int) -> list[Group]:
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for row, one in enumerate(examples):
        rows[normalised(one)].append(row)
    return [
        Group(
            hashlib.sha256(f"{seed}\0{text}".encode()).hexdigest(),
            tuple(some),
            frozenset(label for row in some for label in examples[row].labels),
        )
        for text, some in rows.items()
    ]
