"""The graph says what the network is, once, in few nodes, and in weights no larger than they were."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from tests.models import FAMILIES, opened
from tonewise.encoder import graph as graph_module
from tonewise.encoder.graph import INPUTS, build_graph
from tonewise.encoder.int8 import (
    Dialect,
    GraphPrecision,
    Quantization,
    Range,
    affine,
    as_int8,
    smoothed,
    symmetric,
)
from tonewise.encoder.weights import NetworkSpec, Weights, linear_names, load_weights
from tonewise.errors import ModelError
from tonewise.store import Pooling

Make = Callable[..., Path]
H = 32
DIALECTS: tuple[Dialect, ...] = ("onnxruntime", "standard")


def weights_of(folder: Path) -> Weights:
    bundle = opened(folder)
    return load_weights(bundle.weights, NetworkSpec.from_config(bundle.network, bundle.ref), bundle.ref)


def built(
    weights: Weights,
    poolings: tuple[Pooling, ...] = ("first",),
    precision: GraphPrecision = "fp32",
    quantization: Quantization | None = None,
    dialect: Dialect = "onnxruntime",
) -> onnx.ModelProto:
    return onnx.load_from_string(build_graph(weights, poolings, precision, quantization, dialect))


def tensors_in(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_graph_is_valid_onnx_with_the_names_of_a_batch(
    model: Make, family: str, precision: GraphPrecision, dialect: Dialect
) -> None:
    weights = weights_of(model(family))
    quantization = Quantization({"layer.0.up": (-2.0, 2.0)}, {"layer.0.up": {3: 8.0}})
    found = built(weights, ("first", "mean"), precision, quantization, dialect)
    onnx.checker.check_model(found)
    names = [one.name for one in found.graph.input]
    assert names == list(INPUTS[:2] if family == "distilbert" else INPUTS)
    assert {one.type.tensor_type.elem_type for one in found.graph.input} == {TensorProto.INT32}
    (output,) = found.graph.output
    assert output.name == "states"
    assert [d.dim_value or d.dim_param for d in output.type.tensor_type.shape.dim] == ["B", 2, H]


def test_query_key_and_value_are_one_product(model: Make) -> None:
    tensors = tensors_in(built(weights_of(model("bert")), ("mean",)))
    assert [tensors[f"layer.{i}.qkv.weight"].shape for i in range(2)] == [(H, 3 * H)] * 2
    products = [
        node for node in built(weights_of(model("bert")), ("mean",)).graph.node if node.op_type == "MatMul"
    ]
    assert len(products) == 4 * 2


def test_only_the_last_layer_is_reduced_and_only_for_the_first_token_alone(model: Make) -> None:
    weights = weights_of(model("bert"))
    reduced, full = tensors_in(built(weights)), tensors_in(built(weights, ("first", "mean")))
    assert reduced["layer.0.qkv.weight"].shape == (H, 3 * H)
    assert reduced["layer.1.qkv.0.weight"].shape == (H, H)
    assert reduced["layer.1.qkv.32.weight"].shape == (H, 2 * H)
    assert full["layer.1.qkv.weight"].shape == (H, 3 * H)


@pytest.mark.parametrize("poolings", [("first",), ("mean",)])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_every_number_is_stored_once(
    model: Make, precision: GraphPrecision, poolings: tuple[Pooling, ...]
) -> None:
    weights = weights_of(model("roberta"))
    tensors = tensors_in(built(weights, poolings, precision))
    wanted = sum(linear.weight.stored.size for linear in weights.linears.values())
    of_linears = [t for name, t in tensors.items() if name.startswith("layer.") and t.ndim == 2]
    assert sum(tensor.size for tensor in of_linears) == wanted
    assert {tensor.dtype for tensor in of_linears} == {
        np.dtype(np.int8 if precision == "int8" else np.float32)
    }


def test_int8_weights_have_a_scale_per_output(model: Make) -> None:
    weights = weights_of(model("bert"))
    tensors = tensors_in(built(weights, ("mean",), "int8"))
    for name in linear_names(weights.spec):
        matrix = as_int8(weights.linears[name].weight)
        assert matrix.scale is not None
        np.testing.assert_array_equal(tensors[f"{name}.weight"], matrix.stored.T)
        np.testing.assert_array_equal(tensors[f"{name}.scale"], matrix.scale)
        assert len(set(matrix.scale.tolist())) > 1


def test_a_layer_with_a_range_is_coded_by_it_and_the_others_by_token(model: Make) -> None:
    weights = weights_of(model("bert"))
    names = list(linear_names(weights.spec))

    def count(ranges: dict[str, Range], kind: str) -> int:
        graph = built(weights, ("mean",), "int8", Quantization(ranges)).graph
        return sum(node.op_type == kind for node in graph.node)

    every = dict.fromkeys(names, (-2.0, 3.0))
    assert [count(ranges, "ReduceMax") for ranges in ({}, {names[1]: (-2.0, 3.0)}, every)] == [8, 7, 0]
    for ranges in ({}, every):
        assert count(ranges, "MatMulIntegerToFloat") == 8
        assert count(ranges, "DynamicQuantizeLinear") == 0, "which takes its scale from the whole batch"


def test_the_same_weights_give_the_same_bytes(model: Make) -> None:
    for precision in ("fp32", "int8"):
        one, other = (build_graph(weights_of(model("bert")), ("first",), precision) for _ in range(2))
        assert one == other


def test_a_graph_over_the_limit_of_onnx_is_refused(model: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_module, "MOST_BYTES", 50_000)
    with pytest.raises(ModelError, match=r"ONNX holds 2 GB in one file$"):
        build_graph(weights_of(model("bert")), ("first",), "fp32")
    assert build_graph(weights_of(model("bert")), ("first",), "int8"), "a quarter of that fits"


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_ranges_of_layers_that_are_not_there_are_refused(model: Make, precision: GraphPrecision) -> None:
    ranges = Quantization(dict.fromkeys(("layer.0.up", "layer.2.up", "layer.0.UP"), (-2.0, 2.0)))
    told = r"layers that the model does not have: 'layer\.0\.UP', 'layer\.2\.up'; fit them anew$"
    with pytest.raises(ModelError, match=told):
        build_graph(weights_of(model("bert")), ("first",), precision, ranges)


def test_the_standard_dialect_is_onnx_alone_and_leaves_a_layer_without_a_range_in_float(model: Make) -> None:
    weights = weights_of(model("bert"))
    names = list(linear_names(weights.spec))
    ranges = {names[1]: (-2.0, 3.0), names[2]: (-1.0, 5.0)}
    found = built(weights, ("mean",), "int8", Quantization(ranges), "standard")
    assert {node.domain for node in found.graph.node} == {""}
    tensors = tensors_in(found)
    for name in names:
        assert tensors[f"{name}.weight"].dtype == (np.int8 if name in ranges else np.float32), name
    kinds = [node.op_type for node in found.graph.node]
    assert (kinds.count("QuantizeLinear"), kinds.count("DequantizeLinear")) == (2, 4)
    for name, pair in ranges.items():
        assert tensors[f"{name}.step"] == symmetric(*pair)
    assert tensors["zero.0"] == 0


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_smoothed_layer_divides_its_input_and_makes_up_for_it(model: Make, dialect: Dialect) -> None:
    weights = weights_of(model("bert"))
    ranges = dict.fromkeys(linear_names(weights.spec), (-2.0, 3.0))
    quantization = Quantization(ranges, {"layer.0.up": {3: 8.0}})
    plain = tensors_in(built(weights, ("mean",), "int8", Quantization(ranges), dialect))
    tensors = tensors_in(built(weights, ("mean",), "int8", quantization, dialect))
    divisor = quantization.divisor("layer.0.up", H)
    assert divisor is not None
    assert [i for i in range(H) if divisor[i] != 1] == [3]
    np.testing.assert_array_equal(tensors["layer.0.up.smooth"], 1 / divisor)
    coded = as_int8(smoothed(weights.linears["layer.0.up"], divisor).weight)
    np.testing.assert_array_equal(tensors["layer.0.up.weight"], coded.stored.T)
    assert set(tensors) - set(plain) == {"layer.0.up.smooth"}
    same = set(plain) - {"layer.0.up.weight", "layer.0.up.scale"}
    assert all(np.array_equal(tensors[name], plain[name]) for name in same), "other layers stay as they are"


def test_smoothing_leaves_fp32_as_it_is(model: Make) -> None:
    weights = weights_of(model("bert"))
    quantization = Quantization({"layer.0.up": (-2.0, 3.0)}, {"layer.0.up": {3: 8.0}})
    for dialect in DIALECTS:
        plain = build_graph(weights, ("mean",), "fp32", None, dialect)
        assert build_graph(weights, ("mean",), "fp32", quantization, dialect) == plain


def test_ranges_become_the_codes_of_each_dialect(model: Make) -> None:
    weights = weights_of(model("bert"))
    quantization = Quantization({"layer.0.up": (-2.0, 6.0)})
    ours = tensors_in(built(weights, ("mean",), "int8", quantization))
    wanted = affine(-2.0, 6.0)
    assert ours["layer.0.up.step"] == wanted.scale
    assert ours["layer.0.up.zero"] == wanted.zero_point
    standard = tensors_in(built(weights, ("mean",), "int8", quantization, "standard"))
    assert standard["layer.0.up.step"] == symmetric(-2.0, 6.0) > wanted.scale


def test_smoothing_of_what_is_not_there_is_refused(model: Make) -> None:
    weights = weights_of(model("bert"))
    with pytest.raises(ModelError, match=r"does not have: 'layer\.9\.up'; fit them anew$"):
        build_graph(weights, ("first",), "int8", Quantization({}, {"layer.9.up": {0: 2.0}}))
    for name, width in (("layer.0.up", H), ("layer.1.down", 2 * H)):
        build_graph(weights, ("first",), "int8", Quantization({}, {name: {width - 1: 2.0}}))
        with pytest.raises(
            ModelError, match=rf"^smoothing of '{name}' names channel {width} of {width}; fit"
        ):
            build_graph(weights, ("first",), "int8", Quantization({}, {name: {width: 2.0}}))
