"""The SavedModel: `serving_default` at any shape, its weights as variables."""

from pathlib import Path

import numpy as np

from tests.doubles import MakeModel
from tests.models import opened
from tonewise.export import tensorflow as writer
from tonewise.export.network import Network


def test_the_signature_is_open_and_the_weights_are_variables(model: MakeModel, tmp_path: Path) -> None:
    network = Network.read(opened(model()), "fp32")
    writer.write(network, tmp_path)
    loaded = writer.tf.saved_model.load(str(tmp_path))
    signature = loaded.signatures["serving_default"]
    kinds = signature.structured_input_signature[1]
    assert {name: (kind.shape.as_list(), kind.dtype.name) for name, kind in kinds.items()} == {
        "input_ids": ([None, None], "int32"),
        "attention_mask": ([None, None], "int32"),
    }
    assert list(signature.structured_outputs) == ["logits"]
    word = loaded.weights["word.weight"]
    assert isinstance(word, writer.tf.Variable)
    np.testing.assert_array_equal(word.numpy(), network.weights.tables["word"].dense())


def test_its_log_is_as_loud_as_before(model: MakeModel, tmp_path: Path) -> None:
    level = writer.tf.get_logger().level
    writer.write(Network.read(opened(model()), "fp32"), tmp_path)
    assert writer.tf.get_logger().level == level
