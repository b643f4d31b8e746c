"""PyTorch on the processor or a GPU, in fp32 and bf16, over packed tokens: no padding is computed."""

from collections.abc import Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from threading import Lock, Thread

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tonewise.batching import Batch
from tonewise.encoder.weights import Linear, NetworkSpec, Weights, load_weights
from tonewise.engines.base import Options, check_ids, check_poolings
from tonewise.errors import EngineError, EngineMemoryError
from tonewise.store import Bundle, Pooling

NO_MEMORY = ("can't allocate memory", "not enough memory", "bad_alloc")
"""What the allocators of Linux, of Windows and of C++ say."""


class TorchEngine:
    """Plain functions of torch on one device, run by threads of the engine's own.

    torch keeps its number of threads, autocast and the like for each thread that computes. Those of the
    caller neither reach the engine's threads nor are changed by them. What torch keeps for the process is
    in force here too: after `torch.set_float32_matmul_precision("high")` a GPU's fp32 is TF32.
    """

    name = "torch"

    def __init__(self, bundle: Bundle, poolings: Sequence[Pooling], options: Options) -> None:
        """Copy the weights to the device; the streams share the threads. Nothing is built, nothing cached.

        Raises ModelError, or EngineError when torch does not see the device or the weights do not fit it.
        """
        self.streams = options.streams
        self.poolings = check_poolings(poolings)
        self.precision: str = options.precision
        if options.device == "cuda" and not torch.cuda.is_available():
            wanted = "leave out the device, or install a torch that is built for this GPU"
            raise EngineError(f"{bundle.ref}: torch {torch.__version__} sees no cuda device; {wanted}")
        spec = NetworkSpec.from_config(bundle.network, bundle.ref)
        weights = load_weights(bundle.weights, spec, bundle.ref)
        dtype = torch.bfloat16 if options.precision == "bf16" else torch.float32
        try:
            network = _Network(weights, self.poolings, dtype, torch.device(options.device))
        except Exception as error:  # torch raises what its devices and libraries raise
            raise EngineError(f"{bundle.ref}: torch cannot open the network: {_line(error)}") from None
        self._network: _Network | None = network
        threads = max(1, options.threads // options.streams)
        self._workers = ThreadPoolExecutor(options.streams, "tonewise-torch", _take_threads, (threads,))

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """See `Engine.run`; more calls than there are streams wait for one another."""
        network = self._network
        if network is None:
            raise EngineError("the engine is closed")
        _check(batch, network.spec)
        try:
            return self._workers.submit(_run, network, batch).result()
        except (CancelledError, RuntimeError) as error:  # the workers are gone, or none can be started
            said = f"torch failed: {_line(error)}" if self._network else "the engine is closed"
            raise EngineError(said) from None

    def close(self) -> None:
        """See `Engine.close`; a batch in hand is finished."""
        self._network = None
        self._workers.shutdown(cancel_futures=True)


_STARTING = Lock()


def _take_threads(threads: int) -> None:
    """Have this new thread compute with so many, and leave the process's default as it was.

    `torch.set_num_threads` counts for the thread that calls it and for those that have not computed yet.
    """
    with _STARTING:
        # Asked first: a thread that has computed nothing would take the default with its first operation.
        default = torch.get_num_threads()
        torch.set_num_threads(threads)
        restoring = Thread(target=torch.set_num_threads, args=(default,))
        restoring.start()
        restoring.join()


def _check(batch: Batch, spec: NetworkSpec) -> None:
    """Refuse what no table has a row for; on a GPU such an index would end every later operation."""
    check_ids(batch)
    lengths = batch.attention_mask.sum(axis=1)
    if lengths.min() < 1:
        raise EngineError("a row without tokens")
    if lengths.max() > spec.max_length:
        raise EngineError(f"a row of {lengths.max()} tokens; the model reads {spec.max_length}")
    if batch.input_ids.max() >= spec.vocabulary_size:
        raise EngineError(f"no token {batch.input_ids.max()}; the model has {spec.vocabulary_size}")
    if spec.type_count and batch.token_type_ids.max() >= spec.type_count:
        raise EngineError(f"no type {batch.token_type_ids.max()}; the model has {spec.type_count}")


def _run(network: "_Network", batch: Batch) -> NDArray[np.float32]:
    """float32[B, P, H]. Raises EngineError, EngineMemoryError."""
    try:
        packed = _pack(batch, network.spec)
        with torch.inference_mode():
            found = network.forward(packed).cpu().numpy()
        states: NDArray[np.float32] = np.empty_like(found)
        states[packed.order] = found
    except Exception as error:  # torch raises what its devices and libraries raise
        line = _line(error)
        memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
            one in line for one in NO_MEMORY
        )
        raise (EngineMemoryError if memory else EngineError)(f"torch failed: {line}") from None
    return states


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


