"""ONNX Runtime on the processor, in fp32 and int8."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from tonewise.batching import Batch
from tonewise.engines.base import check_ids, check_poolings
from tonewise.engines.graph_cache import cached_graph
from tonewise.errors import EngineError, EngineMemoryError
from tonewise.store import Bundle, Pooling


class OnnxRuntimeEngine:
    """A graph of ours in an `InferenceSession`."""

    name = "onnxruntime"

    def __init__(
        self,
        bundle: Bundle,
        poolings: Sequence[Pooling],
        precision: Literal["fp32", "int8"],
        cache: Path,
        *,
        threads: int,
        streams: int = 1,
    ) -> None:
        """Build or fetch the graph and open a session; the streams share the threads.

        Raises ModelError, or EngineError when that fails.
        """
        self.streams = streams
        self.poolings = check_poolings(poolings)
        self.precision: str = precision
        graph = cached_graph(bundle, self.poolings, precision, cache)
        try:
            session = ort.InferenceSession(
                graph, _options(max(1, threads // streams)), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the runtime's exceptions share no base but Exception
            raise EngineError(f"{bundle.ref}: ONNX Runtime cannot open the graph: {_line(error)}") from None
        self._inputs = tuple(one.name for one in session.get_inputs())
        self._session: ort.InferenceSession | None = session

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """See `Engine.run`."""
        session = self._session
        if session is None:
            raise EngineError("the engine is closed")
        check_ids(batch)
        feeds = {name: getattr(batch, name) for name in self._inputs}
        try:
            states: NDArray[np.float32] = session.run(None, feeds)[0]
        except Exception as error:  # the runtime's exceptions share no base but Exception
            line = _line(error)
            memory = isinstance(error, MemoryError) or "allocate" in line or "bad_alloc" in line
            raise (EngineMemoryError if memory else EngineError)(f"ONNX Runtime failed: {line}") from None
        return states

    def close(self) -> None:
        """See `Engine.close`."""
        self._session = None


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what fails is raised; printed too it would be told twice
    # The graph is written as it should run: what lies beyond costs start-up and finds nothing to fuse.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    # Without VNNI, products of uint8 and int8 saturate 16 bits unless the runtime is told to be exact.
    options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
