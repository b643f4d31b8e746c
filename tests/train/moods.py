"""Labelled texts of known words for the tests of whole trainings, and the least of them that train."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.models import changed, opened, tensors_of
from tonewise.config import Config
from tonewise.source.labelled import Labelled, read_labelled
from tonewise.tokenizer import Row
from tonewise.train import Recipe
from tonewise.train.base import Base

MOODS = {"sadness": ("sad", "awful"), "joy": ("happy", "love"), "anger": ("angry", "hate")}
_FILLERS = "the a i you we they it is was am very so day night film food service today"
FILLERS = _FILLERS.split()
QUICK = Recipe(epochs=1, batch_size=16, learning_rate=1e-3, dropout=0.0, precision="fp32")
Dicts = list[dict[str, Any]]


def some(n: int, seed: int = 0, moods: Sequence[str] = tuple(MOODS)) -> Dicts:
    """`n` different texts as dicts, each with one word that tells its label."""
    rng = np.random.default_rng(seed)
    found: dict[str, str] = {}
    while len(found) < n:
        mood = moods[len(found) % len(moods)]
        words = [*rng.choice(FILLERS, rng.integers(3, 9)), rng.choice(MOODS[mood])]
        found[" ".join(rng.permutation(words))] = mood
    return [{"text": text, "label": mood} for text, mood in found.items()]


def tagged(n: int, seed: int = 0) -> Dicts:
    """The same with several labels: the mood's, and `time` where a word of time stands."""
    found = []
    for one in some(n, seed):
        time = ["time"] if {"day", "night", "today"} & set(one["text"].split()) else []
        found.append({"text": one["text"], "label": [one["label"], *time]})
    return found


def labelled(n: int, seed: int = 0) -> Labelled:
    return read_labelled(some(n, seed))


def write_tsv(path: Path, rows: Dicts) -> Path:
    lines = ["text\tlabel", *(f"{one['text']}\t{one['label']}" for one in rows)]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def bare(folder: Path, to: Path) -> Path:
    """The encoder of a classifier alone."""
    architecture = {"architectures": ["BertModel"]}
    return changed(folder, to, config=architecture)


def base_of(folder: Path) -> Base:
    return Base.open(folder, Config(), None)


def rows_of(base: Base, texts: Dicts) -> list[Row]:
    return base.rows(read_labelled(texts))[0]


def encoder_tensors(folder: Path) -> dict[str, NDArray[Any]]:
    """What of a folder's weights is of the encoder, without the prefix of a classifier."""
    found = {}
    for name, tensor in tensors_of(folder).items():
        at = name.find("embeddings.")
        at = at if at >= 0 else max(name.find("transformer.layer"), name.find("encoder.layer"))
        if at >= 0:
            found[name[at:]] = tensor
    return found


def everything(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def weights_bytes(folder: Path) -> bytes:
    return (opened(folder).folder / "model.safetensors").read_bytes()
