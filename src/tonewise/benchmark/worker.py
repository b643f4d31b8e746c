"""One measurement in a process of its own: a task from a file, what came of it as JSON lines."""

import json
import os
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tonewise.batching import Batch
from tonewise.classifier import Classifier
from tonewise.config import CONCERNS, Config
from tonewise.engines import Engine
from tonewise.engines.buckets import Buckets
from tonewise.errors import TonewiseError
from tonewise.head import HeadPrediction, Prediction
from tonewise.tokenizer import Text

MOST_TIMED = 200
MOST_WARMING = 20
PERCENTILES = (50, 95, 99)


class CountingEngine:
    """An engine around another that counts the tokens of what it is given, padding and all."""

    def __init__(self, inner: Engine) -> None:
        self.inner = inner
        self.name, self.precision, self.poolings = inner.name, inner.precision, inner.poolings
        self.streams = inner.streams
        self.batches: list[tuple[int, int]] = []
        """Real tokens and padded size of each batch that was answered."""

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """See `Engine.run`."""
        states = self.inner.run(batch)
        self.batches.append((int(batch.attention_mask.sum()), batch.attention_mask.size))
        return states

    def close(self) -> None:
        """See `Engine.close`."""
        self.inner.close()


def main() -> None:
    """Do the task of the file, and tell of it through the descriptor, that the command line names.

    Exits 0 with a result or an error told; of whatever else happened Python prints a traceback.
    """
    path, descriptor = sys.argv[1:]
    task = json.loads(Path(path).read_text("utf-8"))
    answers = os.fdopen(int(descriptor), "w", encoding="utf-8")
    try:
        found = TASKS[task["name"]](task, answers)
    except TonewiseError as error:
        _tell(answers, {"error": str(error)})
    else:
        _tell(answers, {"result": found})
    os._exit(0)  # taking the runtimes down is not measured, and not all of them do it in peace


def _tell(answers: IO[str], message: Mapping[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def _open(task: Mapping[str, Any], answers: IO[str]) -> Classifier:
    """The classifier of the task, its first answer given and told."""
    classifier = Classifier.load(task["model"], config=config_from(task["config"]))
    classifier.classify(_text(task["first"]))
    _tell(answers, {"answered": True})
    return classifier


def config_from(concerns: Mapping[str, Mapping[str, Any]]) -> Config:
    """The Config that `dataclasses.asdict` and JSON have been through."""
    read = {
        concern: {knob: tuple(value) if isinstance(value, list) else value for knob, value in knobs.items()}
        for concern, knobs in concerns.items()
    }
    return Config(**{concern: CONCERNS[concern](**knobs) for concern, knobs in read.items()})


def _texts(task: Mapping[str, Any]) -> list[Text]:
    return [_text(one) for one in json.loads(Path(task["texts"]).read_text("utf-8"))]


def _text(read: Any) -> Text:
    return read if isinstance(read, str) else (read[0], read[1])


# The tasks.


def answer(task: Mapping[str, Any], answers: IO[str]) -> dict[str, Any]:
    """Every answer, and what the texts and batches were like; nothing is timed."""
    classifier, texts = _open(task, answers), _texts(task)
    classifier.engine = engine = CountingEngine(classifier.engine)
    before = _bucket_tokens(engine.inner)
    found = classifier.classify(texts)
    after = _bucket_tokens(engine.inner)
    real, planned = map(sum, zip(*engine.batches, strict=True))
    added = None if before is None or after is None else after - before
    tokens = [one.n_tokens for one in found]
    return {
        "answers": [_plain(one) for one in found],
        "tokens_mean": float(np.mean(tokens)),
        "tokens_max": max(tokens),
        "truncated": sum(one.truncated for one in found),
        "padding": 1 - real / planned,
        "bucket_padding": None if added is None else added / (planned + added),
    }


def _bucket_tokens(engine: Engine) -> int | None:
    """Tokens that the engine itself has added up to its shapes; None when it runs batches as they come."""
    buckets = getattr(engine, "buckets", None)
    return buckets.tally().bucket if isinstance(buckets, Buckets) else None


def _plain(prediction: Prediction) -> list[list[Any]]:
    """For each head its answer and its scores."""
    return [[_said(one), list(one.scores.values())] for one in prediction.heads.values()]


def _said(one: HeadPrediction) -> Any:
    return one.label if one.labels is None else sorted(one.labels)


def single(task: Mapping[str, Any], answers: IO[str]) -> dict[str, Any]:
    """Milliseconds of one text at a time, of texts of mixed length that were not seen before."""
    classifier = _open(task, answers)
    warming, timed = texts_to_time(_texts(task))
    for text in warming:
        classifier.classify(text)
    seconds = []
    for text in timed:
        started = time.perf_counter()
        classifier.classify(text)
        seconds.append(time.perf_counter() - started)
    found = np.percentile(seconds, PERCENTILES) * 1000
    return {f"p{percent}_ms": float(value) for percent, value in zip(PERCENTILES, found, strict=True)}


def texts_to_time(texts: Sequence[Text]) -> tuple[list[Text], list[Text]]:
    """Some texts to warm up with and others to time, drawn evenly; one text alone is both."""
    step = max(1, len(texts) // (MOST_TIMED + MOST_WARMING))
    some = list(texts[::step][: MOST_TIMED + MOST_WARMING])
    warming = min(MOST_WARMING, max(1, len(some) // 10))
    return some[:warming], some[warming:] or some


def bulk(task: Mapping[str, Any], answers: IO[str]) -> dict[str, Any]:
    """Texts per second from strings to predictions, after one pass that is not counted; peak memory in MB."""
    classifier, texts = _open(task, answers), _texts(task)
    classifier.classify(texts)
    passes, started = 0, time.perf_counter()
    while (seconds := time.perf_counter() - started) < task["seconds"] or not passes:
        classifier.classify(texts)
        passes += 1
    return {"texts_per_second": passes * len(texts) / seconds, "peak_memory_mb": peak_memory_mb()}


def peak_memory_mb() -> float:
    """The most memory that this process has held, in MB of 10⁶ bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage tells here may be the parent's
        (line,) = [one for one in status.read_text().splitlines() if one.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


TASKS = {"answer": answer, "single": single, "bulk": bulk}

if __name__ == "__main__":
    main()
