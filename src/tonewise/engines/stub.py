"""A double for tests and dry runs: an engine that answers at once, repeatably, and means nothing."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tonewise.batching import Batch
from tonewise.engines.base import check_poolings
from tonewise.errors import EngineError
from tonewise.store import Pooling


class StubEngine:
    """States that depend on a row's token ids and their order, and on nothing else.

    `fail_on` names a token id: a batch that holds it raises EngineError, as a poisonous text would.
    """

    name = "stub"
    precision = "fp32"
    streams = 1

    def __init__(self, poolings: Sequence[Pooling], hidden_size: int, fail_on: int | None = None) -> None:
        self.poolings = check_poolings(poolings)
        self.fail_on = fail_on
        self.batches: list[tuple[int, int]] = []
        """Rows and width of each batch that was run."""
        self._waves = np.linspace(1.0, 2.0, len(self.poolings) * hidden_size)
        self._closed = False

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """See `Engine.run`."""
        if self._closed:
            raise EngineError("the engine is closed")
        if self.fail_on is not None and (batch.input_ids == self.fail_on).any():
            raise EngineError(f"the stub was told to fail on token {self.fail_on}")
        if len(self.batches) < 100_000:
            self.batches.append((len(batch), batch.input_ids.shape[1]))
        places = np.arange(1, batch.input_ids.shape[1] + 1)
        marks = (batch.input_ids * (places * 2654435761 % 65521) * batch.attention_mask).sum(axis=1) % 65521
        states = np.sin(np.outer(marks, self._waves)).astype(np.float32)
        return states.reshape(len(batch), len(self.poolings), -1)

    def close(self) -> None:
        """See `Engine.close`."""
        self._closed = True
