"""Figures that are no longer those of a model, taken out of its card's front matter; all else stays."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from tonewise.evaluate.claims import head_of

FRONT = re.compile(r"\A\ufeff?---[ \t]*\n(?P<block>.*?)^---[ \t]*$", re.DOTALL | re.MULTILINE)
INDEX = "model-index"


def without_figures(card: str, head: str | None) -> str:
    """The card without what its `model-index` states of a head, or with None without all of it.

    The rest keeps its words and their order. A front matter that cannot be read, or that has aliases, stays
    as it is.
    """
    found = FRONT.match(card)
    if found is None:
        return card
    try:
        block = _cut(found["block"], head)
    except (yaml.YAMLError, ValueError, RecursionError):
        return card
    return card[: found.start("block")] + block + card[found.end("block") :]


def _cut(block: str, head: str | None) -> str:
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(block, yaml.SafeLoader)):
        return block
    table = yaml.compose(block, yaml.SafeLoader)
    nodes = table.value if isinstance(table, yaml.MappingNode) else []
    place = next(((key.start_mark.index, value) for key, value in nodes if key.value == INDEX), None)
    index = yaml.safe_load(block)[INDEX] if place else None
    if place is None or not isinstance(index, list):
        return block
    start, value = place
    kept = list(_kept(index, head))
    if kept == index:
        return block
    written = yaml.safe_dump({INDEX: kept}, sort_keys=False, allow_unicode=True, width=1000) if kept else ""
    return block[:start] + written + block[value.end_mark.index :].removeprefix("\n")


def _kept(index: list[Any], head: str | None) -> Iterator[Any]:
    """The models that still state something."""
    for model in index if head is not None else []:
        results = model.get("results") if isinstance(model, dict) else None
        if not isinstance(results, list):
            yield model
            continue
        others = [one for one in results if head_of(one) != head]
        if others or not results:
            yield {**model, "results": others}
