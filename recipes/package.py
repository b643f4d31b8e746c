"""Turn a trained bundle into a packaged one: int8 weights, its card and terms, then ranges from its texts."""

import argparse
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from recipes.models import MODELS, Model
from recipes.stored import pack_weights

from tonewise.quantize import quantize
from tonewise.source.labelled import Labelled
from tonewise.store import open_bundle
from tonewise.store.writing import pinned_files, write_manifest
from tonewise.tokenizer import Text

HERE = Path(__file__).parent
COPIED = ("config.json", "tokenizer.json", "tokenizer_config.json", "training.json")


def pack(trained: Path, name: str, model: Model, folder: Path) -> None:
    """Write the bundle without ranges: its weights, what goes with them, and what it states of itself."""
    bundle = open_bundle(trained, str(trained))
    pack_weights(bundle.weights, folder / "model.safetensors")
    for file in COPIED:
        shutil.copyfile(trained / file, folder / file)
    shutil.copyfile(HERE / name / "CARD.md", folder / "README.md")
    shutil.copyfile(HERE.parent / "LICENSE", folder / "LICENSE")
    shutil.copyfile(HERE.parent / "NOTICE", folder / "NOTICE")
    manifest = replace(
        bundle.manifest,
        files=pinned_files(folder),
        name=name,
        origin={"recipe": f"recipes/{name}", "base": "sentence-transformers/all-MiniLM-L6-v2"},
        licence="apache-2.0",
        data_terms=model.data_terms,
        languages=model.languages,
    )
    write_manifest(folder, manifest)


def decided(learn: Labelled) -> list[Text]:
    """The texts but those that labels share equally: there no precision agrees with another."""
    if learn.kind != "soft":
        return list(learn.texts)
    return list(learn.take(learn.targets.max(axis=1) > 0.5).texts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--trained", type=Path, required=True, help="what recipes/train.py wrote")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="a new folder")
    options = parser.parse_args()

    model = MODELS[options.model]
    # What one of several heads borrows are texts of another, which are there already.
    given = model.without_borrowed() if len(model.heads) > 1 else model
    texts = [text for _, learn, _, _ in given.halves(options.data) for text in decided(learn)]
    others = [text for head in model.heads.values() for text in head.held(options.data).texts]
    with tempfile.TemporaryDirectory() as packed:
        pack(options.trained, options.model, model, Path(packed))
        done = quantize(Path(packed), texts, options.output, compared=others, progress=print)
    bundle = open_bundle(options.output, str(options.output))
    parent = open_bundle(options.trained, str(options.trained)).manifest.parent
    manifest = replace(bundle.manifest, parent=parent)  # the base, not what was packed on the way
    write_manifest(options.output, manifest)
    for engine, found in done.agreement.items():
        print(f"{engine}: {found.labels:.2%} of labels, scores {found.scores:.4f} apart")
    print(f"kept in higher precision: {', '.join(done.kept) or 'none'}; {manifest.digest}")


if __name__ == "__main__":
    main()
