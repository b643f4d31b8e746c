"""Small real models that the tests make, random but of every family, and what transformers makes of them."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from tonewise.batching import Batch, collate
from tonewise.encoder.int8 import quantize_rows
from tonewise.encoder.weights import SCALE
from tonewise.store import Bundle
from tonewise.store.bundle import open_bundle
from tonewise.tokenizer import Row, Text

FAMILIES = ("distilbert", "bert", "roberta", "xlm-roberta")
Tensors = dict[str, NDArray[Any]]

_WORDS = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] the a i you we they it is was am are not very so happy sad angry afraid "
    "love hate joy fear good bad day night film food service slow fast great awful today never always "
    "##s ##ed ##ing ##ly . , ! ? ' - 1 2 3 é ü 日 本 語 ñ"
)
WORDS = _WORDS.split()
LABELS = ("sadness", "joy", "anger")


def make_model(
    folder: Path,
    family: str = "distilbert",
    *,
    labels: tuple[str, ...] = LABELS,
    seed: int = 0,
    hidden: int = 32,
    layers: int = 2,
    positions: int = 64,
    **config: Any,
) -> Path:
    """Write a Hugging Face folder with a classifier of `family`: distilbert, bert, roberta or xlm-roberta."""
    folder.mkdir(parents=True, exist_ok=True)
    table = _config(family, labels, hidden, layers, positions) | config
    (folder / "config.json").write_text(json.dumps(table))
    rng = np.random.default_rng(seed)
    shapes = _shapes(family, hidden, layers, positions, len(labels), int(table["vocab_size"]))
    tensors = {}
    for name, shape in shapes.items():
        is_norm = name.endswith(("Norm.weight", "layer_norm.weight"))
        tensors[name] = (rng.normal(0, 0.15, shape) + is_norm).astype(np.float32)
    save_file(tensors, folder / "model.safetensors")
    if "roberta" in family:
        _write_roberta_tokenizer(folder)
    else:
        (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", "utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    return folder


def _config(family: str, labels: tuple[str, ...], hidden: int, layers: int, positions: int) -> dict[str, Any]:
    names = {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
    if family == "distilbert":
        return names | {
            "architectures": ["DistilBertForSequenceClassification"],
            "model_type": family,
            "activation": "gelu",
            "dim": hidden,
            "hidden_dim": 2 * hidden,
            "n_heads": 4,
            "n_layers": layers,
            "max_position_embeddings": positions,
            "vocab_size": len(WORDS),
            "pad_token_id": 0,
        }
    roberta = family != "bert"
    architecture = {"bert": "Bert", "roberta": "Roberta", "xlm-roberta": "XLMRoberta"}[family]
    ends = {"bos_token_id": 0, "eos_token_id": 2} if roberta else {}
    table = {
        "architectures": [f"{architecture}ForSequenceClassification"],
        "model_type": family,
        "hidden_act": "gelu",
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_attention_heads": 4,
        "num_hidden_layers": layers,
        "max_position_embeddings": positions + (2 if roberta else 0),
        "type_vocab_size": 1 if roberta else 2,
        "layer_norm_eps": 1e-5 if roberta else 1e-12,
        "vocab_size": len(WORDS),
        "pad_token_id": 1 if roberta else 0,
    }
    return names | ends | table


def _shapes(
    family: str, hidden: int, layers: int, positions: int, labels: int, vocabulary: int
) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}

    def linear(name: str, outputs: int, inputs: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outputs, inputs), (outputs,)

    def norm(name: str) -> None:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (hidden,)

    prefix = "roberta" if "roberta" in family else family
    shapes[f"{prefix}.embeddings.word_embeddings.weight"] = (vocabulary, hidden)
    places = positions + (2 if prefix == "roberta" else 0)
    shapes[f"{prefix}.embeddings.position_embeddings.weight"] = (places, hidden)
    norm(f"{prefix}.embeddings.LayerNorm")
    if prefix != "distilbert":
        types = 1 if prefix == "roberta" else 2
        shapes[f"{prefix}.embeddings.token_type_embeddings.weight"] = (types, hidden)
    for i in range(layers):
        if prefix == "distilbert":
            at = f"distilbert.transformer.layer.{i}"
            for part in ("q_lin", "k_lin", "v_lin", "out_lin"):
                linear(f"{at}.attention.{part}", hidden, hidden)
            linear(f"{at}.ffn.lin1", 2 * hidden, hidden)
            linear(f"{at}.ffn.lin2", hidden, 2 * hidden)
            norm(f"{at}.sa_layer_norm")
            norm(f"{at}.output_layer_norm")
        else:
            at = f"{prefix}.encoder.layer.{i}"
            for part in ("query", "key", "value"):
                linear(f"{at}.attention.self.{part}", hidden, hidden)
            linear(f"{at}.attention.output.dense", hidden, hidden)
            linear(f"{at}.intermediate.dense", 2 * hidden, hidden)
            linear(f"{at}.output.dense", hidden, 2 * hidden)
            norm(f"{at}.attention.output.LayerNorm")
            norm(f"{at}.output.LayerNorm")
    dense, output = {
        "distilbert": ("pre_classifier", "classifier"),
        "bert": ("bert.pooler.dense", "classifier"),
        "roberta": ("classifier.dense", "classifier.out_proj"),
    }[prefix]
    linear(dense, hidden, hidden)
    linear(output, labels, hidden)
    return shapes


def _write_roberta_tokenizer(folder: Path) -> None:
    """A word-level tokenizer with RoBERTa's special tokens in RoBERTa's places."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *WORDS[5:]]
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    raw.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    raw.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>"})
    )


