"""OpenVINO on the processor, in int8, bf16 and fp32."""

import sys
from collections.abc import Sequence
from queue import SimpleQueue
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tonewise.batching import Batch
from tonewise.encoder.int8 import GraphPrecision
from tonewise.encoder.weights import NetworkSpec
from tonewise.engines.base import Options, check_poolings
from tonewise.engines.buckets import Buckets
from tonewise.engines.compiled import failure
from tonewise.engines.graph_cache import cached_graph
from tonewise.engines.machine import has_bf16
from tonewise.errors import EngineError, ModelError
from tonewise.store import Bundle, Pooling

TELEMETRY = "openvino_telemetry"
if TELEMETRY in sys.modules or "openvino" in sys.modules:
    import openvino as ov
else:
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # importing openvino would report it over the network
    try:
        import openvino as ov
    finally:
        del sys.modules[TELEMETRY]

Request = Any
"""An `openvino.InferRequest`."""


class OpenVinoEngine:
    """A graph of ours compiled for the processor: one inference request a stream.

    int8 computes what is not 8 bit in bf16 where the processor has it. OpenVINO makes kernels at the
    first sight of a shape (tens of milliseconds): single rows are padded up to the widths of `Buckets`,
    so that few shapes are to be seen; batches run as they were planned.
    """

    name = "openvino"

    def __init__(self, bundle: Bundle, poolings: Sequence[Pooling], options: Options) -> None:
        """Build or fetch the graph and compile it; the streams share the threads.

        Raises ModelError, or EngineError when that fails.
        """
        self.streams = options.streams
        self.poolings = check_poolings(poolings)
        self.precision: str = options.precision
        self.buckets = Buckets(NetworkSpec.from_config(bundle.network, bundle.ref))
        if options.precision == "int8" and not bundle.manifest.activation_ranges:
            wanted = "tonewise quantize makes some; or choose onnxruntime, or another precision"
            raise ModelError(f"{bundle.ref} has no activation ranges, which OpenVINO's int8 needs; {wanted}")
        precision: GraphPrecision = "int8" if options.precision == "int8" else "fp32"
        graph = cached_graph(bundle, self.poolings, precision, "standard", options.cache)
        self._lock, self._closed = Lock(), False
        self._free: SimpleQueue[Request | None] = SimpleQueue()
        try:
            for request in _compile(graph, options):
                self._free.put(request)
        except Exception as error:  # the runtime's exceptions share no base but Exception
            raise _failure(error) from None

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """See `Engine.run`."""
        padded = self.buckets.fit(batch) if len(batch) == 1 else self.buckets.count(batch)
        request = self._free.get()
        try:
            if request is None:
                raise EngineError("the engine is closed")
            feeds = [getattr(padded, one.any_name) for one in request.model_inputs]
            states: NDArray[np.float32] = request.infer(feeds, share_inputs=True)[0][: len(batch)]
            return states
        except EngineError:
            raise
        except Exception as error:  # the runtime's exceptions share no base but Exception
            raise _failure(error) from None
        finally:
            self._free.put(None if self._closed else request)

    def close(self) -> None:
        """See `Engine.close`."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        for _ in range(self.streams):
            self._free.get()
        self._free.put(None)


def _compile(graph: bytes, options: Options) -> list[Request]:
    core = ov.Core()
    model = core.read_model(graph)
    low = options.precision != "fp32" and has_bf16()
    compiled = core.compile_model(
        model,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": "bf16" if low or options.precision == "bf16" else "f32",
            "INFERENCE_NUM_THREADS": options.threads,
            "NUM_STREAMS": options.streams,
            "ENABLE_CPU_PINNING": False,  # other work shares the processors
        },
    )
    requests = [compiled.create_infer_request() for _ in range(options.streams)]
    # Each stream builds its own copy of the graph at its first inference, and lets go of constants that
    # Python owns: with Python's lock held by another stream's caller, both would wait for ever. So all
    # start at once, by one thread that waits without the lock, and `model` outlives them.
    one = np.ones((1, 1), np.int32)
    for request in requests:
        request.start_async([one] * len(request.model_inputs))
    for request in requests:
        request.wait()
    del model
    return requests


def _failure(error: Exception) -> EngineError:
    line = str(error)
    return failure("OpenVINO", error, "bad_alloc" in line or "allocate" in line)
