"""A rival's side of the talk: JSON lines. Knows no runtime, so that every environment imports it."""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

Answers = Sequence[Any]
"""(label, score) for each text, or a vector for each."""
Answer = Callable[[list[str]], Answers]
MOST_TOKENS = 512


@dataclass(frozen=True)
class Job:
    """What a rival is asked to open.

    model        folder in Hugging Face's layout, float32
    kept         folder of what was prepared from it, this rival's own
    calibration  JSON list of texts, for those who fit ranges
    options      of the rival
    """

    model: str
    kept: str
    calibration: str
    options: dict[str, Any]

    def dumps(self) -> str:
        """As one argument of a command."""
        return json.dumps(asdict(self))


def read_texts(path: str | Path) -> list[str]:
    """The texts of a JSON list."""
    texts: list[str] = json.loads(Path(path).read_text("utf-8"))
    return texts


def batches(texts: list[str], size: int) -> list[list[str]]:
    """In the order in which they came."""
    return [texts[start : start + size] for start in range(0, len(texts), size)]


def most_memory_mb() -> float:
    """The most memory that this process held. Not from getrusage, which counts the parent's before exec."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def serve(
    opened: Callable[[Job], tuple[Answer, dict[str, Any]]],
    packages: Sequence[str],
    prepare: Callable[[Job], None] | None = None,
) -> None:
    """Run as `prepare JOB` or `serve JOB`.

    `prepare` exports and quantizes in a process of its own, whose memory is not counted. `opened` loads, and
    returns what answers texts together with what it chose. Then each line `{"warm": FILE}` or
    `{"pass": FILE}` is answered by `{"seconds", "answers"}`, the file being read before the clock starts, or
    by `{"failed"}`. A request for `{"peak": ""}` is answered by `{"peak_mb"}`.
    """
    verb, job = sys.argv[1], Job(**json.loads(sys.argv[2]))
    if verb == "prepare":
        if prepare and not (Path(job.kept) / "done").exists():
            Path(job.kept).mkdir(parents=True, exist_ok=True)
            prepare(job)
            (Path(job.kept) / "done").touch()
        return
    # What libraries print goes to the log: standard output is the line to the runner.
    line_out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    answer, chosen = opened(job)
    _tell(line_out, {"chosen": chosen, "versions": {name: version(name) for name in packages}})
    for line in sys.stdin:
        request = json.loads(line)
        if "peak" in request:
            _tell(line_out, {"peak_mb": round(most_memory_mb())})
            continue
        try:
            _tell(line_out, _timed(answer, read_texts(request.get("warm") or request["pass"])))
        except Exception as error:  # told to the runner: a set that it cannot read is no end of it
            traceback.print_exc()
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            _tell(line_out, {"failed": reason[:300]})


def _timed(answer: Answer, texts: list[str]) -> dict[str, Any]:
    started = time.perf_counter()
    answers = answer(texts)
    seconds = time.perf_counter() - started
    if len(answers) != len(texts):
        raise RuntimeError(f"{len(answers)} answers to {len(texts)} texts")
    labels = [[one[0], float(one[1])] for one in answers] if isinstance(answers[0], tuple) else None
    return {"seconds": seconds, "answers": labels}


def _tell(line_out: Any, message: dict[str, Any]) -> None:
    line_out.write(json.dumps(message) + "\n")
    line_out.flush()
