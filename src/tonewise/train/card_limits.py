"""What a model's own facts say against it: the limits that its card lists."""

from collections.abc import Iterator, Sequence

import numpy as np

from tonewise.train.facts import CardFacts, HeadFacts

FEW_EXAMPLES, FEW_ROWS = 20, 500
"""Fewer training rows of a label, or rows to measure on, are worth a word."""
MOST_NAMED = 10
WEAK = 0.5
"""A label of a lower F1 is wrong more often than it is right."""


def limits(facts: CardFacts) -> Iterator[str]:
    """A sentence each, in plain text."""
    several = len(facts.heads) > 1
    for head in facts.heads:
        prefix = f"Head {head.name}: " if several else ""
        yield from (prefix + told for told in (*_examples(head), *_measured(head)))
    yield from _length(facts)
    if facts.languages:
        yield f"Trained on texts in: {', '.join(facts.languages)}. Of other languages nothing was measured."
    else:
        yield "The language of its texts was not stated; of other languages than theirs nothing was measured."
    if any(head.problem_type == "single_label_classification" for head in facts.heads):
        yield "Every text gets one of the labels, also one that none of them fits."


def _examples(head: HeadFacts) -> Iterator[str]:
    pairs = list(zip(head.labels, head.data.counts, strict=True))
    if few := [f"{name} ({count})" for name, count in pairs if count < FEW_EXAMPLES]:
        yield f"Fewer than {FEW_EXAMPLES} training rows of {_named(few)}: expect it to err on these."


def _measured(head: HeadFacts) -> Iterator[str]:
    if head.data.held_rows < FEW_ROWS:
        yield f"Measured on {head.data.held_rows:,} rows only: heed the intervals."
    if head.by_label is None:
        return
    support, f1 = head.by_label.support, head.by_label.f1
    if unseen := [head.labels[i] for i in np.flatnonzero(support == 0)]:
        yield f"No held-out row of {_named(unseen)}: how well it finds these is not known."
    weak = [i for i in np.argsort(f1, kind="stable") if support[i] and f1[i] < WEAK]
    if weak:
        told = [f"{head.labels[i]} ({f1[i]:.1%})" for i in weak]
        yield f"F1 under {WEAK:.0%} on {_named(told)}."
    yield from _confused(head)


def _confused(head: HeadFacts) -> Iterator[str]:
    """The pair that is mistaken most often."""
    if head.confusion is None:
        return
    wrong = head.confusion[:, : len(head.labels)].copy()
    np.fill_diagonal(wrong, 0)
    gold, found = divmod(int(wrong.argmax()), len(head.labels))
    if times := int(wrong[gold, found]):
        of = int(head.confusion[gold].sum())
        yield f"Its commonest mistake: {head.labels[gold]} answered as {head.labels[found]}, {times} of {of}."


def _length(facts: CardFacts) -> Iterator[str]:
    cut = sum(head.data.cut or 0 for head in facts.heads)
    told = f" In training {cut:,} were." if cut else ""
    if facts.limit is not None and facts.limit > facts.max_length:
        yield (
            f"Trained and measured on the first {facts.max_length} tokens of a text, of which it reads "
            f"no more unless --max-length asks for up to {facts.limit}.{told}"
        )
        return
    yield f"What exceeds {facts.max_length} tokens of a text is cut off unless you ask for windows.{told}"


def _named(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
