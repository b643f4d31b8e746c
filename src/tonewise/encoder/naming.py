"""Canonical tensors → checkpoint names, as transformers has them: `weights.py` the other way round.

For the families that `weights.py` reads; in numpy alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tonewise.encoder.weights import Family, Linear, Norm, Weights

Tensors = dict[str, NDArray[np.float32]]
TABLES = {"word": "word_embeddings", "position": "position_embeddings", "type": "token_type_embeddings"}
DISTILBERT = {
    "qkv": ("attention.q_lin", "attention.k_lin", "attention.v_lin"),
    "attention_out": ("attention.out_lin",),
    "attention_norm": ("sa_layer_norm",),
    "up": ("ffn.lin1",),
    "down": ("ffn.lin2",),
    "output_norm": ("output_layer_norm",),
}
BERT = {
    "qkv": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "attention_out": ("attention.output.dense",),
    "attention_norm": ("attention.output.LayerNorm",),
    "up": ("intermediate.dense",),
    "down": ("output.dense",),
    "output_norm": ("output.LayerNorm",),
}
LAYERS: Mapping[Family, tuple[str, Mapping[str, tuple[str, ...]]]] = {
    "distilbert": ("transformer", DISTILBERT),
    "bert": ("encoder", BERT),
    "roberta": ("encoder", BERT),
}
"""By family: what the stack of layers is called, and the parts of a layer."""


@dataclass(frozen=True, slots=True)
class HeadNames:
    """A classifier's two layers as transformers has them, and the activation between them."""

    dense: str
    activation: str
    output: str


HEADS: Mapping[Family, HeadNames] = {
    "distilbert": HeadNames("pre_classifier", "relu", "classifier"),
    "bert": HeadNames("bert.pooler.dense", "tanh", "classifier"),
    "roberta": HeadNames("classifier.dense", "tanh", "classifier.out_proj"),
}


def head_names(family: Family) -> HeadNames:
    """Where `FAMILYForSequenceClassification` of transformers has its head; it pools the first token."""
    return HEADS[family]


def named_tensors(weights: Weights, prefix: str) -> Tensors:
    """An encoder's tensors in float32, each name opened by `prefix`: `bert.` in a classifier, say, else "".

    Other linears than the encoder's own are left out; `named_linear` names those.
    """
    stack, parts = LAYERS[weights.spec.family]
    tables = {f"{prefix}embeddings.{TABLES[name]}": table for name, table in weights.tables.items()}
    tensors = {f"{name}.weight": table.dense() for name, table in tables.items()}
    tensors |= _named_norm(weights.norms["embedding_norm"], f"{prefix}embeddings.LayerNorm")
    for i in range(weights.spec.layers):
        for part, theirs in parts.items():
            ours, names = f"layer.{i}.{part}", [f"{prefix}{stack}.layer.{i}.{name}" for name in theirs]
            if part.endswith("norm"):
                tensors |= _named_norm(weights.norms[ours], *names)
            else:
                tensors |= named_linear(weights.linears[ours], *names)
    return tensors


def named_linear(linear: Linear, *names: str) -> Tensors:
    """`NAME.weight` [out, in] and `NAME.bias` [out]; a linear that stacks several is cut by its rows."""
    tensors: Tensors = {}
    for kind, whole in (("weight", linear.weight.dense()), ("bias", linear.bias)):
        rows = np.split(whole, len(names))
        tensors |= {f"{name}.{kind}": part for name, part in zip(names, rows, strict=True)}
    return tensors


def _named_norm(norm: Norm, name: str) -> Tensors:
    return {f"{name}.weight": norm.weight, f"{name}.bias": norm.bias}
