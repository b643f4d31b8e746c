"""Weights between those of a model and of what further training made of it (Wortsman et al., CVPR 2022)."""

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

from recipes.models import MODELS
from safetensors.numpy import load_file, save_file

from tonewise.calibration import fit_temperature
from tonewise.classifier import Classifier
from tonewise.source.labelled import Labelled
from tonewise.store import Bundle, open_bundle
from tonewise.store.writing import new_folder, pinned_files, write_manifest

SHARE = 0.75


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--first", type=Path, required=True, help="what recipes/train.py wrote")
    parser.add_argument("--second", type=Path, required=True, help="what it wrote of --base FIRST")
    parser.add_argument("--share", type=float, default=SHARE, help="of the second")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="a new folder")
    options = parser.parse_args()

    first, second = (open_bundle(path, str(path)) for path in (options.first, options.second))
    if second.manifest.parent != first.digest:
        parser.error(f"{second.ref} was not trained from {first.ref}")
    with new_folder(options.output) as folder:
        write_between(first, second, options.share, folder)
        heads = dict(first.manifest.heads)
        for name, _, seen, _ in MODELS[options.model].halves(options.data):
            temperature = fitted(folder, name, seen)
            heads[name] = replace(heads[name], temperature=temperature)
            print(f"{name}: temperature {temperature:.3f}")
        write_manifest(folder, replace(first.manifest, heads=heads, files=pinned_files(folder)))


def write_between(first: Bundle, second: Bundle, share: float, folder: Path) -> None:
    """The first's folder with its weights moved towards the second's, and a temperature of 1."""
    shutil.copytree(first.folder, folder, dirs_exist_ok=True)
    ours, others = load_file(first.weights), load_file(second.weights)
    between = {name: ours[name] * (1 - share) + others[name] * share for name in ours}
    tensors = {name: tensor.astype(ours[name].dtype) for name, tensor in between.items()}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    heads = {name: replace(spec, temperature=1.0) for name, spec in first.manifest.heads.items()}
    write_manifest(folder, replace(first.manifest, heads=heads, files=pinned_files(folder)))


def fitted(folder: Path, head: str, seen: Labelled) -> float:
    """The temperature that fits these texts."""
    with Classifier.load(folder, engine="onnxruntime", precision="fp32") as classifier:
        logits = classifier.logits(seen.texts)[head]
    return fit_temperature(logits, seen.targets, multi_label=seen.multi_label)


if __name__ == "__main__":
    main()
