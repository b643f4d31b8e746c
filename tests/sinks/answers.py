"""Answers to write: small, plain, and of every kind of head."""

import os
from typing import Any

from tonewise.head import HeadPrediction, Prediction
from tonewise.sinks import AnswerSchema, HeadShape, Sink
from tonewise.source import Example

LABELS = ("joy", "fear", "love")
MODEL = {"ref": "emotion", "digest": "sha256:0123"}
MOOD = AnswerSchema({"mood": HeadShape(LABELS)}, MODEL, ("id", "text", "stars"), "text")


def mood(label: str | None = "joy", *scores: float) -> Prediction:
    """One head's answer; `None` abstained."""
    table = dict(zip(LABELS, scores or (0.7, 0.2, 0.1), strict=True))
    return Prediction({"mood": HeadPrediction(label, max(table.values()), table, None, label is None)}, 5)


def interrupted(sink: Sink, rows: int) -> None:
    """Write rows, then be stopped as by Ctrl-C."""
    with sink:
        for number in range(rows):
            sink.write(example("some text", number, stars=number), mood())
        raise KeyboardInterrupt


def filled(sink: Sink, rows: int) -> None:
    """Write rows that cannot be packed."""
    with sink:
        for number in range(rows):
            sink.write(example(os.urandom(60).hex(), number, id=number), mood())


def example(text: str = "good", number: int = 1, **fields: Any) -> Example:
    return Example(text, None, number, (), fields, f"x.csv line {number + 1}")
