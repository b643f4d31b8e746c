"""The optimizer: which rate and which decay each parameter has, and how rates rise and fall."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("peft")

from tests.models import opened
from tests.train.toys import form, learner_of, recipe_of
from tonewise.store import Bundle
from tonewise.train.learner import Learner
from tonewise.train.lora import add_adapters
from tonewise.train.optimizer import open_optimizer, open_schedule

RATE = 1e-3


@pytest.fixture
def deep(model: Callable[..., Path]) -> Bundle:
    return opened(model("bert", layers=3))


def made(bundle: Bundle, **knobs: Any) -> tuple[Learner, dict[str, tuple[float, float]]]:
    """A learner, and by parameter that learns its rate and its decay."""
    recipe = recipe_of(learning_rate=RATE, **knobs)
    learner = learner_of(bundle, recipe, {"label": form(dense=True)})
    if recipe.lora_rank:
        add_adapters(learner.network, recipe.lora_rank)
    groups = open_optimizer(learner.network, learner.heads, recipe).param_groups
    of = {id(one): (group["lr"], group["weight_decay"]) for group in groups for one in group["params"]}
    named = [*learner.network.named_parameters(), *learner.heads.named_parameters(prefix="heads")]
    assert len(of) == sum(len(group["params"]) for group in groups)
    assert all(one.requires_grad == (id(one) in of) for _, one in named)
    return learner, {name: of[id(one)] for name, one in named if id(one) in of}


def test_tables_norms_and_biases_do_not_decay(deep: Bundle) -> None:
    learner, found = made(deep, weight_decay=0.1)
    decaying = {name for name, (_, decay) in found.items() if decay}
    assert {decay for _, decay in found.values()} == {0.0, 0.1}
    parts = ("qkv", "attention_out", "up", "down")
    assert decaying == {f"layer.{i}.{part}.weight" for i in range(3) for part in parts} | {
        "heads.0.dense.weight",
        "heads.0.output.weight",
    }
    assert len(found) == len(list(learner.parameters()))


def test_rates_fall_from_layer_to_layer_and_new_layers_learn_faster(deep: Bundle) -> None:
    _, found = made(deep, layer_decay=0.5, head_rate=10.0)
    for name, (rate, _) in found.items():
        depth = int(name.split(".")[1]) if name.startswith("layer.") else -1
        wanted = 10 * RATE if name.startswith("heads.") else RATE * 0.5 ** (2 - depth)
        assert rate == pytest.approx(wanted), name
    assert found["tables.word_table.weight"][0] == pytest.approx(RATE / 8)


@pytest.mark.parametrize("frozen", [0, 1, 2, 3])
def test_frozen_layers_and_the_tables_below_them_do_not_learn(deep: Bundle, frozen: int) -> None:
    _, found = made(deep, frozen_layers=frozen)
    learning = {name.split(".")[1] for name in found if name.startswith("layer.")}
    assert learning == {str(i) for i in range(frozen, 3)}
    below = [name for name in found if name.startswith(("tables.", "embedding_norm."))]
    assert bool(below) == (frozen == 0)
    assert any(name.startswith("heads.") for name in found)


def test_of_a_frozen_encoder_only_heads_learn(deep: Bundle) -> None:
    _, found = made(deep, freeze_encoder=True)
    assert {name.split(".")[0] for name in found} == {"heads"}


def test_of_low_rank_updates_the_weights_beside_them_do_not_learn(deep: Bundle) -> None:
    _, found = made(deep, lora_rank=2, head_rate=4.0, layer_decay=0.5, frozen_layers=1)
    updates = {name: rate for name, (rate, _) in found.items() if not name.startswith("heads.")}
    assert all("lora_" in name for name in updates)
    assert len(updates) == 2 * 4 * 2  # of two layers four products, each of two matrices
    for name, rate in updates.items():
        assert rate == pytest.approx(4 * RATE * 0.5 ** (2 - int(name.split(".")[1]))), name


@pytest.mark.parametrize(
    ("total", "warmup", "rising"), [(100, 0.1, 10), (7, 0.0, 1), (1, 0.5, 1), (3, 0.9, 3)]
)
def test_rates_rise_and_then_fall(total: int, warmup: float, rising: int) -> None:
    one = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([{"params": [one], "lr": RATE}])
    schedule = open_schedule(optimizer, total, warmup)
    rates = []
    for _ in range(total):
        rates.append(schedule.get_last_lr()[0] / RATE)
        optimizer.step()
        schedule.step()
    assert rates[:rising] == pytest.approx([(i + 1) / rising for i in range(rising)])
    assert rates[rising:] == pytest.approx([(total - i) / (total - rising) for i in range(rising, total)])
    assert min(rates) > 0
    assert schedule.get_last_lr()[0] == 0