@dataclass(frozen=True, slots=True)
class _Packed:
    """The real tokens of a batch, row after row, the shortest row first: S tokens of B rows.

    input_ids, positions, token_type_ids  int64[S]
    order   int64[B]  where each row stands in the batch
    starts  int64[B]  where its first token stands among the S
    groups  rows of one length: which of the B, and which of the S
    """

    input_ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    token_type_ids: NDArray[np.int64]
    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    groups: Sequence[tuple[slice, slice]]


def _pack(batch: Batch, spec: NetworkSpec) -> _Packed:
    lengths = batch.attention_mask.sum(axis=1)
    order = np.argsort(lengths, kind="stable")
    real = batch.attention_mask[order] > 0
    input_ids = batch.input_ids[order]
    if spec.padding_index is None:
        positions = np.broadcast_to(np.arange(real.shape[1]), real.shape)
    else:
        counted = input_ids != spec.padding_index
        positions = np.cumsum(counted, axis=1) * counted + spec.padding_index
    ends = np.cumsum(lengths[order])
    bounds = np.flatnonzero(np.diff(lengths[order], prepend=0, append=0)).tolist()
    edges = [0, *ends.tolist()]
    groups = [(slice(begin, end), slice(edges[begin], edges[end])) for begin, end in pairwise(bounds)]
    return _Packed(
        input_ids[real].astype(np.int64),
        positions[real].astype(np.int64),
        batch.token_type_ids[order][real].astype(np.int64),
        order,
        ends - lengths[order],
        groups,
    )


class _Linear:
    """x Wᵀ + b: [S, in] → [S, out] in the dtype of the weights."""

    def __init__(self, linear: Linear, dtype: torch.dtype, device: torch.device) -> None:
        weight = torch.tensor(linear.weight.dense()).to(device, dtype)
        bias = torch.tensor(linear.bias).to(device, dtype)
        # For float32 torch takes MKL by itself, which on some processors is half as fast as oneDNN.
        onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        self._onednn = onednn and dtype == torch.float32 and device.type == "cpu"
        self._weight, self._bias = (weight.to_mkldnn(), bias.to_mkldnn()) if self._onednn else (weight, bias)

    def __call__(self, x: Tensor) -> Tensor:
        if self._onednn:
            return functional.linear(x.to_mkldnn(), self._weight, self._bias).to_dense()
        return functional.linear(x.to(self._weight.dtype), self._weight, self._bias)


