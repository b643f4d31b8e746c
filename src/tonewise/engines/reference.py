"""The oracle as an engine: numpy in float64, slow, and what the others are held to."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tonewise.batching import Batch
from tonewise.encoder.forward import NumpyOps, run_numpy
from tonewise.encoder.weights import NetworkSpec, load_weights
from tonewise.engines.base import check_ids, check_poolings
from tonewise.errors import EngineError, EngineMemoryError
from tonewise.store import Bundle, Pooling


class ReferenceEngine:
    """`encoder/forward.py` by numpy."""

    name = "reference"
    precision = "fp64"
    streams = 1

    def __init__(self, bundle: Bundle, poolings: Sequence[Pooling]) -> None:
        """Read the weights. Raises ModelError when they do not fit `config.json`."""
        self.poolings = check_poolings(poolings)
        spec = NetworkSpec.from_config(bundle.network, bundle.ref)
        self._ops: NumpyOps | None = NumpyOps(load_weights(bundle.weights, spec, bundle.ref))

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """See `Engine.run`."""
        ops = self._ops
        if ops is None:
            raise EngineError("the engine is closed")
        check_ids(batch)
        try:
            states: NDArray[np.float32] = run_numpy(ops, batch, self.poolings).astype(np.float32)
        except MemoryError:
            raise EngineMemoryError(f"no memory for {batch.input_ids.shape} tokens") from None
        except IndexError as error:
            raise EngineError(f"a token, a type or a place that the model has no row for: {error}") from None
        return states

    def close(self) -> None:
        """See `Engine.close`."""
        self._ops = None
