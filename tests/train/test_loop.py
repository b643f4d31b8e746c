"""The loop: what it learns, what it leaves alone, which weights it keeps, and that it does so again."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.models import FAMILIES, opened
from tests.train.toys import (
    HEAD,
    LABELS,
    form,
    key_rows,
    learner_of,
    parameters,
    part_of,
    recipe_of,
    same_bits,
    vocabulary,
)
from tonewise.errors import EngineError
from tonewise.metrics import accuracy
from tonewise.store import Bundle
from tonewise.train import loop, optimizer
from tonewise.train.learner import Learner
from tonewise.train.loop import Epoch, Fit, Moment, Stage, fit, macro, measure
from tonewise.train.losses import weights_of
from tonewise.train.parts import Kind, Part, Target
from tonewise.train.recipe import Recipe

Tables = dict[str, NDArray[np.float32]]


def changed(before: Tables, after: Tables) -> set[str]:
    return {name for name in before if before[name].tobytes() != after[name].tobytes()}


def trained(
    bundle: Bundle, recipe: Recipe, parts: Sequence[Part], validation: Sequence[Part] = (), **follow: Any
) -> tuple[Fit, Tables]:
    learner = learner_of(bundle, recipe)
    done = fit(learner, parts, validation, recipe, Stage(**follow))
    return done, parameters(learner)


def scripted(monkeypatch: pytest.MonkeyPatch, *metrics: float) -> None:
    """Validation that finds these, one after another."""
    told = iter(metrics)
    monkeypatch.setattr(loop, "measure", lambda learner, parts: {HEAD: next(told)} if parts else {})


@pytest.fixture
def plain_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """So great an epsilon that a step is the gradient times the rate: what differs a little stays little."""
    monkeypatch.setattr(optimizer, "EPSILON", 1.0)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_learns(model: Callable[..., Path], family: str) -> None:
    bundle = opened(model(family))
    recipe = recipe_of(epochs=6, dropout=0.05)
    learner = learner_of(bundle, recipe)
    train, held = part_of(bundle, 240), part_of(bundle, 80, seed=1)
    before = measure(learner, [held])[HEAD]
    done = fit(learner, [train], [held], recipe)
    assert before < 0.6
    assert measure(learner, [held])[HEAD] == max(one.metric for one in done.history) > 0.95
    assert done.history[-1].loss < done.history[0].loss / 2
    gold = held.targets[HEAD].values.argmax(axis=1)
    assert accuracy(gold, learner.logits(held.rows)[HEAD].argmax(axis=1)) > 0.95


@pytest.mark.parametrize("kind", ["multi", "soft"])
@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_several_and_soft_labels_are_learned(bundle: Bundle, kind: Kind, pooling: Any) -> None:
    recipe = recipe_of(epochs=6)
    learner = learner_of(bundle, recipe, {HEAD: form(pooling=pooling, several=kind == "multi")})
    held = part_of(bundle, 80, seed=1, kind=kind)
    fit(learner, [part_of(bundle, 240, kind=kind)], [held], recipe)
    assert measure(learner, [held])[HEAD] > 0.95
    if kind == "soft":
        logits = learner.logits(held.rows)[HEAD].astype(np.float64)
        scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        assert np.abs(scores - held.targets[HEAD].values).mean() < 0.06


def test_old_answers_are_kept_while_a_head_beside_them_learns(bundle: Bundle) -> None:
    recipe = recipe_of(epochs=4)
    forms = {HEAD: form(), "old": form(("x", "y"))}
    rows, _ = key_rows(bundle, 200)
    moved = {}
    for keep in (False, True):
        learner = learner_of(bundle, recipe, forms)
        old = learner.logits(rows, ["old"])["old"] * 10
        with torch.no_grad():
            learner.head("old").output.weight.mul_(10)
        part = part_of(bundle, 200)
        kept = {"old": Target("logits", old)} if keep else {}
        fit(learner, [Part(part.rows, {**part.targets, **kept})], [], recipe)
        assert measure(learner, [part])[HEAD] > 0.95
        new = learner.logits(rows, ["old"])["old"]
        moved[keep] = np.abs(np.diff(new, axis=1) - np.diff(old, axis=1)).mean()
    assert moved[True] < moved[False] / 3


@pytest.mark.parametrize("knobs", [{}, {"clip_norm": 0.01}, {"label_smoothing": 0.1, "class_weights": 1.0}])
def test_a_step_is_adamw_by_hand(
    bundle: Bundle, knobs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loshchilov and Hutter 2019, algorithm 2, its first step: m̂ = g, √v̂ = |g|."""
    monkeypatch.setattr(optimizer, "EPSILON", 0.1)
    part = part_of(bundle, 10)
    recipe = recipe_of(epochs=1, batch_size=10, weight_decay=0.1, clip_norm=100.0, head_rate=2.0, warmup=0.0)
    recipe = Recipe(**recipe.stated() | knobs)
    learner = learner_of(bundle, recipe)
    named = [*learner.network.named_parameters(), *learner.heads.named_parameters(prefix="heads")]
    power = weights_of(part.targets[HEAD], recipe.class_weights)
    weights = {HEAD: None if power is None else torch.from_numpy(power)}
    loss = learner.cost(part, list(range(10)), recipe.label_smoothing, weights) / 10
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = {name: one.grad.double().numpy() for name, one in named if one.grad is not None}
    norm = sum((one**2).sum() for one in gradients.values()) ** 0.5
    assert 0.01 < norm < 100
    share = min(1.0, recipe.clip_norm / norm)
    wanted = {}
    for name, one in named:
        rate = 3e-3 * (2.0 if name.startswith("heads.") else 1.0)
        decay = 0.1 if one.ndim == 2 and "table" not in name else 0.0
        g = gradients[name] * share
        wanted[name] = one.detach().double().numpy() * (1 - rate * decay) - rate * g / (np.abs(g) + 0.1)
    done = fit(learner, [part], [], recipe)
    assert done.history[0].loss == pytest.approx(loss.item(), rel=1e-5)
    for name, one in named:
        np.testing.assert_allclose(one.detach().numpy(), wanted[name], rtol=0, atol=2e-7, err_msg=name)


