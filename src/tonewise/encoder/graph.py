"""The same network as an ONNX graph, written straight from the weights, without torch."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tonewise.encoder.forward import ALL, forward
from tonewise.encoder.int8 import Range, affine, as_int8
from tonewise.encoder.weights import Linear, Weights, linear_names
from tonewise.errors import ModelError
from tonewise.store import Pooling

OPSET = 20
MICROSOFT = "com.microsoft"
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
MOST_BYTES = 2**31 - 2**20

GraphPrecision = Literal["fp32", "int8"]


def build_graph(
    weights: Weights,
    poolings: Sequence[Pooling],
    precision: GraphPrecision,
    ranges: Mapping[str, Range],
) -> bytes:
    """The serialized ONNX model: `INPUTS`, each int32[B, T] → `states` float32[B, P, H].

    int8 quantizes each linear layer's weight per output and its input by the layer's static range, or,
    for a layer that `ranges` lacks, by the greatest magnitude of each token: never by what else is in
    the batch. Raises ModelError for a model over ONNX's limit of 2 GB, and for ranges of other layers
    than its own.
    """
    if strange := sorted(set(ranges) - set(linear_names(weights.spec))):
        told = f"{', '.join(map(repr, strange[:3]))}{' …' * (len(strange) > 3)}"
        raise ModelError(f"activation ranges for layers that the model does not have: {told}; fit them anew")
    ops = GraphOps(weights, precision, ranges)
    states = forward(ops, weights.spec, INPUTS, poolings)
    ops.node("Identity", [states], name="states")
    size = sum(len(tensor.raw_data) for tensor in ops.initializers)
    if size > MOST_BYTES:
        raise ModelError(f"the graph would take {size / 1e9:.1f} GB, and ONNX holds 2 GB in one file")
    kinds = [helper.make_tensor_value_info(name, TensorProto.INT32, ["B", "T"]) for name in INPUTS]
    if not weights.spec.type_count:
        kinds.pop()
    shape: list[str | int | None] = ["B", len(poolings), weights.spec.hidden_size]
    output = helper.make_tensor_value_info("states", TensorProto.FLOAT, shape)
    graph = helper.make_graph(ops.nodes, "encoder", kinds, [output], ops.initializers)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=opsets, producer_name="tonewise", ir_version=9)
    result: bytes = model.SerializeToString()
    return result


class GraphOps:
    """The operations of `forward.Ops` as ONNX nodes; a tensor is its name in the graph."""

    def __init__(self, weights: Weights, precision: GraphPrecision, ranges: Mapping[str, Range]) -> None:
        self.spec, self.weights = weights.spec, weights
        self.precision, self.ranges = precision, ranges
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._constants: dict[str, str] = {}
        self._made: dict[tuple[str, str], str] = {}

    def node(
        self, kind: str, inputs: Sequence[str], *, name: str = "", domain: str = "", **settings: Any
    ) -> str:
        """Append a node with one output and return the output's name."""
        name = name or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, domain=domain, **settings))
        return name

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """A tensor stored in the graph, once per name."""
        if name not in self._constants:
            self.initializers.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
            self._constants[name] = name
        return name

    def look_up(self, table: str, ids: str) -> str:
        matrix = self.weights.tables[table]
        rows = self.node("Gather", [self.constant(table, matrix.stored), ids])
        if matrix.scale is None:
            return rows
        scale = self.node("Gather", [self.constant(f"{table}.scale", matrix.scale[:, None]), ids])
        return self.node("Mul", [self.node("Cast", [rows], to=TensorProto.FLOAT), scale])

    def positions(self, input_ids: str, padding_index: int | None) -> str:
        if padding_index is None:
            width = self.node("Shape", [input_ids], start=1, end=2)
            limit = self.node("Squeeze", [width])
            zero, one = (self.constant(f"i64.{i}", np.asarray(i, np.int64)) for i in (0, 1))
            return self.node("Range", [zero, limit, one])
        padding = self.constant("padding", np.asarray(padding_index, np.int32))
        real = self.node("Not", [self.node("Equal", [input_ids, padding])])
        real = self.node("Cast", [real], to=TensorProto.INT32)
        axis = self.constant("axis.1", np.asarray(1, np.int64))
        counted = self.node("Mul", [self.node("CumSum", [real, axis]), real])
        return self.node("Add", [counted, padding])

    def add(self, a: str, b: str) -> str:
        return self.node("Add", [a, b])

    def normalize(self, x: str, name: str) -> str:
        norm = self.weights.norms[name]
        inputs = [x, self.constant(f"{name}.weight", norm.weight), self.constant(f"{name}.bias", norm.bias)]
        return self.node("LayerNormalization", inputs, axis=-1, epsilon=self.spec.epsilon)

    def linear(self, x: str, name: str, outputs: slice = ALL) -> str:
        linear = self.weights.linears[name].rows(outputs)
        key = name if outputs == ALL else f"{name}.{outputs.start}"
        if self.precision == "int8":
            return self._int8_linear(x, name, key, linear)
        weight = self.constant(f"{key}.weight", linear.weight.dense().T)
        product = self.node("MatMul", [x, weight])
        return self.node("Add", [product, self.constant(f"{key}.bias", linear.bias)])

    def split(self, x: str, parts: int) -> Sequence[str]:
        names = [f"Split_{len(self.nodes)}_{i}" for i in range(parts)]
        self.nodes.append(helper.make_node("Split", [x], names, axis=-1, num_outputs=parts))
        return names

    def attend(self, query: str, key: str, value: str, attention_mask: str) -> str:
        inputs = [query, key, value, "", attention_mask]
        heads = self.spec.attention_heads
        return self.node("MultiHeadAttention", inputs, domain=MICROSOFT, num_heads=heads)

    def activate(self, x: str) -> str:
        if self.spec.activation == "relu":
            return self.node("Relu", [x])
        if self.spec.activation == "gelu":
            return self.node("Gelu", [x], domain=MICROSOFT)
        return self.node("Gelu", [x], approximate="tanh")

    def first(self, x: str) -> str:
        start, stop, axis = (self.constant(f"i64s.{i}", np.asarray([i], np.int64)) for i in (0, 1, 1))
        return self.node("Slice", [x, start, stop, axis])

    def mean(self, x: str, attention_mask: str) -> str:
        axis = self.constant("i64s.1", np.asarray([1], np.int64))
        mask = self.node("Cast", [attention_mask], to=TensorProto.FLOAT)
        mask = self.node("Unsqueeze", [mask, self.constant("i64s.2", np.asarray([2], np.int64))])
        total = self.node("ReduceSum", [self.node("Mul", [x, mask]), axis], keepdims=1)
        return self.node("Div", [total, self.node("ReduceSum", [mask, axis], keepdims=1)])

    def join(self, states: Sequence[str]) -> str:
        return states[0] if len(states) == 1 else self.node("Concat", states, axis=1)

    def _int8_linear(self, x: str, name: str, key: str, linear: Linear) -> str:
        matrix = as_int8(linear.weight)
        weight = self.constant(f"{key}.weight", matrix.stored.T)
        scale = self.constant(f"{key}.scale", matrix.scale)  # type: ignore[arg-type]  # as_int8 gives one
        bias = self.constant(f"{key}.bias", linear.bias)
        if name in self.ranges:
            codes, step, zero = self._by_range(x, name)
            inputs = [codes, weight, step, scale, zero, "", bias]
            return self.node("MatMulIntegerToFloat", inputs, domain=MICROSOFT)
        codes, step, zero, token_scale = self._by_token(x)
        inputs = [codes, weight, step, scale, zero]
        product = self.node("MatMulIntegerToFloat", inputs, domain=MICROSOFT)
        return self.node("Add", [self.node("Mul", [product, token_scale]), bias])

    def _by_range(self, x: str, name: str) -> tuple[str, str, str]:
        """uint8 codes of x by the layer's static range."""
        how = affine(*self.ranges[name])
        step = self.constant(f"{name}.step", np.asarray(how.scale))
        zero = self.constant(f"{name}.zero", np.asarray(how.zero_point))
        if (x, name) not in self._made:
            self._made[x, name] = self.node("QuantizeLinear", [x, step, zero])
        return self._made[x, name], step, zero

    def _by_token(self, x: str) -> tuple[str, str, str, str]:
        """uint8 codes of x about 128, each token scaled by its own greatest magnitude."""
        step = self.constant("step.one", np.asarray(1, np.float32))
        zero = self.constant("zero.128", np.asarray(128, np.uint8))
        if (x, "codes") not in self._made:
            axis = self.constant("axis.last", np.asarray([-1], np.int64))
            greatest = self.node("ReduceMax", [self.node("Abs", [x]), axis], keepdims=1)
            tiny = self.constant("tiny", np.asarray(1e-30, np.float32))
            top = self.constant("top", np.asarray(127, np.float32))
            scale = self.node("Div", [self.node("Max", [greatest, tiny]), top])
            self._made[x, "scale"] = scale
            self._made[x, "codes"] = self.node("QuantizeLinear", [self.node("Div", [x, scale]), step, zero])
        return self._made[x, "codes"], step, zero, self._made[x, "scale"]
