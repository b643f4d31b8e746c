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
from tonewise.encoder.naming import head_names, named_linear, named_tensors
from tonewise.errors import EngineError, ModelError
from tonewise.export.network import Network
from tonewise.export.proof import Feeds, Run
from tonewise.tokenizer import open_tokenizer

USE = """from transformers import AutoModel{kind}, AutoTokenizer
model, tokenizer = AutoModel{kind}.from_pretrained("."), AutoTokenizer.from_pretrained(".")
answer = model(**tokenizer(["a text"], return_tensors="pt"))
"""
TEXTS = ("I did not sleep at all.", "Never again! 3 of 5 were broken…", "¿Qué día es hoy?", "happy 今日は")


def write(network: Network, folder: Path) -> None:
    """Write `model.safetensors`. Raises ModelError for a head that transformers has no place for."""
    tensors = named_tensors(network.weights, f"{network.spec.family}." if network.head else "")
    if network.head:
        names = head_names(network.spec.family)
        spec = network.head.spec
        if not spec.dense or (spec.pooling, spec.activation) != ("first", names.activation):
            form = (
                f"{spec.pooling} token, {f'dense and {spec.activation}' if spec.dense else 'no dense layer'}"
            )
            wanted = f"first token, dense and {names.activation}"
            raise ModelError(
                f"{network.bundle.ref}: transformers computes a head otherwise ({wanted}; this has {form}); "
                "export to onnx, openvino, tensorflow or jax"
            )
        for name, part in ((names.dense, "dense"), (names.output, "output")):
            tensors |= named_linear(network.weights.linears[f"head.{part}"], name)
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