def changed(
    folder: Path,
    to: Path,
    *,
    tensors: Tensors | None = None,
    config: Mapping[str, Any] | None = None,
) -> Path:
    """A copy of a model's folder with other tensors, or with its config added to."""
    shutil.copytree(folder, to, dirs_exist_ok=True)
    if tensors is not None:
        save_file(tensors, to / "model.safetensors")
    if config is not None:
        table = json.loads((folder / "config.json").read_text()) | dict(config)
        (to / "config.json").write_text(json.dumps(table))
    return to


def tensors_of(folder: Path) -> Tensors:
    """What the folder's weights hold."""
    found: Tensors = load_file(folder / "model.safetensors")
    return found


def as_stored_int8(tensors: Tensors) -> Tensors:
    """Every matrix as int8 with scales, as packaged weights are stored."""
    stored: Tensors = {}
    for name, tensor in tensors.items():
        if tensor.ndim == 2:
            matrix = quantize_rows(tensor)
            assert matrix.scale is not None
            stored[name], stored[name + SCALE] = matrix.stored, matrix.scale
        else:
            stored[name] = tensor
    return stored


def opened(folder: Path) -> Bundle:
    """The folder as a bundle."""
    return open_bundle(folder, folder.name)


def some_rows(
    bundle: Bundle, lengths: Sequence[int], *, seed: int = 0, types: bool | None = None
) -> list[Row]:
    """Rows of random tokens, no padding; where the model has types, the second half is of type 1."""
    rng = np.random.default_rng(seed)
    types = bundle.network.get("type_vocab_size") == 2 if types is None else types
    rows = []
    for length in lengths:
        ids = rng.integers(2, bundle.network["vocab_size"], length).tolist()
        rows.append(Row(ids, [int(i >= length // 2) for i in range(length)] if types else None))
    return rows


def batch_of(bundle: Bundle, rows: Sequence[Row], chosen: Sequence[int] | None = None) -> Batch:
    """The chosen rows, or all, in one batch."""
    places = range(len(rows)) if chosen is None else chosen
    return collate(rows, list(places), int(bundle.network["pad_token_id"]))


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one processor: its threads wait busily, and far too long where others want the same ones."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Theirs:
    """A folder's tokenizer and classifier as transformers reads them."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForSequenceClassification.from_pretrained(folder).eval()

    def logits(self, texts: Sequence[Text], max_length: int, batch_size: int = 4) -> NDArray[np.float32]:
        """float32[N, L], in batches of like length, cut to `max_length`."""
        import torch

        firsts, seconds = [], []
        for text in texts:
            first, second = text if isinstance(text, tuple) else (text, None)
            firsts.append(first)
            seconds.append(second)
        found = np.empty((len(texts), self.model.config.num_labels), np.float32)
        with torch.no_grad(), one_thread():
            for places in _by_length(firsts, seconds, batch_size):
                pair = [seconds[i] for i in places]
                encoded = self.tokenizer(
                    [firsts[i] for i in places],
                    None if pair[0] is None else pair,
                    truncation=True,
                    max_length=max_length,
                    padding=True,
                    return_tensors="pt",
                )
                found[places] = self.model(**encoded).logits.numpy()
        return found


def _by_length(firsts: Sequence[str], seconds: Sequence[str | None], size: int) -> Iterator[list[int]]:
    """Places grouped: single texts apart from pairs, neighbours in length together."""
    for with_pair in (False, True):
        places = [i for i, second in enumerate(seconds) if (second is not None) is with_pair]
        places.sort(key=lambda i: len(firsts[i]) + len(seconds[i] or ""))
        for start in range(0, len(places), size):
            yield places[start : start + size]
