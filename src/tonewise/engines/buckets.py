"""Shape buckets: the few shapes that compiled engines run at, and what padding up to them costs."""

from bisect import bisect_left
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from tonewise.batching import Batch
from tonewise.config import BATCH_TOKENS
from tonewise.encoder.weights import NetworkSpec
from tonewise.engines.base import check_ids
from tonewise.errors import EngineError

STEPS = 8
"""Widths between one power of two and the next: a row is widened by at most 1/8."""

BUDGET = BATCH_TOKENS

Shape = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Tally:
    """The tokens computed so far, by why they were, and the shapes they were computed at.

    real      tokens of texts
    planner   padding that the batches came with
    bucket    padding added here
    shapes    (B, T), each compiled once
    """

    real: int
    planner: int
    bucket: int
    shapes: frozenset[Shape]


class Buckets:
    """Pads batches up to a ladder of shapes; safe from several threads.

    Widths (T) rise in steps of at most 1/8, up to the model's longest row. At each width the full
    number of rows (B) is what the planner makes of its budget there; fewer rows go up to a half, a
    quarter … of it, more to a multiple: so most batches meet a bucket nearly full.
    """

    def __init__(self, spec: NetworkSpec, *, max_batch_tokens: int = BUDGET, steps: int = STEPS) -> None:
        """`max_batch_tokens` is the planner's budget; batches beyond it are taken too.

        `steps` is the number of widths between powers of two, itself one: more of them means more
        shapes and less padding.
        """
        self.spec, self.max_batch_tokens = spec, max_batch_tokens
        self.widths = _widths(spec.max_length, steps)
        self._lock = Lock()
        self._real = self._planner = self._bucket = 0
        self._shapes: set[Shape] = set()

    def rows(self, width: int) -> tuple[int, ...]:
        """The numbers of rows at one of `widths`, rising from 1 to the full one."""
        place = self.widths.index(width)
        # The narrowest batch of a bucket has the most rows; those below the first width are few.
        narrowest = self.widths[place - 1] + 1 if place else width
        ladder = [max(1, self.max_batch_tokens // narrowest)]
        while ladder[-1] > 1:
            ladder.append(-(-ladder[-1] // 2))
        return tuple(reversed(ladder))

    def shape(self, rows: int, width: int) -> Shape:
        """The bucket (B, T) of a batch. Raises EngineError for a width beyond the model's."""
        if width > self.widths[-1]:
            raise EngineError(f"a row of {width} tokens, but this model takes {self.widths[-1]} at most")
        wide = self.widths[bisect_left(self.widths, width)]
        ladder = self.rows(wide)
        if rows > ladder[-1]:
            return -(-rows // ladder[-1]) * ladder[-1], wide
        return ladder[bisect_left(ladder, rows)], wide

    def fit(self, batch: Batch) -> Batch:
        """The batch with its rows first, padded up to its bucket; added rows are row -1 of one padding token.

        Raises EngineError for a token, type or length that the model has no row for: compiled look-ups
        would take the nearest one without a word.
        """
        self._check(batch)
        planned = shape_of(batch)
        rows, width = shape = self.shape(*planned)
        self._count(batch, shape)
        if planned == shape:
            return batch
        more = ((0, rows - planned[0]), (0, width - planned[1]))
        mask = np.pad(batch.attention_mask, more)
        mask[planned[0] :, 0] = 1  # a softmax over no token at all is not a number
        return Batch(
            np.pad(batch.input_ids, more, constant_values=self.spec.padding_index or 0),
            mask,
            np.pad(batch.token_type_ids, more),
            np.pad(batch.rows, more[0], constant_values=-1),
        )

    def count(self, batch: Batch) -> Batch:
        """The batch as it is, checked and counted. Raises EngineError as `fit` does."""
        self._check(batch)
        planned = shape_of(batch)
        self.shape(*planned)
        self._count(batch, planned)
        return batch

    def tally(self) -> Tally:
        """What was counted up to now."""
        with self._lock:
            return Tally(self._real, self._planner, self._bucket, frozenset(self._shapes))

    def _check(self, batch: Batch) -> None:
        check_ids(batch)
        _check_below(batch.input_ids, self.spec.vocabulary_size, "token")
        if self.spec.type_count:
            _check_below(batch.token_type_ids, self.spec.type_count, "type")

    def _count(self, batch: Batch, shape: Shape) -> None:
        real, planned = int(batch.attention_mask.sum()), batch.input_ids.size
        with self._lock:
            self._real += real
            self._planner += planned - real
            self._bucket += shape[0] * shape[1] - planned
            self._shapes.add(shape)


def shape_of(batch: Batch) -> Shape:
    """(B, T) of a batch."""
    rows, width = batch.input_ids.shape
    return rows, width


def _widths(longest: int, steps: int) -> tuple[int, ...]:
    """From 8 (or fewer) on by 1 up to 2 × steps, by 2 up to 4 × steps, and so on; `longest` is the last."""
    widths, step = [min(steps, 8)], 1
    while widths[-1] < longest:
        if widths[-1] >= 2 * steps * step:
            step *= 2
        widths.append(widths[-1] + step)
    return *(width for width in widths if width < longest), longest


def _check_below(ids: NDArray[np.int32], count: int, what: str) -> None:
    if (highest := int(ids.max())) >= count:
        raise EngineError(f"{what} id {highest}, but this model's end at {count - 1}")
