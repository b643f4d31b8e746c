"""The graph says what the network is, once, in few nodes, and in weights no larger than they were."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from tests.models import FAMILIES, opened
from tonewise.encoder import graph as graph_module
from tonewise.encoder.graph import INPUTS, GraphPrecision, build_graph
from tonewise.encoder.int8 import Range, as_int8
from tonewise.encoder.weights import NetworkSpec, Weights, linear_names, load_weights
from tonewise.errors import ModelError
from tonewise.store import Pooling

Make = Callable[..., Path]
H = 32


def weights_of(folder: Path) -> Weights:
    bundle = opened(folder)
    return load_weights(bundle.weights, NetworkSpec.from_config(bundle.network, bundle.ref), bundle.ref)


def built(
    weights: Weights,
    poolings: tuple[Pooling, ...] = ("first",),
    precision: GraphPrecision = "fp32",
    ranges: dict[str, Range] | None = None,
) -> onnx.ModelProto:
    return onnx.load_from_string(build_graph(weights, poolings, precision, ranges or {}))


def tensors_in(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_graph_is_valid_onnx_with_the_names_of_a_batch(
    model: Make, family: str, precision: GraphPrecision
) -> None:
    weights = weights_of(model(family))
    found = built(weights, ("first", "mean"), precision, {"layer.0.up": (-2.0, 2.0)})
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
        return sum(node.op_type == kind for node in built(weights, ("mean",), "int8", ranges).graph.node)

    every = dict.fromkeys(names, (-2.0, 3.0))
    assert [count(ranges, "ReduceMax") for ranges in ({}, {names[1]: (-2.0, 3.0)}, every)] == [8, 7, 0]
    for ranges in ({}, every):
        assert count(ranges, "MatMulIntegerToFloat") == 8
        assert count(ranges, "DynamicQuantizeLinear") == 0, "which takes its scale from the whole batch"


def test_the_same_weights_give_the_same_bytes(model: Make) -> None:
    for precision in ("fp32", "int8"):
        one, other = (build_graph(weights_of(model("bert")), ("first",), precision, {}) for _ in range(2))
        assert one == other


def test_a_graph_over_the_limit_of_onnx_is_refused(model: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_module, "MOST_BYTES", 50_000)
    with pytest.raises(ModelError, match=r"ONNX holds 2 GB in one file$"):
        build_graph(weights_of(model("bert")), ("first",), "fp32", {})
    assert build_graph(weights_of(model("bert")), ("first",), "int8", {}), "a quarter of that fits"


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_ranges_of_layers_that_are_not_there_are_refused(model: Make, precision: GraphPrecision) -> None:
    ranges = dict.fromkeys(("layer.0.up", "layer.2.up", "layer.0.UP"), (-2.0, 2.0))
    told = r"layers that the model does not have: 'layer\.0\.UP', 'layer\.2\.up'; fit them anew$"
    with pytest.raises(ModelError, match=told):
        build_graph(weights_of(model("bert")), ("first",), precision, ranges)