class _Network:
    """The encoder of `encoder/forward.py` on packed tokens.

    In bf16 the linear layers, the activation and the attention take and give bf16; sums of residuals and
    normalization stay in float32: in bf16 they are a tenth faster, and a label in a thousand changes.
    """

    def __init__(
        self, weights: Weights, poolings: tuple[Pooling, ...], dtype: torch.dtype, device: torch.device
    ) -> None:
        self.spec, self.poolings, self.device = weights.spec, poolings, device
        self._last = weights.spec.layers - 1
        self._only_first = poolings == ("first",)
        linears = dict(weights.linears)
        if self._only_first:
            qkv = linears.pop(f"layer.{self._last}.qkv")
            linears["first.query"] = qkv.rows(slice(0, weights.spec.hidden_size))
            linears["first.key_value"] = qkv.rows(slice(weights.spec.hidden_size, None))
        self._linears = {name: _Linear(linear, dtype, device) for name, linear in linears.items()}
        self._tables = {
            name: torch.tensor(table.dense()).to(device, dtype) for name, table in weights.tables.items()
        }
        self._norms = {
            name: (torch.tensor(norm.weight).to(device), torch.tensor(norm.bias).to(device))
            for name, norm in weights.norms.items()
        }

    def forward(self, packed: _Packed) -> Tensor:
        """float32[B, P, H], in the order of the packed rows."""
        x = self._embed(packed)
        for i in range(self._last):
            x = self._layer(x, packed, f"layer.{i}")
        starts = self._put(packed.starts)
        if self._only_first:
            return self._layer_of_first(x, x[starts], packed, f"layer.{self._last}")[:, None]
        x = self._layer(x, packed, f"layer.{self._last}")
        pools = {"first": lambda: x[starts], "mean": lambda: _means(x, packed)}
        return torch.stack([pools[pooling]() for pooling in self.poolings], dim=1)

    def _put(self, ids: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(ids).to(self.device)

    def _embed(self, packed: _Packed) -> Tensor:
        x = self._look_up("word", packed.input_ids) + self._look_up("position", packed.positions)
        if self.spec.type_count:
            x += self._look_up("type", packed.token_type_ids)
        return self._normalize(x, "embedding_norm")

    def _look_up(self, table: str, ids: NDArray[np.int64]) -> Tensor:
        return functional.embedding(self._put(ids), self._tables[table]).float()

    def _normalize(self, x: Tensor, name: str) -> Tensor:
        return functional.layer_norm(x, (self.spec.hidden_size,), *self._norms[name], self.spec.epsilon)

    def _layer(self, x: Tensor, packed: _Packed, name: str) -> Tensor:
        query, key, value = self._linears[f"{name}.qkv"](x).chunk(3, dim=1)
        attended = [
            self._attend(query[tokens], key[tokens], value[tokens], rows) for rows, tokens in packed.groups
        ]
        return self._after_attention(x, torch.cat(attended), name)

    def _layer_of_first(self, x: Tensor, top: Tensor, packed: _Packed, name: str) -> Tensor:
        """The layer's output for the first tokens alone: [S, H] and [B, H] → [B, H]."""
        query = self._linears["first.query"](top)
        key, value = self._linears["first.key_value"](x).chunk(2, dim=1)
        attended = [
            self._attend(query[rows], key[tokens], value[tokens], rows) for rows, tokens in packed.groups
        ]
        return self._after_attention(top, torch.cat(attended), name)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, rows: slice) -> Tensor:
        """The attention of rows of one length, so without a mask."""
        shape = (rows.stop - rows.start, -1, self.spec.attention_heads, self.spec.head_size)
        q, k, v = (x.view(shape).transpose(1, 2) for x in (query, key, value))
        return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(query.shape)

    def _after_attention(self, x: Tensor, attended: Tensor, name: str) -> Tensor:
        x = self._normalize(self._linears[f"{name}.attention_out"](attended) + x, f"{name}.attention_norm")
        inner = self._activate(self._linears[f"{name}.up"](x))
        return self._normalize(self._linears[f"{name}.down"](inner) + x, f"{name}.output_norm")

    def _activate(self, x: Tensor) -> Tensor:
        if self.spec.activation == "relu":
            return functional.relu(x)
        return functional.gelu(x, approximate="tanh" if self.spec.activation == "gelu_tanh" else "none")


def _means(x: Tensor, packed: _Packed) -> Tensor:
    """The mean of each row's tokens: [S, H] → [B, H]."""
    rows_of = [x[tokens].view(rows.stop - rows.start, -1, x.shape[1]) for rows, tokens in packed.groups]
    return torch.cat([of.mean(dim=1) for of in rows_of])
