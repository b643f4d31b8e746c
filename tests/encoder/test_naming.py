"""Names of tensors: what was read from a checkpoint is written under the names that it came with."""

import numpy as np
import pytest

from tests.doubles import MakeModel
from tests.models import FAMILIES, as_stored_int8, changed, opened, tensors_of
from tonewise.encoder.naming import head_names, named_linear, named_tensors
from tonewise.encoder.weights import Linear, Matrix, NetworkSpec, load_weights
from tonewise.store.bundle import heads_of


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_read_and_named_again_is_the_checkpoint(family: str, model: MakeModel) -> None:
    bundle = opened(model(family))
    spec = NetworkSpec.from_config(bundle.network, "m")
    whole = tensors_of(bundle.folder)
    names = head_names(spec.family)
    head = [name for name in whole if name.rpartition(".")[0] in (names.dense, names.output)]
    assert len(head) == 4
    named = named_tensors(load_weights(bundle.weights, spec, "m"), f"{spec.family}.")
    assert named.keys() == whole.keys() - set(head)
    for name, tensor in named.items():
        np.testing.assert_array_equal(tensor, whole[name], err_msg=name)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_names_of_the_head_are_those_that_a_plain_folder_is_read_by(
    family: str, model: MakeModel
) -> None:
    bundle = opened(model(family))
    names = head_names(NetworkSpec.from_config(bundle.network, "m").family)
    (head,) = heads_of(bundle.network, "m").values()
    assert (names.dense, names.activation, names.output) == (head.dense, head.activation, head.output)


def test_int8_is_named_as_the_float32_that_it_stands_for(
    model: MakeModel, tmp_path_factory: pytest.TempPathFactory
) -> None:
    plain = model("bert")
    stored = changed(plain, tmp_path_factory.mktemp("int8") / "m", tensors=as_stored_int8(tensors_of(plain)))
    spec = NetworkSpec.from_config(opened(plain).network, "m")
    named = named_tensors(load_weights(stored / "model.safetensors", spec, "m"), "")
    assert {tensor.dtype for tensor in named.values()} == {np.dtype(np.float32)}
    name = "encoder.layer.1.attention.self.key.weight"
    np.testing.assert_allclose(named[name], tensors_of(plain)[f"bert.{name}"], atol=0.005)


def test_a_linear_that_stacks_several_is_cut_by_its_rows() -> None:
    weight, bias = np.arange(12, dtype=np.float32).reshape(6, 2), np.arange(6, dtype=np.float32)
    named = named_linear(Linear(Matrix(weight), bias), "q", "k", "v")
    assert list(named) == ["q.weight", "k.weight", "v.weight", "q.bias", "k.bias", "v.bias"]
    np.testing.assert_array_equal(named["k.weight"], weight[2:4])
    np.testing.assert_array_equal(named["v.bias"], bias[4:])
