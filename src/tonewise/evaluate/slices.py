"""The same figures on parts of the texts: values of a column, or bins of a number."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tonewise.errors import InputError
from tonewise.evaluate.answers import Answers
from tonewise.evaluate.quality import Figure, Rows, Statistic, measured
from tonewise.source import Example
from tonewise.source.labelled import Labelled

LENGTH = "length"
"""What stands for the tokens of a text, where no column has that name."""
QUANTILES = 4
MOST_VALUES = 20
FEWEST_TO_BIN = 11
"""Distinct numbers from which on they are bins; fewer are values, such as stars."""
NONE, OTHERS = "(none)", "(others)"
LONGEST_VALUE = 60


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of the texts: where `column` has `value`, which for a bin reads `from – to`."""

    column: str
    value: str
    count: int
    figures: Mapping[str, Figure]


def slices(
    columns: Sequence[str],
    labelled: Labelled,
    answers: Answers,
    statistics: Mapping[str, Statistic],
    *,
    draws: int,
    seed: int,
) -> list[Slice]:
    """Slices of every column, with these statistics of each. Raises InputError for an unknown column.

    A column of many different numbers, and `length`, is cut into four bins of about as many rows each;
    of others the 20 most frequent values are told, and the rest as one.
    """
    made = []
    for column in columns:
        for value, rows in _parts(column, labelled.examples, answers):
            found = {name: _within(one, rows, draws, seed) for name, one in statistics.items()}
            made.append(Slice(column, value, len(rows), found))
    return made


def check_columns(columns: Sequence[str], labelled: Labelled) -> None:
    """Raise InputError for a column that no example has."""
    there = dict.fromkeys(name for example in labelled.examples for name in example.fields)
    for column in columns:
        if column != LENGTH and column not in there:
            known = ", ".join([*there, f"{LENGTH} (in tokens)"])
            raise InputError(f"there is no column '{column}' to slice by; there is {known}")


def _within(statistic: Statistic, rows: Rows, draws: int, seed: int) -> Figure:
    return measured(lambda some: statistic(rows[some]), len(rows), draws=draws, seed=seed)


def _parts(column: str, examples: Sequence[Example], answers: Answers) -> Iterator[tuple[str, Rows]]:
    """Each slice's name and its rows int64[n]."""
    values = [example.fields.get(column) for example in examples]
    if column == LENGTH and not any(column in example.fields for example in examples):
        yield from _bins(answers.n_tokens.astype(np.float64))
        return
    numbers = _numbers(values)
    if numbers is not None and len(np.unique(numbers)) >= FEWEST_TO_BIN:
        yield from _bins(numbers)
        return
    yield from _values([NONE if value is None else str(value).strip() or NONE for value in values])


def _numbers(values: Sequence[Any]) -> NDArray[np.float64] | None:
    """float64[N], or None when one of the values is no finite number."""
    if any(value is None or isinstance(value, bool) for value in values):
        return None
    try:
        found = np.array([float(value) for value in values], np.float64)
    except (TypeError, ValueError):
        return None
    return found if np.isfinite(found).all() else None


def _bins(numbers: NDArray[np.float64]) -> Iterator[tuple[str, Rows]]:
    """Equal numbers are never parted, so bins may hold more rows or fewer."""
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, QUANTILES + 1)[1:-1]))
    place = np.searchsorted(edges, numbers, side="left")
    for one in np.unique(place):
        rows = np.flatnonzero(place == one)
        low, high = numbers[rows].min(), numbers[rows].max()
        yield (f"{low:g}" if low == high else f"{low:g} – {high:g}"), rows


def _values(values: Sequence[str]) -> Iterator[tuple[str, Rows]]:
    common = [value for value, _ in Counter(values).most_common(MOST_VALUES)]
    all_values = np.array(values, dtype=object)
    for value in common:
        yield value[:LONGEST_VALUE], np.flatnonzero(all_values == value)
    rest = np.flatnonzero(~np.isin(all_values, common))
    if len(rest):
        yield OTHERS, rest
