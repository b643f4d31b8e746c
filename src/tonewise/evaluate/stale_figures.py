"""Figures that are no longer those of a model, taken out of its card's front matter; all else stays."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from tonewise.evaluate.claims import head_of
from tonewise.store import Bundle, HeadSpec

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


def mapped_card(card: str, bundle: Bundle) -> str:
    """The card of a bundle some of whose heads answer in other labels than its manifest has.

    It loses the figures of these heads that its front matter states, and tells so at its end. Where the
    bundle has one head alone, all that the front matter states is of other labels.
    """
    heads = [
        name for name, spec in bundle.heads.items() if _shown(spec) != _shown(bundle.manifest.heads[name])
    ]
    if not heads:
        return card
    mended = card
    for name in heads:
        mended = without_figures(mended, None if len(bundle.heads) == 1 else name)
    gone = " The figures of it that the front matter stated are left out." if mended != card else ""
    told = "".join(
        f"\n\n## Mapped: head {name}\n\nBy `tonewise map` its answers have other labels. "
        f"What stands above was measured before.{gone}"
        for name in heads
    )
    return f"{mended.rstrip()}{told}\n"


def _shown(spec: HeadSpec) -> tuple[str, ...]:
    """What each label is answered as."""
    return spec.mapping or spec.labels


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
