"""Recipes: what no run could follow is refused, what is open is told by the number of examples."""

import json
import math
from dataclasses import fields
from typing import Any

import pytest

from tonewise.errors import ConfigError
from tonewise.train.recipe import Recipe

COUNTS = ("epochs", "batch_size", "batch_tokens", "patience", "max_length")
SHARES = ("warmup", "dropout", "label_smoothing", "average")
RATES = ("learning_rate", "head_rate", "layer_decay", "clip_norm")
FROM_ZERO = ("weight_decay", "class_weights")
WHOLE_FROM_ZERO = ("frozen_layers", "lora_rank", "seed")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in COUNTS for value in (0, -1, 1.5)),
        *((name, value) for name in SHARES for value in (-0.1, 1.0, math.nan)),
        *((name, value) for name in RATES for value in (0.0, -1.0, math.inf, math.nan)),
        *((name, value) for name in FROM_ZERO for value in (-0.1, math.inf, math.nan)),
        *((name, value) for name in WHOLE_FROM_ZERO for value in (-1, 0.5)),
        ("pooling", "max"),
        ("precision", "fp16"),
    ],
)
def test_what_no_run_could_follow_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^{name} is '?{value}'?; wanted: .+") as caught:
        Recipe(**{name: value})
    assert "\n" not in str(caught.value)


def test_every_number_is_watched() -> None:
    numbers = {
        one.name for one in fields(Recipe) if one.name not in ("pooling", "precision", "freeze_encoder")
    }
    assert numbers == {*COUNTS, *SHARES, *RATES, *FROM_ZERO, *WHOLE_FROM_ZERO}


@pytest.mark.parametrize(
    "knobs", [dict.fromkeys(COUNTS, 1), dict.fromkeys(SHARES + FROM_ZERO, 0.0), dict.fromkeys(SHARES, 0.99)]
)
def test_what_lies_at_the_edge_is_taken(knobs: dict[str, Any]) -> None:
    assert knobs.items() <= Recipe(**knobs).stated().items()


@pytest.mark.parametrize("name", ["lora_rank", "frozen_layers"])
def test_a_frozen_encoder_has_nothing_else_that_learns(name: str) -> None:
    knobs: dict[str, Any] = {name: 2, "freeze_encoder": True}
    with pytest.raises(ConfigError, match=f"freeze_encoder .* drop it, or {name}"):
        Recipe(**knobs)


def test_what_is_open_is_told_by_the_number_of_examples() -> None:
    few, many = Recipe().settled(999, "mean"), Recipe().settled(1000, "first")
    assert (few.epochs, few.batch_size, few.pooling) == (10, 16, "mean")
    assert (many.epochs, many.batch_size, many.pooling) == (5, 32, "first")
    assert few.learning_rate == many.learning_rate == 2e-4
    assert Recipe().settled(5_000, "first").learning_rate == 1e-4
    assert Recipe().settled(5_000, "first", 768).learning_rate == 5e-5, "a wide network takes smaller steps"
    assert Recipe().settled(5_000, "first", 32).learning_rate == 1e-4


def test_what_is_given_stays() -> None:
    given = Recipe(epochs=2, learning_rate=1e-3, batch_size=3, seed=9, dropout=0.0)
    settled = given.settled(10, "first")
    assert settled == Recipe(epochs=2, learning_rate=1e-3, batch_size=3, seed=9, dropout=0.0, pooling="first")
    assert settled.settled(10, "first") == settled


def test_every_knob_is_stated_and_told_of() -> None:
    stated = Recipe().stated()
    assert json.loads(json.dumps(stated)) == stated
    assert set(stated) == {one.name for one in fields(Recipe)}
    told = Recipe.__doc__ or ""
    assert all(f"    {name} " in told for name in stated)


def test_a_frozen_encoder_has_no_use_for_knobs_of_steps() -> None:
    turned: dict[str, Any] = {
        **{"epochs": 3, "batch_size": 8, "batch_tokens": 9, "patience": 1, "learning_rate": 1e-3},
        **{"head_rate": 2.0, "layer_decay": 0.9, "clip_norm": 2.0, "weight_decay": 0.1, "warmup": 0.2},
        **{"dropout": 0.2, "label_smoothing": 0.1, "average": 0.5},
    }
    for name, value in turned.items():
        Recipe(**{name: value}).check_used()
        with pytest.raises(ConfigError, match=f"^{name} is {value}, which freeze_encoder makes no use of"):
            Recipe(freeze_encoder=True, **{name: value}).check_used()
    used: dict[str, Any] = {"class_weights": 1.0, "max_length": 9, "pooling": "mean", "seed": 3}
    recipe = Recipe(freeze_encoder=True, **used)
    recipe.check_used()
    recipe.settled(9, "mean").check_used()
