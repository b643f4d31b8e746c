"""What is exported is read once, with one head or none."""

from pathlib import Path

import pytest

from tests.doubles import MakeModel, write_bundle
from tests.models import changed, opened, tensors_of
from tonewise.errors import ModelError
from tonewise.export.network import Network
from tonewise.store import HeadSpec


@pytest.mark.parametrize(
    ("family", "inputs"),
    [
        ("distilbert", ("input_ids", "attention_mask")),
        ("bert", ("input_ids", "attention_mask", "token_type_ids")),
        ("roberta", ("input_ids", "attention_mask")),
    ],
)
def test_types_are_an_input_where_there_is_a_choice(
    family: str, inputs: tuple[str, ...], model: MakeModel
) -> None:
    network = Network.read(opened(model(family)), "fp32")
    assert (network.inputs, network.output, network.precision) == (inputs, "logits", "fp32")


def test_a_head_of_another_width_is_refused(model: MakeModel, tmp_path: Path) -> None:
    tensors = tensors_of(model())
    for name in ("pre_classifier.weight", "classifier.weight"):
        tensors[name] = tensors[name][:, :16].copy()
    tensors["pre_classifier.weight"] = tensors["pre_classifier.weight"][:16].copy()
    tensors["pre_classifier.bias"] = tensors["pre_classifier.bias"][:16].copy()
    folder = changed(model(), tmp_path / "narrow", tensors=tensors)
    with pytest.raises(ModelError, match=r"head 'label' reads 16 numbers, but config\.json tells of 32"):
        Network.read(opened(folder), "fp32")


def test_vectors_that_are_not_computed_here_are_refused(model: MakeModel, tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle", model(), {}, embedding={"unsupported": "module Dense"})
    with pytest.raises(ModelError, match="its vectors are not computed here: module Dense"):
        Network.read(opened(folder), "fp32")


def test_ranges_of_another_network_are_refused(model: MakeModel, tmp_path: Path) -> None:
    heads = {"own": HeadSpec(("a", "b"), "own")}
    ranges = {"layer.9.up": (-1.0, 1.0)}
    folder = write_bundle(tmp_path / "bundle", model(), heads, activation_ranges=ranges)
    with pytest.raises(ModelError, match=r"layers that the model does not have: 'layer\.9\.up'"):
        Network.read(opened(folder), "int8")
