"""Rows → States: equal ones computed once, planned, run in the engine's streams, halved where they fail."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from tonewise.batching import Batch, batches, distinct
from tonewise.config import BatchConfig
from tonewise.engines.base import Engine, States
from tonewise.errors import EngineError, EngineMemoryError
from tonewise.tokenizer import Row

LEAST_BUDGET = 64


class Budget:
    """The tokens of a batch, lowered for good when one did not fit in memory; shared by threads."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self._lock = Lock()

    def lower(self, tokens: int) -> None:
        """A batch of so many tokens did not fit: from now on half of them is the most."""
        with self._lock:
            self.tokens = min(self.tokens, max(LEAST_BUDGET, tokens // 2))


def feed(  # noqa: PLR0913  each is told by its name
    engine: Engine,
    rows: Sequence[Row],
    *,
    hidden_size: int,
    padding_id: int,
    config: BatchConfig,
    budget: Budget | None = None,
    streams: int | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> States:
    """The states of every row, in the order given.

    A row that cannot be computed is told in `States.errors`; the rest is answered. `budget` remembers
    what did not fit. `streams` batches are in flight at once, as many as the engine likes unless told.
    `stopped` is asked before each batch; once it says yes, EngineError is raised.
    """
    budget = budget or Budget(config.budget)
    unlike, places = distinct(rows)
    values = np.zeros((len(unlike), len(engine.poolings), hidden_size), np.float32)
    errors: dict[int, EngineError] = {}
    work = _Feed(engine, values, errors, budget)

    def run(batch: Batch) -> None:
        if stopped():
            raise EngineError("nobody waits for the answers any more")
        work.run(batch)

    planned = batches(unlike, padding_id, replace(config, max_batch_tokens=budget.tokens))
    streams = streams or engine.streams
    if streams == 1 or len(unlike) == 1:
        for batch in planned:
            run(batch)
    else:
        with ThreadPoolExecutor(streams, thread_name_prefix="tonewise-stream") as pool:
            for _ in pool.map(run, planned):
                pass
    if len(unlike) == len(rows):
        return States(values, engine.poolings, errors)
    every = {i: errors[place] for i, place in enumerate(places) if place in errors}
    first: dict[int, int] = {}
    firsts = [first.setdefault(place, i) for i, place in enumerate(places)]
    return States(values[places], engine.poolings, every, firsts)


@dataclass(frozen=True, slots=True)
class _Feed:
    """Where batches run and what becomes of them."""

    engine: Engine
    values: NDArray[np.float32]
    errors: dict[int, EngineError]
    budget: Budget

    def run(self, batch: Batch) -> None:
        """One batch, halved for as long as it fails; a row that fails alone is told in `errors`."""
        if len(batch) > 1 and batch.input_ids.size > self.budget.tokens:  # planned before the budget fell
            return self._run_halves(batch)
        try:
            states = self.engine.run(batch)
            if states.shape != (len(batch), *self.values.shape[1:]):
                told = f"gave states {states.shape} for {len(batch)} rows"
                raise EngineError(f"the {self.engine.name} engine {told}")
            self.values[batch.rows] = states
        except EngineError as error:
            if len(batch) == 1:
                self.errors[int(batch.rows[0])] = error
                return
            if isinstance(error, EngineMemoryError):
                self.budget.lower(batch.input_ids.size)
            self._run_halves(batch)

    def _run_halves(self, batch: Batch) -> None:
        middle = len(batch) // 2
        self.run(batch.part(0, middle))
        self.run(batch.part(middle, len(batch)))
