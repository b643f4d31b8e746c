"""Turn the trained folder into the packaged bundle: int8 weights, manifest, card, then ranges from texts."""

import argparse
import json
import shutil
import tempfile
from pathlib import Path

from recipes.stored import pack_weights

from tonewise.quantize import quantize
from tonewise.store import Manifest
from tonewise.store.bundle import heads_of
from tonewise.store.manifest import BEHAVIOURS
from tonewise.store.writing import pinned_files, write_manifest


def pack(trained: Path, card: Path, folder: Path) -> None:
    """Write the bundle without ranges: its weights, what goes with them, and what it states of itself."""
    pack_weights(trained / "model.safetensors", folder / "model.safetensors")
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "training.json"):
        shutil.copyfile(trained / name, folder / name)
    shutil.copyfile(card, folder / "README.md")
    for name in ("LICENSE", "NOTICE"):
        shutil.copyfile(Path(__file__).parents[2] / name, folder / name)
    (head,) = heads_of(json.loads((folder / "config.json").read_text("utf-8")), "emotion").values()
    manifest = Manifest(
        files=pinned_files(folder),
        heads={"emotion": head},
        name="emotion",
        origin={"recipe": "recipes/emotion", "base": "sentence-transformers/all-MiniLM-L6-v2"},
        licence="apache-2.0",
        data_terms="research and educational use (dair-ai/emotion)",
        languages=("en",),
        behaviours=BEHAVIOURS,
    )
    write_manifest(folder, manifest)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trained", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--card", type=Path, default=Path(__file__).with_name("CARD.md"))
    parser.add_argument("--output", type=Path, required=True, help="a new folder")
    options = parser.parse_args()

    lines = (options.data / "train.tsv").read_text("utf-8").splitlines()[1:]
    texts = [line.split("\t")[0] for line in lines]
    with tempfile.TemporaryDirectory() as packed:
        pack(options.trained, options.card, Path(packed))
        done = quantize(Path(packed), texts, options.output, progress=print)
    for engine, found in done.agreement.items():
        print(f"{engine}: {found.labels:.2%} of labels, scores {found.scores:.4f} apart")
    print(f"kept in higher precision: {', '.join(done.kept) or 'none'}; {done.digest}")


if __name__ == "__main__":
    main()
