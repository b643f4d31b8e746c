"""Small things to learn, and small learners, that the tests of training make."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tests.models import some_rows
from tonewise.encoder.weights import NetworkSpec, Weights, load_weights
from tonewise.metrics import one_hot
from tonewise.store import Bundle, Pooling
from tonewise.tokenizer import Row
from tonewise.train.dropout import Dropout
from tonewise.train.learner import Learner
from tonewise.train.network import HeadForm, HeadModule, Network
from tonewise.train.parts import Kind, Part, Target
from tonewise.train.recipe import Recipe

LABELS = ("sadness", "joy", "anger")
KEYS = (20, 21, 22)
"""The token ids that tell the labels."""
HEAD = "label"
FLAT: dict[str, Any] = {"dropout": 0.0, "precision": "fp32"}


def weights_of(bundle: Bundle) -> Weights:
    return load_weights(bundle.weights, NetworkSpec.from_config(bundle.network, bundle.ref), bundle.ref)


def vocabulary(rows: Sequence[Row], padding_id: int = 0) -> NDArray[np.int64]:
    """Token ids that the rows hold, and the padding's."""
    return np.unique([padding_id, *(one for row in rows for one in row.input_ids)]).astype(np.int64)


def form(
    labels: Sequence[str] = LABELS, pooling: Pooling = "first", *, several: bool = False, dense: bool = False
) -> HeadForm:
    problem: Any = f"{'multi' if several else 'single'}_label_classification"
    return HeadForm(tuple(labels), problem, pooling, dense, "tanh" if dense else "none")


def recipe_of(**knobs: Any) -> Recipe:
    """Settled, for small sets: no dropout, in float32, unless it is told otherwise."""
    table: dict[str, Any] = (
        {"epochs": 4, "learning_rate": 3e-3, "batch_size": 8, "pooling": "first"} | FLAT | knobs
    )
    return Recipe(**table)


def learner_of(
    bundle: Bundle,
    recipe: Recipe,
    forms: Mapping[str, HeadForm] | None = None,
    held: NDArray[np.int64] | None = None,
) -> Learner:
    """The bundle's encoder with heads that have not learned: the same each time."""
    weights = weights_of(bundle)
    dropout = Dropout(recipe.dropout)
    torch.manual_seed(recipe.seed)
    held = np.arange(weights.spec.vocabulary_size) if held is None else held
    network = Network(weights, held, dropout)
    hidden = weights.spec.hidden_size
    heads = {name: HeadModule(one, hidden, dropout) for name, one in (forms or {HEAD: form()}).items()}
    return Learner(network, heads, dropout, int(bundle.network["pad_token_id"]), bf16=False)


def key_rows(bundle: Bundle, n: int, seed: int = 0) -> tuple[list[Row], NDArray[np.int64]]:
    """Random rows of 4 to 11 tokens, each with one key somewhere, and which one."""
    rng = np.random.default_rng(seed)
    told = rng.integers(0, len(KEYS), n)
    rows = []
    for row, key in zip(some_rows(bundle, rng.integers(4, 12, n).tolist(), seed=seed), told, strict=True):
        ids = [one if one not in KEYS else KEYS[0] - 1 for one in row.input_ids]
        ids[0], ids[rng.integers(1, len(ids))] = 2, KEYS[key]
        rows.append(Row(ids, row.type_ids))
    return rows, told


def part_of(bundle: Bundle, n: int = 96, seed: int = 0, kind: Kind = "single") -> Part:
    """Rows whose key tells the label; of several labels the key's and the next one."""
    rows, told = key_rows(bundle, n, seed)
    values = one_hot(told, len(KEYS)).astype(np.float32)
    if kind == "multi":
        values = np.maximum(values, np.roll(values, 1, axis=1))
    elif kind == "soft":
        values = values * 0.8 + np.roll(values, 1, axis=1) * 0.2
    return Part(rows, {HEAD: Target(kind, values.astype(np.float32))})


def parameters(learner: Learner) -> dict[str, NDArray[np.float32]]:
    """All weights by name, copied."""
    return {
        f"{module}.{name}": tensor.numpy().copy()
        for module, table in learner.state().items()
        for name, tensor in table.items()
    }


def same_bits(first: Mapping[str, NDArray[Any]], second: Mapping[str, NDArray[Any]]) -> bool:
    return first.keys() == second.keys() and all(
        first[name].tobytes() == second[name].tobytes() for name in first
    )
