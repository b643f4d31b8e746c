"""A plain Hugging Face folder in float32, opened again by transformers: no weight missing or unexpected."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from safetensors.numpy import save

from tonewise.config import TokenizerConfig
from tonewise.encoder.weights import Linear, Weights
from tonewise.errors import EngineError, ModelError
from tonewise.export.network import Network
from tonewise.export.proof import Feeds, Run
from tonewise.tokenizer import open_tokenizer

Tensors = dict[str, NDArray[np.float32]]
USE = """from transformers import AutoModel{kind}, AutoTokenizer
model, tokenizer = AutoModel{kind}.from_pretrained("."), AutoTokenizer.from_pretrained(".")
answer = model(**tokenizer(["a text"], return_tensors="pt"))
"""
HEADS = {
    "distilbert": ("pre_classifier", "relu", "classifier"),
    "bert": ("bert.pooler.dense", "tanh", "classifier"),
    "roberta": ("classifier.dense", "tanh", "classifier.out_proj"),
}
"""By family: a classifier's dense layer, its activation, and its output layer, as transformers has them."""
LAYERS = {
    "distilbert": {
        "qkv": ("attention.q_lin", "attention.k_lin", "attention.v_lin"),
        "attention_out": ("attention.out_lin",),
        "attention_norm": ("sa_layer_norm",),
        "up": ("ffn.lin1",),
        "down": ("ffn.lin2",),
        "output_norm": ("output_layer_norm",),
    },
    "bert": {
        "qkv": ("attention.self.query", "attention.self.key", "attention.self.value"),
        "attention_out": ("attention.output.dense",),
        "attention_norm": ("attention.output.LayerNorm",),
        "up": ("intermediate.dense",),
        "down": ("output.dense",),
        "output_norm": ("output.LayerNorm",),
    },
}
TEXTS = ("I did not sleep at all.", "Never again! 3 of 5 were broken…", "¿Qué día es hoy?", "happy 今日は")


def write(network: Network, folder: Path) -> None:
    """Write `model.safetensors`. Raises ModelError for a head that transformers has no place for."""
    tensors = _encoder(network.weights, f"{network.spec.family}." if network.head else "")
    if network.head:
        dense, activation, output = HEADS[network.spec.family]
        spec = network.head.spec
        if not spec.dense or (spec.pooling, spec.activation) != ("first", activation):
            form = (
                f"{spec.pooling} token, {f'dense and {spec.activation}' if spec.dense else 'no dense layer'}"
            )
            wanted = f"first token, dense and {activation}"
            raise ModelError(
                f"{network.bundle.ref}: transformers computes a head otherwise ({wanted}; this has {form}); "
                "export to onnx, openvino, tensorflow or jax"
            )
        for name, part in ((dense, "dense"), (output, "output")):
            tensors |= _linear(network.weights.linears[f"head.{part}"], (name,))
    whole = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    (folder / "model.safetensors").write_bytes(save(whole, {"format": "pt"}))


def open_again(network: Network, folder: Path) -> Run:
    """Open the folder, strictly. Raises EngineError for weights or token ids that are not ours."""
    kind = transformers.AutoModelForSequenceClassification if network.head else transformers.AutoModel
    with _quiet():
        model, told = kind.from_pretrained(folder, output_loading_info=True, local_files_only=True)
        _check_tokens(network, transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True))
    missing = {name for name in told["missing_keys"] if network.head or not name.startswith("pooler.")}
    for what, names in (("misses", missing), ("does not know", told["unexpected_keys"])):
        if names:
            raise EngineError(
                f"transformers {what} the weights {', '.join(sorted(names)[:3])}; nothing was written"
            )
    model.eval()

    def run(feeds: Feeds) -> NDArray[np.float32]:
        with torch.no_grad():
            inputs = {name: torch.from_numpy(array.astype(np.int64)) for name, array in feeds.items()}
            found = model(**inputs)
            result: NDArray[np.float32]
            if network.head:
                result = found.logits.numpy()
                return result
            result = _pooled(network, found.last_hidden_state, inputs["attention_mask"]).numpy()
            return result

    return run


def _pooled(network: Network, states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """The embedding as sentence-transformers pools it: a bare encoder has no output of its own."""
    mask = attention_mask[:, :, None].to(states.dtype)
    mean = (states * mask).sum(1) / mask.sum(1)
    x = states[:, 0] if network.pooling == "first" else mean
    return torch.nn.functional.normalize(x, dim=1) if network.normalize else x


def _check_tokens(network: Network, theirs: Any) -> None:
    ours = open_tokenizer(
        network.bundle,
        TokenizerConfig(),
        max_length=network.spec.max_length,
        types=network.spec.type_count > 1,
    )
    wanted = [list(one.rows[0].input_ids) for one in ours.encode(TEXTS)]
    found = theirs(list(TEXTS), truncation=True, max_length=network.spec.max_length)["input_ids"]
    for text, ids, others in zip(TEXTS, wanted, found, strict=True):
        if ids != list(others):
            raise EngineError(f"transformers makes other tokens of {text!r}; nothing was written")


def _encoder(weights: Weights, prefix: str) -> Tensors:
    """The encoder's tensors under the names that transformers gives them."""
    family = weights.spec.family
    layers = LAYERS["distilbert" if family == "distilbert" else "bert"]
    stack = "transformer" if family == "distilbert" else "encoder"
    tables = {"word": "word_embeddings", "position": "position_embeddings", "type": "token_type_embeddings"}
    tensors = {
        f"{prefix}embeddings.{tables[name]}.weight": table.dense() for name, table in weights.tables.items()
    }
    tensors |= _norm(weights, "embedding_norm", f"{prefix}embeddings.LayerNorm")
    for i in range(weights.spec.layers):
        for name, there in layers.items():
            full = tuple(f"{prefix}{stack}.layer.{i}.{one}" for one in there)
            here = f"layer.{i}.{name}"
            norm = name.endswith("norm")
            tensors |= _norm(weights, here, full[0]) if norm else _linear(weights.linears[here], full)
    return tensors


def _norm(weights: Weights, here: str, there: str) -> Tensors:
    norm = weights.norms[here]
    return {f"{there}.weight": norm.weight, f"{there}.bias": norm.bias}


def _linear(linear: Linear, names: tuple[str, ...]) -> Tensors:
    """One linear layer, or several that stand stacked by their rows."""
    tensors: Tensors = {}
    for kind, whole in (("weight", linear.weight.dense()), ("bias", linear.bias)):
        tensors |= {
            f"{name}.{kind}": part for name, part in zip(names, np.split(whole, len(names)), strict=True)
        }
    return tensors


@contextmanager
def _quiet() -> Iterator[None]:
    """What transformers would print about its loading is checked here instead."""
    log: Any = transformers.utils.logging
    level, bar = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bar:
            log.enable_progress_bar()
