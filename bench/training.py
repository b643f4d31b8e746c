"""Fine-tuning 1,000 texts beside `transformers.Trainer` with its defaults: seconds and accuracy, in turns."""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.measure import RESULTS, data, write
from bench.rivals.random_model import write_random_distilbert
from tonewise import Classifier
from tonewise.source.labelled import Labelled, read_labelled
from tonewise.store.packaged import packaged_folder
from tonewise.train import Recipe
from tonewise.train import train as learn

EXAMPLES, CHOOSING, EPOCHS, ROUNDS = 1_000, 200, 5, 3
SHAPES = ("minilm", "distilbert")
BOUNDS = {"minilm": (40, 3.5), "distilbert": (150, 2.5)}


def main() -> None:
    shapes = [shape for shape in SHAPES if shape in sys.argv] or SHAPES
    folder = data() / "emotion"
    train = read_labelled(folder / "train.tsv").take(range(EXAMPLES))
    held = read_labelled(folder / "validation.tsv")
    order = [held.names.index(name) for name in train.names]
    held = Labelled(held.examples, train.names, held.targets[:, order], held.kind)
    choosing, measured = held.take(range(CHOOSING)), held.take(range(CHOOSING, len(held)))
    kept = RESULTS / "training.json"
    found: dict[str, Any] = json.loads(kept.read_text())["figures"] if kept.exists() else {}
    found |= {"examples": EXAMPLES, "epochs": EPOCHS}
    with tempfile.TemporaryDirectory() as scratch:
        for shape in shapes:
            base = _base(shape, Path(scratch))
            rounds = ROUNDS if shape == "minilm" else 1
            ours, theirs = [], []
            for _ in range(rounds):
                ours.append(_ours(base, train, choosing, measured))
                theirs.append(_trainer(base, train, measured, Path(scratch)))
            found[shape] = _figures(shape, ours, theirs)
            write("training", found)


def _base(shape: str, scratch: Path) -> Path:
    from recipes.stored import base_folder

    if shape == "minilm":
        return base_folder()
    return write_random_distilbert(scratch / "distilbert", packaged_folder("emotion"))


def _ours(base: Path, train: Labelled, choosing: Labelled, measured: Labelled) -> tuple[float, float, float]:
    """Seconds to the first step, of training, and accuracy. A look at the choosing rows an epoch is in it."""
    start, first = time.perf_counter(), 0.0

    def watch(_: object) -> None:
        nonlocal first
        first = first or time.perf_counter() - start

    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "out"
        recipe = Recipe(epochs=EPOCHS)
        learn(train, output, validation=choosing, base=base, recipe=recipe, int8=False, watch=watch)
        seconds = json.loads((output / "training.json").read_text())["seconds"]
        with Classifier.load(output, engine="onnxruntime", precision="fp32") as classifier:
            found = [answer.label for answer in classifier.classify(_texts(measured))]
    gold = [measured.names[i] for i in measured.ids]
    return first, seconds, float(np.mean([one == other for one, other in zip(found, gold, strict=True)]))


def _trainer(base: Path, train: Labelled, measured: Labelled, scratch: Path) -> tuple[float, float]:
    """Seconds of `Trainer.train()` with its defaults but for the epochs, and accuracy."""
    import torch
    import transformers
    from datasets import Dataset

    transformers.set_seed(0)
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        base, num_labels=len(train.names), ignore_mismatched_sizes=True
    )

    def dataset(of: Labelled) -> Any:
        tokens = tokenizer(_texts(of), truncation=True, max_length=512)
        return Dataset.from_dict({**tokens, "label": of.ids.tolist()})

    options = transformers.TrainingArguments(
        output_dir=str(scratch / "trainer"),
        num_train_epochs=EPOCHS,
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trainer = transformers.Trainer(
        model=model, args=options, train_dataset=dataset(train), processing_class=tokenizer
    )
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
    with torch.inference_mode():
        found = trainer.predict(dataset(measured)).predictions
    return seconds, float(np.mean(np.asarray(found).argmax(axis=1) == measured.ids))


def _texts(of: Labelled) -> list[str]:
    return [example.text for example in of.examples]


def _figures(
    shape: str, ours: Sequence[tuple[float, float, float]], theirs: Sequence[tuple[float, float]]
) -> dict[str, Any]:
    first, mine, right = (statistics.median(column) for column in zip(*ours, strict=True))
    seconds, accuracy = (statistics.median(column) for column in zip(*theirs, strict=True))
    bound, ratio = BOUNDS[shape]
    return {
        "seconds": round(mine, 1),
        "seconds_to_first_step": round(first, 1),
        "accuracy": round(right, 4),
        "trainer_seconds": round(seconds, 1),
        "trainer_accuracy": round(accuracy, 4),
        "ratio": round(seconds / mine, 2),
        "bound_seconds": bound,
        "bound_ratio": ratio,
        "rounds": len(ours),
    }


if __name__ == "__main__":
    main()
