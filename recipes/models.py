"""The packaged models that are trained: what each head learns from, by which recipe, on which terms."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tonewise.config import Config
from tonewise.source.labelled import Labelled, Labels, read_labelled
from tonewise.source.split import split
from tonewise.train import Recipe


@dataclass(frozen=True, slots=True)
class Head:
    """Where a head's texts are, under the folder of all data sets, and its labels in their order."""

    train: tuple[str, ...]
    validation: str
    labels: Labels
    hub: str
    hub_config: str | None = None
    borrowed: "Borrowed | None" = None

    def read(self, data: Path) -> tuple[Labelled, Labelled]:
        """Training and validation rows."""
        own = read_labelled([data / one for one in self.train], Config().source, self.labels)
        return self.borrowed.beside(own, data) if self.borrowed else own, self.held(data)

    def held(self, data: Path) -> Labelled:
        """The validation rows."""
        return read_labelled(data / self.validation, Config().source, self.labels)


@dataclass(frozen=True, slots=True)
class Borrowed:
    """Texts of another set that teach a head too.

    means    the head's label that one of the set's stands for; texts with a label that is not among them, or
             of two meanings, are left out
    nothing  a label that tells of none of the head's: all share such a text equally
    most     texts of one meaning, the first of them
    """

    train: str
    labels: Labels
    means: Mapping[str, str]
    nothing: str | None = None
    most: int | None = None

    def beside(self, own: Labelled, data: Path) -> Labelled:
        """The own rows, then the borrowed ones; as soft labels, unless the head is multi label."""
        other = read_labelled(data / self.train, Config().source, self.labels)
        examples, targets = list(own.examples), list(own.targets)
        means = {**self.means, **({self.nothing: self.nothing} if self.nothing else {})}
        counts: Counter[str] = Counter()
        for one in other.examples:
            found = {means.get(label) for label in one.labels}
            meant = found.pop() if len(found) == 1 else None
            if meant is None or counts[meant] == self.most:
                continue
            counts[meant] += 1
            examples.append(replace(one, labels=(meant,)))
            holds = np.equal(own.names, meant) if meant != self.nothing else np.ones(len(own.names), bool)
            targets.append((holds / holds.sum()).astype(np.float32))
        kind = "multi" if own.kind == "multi" else "soft"
        return Labelled(tuple(examples), own.names, np.stack(targets), kind)


@dataclass(frozen=True, slots=True)
class Model:
    """A packaged model: one encoder and its heads by name."""

    heads: dict[str, Head]
    recipe: Recipe
    data_terms: str
    languages: tuple[str, ...] = field(default=("en",))

    def without_borrowed(self) -> "Model":
        """The same, each head learning from its own texts alone."""
        return replace(self, heads={name: replace(head, borrowed=None) for name, head in self.heads.items()})

    def halves(self, data: Path) -> Iterator[tuple[str, Labelled, Labelled, Labelled]]:
        """Each head's name, its training rows, and two halves of its validation rows, by hash of the text.

        The first half chooses the epoch, the temperature and the thresholds; the second saw no choice.
        """
        for name, head in self.heads.items():
            learn, held = head.read(data)
            unseen, seen = split(held, 0.5)
            yield name, learn, seen, unseen


EMOTIONS = ("sadness", "joy", "love", "anger", "fear", "surprise")
OFFENSIVE = ("hate_speech", "offensive_language", "neither")
GO_EMOTIONS = (
    "admiration",
    "amusement",
    "anger",
    "annoyance",
    "approval",
    "caring",
    "confusion",
    "curiosity",
    "desire",
    "disappointment",
    "disapproval",
    "disgust",
    "embarrassment",
    "excitement",
    "fear",
    "gratitude",
    "grief",
    "joy",
    "love",
    "nervousness",
    "optimism",
    "pride",
    "realization",
    "relief",
    "remorse",
    "sadness",
    "surprise",
    "neutral",
)
SIX_OF_GO_EMOTIONS = {
    "sadness": ("sadness", "disappointment", "grief", "remorse"),
    "joy": ("joy", "amusement", "excitement", "gratitude", "optimism", "relief", "pride", "admiration"),
    "love": ("love", "caring"),
    "anger": ("anger", "annoyance"),
    "fear": ("fear", "nervousness"),
    "surprise": ("surprise",),
}
"""What of the 28 is one of the six; the others are none of them, or could be several."""
MODELS = {
    "emotion": Model(
        {
            "emotion": Head(
                ("emotion/train.tsv",),
                "emotion/validation.tsv",
                Labels(names=EMOTIONS),
                "dair-ai/emotion",
                "split",
                # Nearly all tweets say "i feel": a model of them alone answers "anger" to most other prose.
                Borrowed(
                    "goemotions/train.tsv",
                    Labels(names=GO_EMOTIONS, separator=","),
                    {label: six for six, some in SIX_OF_GO_EMOTIONS.items() for label in some},
                    nothing="neutral",
                    most=1_500,
                ),
            )
        },
        Recipe(epochs=5),
        "research and educational use (dair-ai/emotion); GoEmotions: CC BY 4.0",
    ),
    "multitask": Model(
        {
            "sentiment": Head(
                ("sst2/train.tsv",),
                "sst2/validation.tsv",
                Labels(names=("negative", "positive")),
                "stanfordnlp/sst2",
            ),
            "go-emotions": Head(
                ("goemotions/train.tsv",),
                "goemotions/validation.tsv",
                Labels(names=GO_EMOTIONS, separator=","),
                "google-research-datasets/go_emotions",
                "simplified",
                # Where the encoder tells spam from all else, no comment has been: without these texts the
                # head finds 18 emotions in a text message that wants to sell something.
                Borrowed("sms-spam/train.tsv", Labels(names=("ham", "spam")), {"spam": "neutral"}),
            ),
            "spam": Head(
                ("sms-spam/train.tsv",),
                "sms-spam/validation.tsv",
                Labels(names=("ham", "spam")),
                "ucirvine/sms_spam",
            ),
            "offensive": Head(
                ("davidson/train.jsonl",),
                "davidson/validation.jsonl",
                Labels(names=OFFENSIVE),
                "tdavidson/hate_speech_offensive",
            ),
        },
        Recipe(epochs=3),
        "SST-2 states none; GoEmotions and SMS Spam Collection: CC BY 4.0; Davidson et al.: MIT",
    ),
}