def test_the_loss_of_an_epoch_is_the_mean_over_its_examples(bundle: Bundle) -> None:
    part = part_of(bundle, 21)
    recipe = recipe_of(epochs=2, learning_rate=1e-12, batch_size=8)
    done, _ = trained(bundle, recipe, [part])
    still = learner_of(bundle, recipe).cost(part, list(range(21)), 0.0, {}).item() / 21
    assert [one.loss for one in done.history] == pytest.approx([still, still], rel=1e-5)


def test_frozen_layers_stay_bit_for_bit_and_the_others_do_not(bundle: Bundle) -> None:
    recipe = recipe_of(epochs=1, frozen_layers=1, average=0.5)
    before = parameters(learner_of(bundle, recipe))
    _, after = trained(bundle, recipe, [part_of(bundle)])
    moved = changed(before, after)
    assert moved == {name for name in before if name.startswith(("network.layer.1.", "heads."))}


def test_only_rows_that_are_met_move_in_the_tables(bundle: Bundle) -> None:
    recipe = recipe_of(epochs=2, weight_decay=0.5)
    part = part_of(bundle, 40)
    before = parameters(learner_of(bundle, recipe))
    _, after = trained(bundle, recipe, [part])
    met = np.isin(np.arange(len(before["network.tables.word_table.weight"])), vocabulary(part.rows)[1:])
    pairs = (one["network.tables.word_table.weight"] for one in (before, after))
    assert np.array_equal(np.not_equal(*pairs).any(axis=1), met)
    places = max(len(row.input_ids) for row in part.rows)
    positions = np.not_equal(*(one["network.tables.position_table.weight"] for one in (before, after)))
    assert positions.any(axis=1).tolist() == [i < places for i in range(64)]


@pytest.mark.usefixtures("plain_steps")
def test_the_compact_table_learns_what_the_whole_one_does(bundle: Bundle) -> None:
    recipe = recipe_of(epochs=1, learning_rate=0.05, weight_decay=0.1)
    part = part_of(bundle, 40)
    learned = []
    for held in (None, vocabulary(part.rows)):
        learner = learner_of(bundle, recipe, held=held)
        fit(learner, [part], [], recipe)
        learned.append(learner.network.weights())
    whole, compact = learned
    start = learner_of(bundle, recipe).network.weights()
    assert np.abs(whole.tables["word"].stored - start.tables["word"].stored).max() > 1e-3
    for name, table in whole.tables.items():
        np.testing.assert_allclose(table.stored, compact.tables[name].stored, rtol=0, atol=2e-6)
    for name, linear in whole.linears.items():
        other = compact.linears[name]
        np.testing.assert_allclose(linear.weight.stored, other.weight.stored, rtol=0, atol=2e-6)


