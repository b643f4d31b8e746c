"""What is learned from: tokenized examples with targets for one head or several, in like-length batches."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tonewise.batching import Batch, collate
from tonewise.tokenizer import Row

POOL = 50
"""Batches that are sorted by length together: far fewer than an epoch's, so that company keeps changing."""
Kind = Literal["single", "multi", "soft", "logits", "multi_logits"]


@dataclass(frozen=True, slots=True)
class Target:
    """What one head ought to answer.

    kind    single | multi | soft, as `Labelled` has it; logits | multi_logits: another model's outputs, to
            be imitated
    values  float32[N, L]
    weight  of its loss beside those of other targets
    """

    kind: Kind
    values: NDArray[np.float32]
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Part:
    """N tokenized examples, and by head what is to be learned. Raises ValueError for other counts."""

    rows: Sequence[Row]
    targets: Mapping[str, Target]

    def __post_init__(self) -> None:
        if any(len(target.values) != len(self.rows) for target in self.targets.values()):
            raise ValueError("a target has other than one row of values for each example")

    def __len__(self) -> int:
        return len(self.rows)

    def lengths(self) -> NDArray[np.int64]:
        """int64[N]: tokens of each example."""
        return np.fromiter((len(row.input_ids) for row in self.rows), np.int64, len(self.rows))


@dataclass(frozen=True, slots=True)
class Step:
    """The examples of one step: those of one part, in pieces that are computed one after another."""

    part: int
    pieces: tuple[Sequence[int], ...]

    def __len__(self) -> int:
        return sum(map(len, self.pieces))


def steps(parts: Sequence[Part], size: int, most_tokens: int, seed: tuple[int, ...]) -> list[Step]:
    """One epoch: every example once, in an order that the seed alone decides.

    Shuffled, sorted by length within pools of 50 batches, cut, and the batches shuffled: rows of a batch
    are of like length. Batches of several parts are mixed, so that each part comes in proportion to its
    size.
    """
    rng = np.random.default_rng(seed)
    found = []
    for number, part in enumerate(parts):
        lengths = part.lengths()
        order = rng.permutation(len(part))
        for start in range(0, len(order), POOL * size):
            pool = order[start : start + POOL * size]
            pool = pool[np.argsort(lengths[pool], kind="stable")]
            cuts = (pool[at : at + size] for at in range(0, len(pool), size))
            found += [Step(number, tuple(_pieces(cut, lengths, most_tokens))) for cut in cuts]
    return [found[i] for i in rng.permutation(len(found))]


def count_steps(parts: Sequence[Part], size: int) -> int:
    """How many steps an epoch has."""
    pool = POOL * size
    full = sum(len(part) // pool * POOL for part in parts)
    return full + sum(-(-(len(part) % pool) // size) for part in parts)


def _pieces(rows: NDArray[np.int64], lengths: NDArray[np.int64], most_tokens: int) -> Iterator[Sequence[int]]:
    """Rows, shortest first, in rectangles of no more tokens than that, or of one row."""
    start = 0
    for end in range(1, len(rows) + 1):
        if end == len(rows) or lengths[rows[end]] * (end + 1 - start) > most_tokens:
            yield rows[start:end].tolist()
            start = end


def in_order(rows: Sequence[Row], padding_id: int, most_tokens: int) -> Iterator[Batch]:
    """Batches for answering: shortest rows first, `Batch.rows` says which they are."""
    lengths = np.fromiter((len(row.input_ids) for row in rows), np.int64, len(rows))
    for piece in _pieces(np.argsort(lengths, kind="stable"), lengths, most_tokens):
        yield collate(rows, piece, padding_id)
