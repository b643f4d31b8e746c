"""The bundle: a Hugging Face folder with a manifest that says what each file is and where it came from."""

import reprlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from tonewise.errors import IntegrityError, ModelError
from tonewise.store.files import parse_json, reason, sha256_of
from tonewise.store.licence import card_facts
from tonewise.store.manifest import (
    MANIFEST,
    Activation,
    File,
    HeadSpec,
    Manifest,
    Pooling,
    ProblemType,
)

__all__ = [
    "BUNDLE_FILES",
    "DOCUMENTS",
    "MANIFEST",
    "Activation",
    "Bundle",
    "File",
    "HeadSpec",
    "Manifest",
    "Pooling",
    "ProblemType",
    "check_files",
    "heads_of",
    "open_bundle",
    "read_json",
    "read_manifest",
    "refuse_without_safetensors",
    "unpinned_files",
    "weights_among",
]

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
OTHER_WEIGHTS = (".h5", ".msgpack", ".onnx", ".gguf", ".ot", ".tflite")
MOST_LABELS = 1_000_000
LONGEST_REASON = 100
LFS_POINTER = b"version https://git-lfs"
BUNDLE_FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "modules.json",
    "1_Pooling/config.json",
    "README.md",
    "LICENSE",
    "NOTICE",
    "training.json",
)
DOCUMENTS = frozenset({"README.md", "LICENSE", "NOTICE", "training.json"})


@dataclass(frozen=True, slots=True)
class Bundle:
    """A model that is present and verified.

    ref      as the user wrote it
    heads    the selected ones, in order
    network  config.json, parsed
    """

    ref: str
    folder: Path
    manifest: Manifest
    digest: str
    network: Mapping[str, Any]
    heads: Mapping[str, HeadSpec]

    @property
    def weights(self) -> Path:
        """The safetensors file."""
        return self.folder / "model.safetensors"

    def select(self, names: Iterable[str]) -> Self:
        """The same bundle with some of its heads. Raises ModelError for one it does not have."""
        chosen = {}
        for name in names:
            if name not in self.manifest.heads:
                raise ModelError(f"{self.ref}: no head '{name}'; it has {_listed(self.manifest.heads)}")
            chosen[name] = self.manifest.heads[name]
        return replace(self, heads=chosen) if chosen else self


def open_bundle(
    folder: Path,
    ref: str,
    *,
    pinned: Mapping[str, str] | None = None,
    origin: Mapping[str, str] | None = None,
    licence: str | None = None,
    data_terms: str | None = None,
) -> Bundle:
    """Read, check and describe a folder.

    `pinned` maps file names to the sha256 that a lock holds. Every file named by the lock or by the
    folder's own manifest is hashed. `origin`, `licence` and `data_terms` describe a folder without a
    manifest; its card speaks where no licence is given. Raises ModelError for a folder that is not a
    model of ours to run, IntegrityError for a file that is missing, differs or is not pinned.
    """
    try:
        if not folder.is_dir():
            raise ModelError(f"{ref}: there is no folder {folder}")
        refuse_without_safetensors(folder, ref)
        if pinned is not None:
            check_files(folder, pinned, ref)
            _refuse_unpinned(folder, pinned, ref, "the lock")
        if (folder / MANIFEST).is_file():
            manifest = _verified(folder, pinned or {}, ref)
            network = read_json(folder / "config.json", ref)
        else:
            network = read_json(folder / "config.json", ref)
            described = _describe(folder, network, pinned, ref)
            manifest = replace(
                described,
                origin=dict(origin or {}),
                licence=licence or described.licence,
                data_terms=data_terms,
            )
    except OSError as error:
        raise ModelError(f"{ref}: {error.filename or folder} cannot be read: {reason(error)}") from None
    return Bundle(ref, folder, manifest, manifest.digest, network, manifest.heads)


def _verified(folder: Path, checked: Mapping[str, str], ref: str) -> Manifest:
    """The folder's own manifest, its files hashed save those that the lock has just vouched for."""
    manifest = read_manifest(folder, ref)
    listed = {name: file.sha256 for name, file in manifest.files.items()}
    check_files(folder, {name: sha for name, sha in listed.items() if checked.get(name) != sha}, ref)
    _refuse_unpinned(folder, listed, ref, MANIFEST)
    return manifest


