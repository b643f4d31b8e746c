"""Stage 4 · batch → states: the one small contract that every runtime meets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from tonewise.batching import Batch
from tonewise.errors import EngineError
from tonewise.store import Pooling


@dataclass(frozen=True, slots=True)
class Options:
    """How an engine is opened; `select` has decided every one.

    precision  that the engine has
    threads    of all forward passes together
    streams    forward passes in flight, which share the threads
    device     cpu | cuda
    cache      folder for what is built once: graphs, compiled programs
    """

    precision: Literal["int8", "bf16", "fp32"]
    threads: int
    streams: int
    device: Literal["cpu", "cuda"]
    cache: Path


@dataclass(frozen=True, slots=True)
class States:
    """What the encoder makes of rows (a window is a row).

    values    float32[R, P, H]: for each row one pooled state per pooling
    poolings  what the P are, in order
    errors    rows that failed, and why; their values are zero
    firsts    for each row the first one that equals it, None where all differ: arithmetic on many rows may
              round equal ones differently, and equal texts are to have equal answers
    """

    values: NDArray[np.float32]
    poolings: tuple[Pooling, ...]
    errors: Mapping[int, EngineError] = field(default_factory=dict)
    firsts: Sequence[int] | None = None

    def of(self, pooling: Pooling) -> NDArray[np.float32]:
        """float32[R, H] of one pooling. Raises ValueError for one that was not asked for."""
        return self.values[:, self.poolings.index(pooling)]


class Engine(Protocol):
    """Runs one encoder on one device. Knows arrays; knows nothing of texts, labels or HTTP.

    name       of the runtime
    precision  it computes in
    poolings   of the states it returns, in order
    streams    how many `run` calls it likes in flight
    """

    name: str
    precision: str
    poolings: tuple[Pooling, ...]
    streams: int

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """One forward pass: float32[B, P, H].

        Deterministic; a row's answer does not depend on its batch; safe from several threads. Raises
        EngineError, or EngineMemoryError when the batch did not fit, and nothing else.
        """
        ...

    def close(self) -> None:
        """Free the device. Safe to call twice; `run` raises EngineError from then on."""
        ...


def check_poolings(poolings: Sequence[Pooling]) -> tuple[Pooling, ...]:
    """The poolings as a tuple. Raises EngineError for none, one named twice, or one that does not exist."""
    if not poolings or len(set(poolings)) != len(poolings):
        raise EngineError(f"an engine needs each pooling once, not {list(poolings)}")
    if unknown := set(poolings) - set(get_args(Pooling)):
        raise EngineError(f"no pooling {sorted(unknown)}; there are: {', '.join(get_args(Pooling))}")
    return tuple(poolings)


def check_ids(batch: Batch) -> None:
    """Raise EngineError for a negative id, which tables would read from their end."""
    if min(batch.input_ids.min(), batch.token_type_ids.min()) < 0:
        raise EngineError("a token id or a type id is negative")
