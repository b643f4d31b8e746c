"""The network that learns: the encoder of `encoder/forward.py` as a torch module, and its heads."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tonewise.batching import Batch
from tonewise.encoder.weights import Linear, Matrix, Norm, Weights
from tonewise.store import Activation, Pooling, ProblemType
from tonewise.train.dropout import Dropout

INITIAL_DEVIATION = 0.02  # of new weights, as BERT's were drawn (Devlin et al. 2019)
SHORT = 100
"""Tokens up to which plain products are the faster there and back, in float32; in bf16 to 256 and more."""
HEAD_ACTIVATIONS: Mapping[Activation, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": functional.relu,
    "none": lambda x: x,
}


@dataclass(frozen=True, slots=True)
class HeadForm:
    """What a head is before it has learned.

    dense  a square layer and its activation stand before the output, as in the classifiers of transformers
    """

    labels: tuple[str, ...]
    problem_type: ProblemType
    pooling: Pooling
    dense: bool
    activation: Activation


class HeadModule(nn.Module):
    """float[B, H] → float[B, L]."""

    def __init__(self, form: HeadForm, hidden: int, dropout: Dropout) -> None:
        super().__init__()
        self.form, self._drop = form, dropout
        self.dense = nn.Linear(hidden, hidden) if form.dense else None
        self.output = nn.Linear(hidden, len(form.labels))
        for layer in (self.dense, self.output):
            if layer is not None:
                nn.init.normal_(layer.weight, std=INITIAL_DEVIATION)
                nn.init.zeros_(layer.bias)

    def forward(self, state: Tensor) -> Tensor:
        """Logits of pooled states."""
        if self.dense is not None:
            state = HEAD_ACTIVATIONS[self.form.activation](self.dense(self._drop(state)))
        logits: Tensor = self.output(self._drop(state))
        return logits

    def fill(self, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        """Take `dense.*` and `output.*`, those that are given."""
        for name, array in tensors.items():
            layer, kind = name.split(".")
            with torch.no_grad():
                getattr(getattr(self, layer), kind).copy_(torch.from_numpy(np.ascontiguousarray(array)))

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """`dense.*` and `output.*` as float32."""
        return {name: value.detach().float().cpu().numpy() for name, value in self.state_dict().items()}


class _Layer(nn.Module):
    """One layer of the encoder; its parts have the canonical names."""

    def __init__(self, weights: Weights, name: str, dropout: Dropout) -> None:
        super().__init__()
        spec = weights.spec
        self.heads, self._drop, self.activation = spec.attention_heads, dropout, spec.activation
        self.qkv, self.attention_out, self.up, self.down = (
            _linear(weights.linears[f"{name}.{part}"]) for part in ("qkv", "attention_out", "up", "down")
        )
        self.attention_norm = _norm(weights.norms[f"{name}.attention_norm"], spec.epsilon)
        self.output_norm = _norm(weights.norms[f"{name}.output_norm"], spec.epsilon)

    def forward(self, x: Tensor, mask: Tensor | None, *, first: bool) -> Tensor:
        """float[B, T, H] → the same, or with `first` float[B, 1, H], of the first token alone."""
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        if first:
            query, x = query[:, :1], x[:, :1]
        shape = (len(x), -1, self.heads, key.shape[-1] // self.heads)
        q, k, v = (one.reshape(shape).transpose(1, 2) for one in (query, key, value))
        joined = _attend(q, k, v, mask).transpose(1, 2).reshape(x.shape)
        x = self.attention_norm(self._drop(self.attention_out(joined)) + x)
        found: Tensor = self.output_norm(self._drop(self.down(self._activate(self.up(x)))) + x)
        return found

    def _activate(self, x: Tensor) -> Tensor:
        if self.activation == "relu":
            return functional.relu(x)
        return functional.gelu(x, approximate="tanh" if self.activation == "gelu_tanh" else "none")


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """float[B, heads, T, D]. For short texts plain products: the gradient of torch's attention is slow."""
    if k.shape[2] > SHORT and not torch.is_autocast_enabled(q.device.type):
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return torch.softmax(scores, dim=-1).to(v.dtype) @ v


