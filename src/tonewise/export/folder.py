"""The exported folder: whole or not there, with the model's documents beside its network."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tonewise.errors import OutputError
from tonewise.export.network import Network
from tonewise.store import Bundle
from tonewise.store.files import reason

REPORT = "tonewise-export.json"
CARD = "README.md"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
EMBEDDER = ("modules.json", "1_Pooling/config.json")
TERMS = ("LICENSE", "NOTICE")
ARCHITECTURES = {
    "distilbert": "DistilBert",
    "bert": "Bert",
    "roberta": "Roberta",
    "xlm-roberta": "XLMRoberta",
}
OF_OTHER_FILES = ("torch_dtype", "auto_map", "num_labels", "_name_or_path", "problem_type")
TOKENS = {
    True: """from tokenizers import Tokenizer
one = Tokenizer.from_file("tokenizer.json").encode("a text")
given = {"input_ids": one.ids, "attention_mask": one.attention_mask, "token_type_ids": one.type_ids}""",
    False: """from transformers import AutoTokenizer
given = AutoTokenizer.from_pretrained(".")("a text", return_token_type_ids=True)""",
}


def check_place(place: Path) -> None:
    """Raise OutputError where something stands that a new folder would replace."""
    full = _full(place)
    try:
        if full == Path.cwd():
            raise OutputError(f"cannot write {place}: it is the working folder; name a new one")
        if full.is_symlink() or (full.exists() and not full.is_dir()):
            raise OutputError(f"cannot write {place}: it is no folder; name a new one")
        if full.is_dir() and any(full.iterdir()):
            raise OutputError(f"cannot write {place}: it is not empty; name a new folder")
    except OSError as error:
        raise OutputError(f"cannot write {place}: {reason(error)}") from None


def _full(place: Path) -> Path:
    return Path(os.path.abspath(place))


def add_documents(network: Network, folder: Path, to: str) -> None:
    """Put the config, the tokenizer and the terms beside the network. Raises OSError."""
    bundle = network.bundle
    embedder = EMBEDDER if to == "transformers" and network.head is None else ()
    for name in (*TOKENIZER, *embedder, *TERMS):
        if (bundle.folder / name).is_file():
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(bundle.folder / name, folder / name)
    (folder / "config.json").write_text(_json(config_of(network)), "utf-8")


def config_of(network: Network) -> dict[str, Any]:
    """The bundle's `config.json` as transformers reads it, with the labels of the exported head."""
    table = {key: value for key, value in network.bundle.network.items() if key not in OF_OTHER_FILES}
    name = ARCHITECTURES[str(table["model_type"])]
    table |= {"architectures": [f"{name}Model"], "dtype": "float32"}
    if network.head:
        labels = network.head.labels
        table |= {
            "architectures": [f"{name}ForSequenceClassification"],
            "id2label": {str(i): label for i, label in enumerate(labels)},
            "label2id": {label: i for i, label in enumerate(labels)},
            "problem_type": network.head.spec.problem_type,
        }
    return table


def add_report(folder: Path, report: Mapping[str, Any]) -> None:
    """Write `tonewise-export.json`. Raises OSError."""
    (folder / REPORT).write_text(_json(report), "utf-8")


def add_card(network: Network, folder: Path, use: str, told: str) -> None:
    """The bundle's card, and after it what this folder is (`told`) and how it is used. Raises OSError."""
    card = _card(network.bundle)
    code = use.format(
        tokens=TOKENS[(folder / "tokenizer.json").is_file()],
        output=network.output,
        inputs=network.inputs,
        kind="ForSequenceClassification" if network.head else "",
    )
    parts = [card, f"## This folder\n\n{told}", _meaning(network), f"```python\n{code}```\n"]
    (folder / CARD).write_text("\n\n".join(filter(None, parts)), "utf-8")


def _card(bundle: Bundle) -> str:
    path = bundle.folder / CARD
    return path.read_text("utf-8", errors="replace").rstrip() if path.is_file() else ""


def _meaning(network: Network) -> str:
    """What goes in, what comes out, and what a reader of the outputs has to do with them."""
    shape = "[B, L], labels as `config.json` numbers them" if network.head else "[B, H]"
    lines = [
        f"In: {', '.join(f'`{name}`' for name in network.inputs)}, [B, T], at most "
        f"{network.spec.max_length} tokens a row. Out: `{network.output}`, float32 {shape}."
    ]
    if network.head:
        spec = network.head.spec
        if spec.temperature != 1:
            lines.append(
                f"Logits are divided by the temperature {spec.temperature:g} before they become scores."
            )
        if spec.thresholds:
            labels = network.head.labels
            told = (f"{name} {least:g}" for name, least in zip(labels, spec.thresholds, strict=True))
            lines.append(f"A label holds from this score on: {', '.join(told)}.")
        if spec.abstain_below is not None:
            lines.append(f"A best score under {spec.abstain_below:g} is no answer.")
    return "\n".join(lines)


def _json(table: Mapping[str, Any]) -> str:
    return json.dumps(table, indent=2, ensure_ascii=False) + "\n"
