"""One forward pass over a dozen named array operations: the definition of the network, and the oracle.

Vaswani et al. 2017 (arXiv:1706.03762) as Devlin et al. 2018 (arXiv:1810.04805) encode text with it;
DistilBERT (arXiv:1910.01108) has no type table, RoBERTa (arXiv:1907.11692) counts positions from its
padding index. Whoever supplies `Ops` computes the same network: numpy here, an ONNX graph in `graph.py`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from tonewise.batching import Batch
from tonewise.encoder.weights import NetworkSpec, Weights
from tonewise.store import Pooling

X = TypeVar("X")
ALL = slice(None)


class Ops(Protocol[X]):
    """The operations that a runtime supplies. B rows, T tokens, H hidden, P poolings."""

    def look_up(self, table: str, ids: X) -> X:
        """Rows of a table: ids [B, T] → [B, T, H]."""
        ...

    def positions(self, input_ids: X, padding_index: int | None) -> X:
        """Position ids [B or 1, T]: 0, 1, 2 …, or RoBERTa's count from the padding index."""
        ...

    def add(self, a: X, b: X) -> X:
        """a + b, broadcast."""
        ...

    def normalize(self, x: X, name: str) -> X:
        """Layer normalization over H with the named weight and bias."""
        ...

    def linear(self, x: X, name: str, outputs: slice = ALL) -> X:
        """x Wᵀ + b; `outputs` picks some rows of the named W and b."""
        ...

    def split(self, x: X, parts: int) -> Sequence[X]:
        """Cut the last axis into equal parts."""
        ...

    def attend(self, query: X, key: X, value: X, attention_mask: X) -> X:
        """softmax(q kᵀ / √d + mask) v by heads: [B, Tq, H], [B, T, H], [B, T, H], [B, T] → [B, Tq, H]."""
        ...

    def activate(self, x: X) -> X:
        """The feed-forward activation."""
        ...

    def first(self, x: X) -> X:
        """The first token: [B, T, H] → [B, 1, H]."""
        ...

    def mean(self, x: X, attention_mask: X) -> X:
        """The mean over the real tokens: [B, T, H] → [B, 1, H]."""
        ...

    def join(self, states: Sequence[X]) -> X:
        """Pooled states side by side: P × [B, 1, H] → [B, P, H]."""
        ...


def forward(ops: Ops[X], spec: NetworkSpec, inputs: tuple[X, X, X], poolings: Sequence[Pooling]) -> X:
    """(input_ids, attention_mask, token_type_ids), each int [B, T] → pooled states [B, P, H].

    Where only the first token's state is wanted, the last layer computes queries, output and
    feed-forward for that token alone: the same numbers for about a seventh less work in six layers.
    """
    input_ids, attention_mask, token_type_ids = inputs
    x = ops.add(
        ops.look_up("word", input_ids),
        ops.look_up("position", ops.positions(input_ids, spec.padding_index)),
    )
    if spec.type_count:
        x = ops.add(x, ops.look_up("type", token_type_ids))
    x = ops.normalize(x, "embedding_norm")
    for i in range(spec.layers - 1):
        x = _layer(ops, x, attention_mask, f"layer.{i}")
    only_first = tuple(poolings) == ("first",)
    last = f"layer.{spec.layers - 1}"
    if only_first:
        x = _layer_of_first(ops, x, attention_mask, last, spec.hidden_size)
    else:
        x = _layer(ops, x, attention_mask, last)
    pools = {"first": lambda: ops.first(x), "mean": lambda: ops.mean(x, attention_mask)}
    return ops.join([pools[pooling]() for pooling in poolings])


def _layer(ops: Ops[X], x: X, attention_mask: X, name: str) -> X:
    query, key, value = ops.split(ops.linear(x, f"{name}.qkv"), 3)
    return _after_attention(ops, x, ops.attend(query, key, value, attention_mask), name)


def _layer_of_first(ops: Ops[X], x: X, attention_mask: X, name: str, hidden: int) -> X:
    """The layer's output for the first token alone: [B, T, H] → [B, 1, H]."""
    top = ops.first(x)
    query = ops.linear(top, f"{name}.qkv", slice(0, hidden))
    key, value = ops.split(ops.linear(x, f"{name}.qkv", slice(hidden, 3 * hidden)), 2)
    return _after_attention(ops, top, ops.attend(query, key, value, attention_mask), name)


def _after_attention(ops: Ops[X], x: X, attended: X, name: str) -> X:
    x = ops.normalize(ops.add(ops.linear(attended, f"{name}.attention_out"), x), f"{name}.attention_norm")
    inner = ops.activate(ops.linear(x, f"{name}.up"))
    return ops.normalize(ops.add(ops.linear(inner, f"{name}.down"), x), f"{name}.output_norm")


Array = Any
"""A numpy array; the operators of one that may have any precision are typed Any."""
Observe = Callable[[str, Array], None]