class Network(nn.Module):
    """An encoder that learns.

    Of the word table only the rows that the texts at hand can meet are held: no other row has a gradient,
    and as tables have no weight decay, the optimizer would leave it as it is. For a vocabulary of 30,000
    that halves the work of a step beside the products.

    vocabulary  int64[V], sorted: the token ids whose rows are held
    """

    def __init__(self, weights: Weights, vocabulary: NDArray[np.int64], dropout: Dropout) -> None:
        super().__init__()
        self._origin, self.spec, self._drop = weights, weights.spec, dropout
        self.vocabulary = vocabulary
        tables = {name: table.dense() for name, table in weights.tables.items()}
        tables["word"] = tables["word"][vocabulary]
        # Not by their own names: a module has methods of its own, and `type` is one.
        self.tables = nn.ModuleDict({f"{name}_table": _table(table) for name, table in tables.items()})
        self.embedding_norm = _norm(weights.norms["embedding_norm"], weights.spec.epsilon)
        self.layer = nn.ModuleList(_Layer(weights, f"layer.{i}", dropout) for i in range(weights.spec.layers))

    def forward(self, batch: Batch, poolings: Sequence[Pooling]) -> dict[Pooling, Tensor]:
        """The pooled states of a batch, float[B, H] each. Raises ValueError for a token that is not held."""
        device = self.embedding_norm.weight.device
        mask = torch.from_numpy(batch.attention_mask > 0).to(device)
        x = self._embed(batch, device)
        full = bool(mask.all())
        only_first = set(poolings) == {"first"}
        for i, layer in enumerate(self.layer):
            last = i == len(self.layer) - 1
            x = layer(x, None if full else mask[:, None, None, :], first=last and only_first)
        found: dict[Pooling, Tensor] = {}
        for pooling in poolings:
            found[pooling] = x[:, 0] if pooling == "first" else _mean(x, mask)
        return found

    def _embed(self, batch: Batch, device: torch.device) -> Tensor:
        places = np.searchsorted(self.vocabulary, batch.input_ids).clip(max=len(self.vocabulary) - 1)
        if not np.array_equal(self.vocabulary[places], batch.input_ids):
            raise ValueError("a batch has token ids whose rows are not held")
        x = self.tables["word_table"](torch.from_numpy(places).to(device))
        x = x + self.tables["position_table"](torch.from_numpy(self._positions(batch)).to(device))
        if self.spec.type_count:
            x = x + self.tables["type_table"](
                torch.from_numpy(batch.token_type_ids.astype(np.int64)).to(device)
            )
        return self._drop(self.embedding_norm(x))

    def _positions(self, batch: Batch) -> NDArray[np.int64]:
        """int64[B, T], or [1, T] where all rows count alike."""
        padding = self.spec.padding_index
        if padding is None:
            return np.arange(batch.input_ids.shape[1], dtype=np.int64)[None]
        counted = batch.input_ids != padding
        positions: NDArray[np.int64] = np.cumsum(counted, axis=1, dtype=np.int64) * counted + padding
        return positions

    def weights(self) -> Weights:
        """What it has learned, by canonical names, in float32; rows that were not held as they were."""
        learned = self.tables.state_dict()
        tables = {name: Matrix(_array(learned[f"{name}_table.weight"])) for name in self._origin.tables}
        word = self._origin.tables["word"].dense().copy()
        word[self.vocabulary] = tables["word"].stored
        tables["word"] = Matrix(word)
        norms = {"embedding_norm": _as_norm(self.embedding_norm)}
        linears = {}
        for i, layer in enumerate(self.layer):
            for part in ("qkv", "attention_out", "up", "down"):
                module = getattr(layer, part)
                linears[f"layer.{i}.{part}"] = Linear(Matrix(_array(module.weight)), _array(module.bias))
            for part in ("attention_norm", "output_norm"):
                norms[f"layer.{i}.{part}"] = _as_norm(getattr(layer, part))
        return replace(self._origin, tables=tables, norms=norms, linears=linears)


def _mean(x: Tensor, mask: Tensor) -> Tensor:
    weight = mask[..., None].to(x.dtype)
    return (x * weight).sum(1) / weight.sum(1)


def _linear(linear: Linear) -> nn.Linear:
    weight = linear.weight.dense()
    module = nn.Linear(weight.shape[1], weight.shape[0])
    _fill(module, weight, linear.bias)
    return module


def _norm(norm: Norm, epsilon: float) -> nn.LayerNorm:
    module = nn.LayerNorm(len(norm.weight), epsilon)
    _fill(module, norm.weight, norm.bias)
    return module


def _table(table: NDArray[np.float32]) -> nn.Embedding:
    rows, width = table.shape
    return nn.Embedding(rows, width, _weight=torch.tensor(table))


def _fill(module: nn.Linear | nn.LayerNorm, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
    with torch.no_grad():
        module.weight.copy_(torch.tensor(weight))
        module.bias.copy_(torch.tensor(bias))


def _array(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.detach().float().cpu().numpy().copy()
    return array


def _as_norm(module: nn.LayerNorm) -> Norm:
    return Norm(_array(module.weight), _array(module.bias))
