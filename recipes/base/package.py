"""Turn all-MiniLM-L6-v2 as published into the packaged base: int8 weights, manifest, card."""

import argparse
import shutil
from pathlib import Path

from recipes.stored import base_folder, pack_weights

from tonewise.store import Manifest
from tonewise.store.manifest import BEHAVIOURS
from tonewise.store.writing import new_folder, pinned_files, write_manifest

COPIED = ("config.json", "tokenizer.json", "tokenizer_config.json", "modules.json", "1_Pooling/config.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="a new folder")
    output = parser.parse_args().output
    source, here = base_folder(), Path(__file__).parent
    with new_folder(output) as folder:
        (folder / "1_Pooling").mkdir()
        for name in COPIED:
            shutil.copyfile(source / name, folder / name)
        pack_weights(source / "model.safetensors", folder / "model.safetensors")
        shutil.copyfile(here / "CARD.md", folder / "README.md")
        shutil.copyfile(here / "NOTICE", folder / "NOTICE")
        shutil.copyfile(here.parents[1] / "LICENSE", folder / "LICENSE")
        manifest = Manifest(
            files=pinned_files(folder),
            name="base",
            origin={"recipe": "recipes/base", "hub": "sentence-transformers/all-MiniLM-L6-v2"},
            licence="apache-2.0",
            languages=("en",),
            behaviours=BEHAVIOURS,
        )
        write_manifest(folder, manifest)
    print(f"{output}  {manifest.digest}")


if __name__ == "__main__":
    main()
