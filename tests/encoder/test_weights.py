"""Checkpoints of every family become the same canonical tensors, and a bad one is named in one line."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file as save_torch_file

from tests.models import FAMILIES, Tensors, as_stored_int8, changed, make_model, opened, tensors_of
from tonewise.encoder.weights import SCALE, NetworkSpec, Weights, linear_names, load_weights, read_head
from tonewise.errors import ModelError
from tonewise.store import Bundle

Make = Callable[..., Path]
H, INNER = 32, 64


def weights_of(folder: Path) -> Weights:
    bundle = opened(folder)
    return load_weights(bundle.weights, spec_of(bundle), bundle.ref)


def spec_of(bundle: Bundle) -> NetworkSpec:
    return NetworkSpec.from_config(bundle.network, bundle.ref)


def flat(weights: Weights) -> dict[str, np.ndarray[Any, Any]]:
    """Every tensor by one name, dequantized."""
    found: dict[str, np.ndarray[Any, Any]] = {name: table.dense() for name, table in weights.tables.items()}
    for name, norm in weights.norms.items():
        found[f"{name}.weight"], found[f"{name}.bias"] = norm.weight, norm.bias
    for name, linear in weights.linears.items():
        found[f"{name}.weight"], found[f"{name}.bias"] = linear.weight.dense(), linear.bias
    return found


def assert_same(a: Weights, b: Weights) -> None:
    ours, theirs = flat(a), flat(b)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert tensor.dtype == np.float32
        np.testing.assert_array_equal(tensor, theirs[name], err_msg=name)


def refusal(folder: Path) -> str:
    """The one line with which the folder's weights are refused."""
    with pytest.raises(ModelError) as caught:
        weights_of(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    assert message.startswith(f"{folder.name}: ")
    return message


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_the_same_canonical_names(model: Make, family: str) -> None:
    weights = weights_of(model(family))
    tables = {"word", "position"} | (set() if family == "distilbert" else {"type"})
    assert set(weights.tables) == tables
    assert list(weights.linears) == list(linear_names(weights.spec))
    layers = {f"layer.{i}.{part}_norm" for i in range(2) for part in ("attention", "output")}
    assert set(weights.norms) == {"embedding_norm"} | layers
    wanted = {"qkv": (3 * H, H), "attention_out": (H, H), "up": (INNER, H), "down": (H, INNER)}
    for name, linear in weights.linears.items():
        assert linear.weight.stored.shape == wanted[name.rpartition(".")[2]]


def test_queries_keys_and_values_are_stacked_in_this_order(model: Make) -> None:
    folder = model("bert")
    tensors = tensors_of(folder)
    parts = [f"bert.encoder.layer.1.attention.self.{part}" for part in ("query", "key", "value")]
    stacked = weights_of(folder).linears["layer.1.qkv"]
    np.testing.assert_array_equal(
        stacked.weight.stored, np.concatenate([tensors[f"{p}.weight"] for p in parts])
    )
    np.testing.assert_array_equal(stacked.bias, np.concatenate([tensors[f"{p}.bias"] for p in parts]))
    some = stacked.rows(slice(H, 2 * H))
    np.testing.assert_array_equal(some.weight.stored, tensors[f"{parts[1]}.weight"])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_bare_encoder_without_the_familys_prefix_is_the_same(
    model: Make, tmp_path: Path, family: str
) -> None:
    folder = model(family)
    whole = tensors_of(folder)
    bare = {name.partition(".")[2]: whole[name] for name in encoder_names(whole)}
    assert_same(weights_of(folder), weights_of(changed(folder, tmp_path / "bare", tensors=bare)))


@pytest.mark.parametrize("family", ["distilbert", "bert"])
def test_norms_called_gamma_and_beta_are_the_same(model: Make, tmp_path: Path, family: str) -> None:
    folder = model(family)
    renamed = {_gamma(name): tensor for name, tensor in tensors_of(folder).items()}
    assert renamed.keys() != tensors_of(folder).keys()
    assert_same(weights_of(folder), weights_of(changed(folder, tmp_path / "old", tensors=renamed)))


def _gamma(name: str) -> str:
    layer, _, kind = name.rpartition(".")
    is_norm = layer.endswith(("LayerNorm", "layer_norm"))
    return f"{layer}." + {"weight": "gamma", "bias": "beta"}[kind] if is_norm else name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_floats_are_widened_exactly(model: Make, tmp_path: Path, dtype: torch.dtype) -> None:
    folder = model("distilbert")
    tensors = tensors_of(folder)
    narrow = {name: torch.from_numpy(tensor).to(dtype) for name, tensor in tensors.items()}
    there = changed(folder, tmp_path / "narrow")
    save_torch_file(narrow, there / "model.safetensors")
    wide = {name: tensor.float().numpy() for name, tensor in narrow.items()}
    here = changed(folder, tmp_path / "wide", tensors=wide)
    assert_same(weights_of(there), weights_of(here))


@pytest.mark.parametrize("family", FAMILIES)
def test_int8_with_scales_is_read_as_it_is_and_means_the_dequantized_values(
    model: Make, tmp_path: Path, family: str
) -> None:
    folder = model(family)
    exact = tensors_of(folder)
    stored = as_stored_int8(exact)
    dense = {
        name: stored[name] * stored[name + SCALE][:, None] if tensor.ndim == 2 else tensor
        for name, tensor in exact.items()
    }
    weights = weights_of(changed(folder, tmp_path / "int8", tensors=stored))
    assert all(linear.weight.stored.dtype == np.int8 for linear in weights.linears.values())
    assert all(table.stored.dtype == np.int8 for table in weights.tables.values())
    assert_same(weights, weights_of(changed(folder, tmp_path / "dense", tensors=dense)))


def test_an_int8_head_is_dequantized(model: Make, tmp_path: Path) -> None:
    folder = changed(model("bert"), tmp_path / "int8", tensors=as_stored_int8(tensors_of(model("bert"))))
    exact = read_head(opened(model("bert")).weights, "bert.pooler.dense", "classifier", "exact")
    found = read_head(opened(folder).weights, "bert.pooler.dense", "classifier", "int8")
    assert (
        found.keys() == exact.keys() == {f"{a}.{b}" for a in ("dense", "output") for b in ("weight", "bias")}
    )
    for name, tensor in found.items():
        assert tensor.dtype == np.float32
        np.testing.assert_allclose(tensor, exact[name], atol=np.abs(exact[name]).max() / 250)


def test_a_head_that_is_not_there_is_named(model: Make) -> None:
    with pytest.raises(ModelError, match=r"^tiny: model\.safetensors has no tensor 'mood\.weight'$"):
        read_head(opened(model("bert")).weights, None, "mood", "tiny")


@pytest.mark.parametrize("family", FAMILIES)
def test_any_missing_tensor_is_named(model: Make, tmp_path: Path, family: str) -> None:
    folder, there = model(family), tmp_path / "holed"
    whole = tensors_of(folder)
    for missing in encoder_names(whole):
        changed(folder, there, tensors={name: whole[name] for name in whole if name != missing})
        message = refusal(there)
        assert missing in message or ("word_embeddings" in missing and "no word embeddings" in message)
        assert "model.safetensors" in message


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("axis", [0, -1])
def test_any_tensor_of_another_shape_is_named(model: Make, tmp_path: Path, family: str, axis: int) -> None:
    folder, there = model(family), tmp_path / "misshapen"
    whole = tensors_of(folder)
    for name in encoder_names(whole):
        changed(folder, there, tensors=whole | {name: np.delete(whole[name], -1, axis=axis)})
        message = refusal(there)
        assert f"model.safetensors: tensor '{name}' is" in message
        assert "but config.json tells of" in message


def encoder_names(tensors: Tensors) -> list[str]:
    return [name for name in tensors if "classifier" not in name and "pooler" not in name]


@pytest.mark.parametrize(
    ("family", "config", "part"),
    [
        (
            "bert",
            {"hidden_size": 48},
            "word_embeddings.weight' is [60, 32], but config.json tells of [60, 48]",
        ),
        ("bert", {"vocab_size": 70}, "word_embeddings.weight' is"),
        ("bert", {"max_position_embeddings": 512}, "position_embeddings.weight' is"),
        ("roberta", {"max_position_embeddings": 64}, "position_embeddings.weight' is"),
        ("bert", {"type_vocab_size": 3}, "token_type_embeddings.weight' is"),
        ("distilbert", {"hidden_dim": 100}, "layer.0.ffn.lin1.weight' is"),
        ("distilbert", {"n_heads": 5}, "5 heads"),
        ("roberta", {"num_hidden_layers": 3}, "encoder.layer.2."),
    ],
)
def test_a_config_that_tells_of_another_network_is_refused(
    model: Make, tmp_path: Path, family: str, config: dict[str, Any], part: str
) -> None:
    assert part in refusal(changed(model(family), tmp_path / "other", config=config))


SCALED = ("distilbert.embeddings.word_embeddings.weight", "distilbert.transformer.layer.0.ffn.lin1.weight")


@pytest.mark.parametrize("name", SCALED)
def test_int8_without_its_scales_is_refused(model: Make, tmp_path: Path, name: str) -> None:
    stored = as_stored_int8(tensors_of(model("distilbert")))
    del stored[name + SCALE]
    message = refusal(changed(model("distilbert"), tmp_path / "unscaled", tensors=stored))
    assert f"no tensor '{name}{SCALE}'" in message


@pytest.mark.parametrize("name", SCALED)
def test_scales_of_another_shape_are_refused(model: Make, tmp_path: Path, name: str) -> None:
    stored = as_stored_int8(tensors_of(model("distilbert")))
    stored[name + SCALE] = stored[name + SCALE][:-1].copy()
    message = refusal(changed(model("distilbert"), tmp_path / "cut", tensors=stored))
    assert f"'{name}{SCALE}' is" in message


def test_a_layer_that_is_int8_only_in_part_is_read_as_floats(model: Make, tmp_path: Path) -> None:
    """Its query in float32 beside keys and values in int8, as a converter may leave it."""
    exact = tensors_of(model("distilbert"))
    stored = as_stored_int8(exact)
    name = "distilbert.transformer.layer.0.attention.q_lin.weight"
    del stored[name + SCALE]
    stored[name] = exact[name]
    weight = (
        weights_of(changed(model("distilbert"), tmp_path / "mixed", tensors=stored))
        .linears["layer.0.qkv"]
        .weight
    )
    assert weight.scale is None
    np.testing.assert_array_equal(weight.stored[:H], exact[name])
    np.testing.assert_allclose(
        weight.stored[H:], weights_of(model("distilbert")).linears["layer.0.qkv"].weight.stored[H:], atol=0.01
    )


def test_numbers_that_are_no_weights_are_refused(model: Make, tmp_path: Path) -> None:
    name = "distilbert.transformer.layer.0.ffn.lin1.weight"
    whole = tensors_of(model("distilbert"))
    there = changed(
        model("distilbert"), tmp_path / "int32", tensors=whole | {name: whole[name].astype(np.int32)}
    )
    assert f"'{name}' is I32" in refusal(there)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 4,
        b"not safetensors at all, but long enough to hold a length",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 4) + b"null",
        struct.pack("<Q", 13) + b'{"a": "words"}',
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", 40_000) + b"[" * 40_000,
        struct.pack("<Q", 6) + b'{"\xff":',
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    ],
    ids=["empty", "short", "words", "list", "nothing", "null", "entry", "vast", "deep", "bytes", "pointer"],
)
def test_a_file_that_is_no_safetensors_is_refused_in_one_line(
    model: Make, tmp_path: Path, content: bytes
) -> None:
    there = changed(model("distilbert"), tmp_path / "broken")
    bundle = opened(there)
    (there / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError) as caught:
        load_weights(bundle.weights, spec_of(bundle), "broken")
    assert "\n" not in str(caught.value)
    assert "model.safetensors" in str(caught.value)


