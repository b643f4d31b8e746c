"""One input row, with its other columns kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Example:
    """What a source yields.

    id         the input's own `id` column, else the row's number from 1 over the whole input
    labels     gold labels, where a reader was told of a label column
    fields     every other column, in the input's order; `id` stays here too when it was a column
    where      the row as a person finds it: `reviews.csv line 7`
    """

    text: str
    text_pair: str | None = None
    id: int | str = 0
    labels: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    where: str = ""
