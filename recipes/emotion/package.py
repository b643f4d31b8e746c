"""Turn the trained folder into the packaged bundle: int8 weights, activation ranges, manifest, card."""

import argparse
import json
import shutil
from itertools import groupby
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from tonewise.batching import collate
from tonewise.config import TokenizerConfig
from tonewise.encoder.forward import NumpyOps, run_numpy
from tonewise.encoder.int8 import Ranges, quantize_rows
from tonewise.encoder.weights import SCALE, NetworkSpec, load_weights
from tonewise.store.bundle import MANIFEST, File, Manifest, heads_of, open_bundle
from tonewise.store.files import sha256_of
from tonewise.tokenizer import open_tokenizer

KEPT_FLOAT = ("pooler", "classifier", "LayerNorm", "token_type")
CALIBRATION_TEXTS = 512
BY_TOKEN = ("layer.0.down", "layer.2.down")
"""Without a range: in a few tokens one channel is far out there; a scale per token holds it (docs/log.md)."""


def quantized(source: Path, target: Path) -> None:
    """Store every matrix of the encoder as int8 with a scale per row."""
    tensors = {}
    for name, tensor in load_file(source).items():
        if tensor.ndim == 2 and not any(part in name for part in KEPT_FLOAT):
            matrix = quantize_rows(tensor)
            tensors[name], tensors[name + SCALE] = matrix.stored, matrix.scale
        elif tensor.dtype == np.float32:
            tensors[name] = tensor
    save_file(tensors, target)
    target.chmod(0o644)


def ranges_of(folder: Path, texts: list[str]) -> dict[str, tuple[float, float]]:
    """What each linear layer of the dequantized network sees of these texts."""
    bundle = open_bundle(folder, str(folder))
    spec = NetworkSpec.from_config(bundle.network, bundle.ref)
    tokenizer = open_tokenizer(bundle, TokenizerConfig(), max_length=spec.max_length, types=True)
    rows = [row for encoding in tokenizer.encode(texts) for row in encoding.rows]
    seen = Ranges()
    ops = NumpyOps(load_weights(bundle.weights, spec, bundle.ref), np.float32, seen.observe)
    rows.sort(key=lambda row: len(row.input_ids))
    for _, some in groupby(rows, key=lambda row: len(row.input_ids)):  # so that no padding is observed
        chosen = list(some)
        run_numpy(ops, collate(chosen, range(len(chosen)), tokenizer.padding_id), ("first", "mean"))
    return {name: found for name, found in seen.found().items() if name not in BY_TOKEN}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trained", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--card", type=Path, default=Path(__file__).with_name("CARD.md"))
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()

    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / MANIFEST).unlink(missing_ok=True)
    quantized(options.trained / "model.safetensors", options.output / "model.safetensors")
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "training.json"):
        shutil.copyfile(options.trained / name, options.output / name)
    shutil.copyfile(options.card, options.output / "README.md")
    for name in ("LICENSE", "NOTICE"):
        shutil.copyfile(Path(__file__).parents[2] / name, options.output / name)

    lines = (options.data / "train.tsv").read_text("utf-8").splitlines()[1:]
    texts = [line.split("\t")[0] for line in lines[:: len(lines) // CALIBRATION_TEXTS]]
    network = json.loads((options.output / "config.json").read_text())
    (head,) = heads_of(network, "emotion").values()
    paths = sorted(options.output.iterdir())
    manifest = Manifest(
        files={path.name: File(sha256_of(path), path.stat().st_size) for path in paths},
        heads={"emotion": head},
        name="emotion",
        origin={"recipe": "recipes/emotion", "base": "sentence-transformers/all-MiniLM-L6-v2"},
        licence="apache-2.0",
        data_terms="research and educational use (dair-ai/emotion)",
        languages=("en",),
        activation_ranges=ranges_of(options.output, texts),
        behaviours={"tokenizer": "tokenizer.v1", "head": "head.v1"},
    )
    (options.output / MANIFEST).write_text(manifest.to_json())


if __name__ == "__main__":
    main()
