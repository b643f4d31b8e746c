"""The definition of the network is what transformers computes, and it knows its tokens from padding."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModel

from tests.models import FAMILIES, batch_of, opened, some_rows
from tonewise.batching import Batch
from tonewise.encoder.forward import NumpyOps, erf, run_numpy
from tonewise.encoder.weights import NetworkSpec, load_weights, read_head
from tonewise.engines.reference import ReferenceEngine
from tonewise.store import Bundle, Pooling

Make = Callable[..., Path]
Array = np.ndarray[Any, Any]
LENGTHS = (1, 2, 3, 9, 17, 40, 64)


def oracle(bundle: Bundle, **options: Any) -> NumpyOps:
    spec = NetworkSpec.from_config(bundle.network, bundle.ref)
    return NumpyOps(load_weights(bundle.weights, spec, bundle.ref), **options)


def theirs(bundle: Bundle, batch: Batch) -> tuple[Array, Array]:
    """transformers' own states in float64, [B, H] each: of the first token, and the mean of the real ones."""
    network = AutoModel.from_pretrained(bundle.folder).double().eval()
    inputs = {name: torch.from_numpy(getattr(batch, name)).long() for name in ("input_ids", "attention_mask")}
    if bundle.network["model_type"] != "distilbert":
        inputs["token_type_ids"] = torch.from_numpy(batch.token_type_ids).long()
    with torch.no_grad():
        hidden = network(**inputs).last_hidden_state.numpy()
    mask = batch.attention_mask[:, :, None]
    return hidden[:, 0], (hidden * mask).sum(axis=1) / mask.sum(axis=1)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_oracle_is_transformers_in_float64(model: Make, family: str) -> None:
    bundle = opened(model(family, layers=3))
    batch = batch_of(bundle, some_rows(bundle, LENGTHS))
    first, mean = theirs(bundle, batch)
    states = run_numpy(oracle(bundle), batch, ("first", "mean"))
    assert states.dtype == np.float64
    np.testing.assert_allclose(states[:, 0], first, rtol=0, atol=1e-10)
    np.testing.assert_allclose(states[:, 1], mean, rtol=0, atol=1e-10)


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
@pytest.mark.parametrize("family", ["distilbert", "bert"])
def test_other_activations_are_transformers_too(model: Make, family: str, activation: str) -> None:
    bundle = opened(model(family, **{"activation" if family == "distilbert" else "hidden_act": activation}))
    batch = batch_of(bundle, some_rows(bundle, LENGTHS))
    first, _ = theirs(bundle, batch)
    np.testing.assert_allclose(run_numpy(oracle(bundle), batch, ("first",))[:, 0], first, rtol=0, atol=1e-10)


def test_an_epsilon_of_its_own_is_honoured(model: Make) -> None:
    bundle = opened(model("bert", layer_norm_eps=0.3))
    batch = batch_of(bundle, some_rows(bundle, LENGTHS))
    first, _ = theirs(bundle, batch)
    np.testing.assert_allclose(run_numpy(oracle(bundle), batch, ("first",))[:, 0], first, rtol=0, atol=1e-10)