@pytest.mark.usefixtures("plain_steps")
def test_a_token_budget_changes_no_result(bundle: Bundle) -> None:
    part = part_of(bundle, 40)
    found = []
    for most in (4096, 20):
        recipe = recipe_of(epochs=1, learning_rate=0.05, batch_tokens=most, class_weights=0.5)
        found.append(trained(bundle, recipe, [part]))
    (whole, wanted), (pieced, weights) = found
    assert pieced.history[0].loss == pytest.approx(whole.history[0].loss, rel=1e-5)
    for name, one in wanted.items():
        np.testing.assert_allclose(weights[name], one, rtol=0, atol=2e-6)


def test_a_seed_gives_the_same_bits_and_another_does_not(bundle: Bundle) -> None:
    part, held = part_of(bundle), part_of(bundle, 30, seed=1)
    recipe = recipe_of(epochs=2, dropout=0.2, average=0.3)
    first, wanted = trained(bundle, recipe, [part], [held])
    torch.rand(7)  # numbers that others draw between do not matter
    second, found = trained(bundle, recipe, [part], [held])
    assert same_bits(wanted, found)
    assert [one.loss for one in first.history] == [one.loss for one in second.history]
    _, other = trained(bundle, recipe_of(epochs=2, dropout=0.2, average=0.3, seed=1), [part], [held])
    assert changed(wanted, other)