def read_manifest(folder: Path, ref: str) -> Manifest:
    """The folder's `tonewise.json`, its files unchecked. Raises ModelError when it is missing or broken."""
    path = folder / MANIFEST
    try:
        return Manifest.from_json(path.read_text("utf-8"), f"{ref}: {path}")
    except UnicodeDecodeError as error:
        raise ModelError(f"{ref}: {path} is not UTF-8: {error.reason}") from None
    except OSError as error:
        raise ModelError(f"{ref}: {path} cannot be read: {reason(error)}") from None


def check_files(folder: Path, pinned: Mapping[str, str], ref: str) -> None:
    """Hash each pinned file. Raises IntegrityError naming the first that is missing or differs."""
    for name, expected in pinned.items():
        path = folder / name
        if not path.is_file():
            raise IntegrityError(f"{ref}: {name} is missing from {folder}")
        found = sha256_of(path)
        if found != expected:
            raise IntegrityError(
                f"{ref}: {path} has sha256 {found[:12]}…, pinned {expected[:12]}…: it was altered or damaged"
            )


def unpinned_files(folder: Path, pinned: Collection[str]) -> list[str]:
    """Files that a run would read although nothing vouches for them."""
    read = (name for name in BUNDLE_FILES if name not in DOCUMENTS)
    return [name for name in read if name not in pinned and (folder / name).is_file()]


def _refuse_unpinned(folder: Path, pinned: Collection[str], ref: str, where: str) -> None:
    if names := unpinned_files(folder, pinned):
        raise IntegrityError(f"{ref}: {folder / names[0]} is not named by {where}; move it out of the folder")


