"""ONNX Runtime: in int8 and fp32 on the processor, in fp32 on a GPU where its package for that is there."""

from collections.abc import Sequence

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from tonewise.batching import Batch
from tonewise.encoder.int8 import GraphPrecision
from tonewise.engines.base import Options, check_ids, check_poolings
from tonewise.engines.graph_cache import cached_graph
from tonewise.errors import EngineError, EngineMemoryError
from tonewise.store import Bundle, Pooling


class OnnxRuntimeEngine:
    """A graph of ours in an `InferenceSession`."""

    name = "onnxruntime"

    def __init__(self, bundle: Bundle, poolings: Sequence[Pooling], options: Options) -> None:
        """Build or fetch the graph and open a session; the streams share the threads.

        Raises ModelError, or EngineError when that fails.
        """
        self.streams = options.streams
        self.poolings = check_poolings(poolings)
        self.precision: str = options.precision
        precision: GraphPrecision = "int8" if options.precision == "int8" else "fp32"
        graph = cached_graph(bundle, self.poolings, precision, "onnxruntime", options.cache)
        settings, providers = _session(max(1, options.threads // options.streams)), _providers(options)
        try:
            session = ort.InferenceSession(graph, settings, providers=providers)
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


def _providers(options: Options) -> list[str]:
    """Where the graph runs. Raises EngineError for a GPU that the package or the precision cannot use."""
    if options.device == "cpu":
        return ["CPUExecutionProvider"]
    if options.precision == "int8":
        raise EngineError("ONNX Runtime has no int8 of ours on cuda; choose --precision fp32")
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        wanted = "install onnxruntime-gpu instead of onnxruntime, or leave out the device"
        raise EngineError(f"ONNX Runtime {ort.__version__} sees no cuda device; {wanted}")
    return ["CUDAExecutionProvider", "CPUExecutionProvider"]


def _session(threads: int) -> ort.SessionOptions:
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
