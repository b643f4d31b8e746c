"""ONNX in its standard operators alone: `model.onnx`, int64 inputs, opened again by ONNX Runtime."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from tonewise.encoder.graph import MOST_BYTES, OPSET, StandardOps
from tonewise.encoder.int8 import Quantization
from tonewise.errors import ModelError
from tonewise.export.network import Finish, Network, answer
from tonewise.export.proof import Feeds, Run

FILE = "model.onnx"
USE = """import numpy as np, onnxruntime as ort
{tokens}
session = ort.InferenceSession("model.onnx")
names = [one.name for one in session.get_inputs()]
{output} = session.run(None, {{name: np.array([given[name]], np.int64) for name in names}})[0]
"""


def write(network: Network, folder: Path) -> None:
    """Write `model.onnx`. Raises ModelError for a graph over ONNX's limit of 2 GB."""
    (folder / FILE).write_bytes(graph(network))


def open_again(network: Network, folder: Path) -> Run:
    """Check the file and open it on the processor."""
    path = folder / FILE
    onnx.checker.check_model(path, full_check=True)
    options = ort.SessionOptions()
    options.log_severity_level = 4  # what fails is raised
    # Processors without VNNI would add up 8 bit products in 16 bits that overflow.
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(feeds: Feeds) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        wide = {name: array.astype(np.int64) for name, array in feeds.items()}
        found: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = session.run([network.output], wide)[0]
        return found

    return run


def graph(network: Network) -> bytes:
    """The serialized model: `Network.inputs` int64[B, T] → `Network.output` float32[B, L or H].

    Raises ModelError for one over ONNX's limit of 2 GB.
    """
    ops = StandardOps(network.weights, network.precision, network.ranges or Quantization())
    inputs = [ops.node("Cast", [name], to=TensorProto.INT32) for name in network.inputs]
    flat = answer(network, ops, _finish(ops), inputs)
    ops.node("Squeeze", [flat, ops.constant("i64s.1", np.asarray([1], np.int64))], name=network.output)
    size = sum(len(tensor.raw_data) for tensor in ops.initializers)
    if size > MOST_BYTES:
        raise ModelError(f"the graph would take {size / 1e9:.1f} GB, and ONNX holds 2 GB in one file")
    width = len(network.head.labels) if network.head else network.spec.hidden_size
    made = helper.make_graph(
        ops.nodes,
        "classifier" if network.head else "encoder",
        [_info(name, TensorProto.INT64, ["B", "T"]) for name in network.inputs],
        [_info(network.output, TensorProto.FLOAT, ["B", width])],
        ops.initializers,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(made, opset_imports=opsets, producer_name="tonewise", ir_version=9)
    result: bytes = model.SerializeToString()
    return result


def _info(name: str, kind: int, shape: Sequence[str | int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _finish(ops: StandardOps) -> Finish[str]:
    def unit(x: str) -> str:
        last = ops.constant("axis.last", np.asarray([-1], np.int64))
        least = ops.constant("f32.least", np.asarray(1e-12, np.float32))
        length = ops.node("Max", [ops.node("ReduceL2", [x, last], keepdims=1), least])
        return ops.node("Div", [x, length])

    return Finish(
        activations={
            "tanh": lambda x: ops.node("Tanh", [x]),
            "relu": lambda x: ops.node("Relu", [x]),
            "none": lambda x: x,
        },
        unit=unit,
        zeros=lambda ids: ops.node("Sub", [ids, ids]),
    )
