"""What was learned as a bundle: weights under the names of transformers, manifest, int8 ranges, card."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from tonewise.config import Config
from tonewise.encoder.naming import head_names, named_tensors
from tonewise.encoder.weights import Checkpoint, Weights
from tonewise.errors import ConfigError, EngineError, ModelError, RowError
from tonewise.quantize import LEAST_TEXTS, TARGET, Quantized, quantize
from tonewise.store import HeadSpec, Manifest, open_bundle
from tonewise.store.manifest import BEHAVIOURS
from tonewise.store.writing import pinned_files, write_manifest
from tonewise.tokenizer import Text
from tonewise.train.base import POOLER_PLACES, Base
from tonewise.train.card import write_card
from tonewise.train.facts import CardFacts
from tonewise.train.network import HeadForm

COPIED = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "LICENSE",
    "NOTICE",
)
NOT_KEPT = {
    "architectures",
    "auto_map",
    "dtype",  # weights are written in float32, and transformers would read them as the base's were
    "id2label",
    "label2id",
    "num_labels",
    "problem_type",
    "torch_dtype",
    "_name_or_path",
}
"""Of the base's `config.json`: what is of its head, its code or its place."""
MOST_TEXTS = 3_000
LEAST_UNSEEN = 100
"""Texts that were not learned from; on fewer, how often int8 answers as fp32 does would be chance."""
FEW_UNSEEN, LENIENT = 400, 0.99
"""Under so many a label or two would have layers left out, so what `auto` asks for is enough."""
CLASSES = {"distilbert": "DistilBert", "bert": "Bert", "roberta": "Roberta", "xlm-roberta": "XLMRoberta"}
Tensors = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """An encoder and its heads as they are to be published.

    heads  by name: the form, its tensors `dense.*` and `output.*`, its temperature and thresholds
    """

    weights: Weights
    heads: Mapping[str, "LearnedHead"]


@dataclass(frozen=True, slots=True, eq=False)
class LearnedHead:
    """One head with what was fitted on held-out rows."""

    form: HeadForm
    tensors: Mapping[str, NDArray[np.float32]]
    temperature: float = 1.0
    thresholds: tuple[float, ...] | None = None
    abstain_below: float | None = None
    mapping: tuple[str, ...] | None = None


