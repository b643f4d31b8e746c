"""A card's front matter: the YAML by which the hub, and `tonewise reproduce`, read what a model states."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tonewise.evaluate.claims import HEAD
from tonewise.store.licence import ALL_OF
from tonewise.train.facts import CardFacts, Figure, HeadFacts

TASK = "text-classification"
LEAST_FOR_ECE = 1_000
"""Rows on which an ECE is stated where `tonewise reproduce` reads it."""


def front_matter(facts: CardFacts) -> str:
    """The block from `---` to `---`, in the terms of the hub's model cards, `model-index` among them.

    `library_name` is transformers where that opens the folder, and else tonewise.
    """
    table: dict[str, Any] = {}
    if facts.licence:
        licences = facts.licence.split(ALL_OF)
        table["license"] = licences[0] if len(licences) == 1 else licences
    if facts.languages:
        table["language"] = list(facts.languages)
    table["library_name"] = "transformers" if facts.in_transformers else "tonewise"
    table["pipeline_tag"] = TASK if facts.heads else "feature-extraction"
    table["tags"] = ["tonewise", *([TASK] if facts.heads else ["sentence-embedding"])]
    if facts.base.hub:
        table["base_model"] = facts.base.hub
    alone = len(facts.heads) == 1 and not facts.kept
    results = [_result(head, alone=alone) for head in facts.heads if head.figures]
    if results:
        table["model-index"] = [{"name": facts.name, "results": results}]
    return f"---\n{yaml.safe_dump(table, sort_keys=False, allow_unicode=True, width=1000)}---\n"


def _result(head: HeadFacts, *, alone: bool) -> dict[str, Any]:
    name = Path(head.data.measured or head.data.name).name
    return {
        "task": {"type": TASK, "name": "Text classification" if alone else f"{HEAD}{head.name}"},
        "dataset": {
            "name": name,
            "type": Path(name).stem or name,
            "split": head.data.split_name,
            "args": {"rows": head.data.held_rows},
        },
        "metrics": list(_metrics(head)),
    }


def _metrics(head: HeadFacts) -> Iterator[dict[str, Any]]:
    """The figures, as shares; of rows enough the calibration error as it is after the temperature.

    It is measured with a temperature of other rows than are judged, where one that comes after measures with
    the temperature of all: on few rows the two are points apart.
    """
    for one in [*head.figures, *((head.ece or ())[1:] if head.data.held_rows >= LEAST_FOR_ECE else ())]:
        yield _metric(one)


def _metric(one: Figure) -> dict[str, Any]:
    found: dict[str, Any] = {"type": one.metric, "value": round(one.value, 6), "name": one.name}
    if one.average:
        found["args"] = {"average": one.average}
    return found