def test_each_step_draws_its_own_dropout(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[tuple[int, ...]] = []
    recipe = recipe_of(epochs=2, dropout=0.5, seed=7)
    learner = learner_of(bundle, recipe)
    monkeypatch.setattr(learner.dropout, "begin", lambda *seed: seeds.append(seed))
    fit(learner, [part_of(bundle, 24)], [], recipe)
    assert seeds == [(7, step) for step in range(1, 7)]


def test_dropout_is_of_training_alone(bundle: Bundle) -> None:
    recipe = recipe_of(epochs=1, dropout=0.5)
    learner = learner_of(bundle, recipe)
    part = part_of(bundle, 20)
    fit(learner, [part], [part], recipe)
    assert np.array_equal(learner.logits(part.rows)[HEAD], learner.logits(part.rows)[HEAD])


@pytest.mark.parametrize(
    ("metrics", "patience", "epochs", "best"),
    [
        ((0.5, 0.7, 0.6, 0.6), 2, 4, 2),
        ((0.5, 0.6, 0.5, 0.7, 0.8, 0.9), 2, 6, 6),
        ((0.5, 0.5, 0.5), 2, 3, 1),  # no better is not better
        ((0.0, 0.0), 1, 2, 1),
    ],
)
def test_the_best_epoch_is_kept_and_patience_ends(
    bundle: Bundle,
    metrics: tuple[float, ...],
    patience: int,
    epochs: int,
    best: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scripted(monkeypatch, *metrics)
    recipe = recipe_of(epochs=6, patience=patience)
    learner = learner_of(bundle, recipe)
    seen: list[Tables] = []
    part = part_of(bundle, 16)
    stage = Stage(on_epoch=lambda epoch: seen.append(parameters(learner)))
    done = fit(learner, [part], [part], recipe, stage)
    assert [one.metric for one in done.history] == list(metrics)
    assert (len(done.history), done.best, done.averaged) == (epochs, best, False)
    assert same_bits(parameters(learner), seen[best - 1])
    assert all(changed(seen[i], seen[best - 1]) for i in range(epochs) if i != best - 1)


def test_without_validation_the_last_epoch_is_the_best(bundle: Bundle) -> None:
    recipe = recipe_of(epochs=3, patience=1)
    learner = learner_of(bundle, recipe)
    seen: list[Tables] = []
    stage = Stage(on_epoch=lambda epoch: seen.append(parameters(learner)))
    done = fit(learner, [part_of(bundle, 16)], [], recipe, stage)
    assert (done.best, len(done.history), done.history[0].metrics) == (3, 3, {})
    assert same_bits(parameters(learner), seen[2])


@pytest.mark.parametrize(("last", "averaged"), [(0.7, True), (0.8, True), (0.69, False)])
def test_the_mean_of_the_last_weights_is_taken_where_it_is_no_worse(
    bundle: Bundle, last: float, averaged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, 0.6, 0.7, last)
    recipe = recipe_of(epochs=2, average=0.25)
    learner = learner_of(bundle, recipe)
    seen: list[Tables] = []
    part = part_of(bundle, 48)  # six steps an epoch: three are averaged
    stage = Stage(watch=lambda moment: seen.append(parameters(learner)))
    done = fit(learner, [part], [part], recipe, stage)
    assert (done.averaged, done.best, len(seen)) == (averaged, 2, 12)
    for name, one in parameters(learner).items():
        wanted = np.mean([table[name] for table in seen[-3:]], axis=0) if averaged else seen[-1][name]
        np.testing.assert_allclose(one, wanted, rtol=0, atol=1e-6)
    assert changed(seen[-1], parameters(learner)) or not averaged


def test_who_watches_sees_each_step_and_each_epoch(bundle: Bundle) -> None:
    moments: list[Moment] = []
    epochs: list[Epoch] = []
    recipe = recipe_of(epochs=2, warmup=0.0)
    follow = {"name": "fold-1", "watch": moments.append, "on_epoch": epochs.append}
    parts = [part_of(bundle, 20), part_of(bundle, 9, seed=2)]
    done, _ = trained(bundle, recipe, parts, [part_of(bundle, 10, seed=1)], **follow)
    assert [(one.stage, one.step, one.steps) for one in moments] == [("fold-1", i, 10) for i in range(1, 11)]
    assert [one.epoch for one in moments] == [1] * 5 + [2] * 5
    assert [one.metric for one in moments] == [None] * 5 + [epochs[0].metric] * 5
    assert (moments[4].loss, moments[9].loss) == (epochs[0].loss, epochs[1].loss)
    assert epochs == done.history
    assert 0 < epochs[0].seconds <= epochs[1].seconds <= done.seconds
    assert epochs[0].rate > epochs[1].rate == 0


def test_what_a_watcher_raises_ends_the_fit(bundle: Bundle) -> None:
    def pruned(epoch: Epoch) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(bundle, recipe_of(), [part_of(bundle, 16)], on_epoch=pruned)


def test_a_rate_that_is_too_great_is_named(bundle: Bundle) -> None:
    recipe = recipe_of(learning_rate=1e38, warmup=0.0)
    told = "the loss or its gradient is no number any more in epoch 1; lower --learning-rate"
    with pytest.raises(EngineError, match=told):
        trained(bundle, recipe, [part_of(bundle, 32)])


def test_so_is_a_gradient_that_overflows_in_the_last_step(bundle: Bundle) -> None:
    part = part_of(bundle, 4)
    heavy = Target("single", part.targets[HEAD].values, weight=2e37)
    learner = learner_of(bundle, recipe_of())
    assert np.isfinite(learner.cost(Part(part.rows, {HEAD: heavy}), [0, 1, 2, 3], 0.0, {}).item())
    with pytest.raises(EngineError, match="lower --learning-rate"):
        trained(bundle, recipe_of(epochs=1), [Part(part.rows, {HEAD: heavy})])


def test_several_labels_are_measured_at_the_thresholds_that_fit_best() -> None:
    gold = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32)
    logits = np.where(gold > 0, -2.0, -5.0).astype(np.float32)  # none is above one half
    assert macro(logits, Target("multi", gold)) == 1.0
    assert macro(logits, Target("single", gold)) == 1.0
    assert macro(-logits, Target("single", gold)) == 0.0


def test_heads_are_measured_each_and_an_epoch_by_their_mean(bundle: Bundle) -> None:
    learner: Learner = learner_of(bundle, recipe_of(), {HEAD: form(), "other": form(LABELS, "mean")})
    part = part_of(bundle, 30)
    other = Part(part.rows, {"other": part.targets[HEAD]})
    found = measure(learner, [part, other])
    assert set(found) == {HEAD, "other"}
    assert found[HEAD] == macro(learner.logits(part.rows)[HEAD], part.targets[HEAD])
    assert Epoch(1, 0.1, found, 1.0).metric == pytest.approx(np.mean(list(found.values())))
    assert Epoch(1, 0.1, {}, 1.0).metric == 0.0
