"""Texts to measure with where a user names none: sentences of our own, as long as people's."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from tonewise.errors import InputError
from tonewise.tokenizer import Text

SEED = 3
COUNT = 400
CLAUSES = ((1, 40), (2, 33), (3, 14), (4, 7), (5, 3), (6, 1), (14, 1), (30, 1))
"""Clauses of a text, some eight tokens each, and how many texts in a hundred have as many."""

PARTS = {
    "who": (
        "i|we|my sister|the driver|our neighbour|the woman at the desk|my oldest friend|the new teacher|"
        "everyone on the team|the plumber|a stranger on the bus|my brother and i|the doctor|half the street"
    ),
    "did": (
        "forgot|ordered|waited for|laughed about|complained about|repaired|could not find|paid for|"
        "kept|dreamed of|talked all evening about|never asked for|lost|gave away|was afraid of|finished"
    ),
    "what": (
        "the tickets|a second blanket|the wrong parcel|that awful coffee|the garden|a birthday cake|the keys|"
        "an old photograph|the long report|dinner|the broken heater|her letters|the last train|a grey cat|"
        "the whole apartment|a refund of 40 euros|the exam|his motorbike|those shoes|the soup"
    ),
    "where": (
        "at the station|in the kitchen|last night|before breakfast|in front of the children|near the harbour|"
        "for the third time|on a rainy sunday|without a word|at work|after the holidays|again|"
        "in the middle of november|right next to the hotel||||"
    ),
    "felt": (
        "i feel strangely calm|it made me so angry|nobody was surprised|i could have cried|what a lovely day|"
        "we were all relieved|i am not sure that i care|that was the best part|it still hurts a little|"
        "i would do it again|never again|honestly it was fine|i miss that more than i can say"
    ),
}
"""Of clauses; where somebody did something is told in most of them."""
JOINS = (", and ", ", but ", ". ", "; ", " because ", " while ", "! ", " - ", ", so ", "... ")


@dataclass(frozen=True, slots=True)
class Sample:
    """Texts to measure with, and where they came from."""

    source: str
    texts: Sequence[Text]

    def __post_init__(self) -> None:
        """Refuse a sample of nothing."""
        if not self.texts:
            raise InputError(f"{self.source}: no text to measure with")

    @property
    def sha256(self) -> str:
        """Hex sha256 of the texts as a JSON array: equal where the same texts were measured."""
        return hashlib.sha256(json.dumps(self.texts).encode()).hexdigest()


def own_sample(count: int = COUNT) -> Sample:
    """English sentences put together by chance, the same on every machine.

    Most have 5 to 60 tokens and some twenty-five of them on average; two in a hundred are pages.
    """
    chance = Random(SEED)  # noqa: S311  repeatable, not secret
    parts = {name: joined.split("|") for name, joined in PARTS.items()}
    return Sample("sentences of our own", [_text(chance, parts) for _ in range(count)])


def _text(chance: Random, parts: Mapping[str, Sequence[str]]) -> str:
    sizes, weights = zip(*CLAUSES, strict=True)
    (size,) = chance.choices(sizes, weights)
    first, *others = (_clause(chance, parts) for _ in range(size))
    text = first + "".join(chance.choice(JOINS) + other for other in others)
    return text + chance.choice(("", ".", ".", "!", "?", " :)"))


def _clause(chance: Random, parts: Mapping[str, Sequence[str]]) -> str:
    names = ("felt",) if chance.random() < 0.3 else ("who", "did", "what", "where")
    return " ".join(filter(None, (chance.choice(parts[name]) for name in names)))