@settings(max_examples=40, deadline=None)
@given(part=st.floats(0, 1, exclude_max=True))
def test_a_cut_file_is_refused_wherever_it_was_cut(
    tmp_path_factory: pytest.TempPathFactory, part: float
) -> None:
    folder = tmp_path_factory.getbasetemp() / "to-cut"
    if not folder.exists():
        make_model(folder, layers=1)
    bundle = opened(folder)
    whole = bundle.weights.read_bytes()
    cut = folder / "cut.safetensors"
    cut.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(ModelError, match=r"^tiny: .*cut\.safetensors is not a whole safetensors file"):
        load_weights(cut, spec_of(bundle), "tiny")


def test_weights_that_are_not_there_are_refused(model: Make, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.safetensors"):
        load_weights(tmp_path / "gone.safetensors", spec_of(opened(model("bert"))), "tiny")


@pytest.mark.parametrize(
    ("config", "part"),
    [
        ({"model_type": "gpt2"}, "model_type 'gpt2' is not supported; supported: distilbert, bert, roberta"),
        ({"model_type": None}, "model_type 'None' is not supported"),
        ({"position_embedding_type": "relative_key"}, "relative position embeddings"),
        ({"is_decoder": True}, "a decoder is not supported"),
        ({"hidden_act": "silu"}, "'silu'"),
        ({"hidden_size": "wide"}, "wide"),
        ({"num_attention_heads": 0}, "num_attention_heads is 0"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ({"hidden_size": None}, "hidden_size is None"),
        ({"vocab_size": 65.5}, "vocab_size is 65.5"),
        ({"layer_norm_eps": "small"}, "layer_norm_eps is 'small'"),
        ({"hidden_act": ["gelu"]}, "hidden_act is '['gelu']'"),
        ({"model_type": "roberta", "pad_token_id": None}, "pad_token_id is None"),
        ({"model_type": "roberta", "max_position_embeddings": 1}, "no room for a text"),
    ],
)
def test_a_config_of_another_network_is_refused_in_one_line(
    model: Make, config: dict[str, Any], part: str
) -> None:
    network = dict(opened(model("bert")).network) | config
    with pytest.raises(ModelError) as caught:
        NetworkSpec.from_config(network, "tiny")
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["hidden_size", "vocab_size", "num_hidden_layers", "hidden_act"])
def test_a_config_that_lacks_a_number_is_refused_by_its_name(model: Make, name: str) -> None:
    network = dict(opened(model("bert")).network)
    del network[name]
    with pytest.raises(ModelError, match=rf"^tiny: config\.json: {name} is '?None'?; "):
        NetworkSpec.from_config(network, "tiny")


@pytest.mark.parametrize(
    ("name", "meaning"),
    [("gelu", "gelu"), ("relu", "relu"), ("gelu_new", "gelu_tanh"), ("gelu_pytorch_tanh", "gelu_tanh")],
)
def test_activations_are_read_by_transformers_names(model: Make, name: str, meaning: str) -> None:
    network = dict(opened(model("bert")).network) | {"hidden_act": name}
    assert NetworkSpec.from_config(network, "tiny").activation == meaning


def test_a_roberta_spends_positions_on_its_padding(model: Make) -> None:
    bert, roberta = (spec_of(opened(model(family))) for family in ("bert", "roberta"))
    assert (bert.max_length, bert.padding_index) == (64, None)
    assert (roberta.max_length, roberta.padding_index) == (64, 1)
    assert json.loads((model("roberta") / "config.json").read_text())["max_position_embeddings"] == 66


def test_spare_tensors_do_no_harm(model: Make, tmp_path: Path) -> None:
    spare = {"bert.embeddings.position_ids": np.arange(64)[None]}
    folder = changed(model("bert"), tmp_path / "spare", tensors=tensors_of(model("bert")) | spare)
    assert_same(weights_of(model("bert")), weights_of(folder))
