"""Put a head that was learned again on a frozen encoder into the bundle whose encoder that is."""

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from tonewise.store import Bundle, open_bundle
from tonewise.store.writing import new_folder, pinned_files, write_manifest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trained", type=Path, required=True, help="the bundle with all heads")
    parser.add_argument("--head", type=Path, required=True, help="the bundle with the one head")
    parser.add_argument("--output", type=Path, required=True, help="a new folder")
    options = parser.parse_args()

    whole, single = (open_bundle(path, str(path)) for path in (options.trained, options.head))
    ((name, spec),) = single.heads.items()
    old = whole.heads[name]
    tensors, others = load_file(whole.weights), load_file(single.weights)
    check_encoder(whole, single)
    for mine, its in ((old.dense, spec.dense), (old.output, spec.output)):
        for kind in ("weight", "bias"):
            tensors[f"{mine}.{kind}"] = others[f"{its}.{kind}"]
    kept = replace(old, temperature=spec.temperature, thresholds=spec.thresholds)
    with new_folder(options.output) as folder:
        shutil.copytree(options.trained, folder, dirs_exist_ok=True)
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        heads = {**whole.manifest.heads, name: kept}
        write_manifest(folder, replace(whole.manifest, heads=heads, files=pinned_files(folder)))


def check_encoder(whole: Bundle, single: Bundle) -> None:
    """Exit unless both have the same encoder: a head fits no other."""
    mine, its = load_file(whole.weights), load_file(single.weights)
    own = {name.removeprefix("bert."): tensor for name, tensor in its.items()}
    shared = [name for name in mine if name in own and name.startswith(("embeddings.", "encoder."))]
    if not shared or not all(np.array_equal(mine[name], own[name]) for name in shared):
        raise SystemExit(f"{single.ref}: its encoder is not that of {whole.ref}")


if __name__ == "__main__":
    main()