def refuse_without_safetensors(folder: Path, ref: str) -> None:
    """Raise ModelError when the folder has no safetensors, naming the weights it has instead."""
    weights = folder / "model.safetensors"
    if not weights.is_file():
        names = [path.name for path in folder.iterdir() if path.is_file()]
        raise ModelError(f"{ref}: no model.safetensors; {weights_among(names)}")
    with weights.open("rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise ModelError(f"{ref}: {weights} is a Git LFS pointer, not the weights; run: git lfs pull")


def weights_among(names: Iterable[str]) -> str:
    """What a model offers in place of `model.safetensors`, and what to do about it."""
    names = sorted(names)
    if "model.safetensors.index.json" in names:
        return "its weights are split over several files; save it as one"
    pickles = [name for name in names if name.endswith(PICKLES)]
    others = [name for name in names if name.endswith((*OTHER_WEIGHTS, ".safetensors"))]
    if pickles:
        has = f"it has {', '.join(pickles)} (pickle: can run code when opened)"
    else:
        has = f"it has {', '.join(others)}" if others else "it has no weights at all"
    return f"{has}; ask for or convert to safetensors"


def read_json(path: Path, ref: str) -> dict[str, Any]:
    """A JSON object from a model's folder. Raises ModelError when it is missing or broken."""
    table = _read_any(path, ref)
    if not isinstance(table, dict):
        raise ModelError(f"{ref}: {path} is not a JSON object")
    return table


def _read_any(path: Path, ref: str) -> Any:
    try:
        return parse_json(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{ref}: {path.name} is missing from {path.parent}") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{ref}: {path} cannot be read: {error}") from None


def heads_of(network: Mapping[str, Any], ref: str) -> dict[str, HeadSpec]:
    """The one head of a plain Hugging Face classifier, or none for a bare encoder.

    Layouts: `DistilBertForSequenceClassification`, `BertForSequenceClassification` and
    `RobertaForSequenceClassification` of the transformers library.
    """
    named = network.get("architectures")
    architecture = str(named[0]) if isinstance(named, list) and named else ""
    if not architecture.endswith("ForSequenceClassification"):
        return {}
    layouts = {
        "distilbert": ("pre_classifier", "relu", "classifier"),
        "bert": ("bert.pooler.dense", "tanh", "classifier"),
        "roberta": ("classifier.dense", "tanh", "classifier.out_proj"),
        "xlm-roberta": ("classifier.dense", "tanh", "classifier.out_proj"),
    }
    kind = str(network.get("model_type"))
    if kind not in layouts:
        raise ModelError(f"{ref}: model_type '{kind}' is not supported; supported: {_listed(layouts)}")
    dense, activation, output = layouts[kind]
    labels = _labels(network, ref)
    problem = network.get("problem_type") or "single_label_classification"
    if problem not in ("single_label_classification", "multi_label_classification", "regression"):
        raise ModelError(f"{ref}: config.json has problem_type '{problem}', which is not one of ours")
    spec = HeadSpec(labels, output, problem, "first", dense, activation)  # type: ignore[arg-type]
    return {"label": spec}


def _labels(network: Mapping[str, Any], ref: str) -> tuple[str, ...]:
    table = network.get("id2label")
    if table is None:
        count = network.get("num_labels", 2)
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MOST_LABELS:
            wanted = f"a whole number from 1 to {MOST_LABELS}"
            raise ModelError(f"{ref}: config.json: num_labels is {reprlib.repr(count)}; wanted: {wanted}")
        return tuple(f"LABEL_{i}" for i in range(count))
    try:
        ordered = {int(key): str(value) for key, value in table.items()}
        labels = tuple(ordered[i] for i in range(len(ordered)))
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ModelError(f"{ref}: config.json: id2label does not number its labels from 0") from None
    if not labels or len(set(labels)) != len(labels):
        what = "names a label twice" if labels else "names no label"
        raise ModelError(f"{ref}: config.json: id2label {what}")
    return labels


def _describe(
    folder: Path, network: Mapping[str, Any], pinned: Mapping[str, str] | None, ref: str
) -> Manifest:
    """A manifest for a folder that has none, from its files and its card."""
    names = BUNDLE_FILES if pinned is None else pinned
    present = {name: folder / name for name in names if (folder / name).is_file()}
    known = pinned or {}
    facts = card_facts(folder / "README.md")
    return Manifest(
        files={
            name: File(known.get(name) or sha256_of(path), path.stat().st_size)
            for name, path in present.items()
        },
        heads=heads_of(network, ref),
        embedding=_embedding(folder, ref),
        licence=facts.licence,
        languages=facts.languages,
    )


def _embedding(folder: Path, ref: str) -> dict[str, Any]:
    """How sentence-transformers embeds with this folder; a mean of length 1 where it does not say.

    `pooling` and `normalize`, or `unsupported`: what its vectors need that is not computed here. Its
    heads run all the same.
    """
    kinds, why = None, None
    if (folder / "modules.json").is_file():
        kinds, why = _module_kinds(folder / "modules.json", ref)
    if not why:
        pooling, why = _pooling(folder / "1_Pooling" / "config.json", ref, stated=kinds is not None)
    if why:
        return {"unsupported": " ".join(why.split())[:LONGEST_REASON]}
    return {"pooling": pooling, "normalize": kinds is None or "Normalize" in kinds}


def _module_kinds(path: Path, ref: str) -> tuple[list[str], str | None]:
    """The steps of `modules.json`, and why they are not computed here, if so.

    An entry's `type` is the dotted path of a class; its last part has outlived several moves.
    """
    modules = _read_any(path, ref)
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise ModelError(f"{ref}: {path} is not a list of modules")
    kinds = [str(module.get("type")).rpartition(".")[2] for module in modules]
    if strange := [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")]:
        return kinds, f"module {strange[0]}"
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        return kinds, f"modules {', '.join(kinds) or 'none'}"
    places = [str(module.get("path", "")).strip("/") for module in modules[:2]]
    if places not in (["", "1_Pooling"], [".", "1_Pooling"]):
        return kinds, f"modules in '{places[0]}' and '{places[1]}'"
    return kinds, None


def _pooling(path: Path, ref: str, *, stated: bool) -> tuple[Pooling, str | None]:
    """The pooling of `1_Pooling/config.json`, and why it is not computed here, if so.

    Modes that are on are joined end to end by sentence-transformers; with none named it takes the mean.
    """
    if not path.is_file():
        return "mean", "1_Pooling/config.json is missing" if stated else None
    table = read_json(path, ref)
    modes = {key: value for key, value in table.items() if key.startswith("pooling_mode")}
    named = modes.pop("pooling_mode", None)
    found = sorted(key.removeprefix("pooling_mode_") for key, on in modes.items() if on)
    if named is not None:
        found = named if isinstance(named, list) else str(named).split("+")
    elif not modes:
        found = ["mean_tokens"]
    if found in (["cls_token"], ["cls"]):
        return "first", None
    if found in (["mean_tokens"], ["mean"]):
        return "mean", None
    short = (str(name).removesuffix("_tokens").removesuffix("_token") for name in found)
    return "mean", f"pooling {' + '.join(short) or 'none'}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
