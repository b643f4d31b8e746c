"""A network with its heads: the oracle's answers in the caller's order, costs that add up, and precision."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.models import batch_of, opened, some_rows
from tests.train.toys import HEAD, form, learner_of, parameters, part_of, recipe_of, same_bits, weights_of
from tonewise.encoder.forward import NumpyOps, run_numpy
from tonewise.errors import ConfigError
from tonewise.store import Bundle
from tonewise.train import learner as room
from tonewise.train.learner import Learner, wants_bf16
from tonewise.train.parts import Part, Target

LENGTHS = (17, 1, 40, 2, 9, 9, 25)
HEADS = {
    "mood": form(("a", "b"), "first", dense=True),
    "tone of voice": form(("x", "y", "z"), "mean"),
    "type": form(("p", "q"), "first", several=True),
}


@pytest.fixture
def learner(bundle: Bundle) -> Learner:
    return learner_of(bundle, recipe_of(), HEADS)


def test_logits_are_the_oracles_in_the_callers_order(
    bundle: Bundle, learner: Learner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "ANSWER_TOKENS", 50)
    rows = some_rows(bundle, LENGTHS)
    found = learner.logits(rows)
    assert list(found) == list(HEADS)
    states = run_numpy(NumpyOps(weights_of(bundle)), batch_of(bundle, rows), ("first", "mean"))
    for name, one in HEADS.items():
        tensors = learner.head(name).tensors()
        state = states[:, 0 if one.pooling == "first" else 1]
        if one.dense:
            state = np.tanh(state @ tensors["dense.weight"].T + tensors["dense.bias"])
        wanted = state @ tensors["output.weight"].T + tensors["output.bias"]
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], wanted, rtol=0, atol=2e-5)
    for place, pooling in enumerate(("first", "mean")):
        given = learner.states(rows, pooling)  # type: ignore[arg-type]
        np.testing.assert_allclose(given, states[:, place], rtol=0, atol=1e-5)


def test_only_the_named_heads_answer(bundle: Bundle, learner: Learner) -> None:
    rows = some_rows(bundle, LENGTHS)
    whole = learner.logits(rows)
    assert list(learner.logits(rows, ["type"])) == ["type"]
    np.testing.assert_allclose(learner.logits(rows, ["type"])["type"], whole["type"], rtol=0, atol=1e-5)
    assert learner.logits([], ["type"])["type"].shape == (0, 2)


def test_a_cost_is_the_sum_over_rows_and_heads(bundle: Bundle, learner: Learner) -> None:
    rows = some_rows(bundle, LENGTHS)
    rng = np.random.default_rng(0)
    targets = {
        "mood": Target("single", np.eye(2, dtype=np.float32)[rng.integers(0, 2, len(rows))]),
        "tone of voice": Target("logits", rng.normal(size=(len(rows), 3)).astype(np.float32), 0.5),
    }
    whole = learner.cost(Part(rows, targets), list(range(len(rows))), 0.1, {}).item()
    parts = [
        learner.cost(Part(rows, {name: target}), [i], 0.1, {}).item()
        for name, target in targets.items()
        for i in range(len(rows))
    ]
    assert whole == pytest.approx(sum(parts), rel=1e-5)


def test_each_head_is_weighted_by_its_own_class_weights(bundle: Bundle, learner: Learner) -> None:
    rows = some_rows(bundle, (5, 6))
    part = Part(rows, {"mood": Target("single", np.eye(2, dtype=np.float32))})
    weights = {"mood": torch.tensor([2.0, 0.0]), "type": torch.tensor([7.0, 7.0])}
    alone = learner.cost(part, [0], 0.0, {}).item()
    assert learner.cost(part, [0, 1], 0.0, weights).item() == pytest.approx(2 * alone, rel=1e-5)


def test_pieces_have_the_gradient_of_the_whole(bundle: Bundle) -> None:
    part = part_of(bundle, 10)
    gradients = []
    for pieces in ([list(range(10))], [[0, 1, 2], [3], list(range(4, 10))]):
        learner = learner_of(bundle, recipe_of())
        for rows in pieces:
            (learner.cost(part, rows, 0.1, {}) / 10).backward()  # type: ignore[no-untyped-call]
        gradients.append([one.grad.numpy() for one in learner.parameters() if one.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 0
    for whole, pieced in zip(*gradients, strict=True):
        np.testing.assert_allclose(whole, pieced, rtol=0, atol=1e-6)


def test_weights_are_copied_out_and_taken_back(bundle: Bundle, learner: Learner) -> None:
    before, state = parameters(learner), learner.state()
    with torch.no_grad():
        for one in learner.parameters():
            one.add_(1)
    assert not same_bits(before, parameters(learner))
    learner.restore(state)
    assert same_bits(before, parameters(learner))


def test_bf16_is_of_products_alone(bundle: Bundle) -> None:
    part = part_of(bundle, 8)
    learner = learner_of(bundle, recipe_of())
    exact = learner.logits(part.rows)[HEAD]
    learner.bf16 = True
    rough = learner.logits(part.rows)[HEAD]
    assert rough.dtype == np.float32
    assert 0 < np.abs(rough - exact).max() < 0.05
    learner.cost(part, list(range(8)), 0.0, {}).backward()  # type: ignore[no-untyped-call]
    assert {one.dtype for one in learner.parameters()} == {torch.float32}
    assert {one.grad.dtype for one in learner.parameters() if one.grad is not None} == {torch.float32}
    with learner.exact():
        assert np.array_equal(learner.logits(part.rows)[HEAD], exact)
        states = learner.states(part.rows, "first")
    assert np.array_equal(learner.states(part.rows, "first"), states), "whatever the learner computes in"
    assert learner.bf16
    with pytest.raises(ZeroDivisionError), learner.exact():
        raise ZeroDivisionError
    assert learner.bf16


CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(params=[False, True])
def able(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether this machine has bf16."""
    has = bool(request.param)
    monkeypatch.setattr(room, "has_bf16", lambda: has)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: has)
    return has


