"""For tests of whole classifiers: an engine that counts and fails as told, bundles with more heads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from tonewise import Classifier
from tonewise.batching import Batch
from tonewise.errors import EngineError
from tonewise.store import HeadSpec, Manifest
from tonewise.store.writing import pinned_files, write_manifest

MakeModel = Callable[..., Path]
TEXTS = ["i am happy", "they are so sad today", "love", "a bad bad night and awful food", "", "2 3 ! ?"]


class Recorder:
    """An engine around another: counts its runs and may fail as told."""

    def __init__(self, inner: Any, fail: Callable[[Batch], EngineError | None] = lambda batch: None) -> None:
        self.inner, self.fail = inner, fail
        self.name, self.precision, self.poolings, self.streams = "double", "fp32", inner.poolings, 1
        self.batches: list[Batch] = []
        self.closed = False

    def run(self, batch: Batch) -> NDArray[np.float32]:
        if error := self.fail(batch):
            raise error
        self.batches.append(batch)
        states: NDArray[np.float32] = self.inner.run(batch)
        return states

    def close(self) -> None:
        self.closed = True
        self.inner.close()


def write_bundle(folder: Path, source: Path, heads: dict[str, HeadSpec], **manifest: Any) -> Path:
    """A copy of a plain model with more heads: random tensors for each that the model lacks."""
    folder.mkdir()
    tensors = load_file(source / "model.safetensors")
    hidden = 32
    for i, head in enumerate(heads.values()):
        if f"{head.output}.weight" not in tensors:
            rng = np.random.default_rng(i)
            tensors[f"{head.output}.weight"] = rng.normal(0, 2, (len(head.labels), hidden)).astype(np.float32)
            tensors[f"{head.output}.bias"] = np.zeros(len(head.labels), np.float32)
    save_file(tensors, folder / "model.safetensors")
    for name in ("config.json", "vocab.txt", "tokenizer_config.json"):
        (folder / name).write_bytes((source / name).read_bytes())
    write_manifest(folder, Manifest(files=pinned_files(folder), heads=heads, **manifest))
    return folder


def with_head(folder: Path, source: Path, **head: Any) -> Classifier:
    spec = HeadSpec(head.pop("labels", ("a", "b", "c")), head.pop("output", "own"), **head)
    return Classifier.load(write_bundle(folder, source, {"own": spec}), engine="stub")


def scores_of(answers: Any) -> NDArray[np.float32]:
    return np.array([list(answer.scores.values()) for answer in answers], np.float32)
