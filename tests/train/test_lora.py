"""Low-rank updates: nothing at first, all that learns after, and plain layers in the end."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.models import opened
from tests.train.toys import learner_of, parameters, part_of, recipe_of
from tonewise.store import Bundle
from tonewise.train.learner import Learner
from tonewise.train.loop import fit
from tonewise.train.lora import TARGETS, add_adapters, merge_adapters

RECIPE = recipe_of(lora_rank=2, epochs=2, learning_rate=1e-2)


def adapted(bundle: Bundle) -> Learner:
    learner = learner_of(bundle, RECIPE)
    add_adapters(learner.network, 2)
    return learner


def linears(learner: Learner) -> list[nn.Module]:
    return [getattr(layer, name) for layer in learner.network.layer for name in TARGETS]


@pytest.mark.parametrize("family", ["distilbert", "bert", "roberta"])
def test_adapters_that_learned_nothing_change_nothing(model: Callable[..., Path], family: str) -> None:
    bundle = opened(model(family))
    part = part_of(bundle, 12)
    plain, learner = learner_of(bundle, RECIPE), adapted(bundle)
    assert not any(type(one) is nn.Linear for one in linears(learner))
    np.testing.assert_allclose(
        learner.logits(part.rows)["label"], plain.logits(part.rows)["label"], atol=1e-6
    )
    merge_adapters(learner.network)
    assert all(type(one) is nn.Linear for one in linears(learner))
    before, after = parameters(plain), parameters(learner)
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_merged_layers_answer_as_the_adapters_did(bundle: Bundle) -> None:
    learner, part = adapted(bundle), part_of(bundle)
    fit(learner, [part], [], RECIPE)
    before = learner.logits(part.rows)["label"]
    merge_adapters(learner.network)
    np.testing.assert_allclose(learner.logits(part.rows)["label"], before, atol=1e-5)
    found = {name for name in parameters(learner) if "lora" in name}
    assert not found


def test_what_is_no_adapter_and_no_head_does_not_learn(bundle: Bundle) -> None:
    learner, part = adapted(bundle), part_of(bundle)
    before = parameters(learner)
    fit(learner, [part], [], RECIPE)
    after = parameters(learner)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert any("lora_B" in name for name in changed)
    assert all("lora_" in name or name.startswith("heads.") for name in changed)


def test_an_update_is_of_its_rank(bundle: Bundle) -> None:
    learner, plain, part = adapted(bundle), learner_of(bundle, RECIPE), part_of(bundle)
    fit(learner, [part], [], RECIPE)
    merge_adapters(learner.network)
    for one, was in zip(linears(learner), linears(plain), strict=True):
        change = (one.weight - was.weight).detach()  # type: ignore[operator]
        assert 0 < torch.linalg.matrix_rank(change, atol=1e-5) <= 2
        assert torch.equal(one.bias, was.bias)  # type: ignore[arg-type]


def test_without_peft_it_is_told_what_to_install() -> None:
    program = (
        "import sys; sys.modules['peft'] = None\n"
        "from tonewise.train.lora import add_adapters\n"
        "from tonewise.errors import MissingExtraError\n"
        "try: add_adapters(None, 2)\n"
        "except MissingExtraError as error: print(error)\n"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "train" in told
    assert "peft" in told
