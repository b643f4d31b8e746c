"""OpenVINO's `openvino_model.xml` and `.bin`, from the ONNX graph, opened again by OpenVINO."""

import errno
import os
from pathlib import Path
from shutil import disk_usage

import numpy as np
from numpy.typing import NDArray

from tonewise.engines import openvino as engine
from tonewise.export.network import Network
from tonewise.export.onnx import graph
from tonewise.export.proof import Feeds, Run

ov = engine.ov  # type: ignore[attr-defined]  # imported there without its telemetry
FILE = "openvino_model.xml"
USE = """import numpy as np, openvino as ov
{tokens}
model = ov.Core().compile_model("openvino_model.xml", "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})
names = [one.any_name for one in model.inputs]
{output} = model({{name: np.array([given[name]], np.int64) for name in names}})[0]
"""


def write(network: Network, folder: Path) -> None:
    """Write both files; float weights stay float32. Raises as `onnx.graph` does, OSError for a full disk."""
    serialized = graph(network)
    if disk_usage(folder).free < len(serialized):  # which OpenVINO would not call by its name
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    model = ov.Core().read_model(serialized)
    ov.save_model(model, folder / FILE, compress_to_fp16=False)


def open_again(network: Network, folder: Path) -> Run:
    """Compile what was written for the processor; what is not 8 bit is computed in float32."""
    hints = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = ov.Core().compile_model(folder / FILE, "CPU", hints)
    request = compiled.create_infer_request()

    def run(feeds: Feeds) -> NDArray[np.float32]:
        found = request.infer({name: array.astype(np.int64) for name, array in feeds.items()})
        return np.array(found[network.output])

    return run