def test_a_padding_token_inside_a_roberta_text_takes_no_position(model: Make) -> None:
    """As a text that spells out `<pad>` has it."""
    bundle = opened(model("roberta"))
    batch = batch_of(bundle, some_rows(bundle, (12, 12, 20)))
    batch.input_ids[0, 5] = batch.input_ids[1, 3] = bundle.network["pad_token_id"]
    first, mean = theirs(bundle, batch)
    states = run_numpy(oracle(bundle), batch, ("first", "mean"))
    np.testing.assert_allclose(states, np.stack([first, mean], axis=1), rtol=0, atol=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_layer_for_the_first_token_alone_gives_the_same_numbers(model: Make, family: str) -> None:
    bundle = opened(model(family))
    batch = batch_of(bundle, some_rows(bundle, LENGTHS))
    ops = oracle(bundle)
    reduced, full = run_numpy(ops, batch, ("first",)), run_numpy(ops, batch, ("mean", "first"))
    assert reduced.shape == (len(LENGTHS), 1, 32)
    np.testing.assert_allclose(reduced[:, 0], full[:, 1], rtol=0, atol=1e-13)


def test_the_last_layer_for_the_first_token_alone_does_less(model: Make) -> None:
    bundle = opened(model("bert"))
    batch = batch_of(bundle, some_rows(bundle, (30, 30)))
    tokens: dict[Pooling, int] = {}
    poolings: tuple[Pooling, ...] = ("first", "mean")
    for pooling in poolings:
        seen: list[int] = []
        ops = oracle(bundle, observe=partial(_note_tokens, seen))
        run_numpy(ops, batch, (pooling,))
        tokens[pooling] = sum(seen)
    assert tokens == {"first": 31, "mean": 60}


def _note_tokens(seen: list[int], name: str, x: Array) -> None:
    if name.endswith("up"):
        seen.append(x.shape[1])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("poolings", [("first",), ("mean",)])
def test_a_row_is_the_same_alone_and_padded(model: Make, family: str, poolings: tuple[Pooling]) -> None:
    bundle = opened(model(family))
    rows, ops = some_rows(bundle, LENGTHS), oracle(bundle)
    together = run_numpy(ops, batch_of(bundle, rows), poolings)
    for i in range(len(rows)):
        alone = run_numpy(ops, batch_of(bundle, rows, [i]), poolings)
        np.testing.assert_allclose(alone[0], together[i], rtol=0, atol=1e-12)


@pytest.mark.parametrize("poolings", [("first",), ("mean",)])
def test_what_stands_where_the_mask_is_zero_is_not_read(model: Make, poolings: tuple[Pooling]) -> None:
    for family in FAMILIES[:2]:
        bundle = opened(model(family))
        batch = batch_of(bundle, some_rows(bundle, (5, 9, 30)))
        clean = run_numpy(oracle(bundle), batch, poolings)
        batch.input_ids[batch.attention_mask == 0] = 11
        np.testing.assert_array_equal(run_numpy(oracle(bundle), batch, poolings), clean)


def test_every_token_and_its_place_count(model: Make) -> None:
    for family in FAMILIES:
        bundle = opened(model(family))
        rows, ops = some_rows(bundle, (12,), types=False), oracle(bundle)
        batch = batch_of(bundle, rows)
        answer = run_numpy(ops, batch, ("first",))
        for place in range(12):
            other = batch_of(bundle, rows)
            other.input_ids[0, place] = 3 if batch.input_ids[0, place] != 3 else 4
            assert np.abs(run_numpy(ops, other, ("first",)) - answer).max() > 1e-6
        turned = batch_of(bundle, rows)
        turned.input_ids[0, 1:] = batch.input_ids[0, :0:-1]
        assert np.abs(run_numpy(ops, turned, ("first",)) - answer).max() > 1e-6


def test_the_type_of_a_token_counts_where_there_are_types(model: Make) -> None:
    bundle = opened(model("bert"))
    typed = batch_of(bundle, some_rows(bundle, (12,)))
    plain = batch_of(bundle, some_rows(bundle, (12,), types=False))
    np.testing.assert_array_equal(typed.input_ids, plain.input_ids)
    states = [run_numpy(oracle(bundle), batch, ("first",)) for batch in (typed, plain)]
    assert np.abs(states[0] - states[1]).max() > 1e-3


def test_each_linear_layer_is_observed_once_per_input(model: Make) -> None:
    bundle = opened(model("distilbert"))
    seen: dict[str, float] = {}
    ops = oracle(bundle, observe=lambda name, x: seen.update({name: float(np.abs(x).max())}))
    run_numpy(ops, batch_of(bundle, some_rows(bundle, (5,))), ("mean",))
    assert list(seen) == list(ops.weights.linears)


def test_the_precision_is_the_one_asked_for(model: Make) -> None:
    bundle = opened(model("xlm-roberta"))
    batch = batch_of(bundle, some_rows(bundle, LENGTHS))
    single = run_numpy(oracle(bundle, dtype=np.float32), batch, ("first", "mean"))
    assert single.dtype == np.float32
    exact = run_numpy(oracle(bundle), batch, ("first", "mean"))
    np.testing.assert_allclose(single, exact, rtol=0, atol=1e-5)


def test_the_reference_engine_is_the_oracle(model: Make) -> None:
    bundle = opened(model("bert"))
    batch = batch_of(bundle, some_rows(bundle, LENGTHS))
    exact = run_numpy(oracle(bundle), batch, ("first", "mean"))
    np.testing.assert_array_equal(
        ReferenceEngine(bundle, ("first", "mean")).run(batch), exact.astype(np.float32)
    )


def test_a_head_over_the_oracle_gives_transformers_pooler(model: Make) -> None:
    """BERT's pooled output is its head's dense layer and tanh."""
    bundle = opened(model("bert"))
    batch = batch_of(bundle, some_rows(bundle, LENGTHS))
    head = read_head(bundle.weights, "bert.pooler.dense", "classifier", bundle.ref)
    states = run_numpy(oracle(bundle), batch, ("first",))[:, 0]
    pooled = np.tanh(states @ head["dense.weight"].T + head["dense.bias"])
    network = AutoModel.from_pretrained(bundle.folder).eval()
    with torch.no_grad():
        found = network(
            **{
                name: torch.from_numpy(getattr(batch, name)).long()
                for name in ("input_ids", "attention_mask", "token_type_ids")
            }
        ).pooler_output.numpy()
    np.testing.assert_allclose(pooled, found, rtol=0, atol=1e-5)


@given(st.floats(allow_nan=False))
def test_erf_is_the_standard_librarys(x: float) -> None:
    assert abs(float(erf(np.array([x]))[0]) - math.erf(x)) <= 1e-15


def test_erf_is_exact_between_and_beyond_its_grid() -> None:
    x = np.concatenate([np.linspace(-7, 7, 40_001), [0.0, 1 / 128, 5.9999999, 6.0, 1e300, -1e300]])
    wanted = np.array([math.erf(one) for one in x])
    assert np.abs(erf(x) - wanted).max() <= 1e-15


def test_erf_keeps_shape_and_precision() -> None:
    assert erf(np.zeros((2, 3), np.float32)).dtype == np.float32
    assert erf(np.zeros((2, 3))).shape == (2, 3)