@pytest.mark.parametrize("device", [CPU, CUDA])
def test_precision_is_as_asked_or_a_refusal(learner: Learner, able: bool, device: torch.device) -> None:
    assert not wants_bf16(learner.network.spec, recipe_of(precision="fp32"), device)
    if able:
        assert wants_bf16(learner.network.spec, recipe_of(precision="bf16"), device)
    else:
        with pytest.raises(ConfigError, match=f"precision is bf16, which this {device.type} has not; leave"):
            wants_bf16(learner.network.spec, recipe_of(precision="bf16"), device)


@pytest.mark.parametrize("seconds", [0.5, 2.0])
def test_auto_takes_bf16_where_it_is_there_and_faster(
    learner: Learner, able: bool, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_seconds", lambda _: (seconds, 1.0))
    assert wants_bf16(learner.network.spec, recipe_of(precision="auto"), CPU) is (able and seconds < 1)
    assert wants_bf16(learner.network.spec, recipe_of(precision="auto"), CUDA) is able


def test_a_machine_that_is_busy_for_a_while_slows_both_precisions(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, busy = [0.0], [0]

    def told() -> float:
        busy[0] += 1
        clock[0] += 1.0 if busy[0] < room.TRIALS else 0.001  # slow for the first trials
        return clock[0]

    monkeypatch.setattr("tonewise.train.learner.time.perf_counter", told)
    half, single = room._seconds.__wrapped__((4, 4))
    assert half == single == pytest.approx(0.001)


def test_measuring_draws_no_numbers_and_is_done_once(
    learner: Learner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "has_bf16", lambda: True)
    room._seconds.cache_clear()
    torch.manual_seed(0)
    first = wants_bf16(learner.network.spec, recipe_of(precision="auto"), CPU)
    after = torch.rand(1)
    assert wants_bf16(learner.network.spec, recipe_of(precision="auto"), CPU) is first
    assert room._seconds.cache_info().misses == 1
    torch.manual_seed(0)
    assert torch.equal(torch.rand(1), after)


def test_a_pair_and_a_family_with_types_answer_too(model: Callable[..., Path]) -> None:
    bundle = opened(model("bert"))
    rows = some_rows(bundle, (9, 4), types=True)
    plain = some_rows(bundle, (9, 4), types=False)
    learner = learner_of(bundle, recipe_of())
    pair, single = learner.states(rows, "mean"), learner.states(plain, "mean")
    wanted = run_numpy(NumpyOps(weights_of(bundle)), batch_of(bundle, rows), ("mean",))[:, 0]
    np.testing.assert_allclose(pair, wanted, rtol=0, atol=1e-5)
    assert np.abs(pair - single).max() > 0.01


def test_each_device_is_asked_for_its_own_bf16(learner: Learner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "has_bf16", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert wants_bf16(learner.network.spec, recipe_of(precision="bf16"), CUDA)
    assert not wants_bf16(learner.network.spec, recipe_of(precision="auto"), CPU)
