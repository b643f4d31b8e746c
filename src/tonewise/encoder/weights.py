"""Checkpoint names → canonical tensors, for the DistilBERT, BERT and RoBERTa/XLM-R families.

Canonical names: `word`, `position`, `type` (tables), `embedding_norm`, and for each layer i
`layer.i.qkv`, `layer.i.attention_out`, `layer.i.attention_norm`, `layer.i.up`, `layer.i.down`,
`layer.i.output_norm`; each with `.weight` and, but for tables, `.bias`. A linear weight is
`[out, in]` as in the checkpoint; `qkv` stacks the query, key and value rows.
"""

import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from tonewise.errors import ModelError

Family = Literal["distilbert", "bert", "roberta"]
FAMILIES: dict[str, Family] = {
    "distilbert": "distilbert",
    "bert": "bert",
    "roberta": "roberta",
    "xlm-roberta": "roberta",
}
SCALE = "_scale"
ACTIVATIONS = {"gelu": "gelu", "relu": "relu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"}
DTYPES = ("F32", "F16", "BF16", "F64", "I8")


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """The shape of an encoder, read from `config.json`.

    activation     gelu (by erf) | gelu_tanh | relu
    max_length     longest row, special tokens included
    padding_index  set for RoBERTa, whose positions count from it over the tokens that are not padding
    type_count     rows of the type table; 0 where the family has none
    """

    family: Family
    vocabulary_size: int
    hidden_size: int
    layers: int
    attention_heads: int
    intermediate_size: int
    activation: str
    epsilon: float
    max_length: int
    type_count: int
    padding_index: int | None

    @classmethod
    def from_config(cls, config: Mapping[str, Any], ref: str) -> Self:
        """Read a Hugging Face `config.json`. Raises ModelError for what this encoder does not compute."""
        kind = str(config.get("model_type"))
        if kind not in FAMILIES:
            raise ModelError(f"{ref}: model_type '{kind}' is not supported; supported: {', '.join(FAMILIES)}")
        _refuse_variants(config, ref)
        spec = cls._read(FAMILIES[kind], config, ref)
        if spec.max_length < 1:
            raise ModelError(f"{ref}: config.json: its positions leave no room for a text")
        if spec.hidden_size % spec.attention_heads:
            heads = f"{spec.attention_heads} heads"
            raise ModelError(f"{ref}: {spec.hidden_size} hidden units do not divide into {heads}")
        return spec

    @classmethod
    def _read(cls, family: Family, config: Mapping[str, Any], ref: str) -> Self:
        distil = family == "distilbert"
        padding = _whole(config, "pad_token_id", ref, least=0, default=1) if family == "roberta" else None
        positions = _whole(config, "max_position_embeddings", ref)
        return cls(
            family=family,
            vocabulary_size=_whole(config, "vocab_size", ref),
            hidden_size=_whole(config, "dim" if distil else "hidden_size", ref),
            layers=_whole(config, "n_layers" if distil else "num_hidden_layers", ref),
            attention_heads=_whole(config, "n_heads" if distil else "num_attention_heads", ref),
            intermediate_size=_whole(config, "hidden_dim" if distil else "intermediate_size", ref),
            activation=_activation(config, "activation" if distil else "hidden_act", ref),
            epsilon=1e-12 if distil else _epsilon(config, ref),
            max_length=positions if padding is None else positions - padding - 1,
            type_count=0 if distil else _whole(config, "type_vocab_size", ref, least=0, default=2),
            padding_index=padding,
        )

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.attention_heads

    @property
    def position_rows(self) -> int:
        """Rows of the position table: RoBERTa's first ones, up to its padding index, hold no token."""
        return self.max_length + (0 if self.padding_index is None else self.padding_index + 1)


def _refuse_variants(config: Mapping[str, Any], ref: str) -> None:
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise ModelError(f"{ref}: relative position embeddings are not supported")
    if config.get("is_decoder"):
        raise ModelError(f"{ref}: a decoder is not supported; an encoder is wanted")


def _whole(
    config: Mapping[str, Any], name: str, ref: str, *, least: int = 1, default: int | None = None
) -> int:
    value = config.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ModelError(f"{ref}: config.json: {name} is {value!r}; wanted: a whole number from {least} on")
    return value