class NumpyOps:
    """The operations in numpy, at the precision of `dtype`: float64 makes it the oracle.

    `observe(name, x)` is told the input of each linear layer.
    """

    def __init__(self, weights: Weights, dtype: type = np.float64, observe: Observe | None = None) -> None:
        self.spec, self.weights, self.dtype = weights.spec, weights, dtype
        self.observe = observe
        self._dense: dict[str, Array] = {}

    def look_up(self, table: str, ids: Array) -> Array:
        return self._of(table, self.weights.tables[table].dense)[ids]

    def positions(self, input_ids: Array, padding_index: int | None) -> Array:
        if padding_index is None:
            return np.arange(input_ids.shape[1])[None]
        real = input_ids != padding_index
        return np.cumsum(real, axis=1) * real + padding_index

    def add(self, a: Array, b: Array) -> Array:
        return a + b

    def normalize(self, x: Array, name: str) -> Array:
        norm = self.weights.norms[name]
        centred = x - x.mean(axis=-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + self.spec.epsilon)
        return centred / deviation * norm.weight.astype(self.dtype) + norm.bias.astype(self.dtype)

    def linear(self, x: Array, name: str, outputs: slice = ALL) -> Array:
        if self.observe:
            self.observe(name, x)
        linear = self.weights.linears[name]
        weight = self._of(name, linear.weight.dense)[outputs]
        return x @ weight.T + linear.bias[outputs].astype(self.dtype)

    def split(self, x: Array, parts: int) -> Sequence[Array]:
        return np.split(x, parts, axis=-1)

    def attend(self, query: Array, key: Array, value: Array, attention_mask: Array) -> Array:
        q, k, v = (self._by_head(x) for x in (query, key, value))
        scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(self.dtype(self.spec.head_size))
        scores = np.where(attention_mask[:, None, None, :] > 0, scores, -np.inf)
        exponent = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = exponent / exponent.sum(axis=-1, keepdims=True) @ v
        return mixed.transpose(0, 2, 1, 3).reshape(query.shape)

    def activate(self, x: Array) -> Array:
        if self.spec.activation == "relu":
            return np.maximum(x, 0)
        if self.spec.activation == "gelu_tanh":
            return x / 2 * (1 + np.tanh(np.sqrt(self.dtype(2 / np.pi)) * (x + 0.044715 * x**3)))
        return x / 2 * (1 + erf(x / np.sqrt(self.dtype(2))))

    def first(self, x: Array) -> Array:
        return x[:, :1]

    def mean(self, x: Array, attention_mask: Array) -> Array:
        mask = attention_mask[:, :, None].astype(self.dtype)
        return (x * mask).sum(axis=1, keepdims=True) / mask.sum(axis=1, keepdims=True)

    def join(self, states: Sequence[Array]) -> Array:
        return np.concatenate(states, axis=1)

    def _by_head(self, x: Array) -> Array:
        b, t, _ = x.shape
        return x.reshape(b, t, self.spec.attention_heads, self.spec.head_size).transpose(0, 2, 1, 3)

    def _of(self, name: str, dense: Callable[[], NDArray[np.float32]]) -> Array:
        """The tensor at this precision, converted once."""
        if name not in self._dense:
            self._dense[name] = dense().astype(self.dtype)
        return self._dense[name]


_STEPS = 64
_REACH = 6  # erf differs from ±1 by less than 3e-17 beyond
_GRID = np.arange(-_REACH * _STEPS, _REACH * _STEPS + 1) / _STEPS


def _taylor_terms() -> NDArray[np.float64]:
    """float64[points, 7]: erf's Taylor coefficients about each grid point, by Hermite's recursion."""
    hermite = [np.ones_like(_GRID), 2 * _GRID]
    for n in range(1, 5):
        hermite.append(2 * _GRID * hermite[n] - 2 * n * hermite[n - 1])
    slope = 2 / math.sqrt(math.pi) * np.exp(-(_GRID**2))
    terms = [np.array([math.erf(x) for x in _GRID])]
    terms += [(-1) ** n * h * slope / math.factorial(n + 1) for n, h in enumerate(hermite)]
    return np.stack(terms, axis=1)


def erf(x: NDArray[Any]) -> NDArray[Any]:
    """The error function to 1e-15 in float64, by Taylor about the nearest of 769 points."""
    bounded = np.clip(x.astype(np.float64, copy=False), -_REACH, _REACH)
    nearest = np.rint(bounded * _STEPS).astype(np.int64)
    terms = _TERMS[nearest + _REACH * _STEPS]
    step = bounded - nearest / _STEPS
    total = terms[..., -1]
    for n in range(terms.shape[-1] - 2, -1, -1):
        total = total * step + terms[..., n]
    result: NDArray[Any] = total.astype(x.dtype, copy=False)
    return result


_TERMS = _taylor_terms()


def run_numpy(ops: NumpyOps, batch: Batch, poolings: Sequence[Pooling]) -> Array:
    """One batch through the oracle: pooled states [B, P, H] at its precision."""
    inputs = (batch.input_ids, batch.attention_mask, batch.token_type_ids)
    return forward(ops, ops.spec, inputs, poolings)
