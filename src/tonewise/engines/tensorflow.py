"""TensorFlow on the processor, in fp32: `encoder/forward.py` under `tf.function`, traced once per bucket."""

import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tonewise.batching import Batch
from tonewise.encoder.forward import ALL, forward
from tonewise.encoder.weights import NetworkSpec, load_weights
from tonewise.engines.base import Options, check_poolings
from tonewise.engines.buckets import Buckets, Shape, shape_of
from tonewise.engines.compiled import Program, Programs, failure, parameters
from tonewise.errors import EngineError
from tonewise.store import Bundle, Pooling

LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing reaches stderr's descriptor: the variable does not hold back what importing tells."""
    try:
        kept = os.dup(2)
    except OSError:  # a process may have no stderr
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


if LOG_LEVEL in os.environ or "tensorflow" in sys.modules:
    import tensorflow as tf
else:
    os.environ[LOG_LEVEL] = "2"
    with _quiet():
        import tensorflow as tf

Tensor = Any
"""A TensorFlow tensor, eager or of a graph."""

log = logging.getLogger("tonewise")


class TensorFlowOps:
    """The operations in TensorFlow, on `parameters` by canonical names: tensors or variables.

    They trace at open shapes [None, None] as well as at fixed ones.
    """

    def __init__(self, spec: NetworkSpec, named: Mapping[str, Tensor]) -> None:
        self.spec, self.named = spec, named

    def look_up(self, table: str, ids: Tensor) -> Tensor:
        return tf.gather(self.named[f"{table}.weight"], ids)

    def positions(self, input_ids: Tensor, padding_index: int | None) -> Tensor:
        if padding_index is None:
            return tf.range(tf.shape(input_ids)[1])[None]
        real = tf.cast(input_ids != padding_index, tf.int32)
        return tf.cumsum(real, axis=1) * real + padding_index

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b

    def normalize(self, x: Tensor, name: str) -> Tensor:
        centred = x - tf.reduce_mean(x, axis=-1, keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
        scaled = centred / tf.sqrt(variance + self.spec.epsilon)
        return scaled * self.named[f"{name}.weight"] + self.named[f"{name}.bias"]

    def linear(self, x: Tensor, name: str, outputs: slice = ALL) -> Tensor:
        weight, bias = (self.named[f"{name}.{kind}"][outputs] for kind in ("weight", "bias"))
        flat = tf.reshape(x, (-1, weight.shape[1]))  # a product of matrices is faster than one of batches
        product = tf.nn.bias_add(tf.matmul(flat, weight, transpose_b=True), bias)
        return tf.reshape(product, tf.concat([tf.shape(x)[:2], [weight.shape[0]]], axis=0))

    def split(self, x: Tensor, parts: int) -> Sequence[Tensor]:
        found: list[Tensor] = tf.split(x, parts, axis=-1)
        return found

    def attend(self, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor) -> Tensor:
        q, k, v = (self._by_head(x) for x in (query, key, value))
        scores = tf.matmul(q, k, transpose_b=True) / np.float32(self.spec.head_size**0.5)
        scores = tf.where(attention_mask[:, None, None, :] > 0, scores, np.float32(-np.inf))
        mixed = tf.matmul(tf.nn.softmax(scores, axis=-1), v)
        return tf.reshape(tf.transpose(mixed, (0, 2, 1, 3)), tf.shape(query))

    def activate(self, x: Tensor) -> Tensor:
        if self.spec.activation == "relu":
            return tf.nn.relu(x)
        return tf.nn.gelu(x, approximate=self.spec.activation == "gelu_tanh")

    def first(self, x: Tensor) -> Tensor:
        return x[:, :1]

    def mean(self, x: Tensor, attention_mask: Tensor) -> Tensor:
        mask = tf.cast(attention_mask[:, :, None], x.dtype)
        return tf.reduce_sum(x * mask, axis=1, keepdims=True) / tf.reduce_sum(mask, axis=1, keepdims=True)

    def join(self, states: Sequence[Tensor]) -> Tensor:
        return tf.concat(states, axis=1)

    def _by_head(self, x: Tensor) -> Tensor:
        heads, size = self.spec.attention_heads, self.spec.head_size
        return tf.transpose(tf.reshape(x, (tf.shape(x)[0], -1, heads, size)), (0, 2, 1, 3))


class TensorFlowEngine:
    """One traced function per bucket; the weights are tensors that all of them take.

    TensorFlow's threads are those of the process and fixed when it first computes: the first engine
    sets them to `options.threads` unless the program has set or used them; where they stay at another
    number, the engine warns. What TensorFlow logs below an error, and whatever is written to stderr
    while it is imported, is held back, unless the environment has `TF_CPP_MIN_LOG_LEVEL`.
    """

    name = "tensorflow"
    precision = "fp32"

    def __init__(self, bundle: Bundle, poolings: Sequence[Pooling], options: Options) -> None:
        """Read the weights, dequantized where they are int8.

        Raises ModelError when they do not fit, EngineError when TensorFlow does not start.
        """
        self.poolings = check_poolings(poolings)
        self.streams = options.streams
        spec = NetworkSpec.from_config(bundle.network, bundle.ref)
        named = parameters(load_weights(bundle.weights, spec, bundle.ref))
        try:
            _set_threads(options.threads)
            with tf.device("CPU:0"):
                tensors = {name: tf.constant(array) for name, array in named.items()}
        except Exception as error:  # the runtime's exceptions share no base but Exception
            raise _failure(error) from None
        self.buckets = Buckets(spec)
        self._programs = Programs(partial(_trace, spec, self.poolings, tensors))

    @property
    def compilations(self) -> int:
        """How many functions were traced up to now."""
        return self._programs.compiled

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """See `Engine.run`."""
        padded = self.buckets.fit(batch)
        try:
            return self._programs.at(shape_of(padded))(padded)[: len(batch)]
        except EngineError:
            raise
        except Exception as error:  # the runtime's exceptions share no base but Exception
            raise _failure(error) from None

    def close(self) -> None:
        """See `Engine.close`."""
        self._programs.close()


def _trace(
    spec: NetworkSpec, poolings: Sequence[Pooling], named: Mapping[str, Tensor], shape: Shape
) -> Program:
    def states(*inputs: Tensor) -> Tensor:
        with tf.device("CPU:0"):
            return forward(TensorFlowOps(spec, named), spec, inputs, poolings)

    ids = tf.TensorSpec(shape, tf.int32)
    program = tf.function(states, autograph=False).get_concrete_function(ids, ids, ids)

    def run(batch: Batch) -> NDArray[np.float32]:
        inputs = (batch.input_ids, batch.attention_mask, batch.token_type_ids)
        found: NDArray[np.float32] = program(*map(tf.constant, inputs)).numpy()
        return found

    return run


def _set_threads(wanted: int) -> None:
    threading = tf.config.threading
    if not threading.get_intra_op_parallelism_threads():
        try:
            threading.set_intra_op_parallelism_threads(wanted)
            if not threading.get_inter_op_parallelism_threads():
                threading.set_inter_op_parallelism_threads(1)
        except RuntimeError:  # the program has computed with TensorFlow before
            log.warning("TensorFlow has started with threads of its own; %d cannot be set any more", wanted)
            return
    if (found := threading.get_intra_op_parallelism_threads()) != wanted:
        log.warning("TensorFlow keeps the %d threads that this process has set, not %d", found, wanted)


def _failure(error: Exception) -> EngineError:
    return failure("TensorFlow", error, memory=isinstance(error, tf.errors.ResourceExhaustedError))
