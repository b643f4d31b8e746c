"""The packaged model as transformers would run it: the same network, dequantized to float32."""

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from tonewise.encoder.weights import SCALE, dequantized
from tonewise.store import resolve


def write_float_folder(folder: Path) -> Path:
    """The packaged bundle as a plain Hugging Face folder in float32."""
    bundle = resolve("emotion")
    folder.mkdir(parents=True)
    stored = load_file(bundle.weights)
    tensors = {
        name: np.ascontiguousarray(dequantized(tensor, stored.get(name + SCALE)))
        for name, tensor in stored.items()
        if not name.endswith(SCALE)
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((bundle.folder / name).read_bytes())
    return folder


def transformers_pipeline(folder: Path) -> Any:
    """`transformers.pipeline` on that folder, as its documentation shows it."""
    from transformers import pipeline

    return pipeline("text-classification", model=str(write_float_folder(folder)))
