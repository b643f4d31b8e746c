"""A text visits the rooms in the order that ARCHITECTURE.md tells."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from tonewise.classifier import Classifier
from tonewise.config import SinkConfig
from tonewise.jobs import classify_files
from tonewise.source import open_source

WALK = ["source", "tokenizer", "batching", "engines", "head", "sinks"]


def test_a_text_walks_one_way(here: Path, model: Callable[..., Path]) -> None:
    Path("in.jsonl").write_text('{"text": "so happy"}\n')
    seen: list[str] = []
    work = {"collate": "batching", "run": "engines", "encode_each": "tokenizer", "decode": "head"}

    def note(frame: FrameType, event: str, _: object) -> None:
        name = frame.f_globals.get("__name__", "")
        room = name.split(".")[1] if name.startswith("tonewise.") else ""
        at_work = work.get(frame.f_code.co_name) == room or room in ("source", "sinks")
        if (
            event == "call"
            and at_work
            and room not in seen
            and (room != "sinks" or frame.f_code.co_name == "write")
        ):
            seen.append(room)

    with Classifier.load(model(), engine="stub") as classifier, open_source(["in.jsonl"]) as source:
        threading.setprofile(note)
        sys.setprofile(note)
        try:
            classify_files(classifier, source, Path("out.jsonl"))
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    assert seen == WALK
    assert SinkConfig() == classifier.config.sink
