"""The ONNX file: ONNX's own operators, int64 inputs of any shape, int8 as quantize and dequantize pairs."""

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto

from tests.doubles import MakeModel
from tests.models import opened
from tonewise.errors import ModelError
from tonewise.export import onnx as writer
from tonewise.export.network import Network


def test_the_graph_is_standard_and_open_in_batch_and_length(model: MakeModel) -> None:
    made = onnx.load_from_string(writer.graph(Network.read(opened(model("bert")), "fp32")))
    assert {node.domain for node in made.graph.node} == {""}
    assert [one.domain for one in made.opset_import] == [""]
    shapes = {}
    for one in (*made.graph.input, *made.graph.output):
        kind = one.type.tensor_type
        shapes[one.name] = (kind.elem_type, [d.dim_param or d.dim_value for d in kind.shape.dim])
    names = ("input_ids", "attention_mask", "token_type_ids")
    wanted = {name: (TensorProto.INT64, ["B", "T"]) for name in names}
    assert shapes == wanted | {"logits": (TensorProto.FLOAT, ["B", 3])}


def test_int8_is_in_pairs_where_there_are_ranges_and_the_head_stays_in_float(ranged: Path) -> None:
    made = onnx.load_from_string(writer.graph(Network.read(opened(ranged), "int8")))
    kinds = [node.op_type for node in made.graph.node]
    # Of 2 × 4 layers one has no range; the last is cut in two: its query is the first token's alone.
    assert kinds.count("QuantizeLinear") == 8
    assert kinds.count("DequantizeLinear") == 8 + 8
    types = {one.name: one.data_type for one in made.graph.initializer}
    assert types["layer.0.up.weight"] == TensorProto.INT8
    assert types["layer.1.down.weight"] == types["head.output.weight"] == TensorProto.FLOAT


def test_a_graph_over_two_gigabytes_is_refused(model: MakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MOST_BYTES", 1000)
    with pytest.raises(ModelError, match="ONNX holds 2 GB in one file"):
        writer.graph(Network.read(opened(model()), "fp32"))
