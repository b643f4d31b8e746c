"""The same network as an ONNX graph, written straight from the weights, without torch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tonewise.encoder.forward import ALL, forward
from tonewise.encoder.int8 import Dialect, GraphPrecision, Quantization, affine, as_int8, smoothed, symmetric
from tonewise.encoder.weights import Linear, Weights
from tonewise.errors import ModelError
from tonewise.store import Pooling

OPSET = 20
MICROSOFT = "com.microsoft"
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
MOST_BYTES = 2**31 - 2**20
MASKED = 1e9
"""Taken from the scores of padding: e to the minus that is zero in every precision."""


def build_graph(
    weights: Weights,
    poolings: Sequence[Pooling],
    precision: GraphPrecision,
    quantization: Quantization | None = None,
    dialect: Dialect = "onnxruntime",
) -> bytes:
    """The serialized ONNX model: `INPUTS`, each int32[B, T] → `states` float32[B, P, H].

    int8 quantizes each linear layer's weight per output and its input by the layer's static range, smoothed
    where `quantization` says so; never by what else is in the batch. Raises ModelError for a model over
    ONNX's limit of 2 GB, and for a quantization of other layers than its own.
    """
    quantization = quantization or Quantization()
    quantization.check(weights.spec)
    ops = DIALECTS[dialect](weights, precision, quantization)
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
    """The operations of `forward.Ops` as ONNX nodes; a tensor is its name in the graph.

    In ONNX Runtime's dialect: its fused attention and its products of uint8 and int8. A layer without a
    range goes by the greatest magnitude of each token.
    """

    def __init__(self, weights: Weights, precision: GraphPrecision, quantization: Quantization) -> None:
        self.spec, self.weights = weights.spec, weights
        self.precision, self.quantization = precision, quantization
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
            return self.int8_linear(x, name, key, linear)
        return self.float_linear(x, key, linear)

    def float_linear(self, x: str, key: str, linear: Linear) -> str:
        """The layer in the runtime's float precision; its tensors are named by `key`."""
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

    def int8_linear(self, x: str, name: str, key: str, linear: Linear) -> str:
        """The layer `name` by 8 bit codes; its tensors are named by `key`."""
        x, linear = self.smooth(x, name, linear)
        matrix = as_int8(linear.weight)
        weight = self.constant(f"{key}.weight", matrix.stored.T)
        scale = self.constant(f"{key}.scale", matrix.scale)  # type: ignore[arg-type]  # as_int8 gives one
        bias = self.constant(f"{key}.bias", linear.bias)
        if name in self.quantization.ranges:
            codes, step, zero = self._by_range(x, name)
            inputs = [codes, weight, step, scale, zero, "", bias]
            return self.node("MatMulIntegerToFloat", inputs, domain=MICROSOFT)
        codes, step, zero, token_scale = self._by_token(x)
        inputs = [codes, weight, step, scale, zero]
        product = self.node("MatMulIntegerToFloat", inputs, domain=MICROSOFT)
        return self.node("Add", [self.node("Mul", [product, token_scale]), bias])

    def smooth(self, x: str, name: str, linear: Linear) -> tuple[str, Linear]:
        """The input without its outliers, and the layer that makes up for it."""
        divisor = self.quantization.divisor(name, linear.weight.stored.shape[1])
        if divisor is None:
            return x, linear
        factors = self.constant(f"{name}.smooth", 1 / divisor)
        if (x, factors) not in self._made:
            self._made[x, factors] = self.node("Mul", [x, factors])
        return self._made[x, factors], smoothed(linear, divisor)

    def _by_range(self, x: str, name: str) -> tuple[str, str, str]:
        """uint8 codes of x by the layer's static range."""
        how = affine(*self.quantization.ranges[name])
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


class StandardOps(GraphOps):
    """The same in ONNX's own operators alone, with int8 as pairs of QuantizeLinear and DequantizeLinear.

    Symmetric codes, as OpenVINO wants them, which fuses the pairs; a layer without a range stays in float.
    """

    def attend(self, query: str, key: str, value: str, attention_mask: str) -> str:
        heads, size = self.spec.attention_heads, self.spec.head_size
        scaled = self.node("Mul", [query, self.constant("1/sqrt", np.asarray(size**-0.5, np.float32))])
        by_head = self.constant("by_head", np.asarray([0, -1, heads, size], np.int64))
        q, k, v = (
            self.node("Transpose", [self.node("Reshape", [x, by_head])], perm=perm)
            for x, perm in ((scaled, [0, 2, 1, 3]), (key, [0, 2, 3, 1]), (value, [0, 2, 1, 3]))
        )
        scores = self.node("Add", [self.node("MatMul", [q, k]), self._bias_of(attention_mask)])
        mixed = self.node("MatMul", [self.node("Softmax", [scores], axis=-1), v])
        flat = self.constant("flat", np.asarray([0, -1, heads * size], np.int64))
        return self.node("Reshape", [self.node("Transpose", [mixed], perm=[0, 2, 1, 3]), flat])

    def activate(self, x: str) -> str:
        if self.spec.activation == "relu":
            return self.node("Relu", [x])
        return self.node("Gelu", [x], approximate="tanh" if self.spec.activation == "gelu_tanh" else "none")

    def int8_linear(self, x: str, name: str, key: str, linear: Linear) -> str:
        if name not in self.quantization.ranges:
            return self.float_linear(x, key, linear)
        x, linear = self.smooth(x, name, linear)
        matrix = as_int8(linear.weight)
        scale = self.constant(f"{key}.scale", matrix.scale)  # type: ignore[arg-type]  # as_int8 gives one
        weight = self.node(
            "DequantizeLinear", [self.constant(f"{key}.weight", matrix.stored.T), scale], axis=1
        )
        product = self.node("MatMul", [self._rounded(x, name), weight])
        return self.node("Add", [product, self.constant(f"{key}.bias", linear.bias)])

    def _rounded(self, x: str, name: str) -> str:
        """x as far as its signed 8 bit codes tell."""
        if (x, name) not in self._made:
            step = self.constant(f"{name}.step", np.asarray(symmetric(*self.quantization.ranges[name])))
            zero = self.constant("zero.0", np.asarray(0, np.int8))
            codes = self.node("QuantizeLinear", [x, step, zero])
            self._made[x, name] = self.node("DequantizeLinear", [codes, step, zero])
        return self._made[x, name]

    def _bias_of(self, attention_mask: str) -> str:
        """What is added to the scores: 0 for a real token, −1e9 for padding; [B, 1, 1, T]."""
        if (attention_mask, "bias") not in self._made:
            real = self.node("Cast", [attention_mask], to=TensorProto.FLOAT)
            missing = self.node("Sub", [real, self.constant("f32.1", np.asarray(1, np.float32))])
            most = self.constant("f32.most", np.asarray(MASKED, np.float32))
            axes = self.constant("i64s.1.2", np.asarray([1, 2], np.int64))
            bias = self.node("Mul", [missing, most])
            self._made[attention_mask, "bias"] = self.node("Unsqueeze", [bias, axes])
        return self._made[attention_mask, "bias"]


DIALECTS: dict[Dialect, type[GraphOps]] = {"onnxruntime": GraphOps, "standard": StandardOps}
