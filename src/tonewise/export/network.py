"""What every format holds: an encoder and what follows its pooled state, told once over any runtime."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from tonewise.encoder.forward import Ops, forward
from tonewise.encoder.int8 import GraphPrecision, Quantization
from tonewise.encoder.weights import Linear, Matrix, NetworkSpec, Weights, load_weights, read_head
from tonewise.engines.graph_cache import quantization_of
from tonewise.errors import ModelError
from tonewise.head import Head
from tonewise.store import Activation, Bundle, Pooling

X = TypeVar("X")
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True, slots=True)
class Network:
    """One model as it is exported.

    weights    the encoder's, and the head's as the linear layers `head.dense` and `head.output`
    head       the selected one; none where the bundle has none, which is then exported as its embedding
    pooling    of the state that the head or the embedding reads
    normalize  the embedding has length 1
    ranges     what int8 rounds by; None for fp32
    """

    bundle: Bundle
    weights: Weights
    head: Head | None
    pooling: Pooling
    normalize: bool
    ranges: Quantization | None

    @classmethod
    def read(cls, bundle: Bundle, precision: GraphPrecision) -> "Network":
        """Read a bundle with one selected head, or with none.

        Raises ModelError for several heads, one that merges labels, weights that do not fit, vectors that are
        not computed here, and for int8 without activation ranges.
        """
        _check_one_head(bundle)
        spec = NetworkSpec.from_config(bundle.network, bundle.ref)
        ranges = _ranges(bundle, spec) if precision == "int8" else None
        weights = load_weights(bundle.weights, spec, bundle.ref)
        for name, one in bundle.heads.items():
            tensors = read_head(bundle.weights, one.dense, one.output, bundle.ref)
            head = Head(name, one, tensors)
            if len(head.labels) < len(one.labels):
                told = "merges labels, which an export of logits cannot hold"
                raise ModelError(f"{bundle.ref}: head '{name}' {told}; export the model it was mapped from")
            if head.inputs != spec.hidden_size:
                told = f"reads {head.inputs} numbers, but config.json tells of {spec.hidden_size}"
                raise ModelError(f"{bundle.ref}: head '{name}' {told}")
            whole = replace(weights, linears={**weights.linears, **_layers(tensors)})
            return cls(bundle, whole, head, one.pooling, False, ranges)
        how = bundle.manifest.embedding
        if "unsupported" in how:
            raise ModelError(f"{bundle.ref}: its vectors are not computed here: {how['unsupported']}")
        return cls(bundle, weights, None, how["pooling"], bool(how["normalize"]), ranges)

    @property
    def precision(self) -> GraphPrecision:
        """What the export computes in."""
        return "fp32" if self.ranges is None else "int8"

    @property
    def spec(self) -> NetworkSpec:
        """The encoder's shape."""
        return self.weights.spec

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs, each int[B, T]; types are left out where there is one of them or none."""
        return INPUTS if self.spec.type_count > 1 else INPUTS[:2]

    @property
    def output(self) -> str:
        """`logits` [B, L], before temperature; without a head `embedding` [B, H]."""
        return "logits" if self.head else "embedding"


def _check_one_head(bundle: Bundle) -> None:
    if len(bundle.heads) > 1:
        some = f"{bundle.ref.partition('#')[0]}#{next(iter(bundle.heads))}"
        told = f"an export holds one head, and this has {', '.join(bundle.heads)}"
        raise ModelError(f"{bundle.ref}: {told}; name one, as in {some}")


def _ranges(bundle: Bundle, spec: NetworkSpec) -> Quantization:
    if not bundle.manifest.activation_ranges:
        raise ModelError(
            f"{bundle.ref} has no activation ranges, which int8 needs; tonewise quantize fits them"
        )
    ranges = quantization_of(bundle.manifest)
    ranges.check(spec)
    return ranges


def _layers(tensors: Mapping[str, NDArray[np.float32]]) -> dict[str, Linear]:
    """A head's tensors as the linear layers that `answer` names."""
    return {
        f"head.{part}": Linear(Matrix(tensors[f"{part}.weight"]), tensors[f"{part}.bias"])
        for part in ("dense", "output")
        if f"{part}.weight" in tensors
    }


@dataclass(frozen=True, slots=True)
class Finish(Generic[X]):
    """What a runtime supplies beside `Ops`, each on [B, 1, H].

    activations  of a head's dense layer
    unit         to length 1 along H
    zeros        like int [B, T]
    """

    activations: Mapping[Activation, Callable[[X], X]]
    unit: Callable[[X], X]
    zeros: Callable[[X], X]


def answer(network: Network, ops: Ops[X], finish: Finish[X], inputs: Sequence[X]) -> X:
    """The inputs that `network.inputs` names → logits [B, 1, L], or the embedding [B, 1, H]."""
    input_ids, attention_mask, *types = inputs
    token_type_ids = types[0] if types else finish.zeros(input_ids)
    x = forward(ops, network.spec, (input_ids, attention_mask, token_type_ids), (network.pooling,))
    if network.head is None:
        return finish.unit(x) if network.normalize else x
    if network.head.spec.dense:
        activate: Any = finish.activations[network.head.spec.activation]
        x = activate(ops.linear(x, "head.dense"))
    return ops.linear(x, "head.output")