def write_folder(folder: Path, base: Base, learned: Learned, manifest: Manifest) -> Manifest:
    """Write weights, config, tokenizer and manifest into an empty folder, and return the manifest.

    One head that reads the first token is written as transformers has it, so that its classifier opens
    the folder; several, or one that reads the mean, stand beside an encoder that transformers opens.
    Raises OSError.
    """
    plain = opens_in_transformers(learned)
    family = base.spec.family
    tensors = named_tensors(learned.weights, f"{family}." if plain else "")
    specs = {}
    for name, head in learned.heads.items():
        there = head_names(family)
        dense = (there.dense if plain else f"heads.{name}.dense") if head.form.dense else None
        output = there.output if plain else f"heads.{name}.output"
        places = {"dense": dense, "output": output}
        for key, tensor in head.tensors.items():
            layer, kind = key.split(".")
            tensors[f"{places[layer]}.{kind}"] = tensor
        specs[name] = _spec(head, dense, output)
    if not plain:
        tensors |= _pooler(base)
    whole = {name: np.ascontiguousarray(tensor, np.float32) for name, tensor in tensors.items()}
    (folder / "model.safetensors").write_bytes(save(whole, {"format": "pt"}))
    config = _config(base, learned, plain=plain)
    (folder / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", "utf-8")
    for name in COPIED:
        if (base.bundle.folder / name).is_file():
            shutil.copyfile(base.bundle.folder / name, folder / name)
    _state_length(folder, base)
    written = replace(manifest, heads=specs, files=pinned_files(folder))
    write_manifest(folder, written)
    return written


def _state_length(folder: Path, base: Base) -> None:
    """Say where transformers looks for it how many tokens of a text were learned from."""
    path, length = folder / "tokenizer_config.json", base.tokenizer.max_length
    try:
        stated = json.loads(path.read_bytes()) if path.is_file() else {}
    except ValueError:
        return  # of no use to the base either, whose tokenizer.json was read
    if length < base.spec.max_length or "model_max_length" in stated:
        told = {**stated, "model_max_length": length}
        path.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", "utf-8")


def opens_in_transformers(learned: Learned) -> bool:
    """Whether transformers has a classifier of this form."""
    if len(learned.heads) != 1:
        return False
    form = next(iter(learned.heads.values())).form
    return form.dense and form.pooling == "first"


def with_ranges(
    folder: Path,
    work: Path,
    texts: tuple[Sequence[Text], Sequence[Text]],
    config: Config,
    tell: Callable[[str], None],
) -> Quantized | None:
    """The same bundle with int8 ranges in the new folder `work`; None, which is told, where int8 fails.

    `texts` are those that were learned from, which give the ranges, and others, on which int8 is held
    against fp32. Where there are too few others the bundle states no agreement, and so does not run in int8
    unless it is asked to; so it is where labels agree too seldom.
    """
    learned, unseen = texts
    if len(learned) < LEAST_TEXTS:
        tell(f"no activation ranges for int8: {len(learned)} texts are too few to fit them on")
        return None
    some, known = learned[:: -(-len(learned) // MOST_TEXTS)], len(unseen) >= LEAST_UNSEEN
    target = TARGET if len(unseen) >= FEW_UNSEEN or not known else LENIENT

    def fitted(least: float) -> Quantized:
        others = unseen if known else None
        return quantize(folder, some, work, config=config, target=least, compared=others, progress=tell)

    try:
        try:
            done = fitted(target)
        except ModelError as error:
            why = str(error).removeprefix(f"{folder}: ").removesuffix(" (--target)")  # no option of `train`
            tell(f"int8 is fitted whole, for whoever asks for it: {why}")
            done = fitted(0.0)
        return done if known else _not_compared(done, len(unseen), tell)
    except (ModelError, EngineError, ConfigError, RowError) as error:
        tell(f"no activation ranges for int8: {str(error).removeprefix(f'{folder}: ')}")
        return None


def _not_compared(done: Quantized, unseen: int, tell: Callable[[str], None]) -> Quantized:
    """The same with no agreement stated: it was measured on texts that were learned from."""
    why = f"{unseen} texts were not learned from, and {LEAST_UNSEEN} are wanted" if unseen else "all were"
    tell(f"int8 is there but was compared on texts that were learned from ({why}), so auto leaves it")
    manifest = replace(open_bundle(done.folder, str(done.folder)).manifest, agreement={})
    write_manifest(done.folder, manifest)
    return replace(done, agreement={}, compared=0)


def finish(folder: Path, manifest: Manifest, facts: CardFacts, training: Mapping[str, Any]) -> Manifest:
    """Write the card, `training.json`, `tuning.json` of a study, and the manifest that pins them.

    Raises OSError, MissingExtraError.
    """
    write_card(folder, facts)
    told = json.dumps(training, indent=2, ensure_ascii=False) + "\n"
    (folder / "training.json").write_text(told, "utf-8")
    if facts.tuning:
        study = json.dumps(asdict(facts.tuning), indent=2, ensure_ascii=False) + "\n"
        (folder / "tuning.json").write_text(study, "utf-8")
    written = replace(manifest, files=pinned_files(folder))
    write_manifest(folder, written)
    return written


def new_manifest(
    base: Base, *, name: str | None, origin: Mapping[str, str], licence: str | None, data_terms: str | None
) -> Manifest:
    """What a new bundle states, before its files and heads are there."""
    parent = base.bundle.manifest
    return Manifest(
        files={},
        embedding=parent.embedding,
        name=name,
        origin=origin,
        licence=licence or parent.licence,
        data_terms=_joined(parent.data_terms, data_terms),
        parent=base.bundle.digest,
        behaviours=BEHAVIOURS,
    )


def _joined(old: str | None, new: str | None) -> str | None:
    """Terms of what the base learned from hold for what it learns next, too."""
    return "; ".join(dict.fromkeys(one for one in (old, new) if one)) or None


def _spec(head: LearnedHead, dense: str | None, output: str) -> HeadSpec:
    form = head.form
    return HeadSpec(
        labels=form.labels,
        output=output,
        problem_type=form.problem_type,
        pooling=form.pooling,
        dense=dense,
        activation=form.activation,
        temperature=head.temperature,
        thresholds=head.thresholds,
        abstain_below=head.abstain_below,
        mapping=head.mapping,
    )


def _config(base: Base, learned: Learned, *, plain: bool) -> dict[str, Any]:
    config = {key: value for key, value in base.bundle.network.items() if key not in NOT_KEPT}
    name = CLASSES[str(config["model_type"])]
    config["architectures"] = [f"{name}ForSequenceClassification" if plain else f"{name}Model"]
    if plain:
        (head,) = learned.heads.values()
        config["id2label"] = {str(i): label for i, label in enumerate(head.form.labels)}
        config["label2id"] = {label: i for i, label in enumerate(head.form.labels)}
        config["problem_type"] = head.form.problem_type
    return config


def _pooler(base: Base) -> Tensors:
    """A BERT's own pooler, which its bare encoder in transformers has."""
    checkpoint = Checkpoint(base.bundle.weights, base.bundle.ref)
    for name in POOLER_PLACES:
        if base.spec.family == "bert" and checkpoint.has(f"{name}.weight"):
            kinds = ("weight", "bias")
            return {f"pooler.dense.{kind}": checkpoint.matrix(f"{name}.{kind}").dense() for kind in kinds}
    return {}
