"""The StableHLO program: symbolic in batch and length, for every platform, its weights beside it."""

from pathlib import Path

import jax.export
import pytest
from safetensors.numpy import load_file

from tests.doubles import MakeModel
from tests.models import opened
from tonewise.export import jax as writer
from tonewise.export.network import Network


@pytest.mark.parametrize("family", ["distilbert", "bert", "roberta"])
def test_the_program_holds_no_weights_and_no_shape(family: str, model: MakeModel, tmp_path: Path) -> None:
    network = Network.read(opened(model(family)), "fp32")
    writer.write(network, tmp_path)
    program = jax.export.deserialize(bytearray((tmp_path / "model.stablehlo").read_bytes()))
    kinds = [str(one) for one in (*program.in_avals, *program.out_avals)]
    assert kinds[-1 - len(network.inputs) :] == [*["int32[B,T]"] * len(network.inputs), "float32[B,3]"]
    assert set(program.platforms) == {"cpu", "cuda", "rocm", "tpu"}
    weights = load_file(tmp_path / "weights.safetensors")
    assert {"word.weight", "layer.0.qkv.bias", "head.output.weight"} <= weights.keys()
