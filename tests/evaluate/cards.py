"""Models with cards: the figures in them are those that the model has, or as far off as asked."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.models import LABELS, changed
from tonewise import Classifier

TEXTS = [
    f"{one} {two} {three}"
    for one in ("i", "you", "we", "they", "it")
    for two in ("love", "hate", "fear", "are", "was")
    for three in ("joy", "food", "day", "night", "sad", "happy", "bad", "good")
]
COMMIT = "c" * 40
WRONG = 10
ACCURACY = 1 - WRONG / len(TEXTS)


def card(metrics: list[dict[str, Any]], head: str | None = None, **dataset: Any) -> str:
    named = {"type": "acme/feelings", "name": "Feelings", "split": "test", **dataset}
    task = {"type": "text-classification", "name": f"Head {head}" if head else "Text classification"}
    index = [{"name": "m", "results": [{"task": task, "dataset": named, "metrics": metrics}]}]
    return f"---\nlicense: mit\n{yaml.safe_dump({'model-index': index})}---\n# A model\n"


def joined(*cards: str) -> str:
    """One card with what these state."""
    models = (yaml.safe_load(one.split("---\n")[1])["model-index"] for one in cards)
    return f"---\n{yaml.safe_dump({'model-index': [one for some in models for one in some]})}---\n# A model\n"


def answered(folder: Path, wrong: int) -> list[tuple[str, int]]:
    """Texts and the model's own labels by number, the first `wrong` of them turned to the next one."""
    with Classifier.load(folder, engine="onnxruntime", precision="fp32") as classifier:
        answers = classifier.classify(TEXTS)
    places = [LABELS.index(str(answer.label)) for answer in answers]
    return [
        (text, (place + (i < wrong)) % len(LABELS))
        for i, (text, place) in enumerate(zip(TEXTS, places, strict=True))
    ]


def with_card(model: Callable[..., Path], to: Path, text: str) -> Path:
    """A copy of the small model with that card."""
    changed(model(), to)
    (to / "README.md").write_text(text, "utf-8")
    return to


def write_rows(path: Path, rows: list[tuple[str, Any]]) -> Path:
    path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))
    return path
