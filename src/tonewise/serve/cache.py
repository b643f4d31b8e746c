"""Answers kept to be given again: exact ones, bounded in bytes, the one unused longest going first."""

import sys
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tonewise.head import Prediction
from tonewise.tokenizer import Encoding, Text

OVERHEAD = 480
"""Bytes that an entry takes beside its text and value: the key's tuple, the table's place, the objects."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one text is answered: a Prediction, logits by head, or a vector that is not normalized."""

    value: Any
    n_tokens: int
    truncated: bool


class Cache:
    """Answers by what determines them. Belongs to one thread.

    A key holds the bundle's digest, the engine and precision, this program's version, the policy for long
    texts, the kind of answer, and the text itself; so an answer from here is the one that would be computed.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.bytes = self.hits = self.misses = 0
        self._kept: OrderedDict[Hashable, tuple[Answer, int]] = OrderedDict()

    def __len__(self) -> int:
        """How many answers are kept."""
        return len(self._kept)

    def get(self, key: Hashable) -> Answer | None:
        """The answer, or None."""
        found = self._kept.get(key)
        if found is None:
            self.misses += 1
            return None
        self._kept.move_to_end(key)
        self.hits += 1
        return found[0]

    def put(self, key: Hashable, text: Text | Encoding, answer: Answer) -> None:
        """Keep an answer, unless it alone is more than may be kept."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return
        size = _size(text) + _value_size(answer.value) + OVERHEAD
        if size > self.most_bytes:
            return
        self._kept[key] = replace(answer, value=_alone(answer.value)), size
        self.bytes += size
        while self.bytes > self.most_bytes:
            _, (_, freed) = self._kept.popitem(last=False)
            self.bytes -= freed

    def forget(self, digest: str) -> None:
        """Let go of a model's answers."""
        for key in [key for key in self._kept if isinstance(key, tuple) and key[0] == digest]:
            self.bytes -= self._kept.pop(key)[1]


def _alone(value: Any) -> Any:
    """The same with arrays of its own: a row of a batch's array would keep the whole batch in memory."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, tuple):
        prediction, logits = value
        return prediction, {name: array.copy() for name, array in logits.items()}
    return value


def _size(text: Text | Encoding) -> int:
    """About its bytes. A token's id is an object of its own, one of its type is everybody's."""
    if isinstance(text, Encoding):
        rows = ((len(row.input_ids), len(row.type_ids or ())) for row in text.rows)
        return sum(220 + 40 * ids + 8 * types for ids, types in rows)
    return sum(map(sys.getsizeof, text)) + 56 if isinstance(text, tuple) else sys.getsizeof(text)


def _value_size(value: Any) -> int:
    """About its bytes: a Prediction, one beside its logits, or a vector."""
    if isinstance(value, tuple):
        prediction, logits = value
        arrays = sum(int(array.nbytes) + 120 for array in logits.values())
        return _value_size(prediction) + sys.getsizeof(logits) + arrays
    if isinstance(value, Prediction):
        heads = value.heads.values()
        scores = sum(sys.getsizeof(head.scores) + 24 * len(head.scores) for head in heads)
        return sys.getsizeof(value.heads) + scores + sum(130 + 8 * len(head.labels or ()) for head in heads)
    return int(getattr(value, "nbytes", 100)) + 120
