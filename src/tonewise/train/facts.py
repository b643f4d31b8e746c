"""What a model card is written from: the base, the data, the recipe, and what was measured of each head."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tonewise.metrics import Interval, LabelFigures, Reliability
from tonewise.store import ProblemType


@dataclass(frozen=True, slots=True)
class Base:
    """The model that training began with.

    ref      as the user wrote it; of a folder the card quotes the last part alone
    hub      its `owner/name` on the hub, where it has one
    licence  None: it states none
    """

    ref: str
    digest: str
    hub: str | None = None
    licence: str | None = None
    data_terms: str | None = None


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file that rows came from; of a path the card quotes the last part alone."""

    name: str
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What one head learned from, and what it was measured on.

    files       the labelled ones, validation among them
    counts      training rows of each label, int[L]
    rows        training rows
    held_rows   rows that the figures were measured on
    split       how those were told apart, as a noun: "validation.tsv", "a tenth by hash of the text", …
    split_name  of those rows, as data sets call theirs: validation, test; out-of-fold of such answers
    measured    name of their file; None: they are of `name`
    chosen      what was chosen on those same rows: "the best epoch", "the temperature", …
    fingerprint hex sha256 of all texts and labels as they were read; None: not taken
    licence     of the data, as the user gave it; None: not stated
    cut         training texts that were longer than `max_length`; None: not counted
    """

    name: str
    files: tuple[DataFile, ...]
    counts: tuple[int, ...]
    rows: int
    held_rows: int
    split: str
    split_name: str = "validation"
    chosen: tuple[str, ...] = ()
    fingerprint: str | None = None
    licence: str | None = None
    cut: int | None = None
    measured: str | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure, as a share from 0 to 1.

    metric   accuracy | f1 | ece | …, as the hub calls it
    average  macro | micro | weighted, where the metric has such
    """

    name: str
    value: float
    interval: Interval | None = None
    metric: str = "accuracy"
    average: str | None = None


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch of training: mean loss, the validation metric at its end, and the learning rate there."""

    number: float
    loss: float
    metric: float
    rate: float


@dataclass(frozen=True, slots=True, eq=False)
class HeadFacts:
    """What is known of one head.

    figures      in the order they are shown
    ece          before and after the temperature
    by_label     of the L labels
    confusion    int64[L, L] or [L, L + 1] with abstained last, rows gold; None for multi label
    precision    that the figures were measured in; None: not stated
    history      an epoch each; `metric` names what its curve shows, `best` the epoch that was kept
    """

    name: str
    labels: tuple[str, ...]
    problem_type: ProblemType
    data: DataFacts
    figures: tuple[Figure, ...]
    temperature: float = 1.0
    thresholds: tuple[float, ...] | None = None
    ece: tuple[Figure, Figure] | None = None
    by_label: LabelFigures | None = None
    confusion: NDArray[np.int64] | None = None
    reliability: Reliability | None = None
    precision: str | None = None
    history: tuple[Epoch, ...] = ()
    metric: str = "macro F1"
    best: float | None = None


@dataclass(frozen=True, slots=True)
class Retained:
    """A head that was there before: one figure of it before and after, on the same rows."""

    head: str
    figure: str
    before: float
    after: float
    rows: int


@dataclass(frozen=True, slots=True)
class Trial:
    """One recipe that a study tried.

    knobs    those that were searched
    metric   mean of the heads' macro F1 on the held-out rows; None unless finished
    seconds  that it took
    end      finished; stopped, being behind the others; diverged
    """

    knobs: Mapping[str, Any]
    metric: float | None
    seconds: float
    end: Literal["finished", "stopped", "diverged"]


@dataclass(frozen=True, slots=True)
class Tuning:
    """A study: its trials in order, of which the first had the defaults, and the place of the best."""

    trials: tuple[Trial, ...]
    best: int

    @property
    def seconds(self) -> float:
        """Of all trials together."""
        return sum(one.seconds for one in self.trials)

    def count(self, end: str) -> int:
        """How many trials came to that end."""
        return sum(one.end == end for one in self.trials)


@dataclass(frozen=True, slots=True, eq=False)
class CardFacts:
    """All that a card says.

    licence          of the result: the user's choice, else the base's; None: not stated
    languages        of the texts, as codes; none: not stated
    recipe           every knob by name
    versions         by package, Python among them
    seconds          of the training, by the clock
    max_length       tokens of a text that were learned from, special ones included
    limit            tokens of a text that the network reads; None: as many
    in_transformers  transformers opens the folder as a classifier
    kept             heads that were there before: what each gives, and how many labels it has
    agreement        by engine the share of labels on which int8 agrees with fp32, over `agreement_rows`
                     texts that were not learned from
    has_int8         there are ranges for int8, compared or not
    tuning           the study that chose the recipe; None: it was given
    """

    name: str
    base: Base
    heads: tuple[HeadFacts, ...]
    recipe: Mapping[str, Any]
    seed: int
    versions: Mapping[str, str]
    processor: str
    threads: int
    seconds: float
    max_length: int
    limit: int | None = None
    licence: str | None = None
    data_terms: str | None = None
    languages: tuple[str, ...] = ()
    in_transformers: bool = False
    agreement: Mapping[str, float] = field(default_factory=dict)
    agreement_rows: int = 0
    has_int8: bool = False
    kept: Mapping[str, tuple[ProblemType, int]] = field(default_factory=dict)
    retained: tuple[Retained, ...] = ()
    tuning: Tuning | None = None
