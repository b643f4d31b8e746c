"""A classifier of DistilBERT-base's shape with random weights: for speed alone, its answers mean nothing."""

import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

HIDDEN, INNER, LAYERS, POSITIONS = 768, 3072, 6, 512
SEED = 0


def write_random_distilbert(folder: Path, tokenizer: Path) -> Path:
    """Write the folder, with the WordPiece tokenizer and the labels of the BERT folder `tokenizer`."""
    folder.mkdir(parents=True)
    given = json.loads((tokenizer / "config.json").read_text("utf-8"))
    shapes = _shapes(int(given["vocab_size"]), len(given["id2label"]))
    rng = np.random.default_rng(SEED)
    tensors = {}
    for name, shape in shapes.items():
        is_norm = name.endswith(("LayerNorm.weight", "layer_norm.weight"))
        deviation = 0.02 if name.endswith(".weight") and not is_norm else 0
        tensors[name] = (deviation * rng.standard_normal(shape) + is_norm).astype(np.float32)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["DistilBertForSequenceClassification"],
        "model_type": "distilbert",
        "activation": "gelu",
        "dim": HIDDEN,
        "hidden_dim": INNER,
        "n_heads": 12,
        "n_layers": LAYERS,
        "max_position_embeddings": POSITIONS,
        "vocab_size": given["vocab_size"],
        "pad_token_id": given["pad_token_id"],
        "id2label": given["id2label"],
        "label2id": given["label2id"],
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    shutil.copy(tokenizer / "tokenizer.json", folder)
    how = json.loads((tokenizer / "tokenizer_config.json").read_text("utf-8"))
    # DistilBERT takes no type ids; a tokenizer that calls itself BERT's would hand them on.
    names = {"tokenizer_class": "DistilBertTokenizer", "model_input_names": ["input_ids", "attention_mask"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(how | names | {"model_max_length": POSITIONS}))
    return folder


def _shapes(vocabulary: int, labels: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "distilbert.embeddings.word_embeddings.weight": (vocabulary, HIDDEN),
        "distilbert.embeddings.position_embeddings.weight": (POSITIONS, HIDDEN),
    }
    linear = {"pre_classifier": (HIDDEN, HIDDEN), "classifier": (labels, HIDDEN)}
    norms = ["distilbert.embeddings.LayerNorm"]
    for i in range(LAYERS):
        at = f"distilbert.transformer.layer.{i}"
        for part in ("q_lin", "k_lin", "v_lin", "out_lin"):
            linear[f"{at}.attention.{part}"] = (HIDDEN, HIDDEN)
        linear |= {f"{at}.ffn.lin1": (INNER, HIDDEN), f"{at}.ffn.lin2": (HIDDEN, INNER)}
        norms += [f"{at}.sa_layer_norm", f"{at}.output_layer_norm"]
    for name, (outputs, inputs) in linear.items():
        shapes |= {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}
    for name in norms:
        shapes |= {f"{name}.weight": (HIDDEN,), f"{name}.bias": (HIDDEN,)}
    return shapes
