"""The network that learns: the oracle's numbers, its own gradients, and weights that go out as they are."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.models import FAMILIES, as_stored_int8, batch_of, changed, opened, some_rows, tensors_of
from tests.train.toys import form, learner_of, recipe_of, vocabulary, weights_of
from tonewise.encoder.forward import NumpyOps, run_numpy
from tonewise.encoder.weights import Weights
from tonewise.store import Bundle, Pooling
from tonewise.train import network as room
from tonewise.train.dropout import Dropout
from tonewise.train.network import HeadModule, Network

LENGTHS = (17, 1, 64, 2, 40, 3, 9, 9, 25)
BOTH: tuple[Pooling, ...] = ("first", "mean")
BITS = ("weight", "bias")
Model = Callable[..., Path]


def network_of(bundle: Bundle, held: Any = None) -> Network:
    weights = weights_of(bundle)
    return Network(weights, np.arange(weights.spec.vocabulary_size) if held is None else held, Dropout(0.0))


def states_of(network: Network, batch: Any, poolings: tuple[Pooling, ...] = BOTH) -> Any:
    with torch.inference_mode():
        found = network(batch, poolings)
    return np.stack([found[pooling].numpy() for pooling in poolings], axis=1)


def differ(weights: Weights, others: Weights) -> set[str]:
    """Names of what is not the same, bit for bit."""
    pairs = {name: (table.dense(), others.tables[name].dense()) for name, table in weights.tables.items()}
    for name, norm in weights.norms.items():
        pairs |= {f"{name}.{kind}": (getattr(norm, kind), getattr(others.norms[name], kind)) for kind in BITS}
    for name, linear in weights.linears.items():
        other = others.linears[name]
        pairs |= {f"{name}.weight": (linear.weight.dense(), other.weight.dense())}
        pairs |= {f"{name}.bias": (linear.bias, other.bias)}
    return {name for name, (one, other) in pairs.items() if one.tobytes() != other.tobytes()}


@pytest.mark.parametrize("short", [0, 100])
@pytest.mark.parametrize("poolings", [BOTH, ("first",), ("mean",)])
@pytest.mark.parametrize("family", FAMILIES)
def test_its_states_are_the_oracles(
    model: Model, family: str, poolings: tuple[Pooling, ...], short: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "SHORT", short)
    bundle = opened(model(family))
    batch = batch_of(bundle, some_rows(bundle, LENGTHS))
    wanted = run_numpy(NumpyOps(weights_of(bundle)), batch, poolings)
    np.testing.assert_allclose(states_of(network_of(bundle), batch, poolings), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("lengths", [(100, 99), (101, 3), (150, 150), (150, 101, 20)])
def test_long_texts_take_the_other_way_to_the_same(
    model: Model, lengths: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    theirs = torch.nn.functional.scaled_dot_product_attention

    def spy(*given: Any, **options: Any) -> Any:
        calls.append(given)
        return theirs(*given, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    bundle = opened(model("bert", positions=160))
    batch = batch_of(bundle, some_rows(bundle, lengths))
    found = states_of(network_of(bundle), batch)
    np.testing.assert_allclose(found, run_numpy(NumpyOps(weights_of(bundle)), batch, BOTH), rtol=0, atol=1e-5)
    assert len(calls) == (2 if max(lengths) > room.SHORT else 0)


@pytest.mark.parametrize("activation", ["relu", "gelu_new"])
def test_every_activation_is_its_own(model: Model, activation: str) -> None:
    bundle = opened(model("distilbert", activation=activation))
    batch = batch_of(bundle, some_rows(bundle, LENGTHS))
    wanted = run_numpy(NumpyOps(weights_of(bundle)), batch, BOTH)
    np.testing.assert_allclose(states_of(network_of(bundle), batch), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_state_does_not_depend_on_its_company(model: Model, family: str) -> None:
    bundle = opened(model(family))
    rows = some_rows(bundle, LENGTHS)
    network = network_of(bundle)
    together = states_of(network, batch_of(bundle, rows))
    for i in range(len(rows)):
        alone = states_of(network, batch_of(bundle, rows, [i]))[0]
        np.testing.assert_allclose(together[i], alone, rtol=0, atol=1e-5)


def test_what_is_padded_is_not_attended_to(bundle: Bundle) -> None:
    batch = batch_of(bundle, some_rows(bundle, (9, 3)))
    network = network_of(bundle)
    other = replace(batch, input_ids=np.where(batch.attention_mask > 0, batch.input_ids, 30).astype(np.int32))
    assert np.array_equal(states_of(network, batch), states_of(network, other))


def test_the_last_layer_of_the_first_token_alone_is_the_whole_layers(bundle: Bundle) -> None:
    batch = batch_of(bundle, some_rows(bundle, LENGTHS))
    gradients = []
    for poolings in (("first",), BOTH):
        network = network_of(bundle)
        state = network(batch, poolings)["first"]
        (state * torch.linspace(-1, 1, state.shape[1])).sum().backward()
        gradients.append([one.grad.numpy() for one in network.parameters() if one.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) == len(list(network_of(bundle).parameters()))
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-5)


def test_gradients_are_those_of_finite_differences(bundle: Bundle) -> None:
    batch = batch_of(bundle, some_rows(bundle, (7, 4)))
    network = network_of(bundle).double()
    aim = torch.linspace(-1, 1, 32, dtype=torch.float64)

    def cost() -> torch.Tensor:
        return sum(((state * aim).sum() for state in network(batch, BOTH).values()), torch.zeros(()))

    cost().backward()  # type: ignore[no-untyped-call]
    for name, one in network.named_parameters():
        assert one.grad is not None
        place = np.unravel_index(int(one.grad.abs().argmax()), one.shape)
        with torch.no_grad():
            was = one[place].item()
            one[place] = was + 1e-6
            above = cost().item()
            one[place] = was - 1e-6
            below = cost().item()
            one[place] = was
        assert one.grad[place].item() == pytest.approx((above - below) / 2e-6, rel=1e-4, abs=1e-6), name


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_go_out_as_they_came_in(model: Model, family: str) -> None:
    bundle = opened(model(family))
    assert differ(weights_of(bundle), network_of(bundle).weights()) == set()
    few = np.array([0, 1, 7, 30], np.int64)
    assert differ(weights_of(bundle), network_of(bundle, few).weights()) == set()


def test_so_do_those_that_were_stored_as_int8(model: Model, tmp_path: Path) -> None:
    folder = model("bert")
    bundle = opened(changed(folder, tmp_path / "int8", tensors=as_stored_int8(tensors_of(folder))))
    assert weights_of(bundle).tables["word"].scale is not None
    assert differ(weights_of(bundle), network_of(bundle, np.array([0, 5], np.int64)).weights()) == set()


def test_what_was_learned_is_what_goes_out(bundle: Bundle) -> None:
    rows = some_rows(bundle, LENGTHS)
    batch, held = batch_of(bundle, rows), vocabulary(rows)
    network = network_of(bundle, held)
    torch.manual_seed(0)
    with torch.no_grad():
        for one in network.parameters():
            one.add_(torch.randn_like(one), alpha=0.05)
    learned = network.weights()
    np.testing.assert_allclose(
        states_of(network, batch), run_numpy(NumpyOps(learned), batch, BOTH), rtol=0, atol=1e-5
    )
    absent = np.setdiff1d(np.arange(network.spec.vocabulary_size), held)
    before, after = (one.tables["word"].dense() for one in (weights_of(bundle), learned))
    assert len(absent)
    assert np.array_equal(before[absent], after[absent])
    assert (before[held] != after[held]).all(axis=1).all()


def test_only_rows_that_are_met_are_held_and_have_gradients(bundle: Bundle) -> None:
    rows = some_rows(bundle, (6, 9))
    held = np.union1d(vocabulary(rows), [3, 4])
    network = network_of(bundle, held)
    network(batch_of(bundle, rows), ("mean",))["mean"].square().sum().backward()
    table: Any = network.tables["word_table"]
    assert table.weight.shape == (len(held), 32)
    met = np.isin(held, np.concatenate([row.input_ids for row in rows]))
    assert np.array_equal((table.weight.grad != 0).any(dim=1).numpy(), met)


def test_a_token_whose_row_is_not_held_is_not_taken_for_another(bundle: Bundle) -> None:
    rows = some_rows(bundle, (6, 9))
    batch = batch_of(bundle, rows)
    met = vocabulary(rows)
    for missing in (met[1], met[-1]):
        with pytest.raises(ValueError, match="not held"):
            network_of(bundle, met[met != missing])(batch, BOTH)


def test_dropout_leaves_out_only_while_a_step_is_drawn(bundle: Bundle) -> None:
    batch = batch_of(bundle, some_rows(bundle, (6, 9)))
    learner = learner_of(bundle, recipe_of(dropout=0.3))
    still = states_of(learner.network, batch)
    learner.dropout.begin(0, 1)
    assert np.abs(states_of(learner.network, batch) - still).max() > 0.1
    learner.dropout.end()
    assert np.array_equal(states_of(learner.network, batch), still)


class AllButTheFirst(Dropout):
    """Leaves out all of what it is given, but for the first tensor, and remembers the shapes."""

    def __init__(self) -> None:
        super().__init__(0.5)
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(x.shape))
        return x if len(self.shapes) == 1 else x * 0


def test_dropout_is_of_the_embedding_and_of_each_layers_products_not_of_what_passes_by(
    bundle: Bundle,
) -> None:
    batch = batch_of(bundle, some_rows(bundle, (6, 9)))
    weights, dropout = weights_of(bundle), AllButTheFirst()
    with torch.inference_mode():
        found = Network(weights, np.arange(weights.spec.vocabulary_size), dropout)(batch, ("first",))["first"]
    assert dropout.shapes == [(2, 9, 32)] * 3 + [(2, 1, 32)] * 2
    ops = NumpyOps(weights)
    x = ops.look_up("word", batch.input_ids) + ops.look_up("position", ops.positions(batch.input_ids, None))
    for norm in (
        "embedding_norm",
        *(f"layer.{i}.{part}_norm" for i in (0, 1) for part in ("attention", "output")),
    ):
        x = ops.normalize(x, norm)
    np.testing.assert_allclose(found.numpy(), x[:, 0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("dense", [False, True])
def test_a_head_drops_what_each_of_its_layers_reads(dense: bool) -> None:
    dropout = AllButTheFirst()
    head = HeadModule(form(dense=dense), 8, dropout)
    with torch.inference_mode():
        head(torch.ones(3, 8))
    assert dropout.shapes == [(3, 8)] * (2 if dense else 1)


@pytest.mark.parametrize("dense", [False, True])
def test_a_head_is_its_matrices(dense: bool) -> None:
    torch.manual_seed(0)
    head = HeadModule(form(dense=dense), 8, Dropout(0.0))
    rng = np.random.default_rng(0)
    given = {name: rng.normal(size=one.shape).astype(np.float32) for name, one in head.tensors().items()}
    assert set(given) == {
        f"{one}.{kind}" for one in (["dense"] if dense else []) + ["output"] for kind in BITS
    }
    head.fill(given)
    assert {name: one.tobytes() for name, one in head.tensors().items()} == {
        name: one.tobytes() for name, one in given.items()
    }
    state = rng.normal(size=(5, 8)).astype(np.float32)
    inner = np.tanh(state @ given["dense.weight"].T + given["dense.bias"]) if dense else state
    with torch.inference_mode():
        found = head(torch.from_numpy(state)).numpy()
    wanted = inner @ given["output.weight"].T + given["output.bias"]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
