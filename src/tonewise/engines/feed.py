"""Rows → States: equal ones computed once, planned, run in the engine's streams, halved where they fail."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from tonewise.batching import Batch, batches, distinct
from tonewise.config import BatchConfig
from tonewise.engines.base import Engine, States
from tonewise.errors import EngineError
from tonewise.tokenizer import Row


def feed(
    engine: Engine,
    rows: Sequence[Row],
    *,
    hidden_size: int,
    padding_id: int,
    config: BatchConfig,
    stopped: Callable[[], bool] = lambda: False,
) -> States:
    """The states of every row, in the order given.

    A row that cannot be computed is told in `States.errors`; the rest is answered. `stopped` is asked
    before each batch; once it says yes, EngineError is raised.
    """
    unlike, places = distinct(rows)
    values = np.zeros((len(unlike), len(engine.poolings), hidden_size), np.float32)
    errors: dict[int, EngineError] = {}

    def run(batch: Batch) -> None:
        if stopped():
            raise EngineError("nobody waits for the answers any more")
        _run(engine, batch, values, errors)

    planned = batches(unlike, padding_id, config)
    if engine.streams == 1 or len(unlike) == 1:
        for batch in planned:
            run(batch)
    else:
        with ThreadPoolExecutor(engine.streams, thread_name_prefix="tonewise-stream") as streams:
            for _ in streams.map(run, planned):
                pass
    if len(unlike) == len(rows):
        return States(values, engine.poolings, errors)
    every = {i: errors[place] for i, place in enumerate(places) if place in errors}
    return States(values[places], engine.poolings, every)


def _run(engine: Engine, batch: Batch, values: NDArray[np.float32], errors: dict[int, EngineError]) -> None:
    """One batch, halved for as long as it fails; a row that fails alone is told in `errors`."""
    try:
        states = engine.run(batch)
        if states.shape != (len(batch), *values.shape[1:]):
            raise EngineError(f"the {engine.name} engine gave states {states.shape} for {len(batch)} rows")
        values[batch.rows] = states
    except EngineError as error:
        if len(batch) == 1:
            errors[int(batch.rows[0])] = error
            return
        middle = len(batch) // 2
        _run(engine, batch.part(0, middle), values, errors)
        _run(engine, batch.part(middle, len(batch)), values, errors)