def _activation(config: Mapping[str, Any], name: str, ref: str) -> str:
    value = str(config.get(name))
    if value not in ACTIVATIONS:
        raise ModelError(f"{ref}: config.json: {name} is '{value}'; supported: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[value]


def _epsilon(config: Mapping[str, Any], ref: str) -> float:
    value = config.get("layer_norm_eps", 1e-12)
    if not isinstance(value, int | float) or not value > 0:
        raise ModelError(f"{ref}: config.json: layer_norm_eps is {value!r}; wanted: a number above 0")
    return float(value)


@dataclass(frozen=True, slots=True)
class Matrix:
    """float32[rows, columns] as stored: in float32, or as int8 with `scale` float32[rows]."""

    stored: NDArray[Any]
    scale: NDArray[np.float32] | None = None

    def dense(self) -> NDArray[np.float32]:
        """The values as float32, dequantized where they are int8."""
        return dequantized(self.stored, self.scale)


@dataclass(frozen=True, slots=True)
class Linear:
    """One linear layer: `weight` [out, in], `bias` float32[out]."""

    weight: Matrix
    bias: NDArray[np.float32]

    def rows(self, part: slice) -> "Linear":
        """The layer that computes some of the outputs."""
        scale = None if self.weight.scale is None else self.weight.scale[part]
        return Linear(Matrix(self.weight.stored[part], scale), self.bias[part])


@dataclass(frozen=True, slots=True)
class Norm:
    """One layer normalization: `weight` and `bias` float32[H]."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Weights:
    """An encoder's tensors by canonical names; tables are [rows, H]."""

    spec: NetworkSpec
    tables: Mapping[str, Matrix]
    norms: Mapping[str, Norm]
    linears: Mapping[str, Linear]


class Checkpoint:
    """Named tensors of one safetensors file, with or without the family's prefix."""

    def __init__(self, path: Path, ref: str) -> None:
        """Read the file's index. Raises ModelError when it is not safetensors."""
        self.path, self.ref = path, ref
        try:
            self._file = safe_open(path, framework="np")  # which checks the index that is read next
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{ref}: {path} is not a whole safetensors file: {error}") from None
        self._index, self._start = _index(path)

    def has(self, name: str) -> bool:
        """Whether the tensor is there under this exact name."""
        return name in self._index

    def read(self, name: str, shape: tuple[int, ...] | None = None) -> NDArray[Any]:
        """One tensor: int8 as it is, every float as float32.

        Raises ModelError for a missing one, one of another shape than `shape`, or one of other numbers.
        """
        if name not in self._index:
            raise ModelError(f"{self.ref}: {self.path.name} has no tensor '{name}'")
        dtype, found = self._index[name]["dtype"], self._index[name]["shape"]
        if shape is not None and found != list(shape):
            told = f"but config.json tells of {list(shape)}"
            raise ModelError(f"{self.ref}: {self.path.name}: tensor '{name}' is {found}, {told}")
        if dtype not in DTYPES:
            known = ", ".join(DTYPES)
            raise ModelError(f"{self.ref}: {self.path.name}: tensor '{name}' is {dtype}; wanted: {known}")
        if dtype == "BF16":
            return self._bfloat16(name)
        tensor: NDArray[Any] = self._file.get_tensor(name)  # type: ignore[no-untyped-call]
        return tensor if tensor.dtype == np.int8 else tensor.astype(np.float32, copy=False)

    def matrix(self, name: str, shape: tuple[int, ...] | None = None) -> "Matrix":
        """One tensor, with the scales that stand beside it where it is int8. Raises as `read` does."""
        stored = self.read(name, shape)
        return Matrix(stored, self.read(name + SCALE, stored.shape[:1]) if stored.dtype == np.int8 else None)

    def _bfloat16(self, name: str) -> NDArray[np.float32]:
        """numpy has no bfloat16: read the upper halves of float32 values and widen them."""
        start, end = self._index[name]["data_offsets"]
        with self.path.open("rb") as file:
            file.seek(self._start + start)
            halves = np.frombuffer(file.read(end - start), dtype="<u2")
        wide = (halves.astype(np.uint32) << 16).view(np.float32)
        return wide.reshape(self._index[name]["shape"])


def dequantized(tensor: NDArray[Any], scale: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """int8[out, ...] × float32[out] → float32; a float tensor as it is."""
    if scale is None:
        return tensor
    result: NDArray[np.float32] = tensor.astype(np.float32) * scale[:, None]
    return result


def load_weights(path: Path, spec: NetworkSpec, ref: str) -> Weights:
    """Read an encoder from safetensors by canonical names.

    Raises ModelError for a file that is no safetensors, a missing tensor, or a shape that
    `config.json` does not tell of.
    """
    checkpoint = Checkpoint(path, ref)
    prefix = _prefix(checkpoint, spec, ref)
    reader = _Reader(checkpoint, prefix, spec.hidden_size)
    return _distilbert(reader, spec) if spec.family == "distilbert" else _bert(reader, spec)


class _Reader:
    def __init__(self, checkpoint: Checkpoint, prefix: str, hidden: int) -> None:
        self.checkpoint, self.prefix, self.hidden = checkpoint, prefix, hidden

    def table(self, name: str, rows: int) -> Matrix:
        return self.checkpoint.matrix(f"{self.prefix}embeddings.{name}.weight", (rows, self.hidden))

    def norm(self, name: str) -> Norm:
        # Checkpoints converted from TensorFlow call them gamma and beta.
        old = self.checkpoint.has(f"{self.prefix}{name}.gamma")
        weight, bias = (
            self.checkpoint.read(f"{self.prefix}{name}.{kind}", (self.hidden,))
            for kind in (("gamma", "beta") if old else ("weight", "bias"))
        )
        return Norm(weight, bias)

    def linear(self, shape: tuple[int, int], *names: str) -> Linear:
        """One linear layer of this shape, or several stacked by their rows."""
        full = [self.prefix + name for name in names]
        parts = [self.checkpoint.matrix(f"{name}.weight", shape) for name in full]
        bias = np.concatenate([self.checkpoint.read(f"{name}.bias", shape[:1]) for name in full])
        scales = [part.scale for part in parts if part.scale is not None]
        if len(scales) == len(parts):
            return Linear(
                Matrix(np.concatenate([part.stored for part in parts]), np.concatenate(scales)), bias
            )
        return Linear(Matrix(np.concatenate([part.dense() for part in parts])), bias)


def _prefix(checkpoint: Checkpoint, spec: NetworkSpec, ref: str) -> str:
    for prefix in (f"{spec.family}.", "", "model.", "encoder_model."):
        name = f"{prefix}embeddings.word_embeddings.weight"
        if checkpoint.has(name):
            return prefix
    raise ModelError(f"{ref}: {checkpoint.path.name} holds no {spec.family} encoder (no word embeddings)")


def _distilbert(reader: _Reader, spec: NetworkSpec) -> Weights:
    hidden, inner = spec.hidden_size, spec.intermediate_size
    tables = {
        "word": reader.table("word_embeddings", spec.vocabulary_size),
        "position": reader.table("position_embeddings", spec.position_rows),
    }
    norms, linears = {"embedding_norm": reader.norm("embeddings.LayerNorm")}, {}
    for i in range(spec.layers):
        there, here = f"transformer.layer.{i}", f"layer.{i}"
        parts = (f"{there}.attention.{part}_lin" for part in "qkv")
        linears[f"{here}.qkv"] = reader.linear((hidden, hidden), *parts)
        linears[f"{here}.attention_out"] = reader.linear((hidden, hidden), f"{there}.attention.out_lin")
        linears[f"{here}.up"] = reader.linear((inner, hidden), f"{there}.ffn.lin1")
        linears[f"{here}.down"] = reader.linear((hidden, inner), f"{there}.ffn.lin2")
        norms[f"{here}.attention_norm"] = reader.norm(f"{there}.sa_layer_norm")
        norms[f"{here}.output_norm"] = reader.norm(f"{there}.output_layer_norm")
    return Weights(spec, tables, norms, linears)


def _bert(reader: _Reader, spec: NetworkSpec) -> Weights:
    hidden, inner = spec.hidden_size, spec.intermediate_size
    tables = {
        "word": reader.table("word_embeddings", spec.vocabulary_size),
        "position": reader.table("position_embeddings", spec.position_rows),
    }
    if spec.type_count:
        tables["type"] = reader.table("token_type_embeddings", spec.type_count)
    norms, linears = {"embedding_norm": reader.norm("embeddings.LayerNorm")}, {}
    for i in range(spec.layers):
        there, here = f"encoder.layer.{i}", f"layer.{i}"
        parts = (f"{there}.attention.self.{part}" for part in ("query", "key", "value"))
        linears[f"{here}.qkv"] = reader.linear((hidden, hidden), *parts)
        linears[f"{here}.attention_out"] = reader.linear((hidden, hidden), f"{there}.attention.output.dense")
        linears[f"{here}.up"] = reader.linear((inner, hidden), f"{there}.intermediate.dense")
        linears[f"{here}.down"] = reader.linear((hidden, inner), f"{there}.output.dense")
        norms[f"{here}.attention_norm"] = reader.norm(f"{there}.attention.output.LayerNorm")
        norms[f"{here}.output_norm"] = reader.norm(f"{there}.output.LayerNorm")
    return Weights(spec, tables, norms, linears)


def read_head(path: Path, dense: str | None, output: str, ref: str) -> dict[str, NDArray[np.float32]]:
    """A head's tensors as float32: `output.weight` [L, H], `output.bias` [L], and `dense.*` where named.

    Raises ModelError for a missing tensor.
    """
    checkpoint = Checkpoint(path, ref)
    parts = {"output": output} | ({"dense": dense} if dense else {})
    return {
        f"{part}.{kind}": checkpoint.matrix(f"{name}.{kind}").dense()
        for part, name in parts.items()
        for kind in ("weight", "bias")
    }


def _index(path: Path) -> tuple[dict[str, Any], int]:
    """The JSON index that opens a safetensors file, after 8 bytes of length, and where the data begins."""
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        table: dict[str, Any] = json.loads(file.read(size))
    table.pop("__metadata__", None)
    return table, 8 + size


def linear_names(spec: NetworkSpec) -> Iterable[str]:
    """Every linear layer's canonical name, in the order of computation."""
    for i in range(spec.layers):
        for part in ("qkv", "attention_out", "up", "down"):
            yield f"layer.{i}.{part}"
