"""JAX on the processor, in fp32: the page of `encoder/forward.py` under `jit`, compiled once per bucket."""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import NDArray

from tonewise.batching import Batch
from tonewise.encoder.forward import ALL, forward
from tonewise.encoder.weights import NetworkSpec, load_weights
from tonewise.engines.base import Options, check_poolings
from tonewise.engines.buckets import Buckets, Shape, shape_of
from tonewise.engines.compiled import Program, Programs, failure, parameters
from tonewise.engines.machine import processors
from tonewise.errors import EngineError
from tonewise.store import Bundle, Pooling
from tonewise.store.files import reason

Array = Any
"""A JAX array, or the tracer that stands for one."""
EXACT = lax.Precision.HIGHEST

log = logging.getLogger("tonewise")


class JaxOps:
    """The operations in JAX, on `parameters` by canonical names: arrays, or tracers of them under `jit`."""

    def __init__(self, spec: NetworkSpec, named: Mapping[str, Array]) -> None:
        self.spec, self.named = spec, named

    def look_up(self, table: str, ids: Array) -> Array:
        return jnp.take(self.named[f"{table}.weight"], ids, axis=0, mode="clip")

    def positions(self, input_ids: Array, padding_index: int | None) -> Array:
        if padding_index is None:
            return jnp.arange(input_ids.shape[1], dtype=jnp.int32)[None]
        real = (input_ids != padding_index).astype(jnp.int32)
        return jnp.cumsum(real, axis=1) * real + padding_index

    def add(self, a: Array, b: Array) -> Array:
        return a + b

    def normalize(self, x: Array, name: str) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        deviation = jnp.sqrt((centred**2).mean(axis=-1, keepdims=True) + self.spec.epsilon)
        return centred / deviation * self.named[f"{name}.weight"] + self.named[f"{name}.bias"]

    def linear(self, x: Array, name: str, outputs: slice = ALL) -> Array:
        weight, bias = (self.named[f"{name}.{kind}"][outputs] for kind in ("weight", "bias"))
        return jnp.einsum("bti,oi->bto", x, weight, precision=EXACT) + bias

    def split(self, x: Array, parts: int) -> Sequence[Array]:
        return jnp.split(x, parts, axis=-1)

    def attend(self, query: Array, key: Array, value: Array, attention_mask: Array) -> Array:
        q, k, v = (self._by_head(x) for x in (query, key, value))
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k, precision=EXACT) / np.float32(self.spec.head_size**0.5)
        scores = jnp.where(attention_mask[:, None, None, :] > 0, scores, -jnp.inf)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores, axis=-1), v, precision=EXACT)
        return mixed.reshape(query.shape)

    def activate(self, x: Array) -> Array:
        if self.spec.activation == "relu":
            return jnp.maximum(x, 0)
        return jax.nn.gelu(x, approximate=self.spec.activation == "gelu_tanh")

    def first(self, x: Array) -> Array:
        return x[:, :1]

    def mean(self, x: Array, attention_mask: Array) -> Array:
        mask = attention_mask[:, :, None].astype(x.dtype)
        return (x * mask).sum(axis=1, keepdims=True) / mask.sum(axis=1, keepdims=True)

    def join(self, states: Sequence[Array]) -> Array:
        return jnp.concatenate(states, axis=1)

    def _by_head(self, x: Array) -> Array:
        return x.reshape(*x.shape[:2], self.spec.attention_heads, self.spec.head_size)


class JaxEngine:
    """One XLA program per bucket; the weights are its argument, not part of it.

    Programs are kept on disk under `options.cache`/jax by JAX's own cache, which is one for the whole
    process: unless a program has set `jax_compilation_cache_dir` (or its environment variable), the first
    engine sets it, and `jax_persistent_cache_min_compile_time_secs` to 0. `options.threads` cannot be
    told to JAX, which uses every processor that this process may use; asked for another number, the
    engine warns.
    """

    name = "jax"
    precision = "fp32"

    def __init__(self, bundle: Bundle, poolings: Sequence[Pooling], options: Options) -> None:
        """Read the weights, dequantized where they are int8.

        Raises ModelError when they do not fit, EngineError when JAX does not start.
        """
        self.poolings = check_poolings(poolings)
        self.streams = options.streams
        spec = NetworkSpec.from_config(bundle.network, bundle.ref)
        named = parameters(load_weights(bundle.weights, spec, bundle.ref))
        _tell_of_threads(options.threads)
        _keep_programs(options.cache / "jax")
        try:
            on_device = jax.device_put(named, jax.devices("cpu")[0])
        except Exception as error:  # the runtime's exceptions share no base but Exception
            raise _failure(error) from None
        self.buckets = Buckets(spec)
        self._programs = Programs(partial(_compile, spec, self.poolings, on_device))

    @property
    def compilations(self) -> int:
        """How many programs were made, or fetched from disk, up to now."""
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


@partial(jax.jit, static_argnums=(0, 1))
def _states(
    spec: NetworkSpec, poolings: tuple[Pooling, ...], named: Mapping[str, Array], *inputs: Array
) -> Array:
    return forward(JaxOps(spec, named), spec, inputs, poolings)


def _compile(
    spec: NetworkSpec, poolings: tuple[Pooling, ...], named: Mapping[str, Array], shape: Shape
) -> Program:
    ids = np.zeros(shape, np.int32)
    program = _states.lower(spec, poolings, named, ids, ids, ids).compile()

    def run(batch: Batch) -> NDArray[np.float32]:
        return np.array(program(named, batch.input_ids, batch.attention_mask, batch.token_type_ids))

    return run


def _keep_programs(folder: Path) -> None:
    """Have JAX keep its programs in the folder, unless the user has chosen one."""
    config: Any = jax.config  # whose settings are made as it runs
    if config.jax_compilation_cache_dir is not None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        log.warning("the cache %s cannot be written (%s); JAX compiles at each start", folder, reason(error))
        return
    config.update("jax_compilation_cache_dir", str(folder))
    config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _tell_of_threads(wanted: int) -> None:
    if wanted != (usable := processors()):
        log.warning("JAX cannot be told to use %d threads; it uses all %d processors", wanted, usable)


def _failure(error: Exception) -> EngineError:
    return failure("JAX", error, memory="RESOURCE_EXHAUSTED" in str(error))
