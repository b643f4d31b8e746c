"""The catalogue: hub models that people use for this work, and what is known of them."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).with_name("catalogue.toml")


@dataclass(frozen=True, slots=True)
class Figure:
    """A published result. `value` is a fraction; `source` says who published it."""

    metric: str
    value: float
    data: str
    source: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A catalogued model; what nobody could confirm is None or empty.

    labels  per head, in the model's order; empty for an encoder without a head
    also    other names that the hub accepts for it
    """

    repo: str
    licence: str | None = None
    data_terms: str | None = None
    languages: tuple[str, ...] = ()
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    figures: tuple[Figure, ...] = ()
    also: tuple[str, ...] = ()


@cache
def catalogue() -> Mapping[str, Entry]:
    """Every catalogued model by its `owner/name`."""
    table = tomllib.loads(SOURCE.read_text("utf-8"))["models"]
    return {
        repo: Entry(
            repo=repo,
            licence=known.get("licence"),
            data_terms=known.get("data_terms"),
            languages=tuple(known.get("languages", ())),
            labels={head: tuple(labels) for head, labels in known.get("labels", {}).items()},
            figures=tuple(Figure(**figure) for figure in known.get("figures", ())),
            also=tuple(known.get("also", ())),
        )
        for repo, known in table.items()
    }


def catalogued(name: str) -> Entry | None:
    """The entry of `owner/name`, or of another name that the hub accepts for it."""
    return next((entry for entry in catalogue().values() if name in (entry.repo, *entry.also)), None)
