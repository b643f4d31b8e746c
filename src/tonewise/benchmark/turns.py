"""Measure combinations in turns, each in a process of its own, so that noise meets all alike."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from tonewise.benchmark.results import Row, agreement, medians
from tonewise.config import Config
from tonewise.engines import choose_threads
from tonewise.errors import EngineError
from tonewise.tokenizer import Text

Progress = Callable[[str], None]
LONGEST_REASON = 200


@dataclass(frozen=True, slots=True)
class Combination:
    """What is measured: a model on an engine in a precision."""

    model: str
    engine: str
    precision: str

    def __str__(self) -> str:
        return f"{self.model} · {self.engine} {self.precision}"

    @property
    def yardstick(self) -> "Combination":
        """The same model as its answers are compared with."""
        return Combination(self.model, "onnxruntime", "fp32")


@dataclass
class Measured:
    """What was found of one combination so far; after an error it takes no further turn."""

    error: str | None = None
    first_start_seconds: float = 0.0
    answered: dict[str, Any] = field(default_factory=dict)
    rounds: list[dict[str, float]] = field(default_factory=list)


class Turns:
    """The processes of one benchmark: what they are given, and how they are asked."""

    def __init__(self, config: Config, texts: Sequence[Text], folder: Path, seconds: float) -> None:
        """`folder` holds the texts for the processes; a bulk measurement takes `seconds` at least."""
        self._config, self._first, self._seconds = config, texts[0], seconds
        self._texts, self._task = folder / "texts.json", folder / "task.json"
        self._texts.write_text(json.dumps(texts), "utf-8")
        self.threads = choose_threads(config.engine.threads)
        self.streams = config.engine.streams or self.threads

    def prepare(self, one: Combination) -> Measured:
        """Every answer once, which also fills the caches; or why there are none."""
        try:
            found, start = self._run("answer", one, self.streams)
        except EngineError as error:
            return Measured(str(error))
        return Measured(None, start, found)

    def take(self, one: Combination, measured: Measured) -> None:
        """One turn: a process for one text at a time, and one for many."""
        try:
            single, start = self._run("single", one, self._config.engine.streams or 1)
            many, _ = self._run("bulk", one, self.streams)
        except EngineError as error:
            measured.error = str(error)
            return
        measured.rounds.append({**many, **single, "cold_start_seconds": start})

    def row(self, one: Combination, measured: Measured, yardstick: Measured) -> Row:
        """The medians of all turns, and the answers beside the yardstick's."""
        row = Row(one.model, one.engine, one.precision, self.threads, self.streams, measured.error)
        if measured.error:
            return row
        answers = measured.answered
        agree = difference = None
        if not yardstick.error:
            agree, difference = agreement(answers["answers"], yardstick.answered["answers"])
        middle: dict[str, Any] = medians(measured.rounds)
        return replace(
            row,
            **middle,
            first_start_seconds=measured.first_start_seconds,
            padding=answers["padding"],
            bucket_padding=answers["bucket_padding"],
            labels_agree=agree,
            score_difference=difference,
            rounds=measured.rounds,
        )

    def _run(self, name: str, one: Combination, streams: int) -> tuple[dict[str, Any], float]:
        """What a process found, and the seconds to its first answer. Raises EngineError, telling why not."""
        concerns = asdict(self._config)
        concerns["engine"] |= {"engine": one.engine, "precision": one.precision, "streams": streams}
        task = {
            "name": name,
            "model": one.model,
            "config": concerns,
            "first": self._first,
            "texts": str(self._texts),
            "seconds": self._seconds,
        }
        self._task.write_text(json.dumps(task), "utf-8")
        started, start, last = time.perf_counter(), 0.0, {}
        with tempfile.TemporaryFile() as printed, _process(self._task, printed) as (process, lines):
            for line in lines:
                last = json.loads(line)
                start = start or time.perf_counter() - started
            status = process.wait()
            if "error" in last:
                raise EngineError(_shortened(last["error"]))
            if "result" not in last:
                raise EngineError(_why_it_ended(status, printed))
        return last["result"], start


@contextmanager
def _process(task: Path, printed: IO[bytes]) -> Iterator[tuple[subprocess.Popen[bytes], IO[str]]]:
    """A worker at its task, and the lines that it tells; what it prints goes into the file.

    It finds modules where this process does, and does not outlive it.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    ours, theirs = os.pipe()
    with os.fdopen(ours, encoding="utf-8") as lines:
        with os.fdopen(theirs, "w"):  # closed here once it is open there, so that the lines can end
            process = subprocess.Popen(  # noqa: S603  our own module
                [sys.executable, "-P", "-m", "tonewise.benchmark.worker", str(task), str(theirs)],
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                env=environment,
                pass_fds=(theirs,),
            )
        with process:
            try:
                yield process, lines
            finally:
                process.kill()


def _why_it_ended(status: int, printed: IO[bytes]) -> str:
    """The exit status or signal, and the last line that was printed."""
    printed.seek(0)
    lines = printed.read().decode("utf-8", "replace").strip().splitlines()
    how = f"signal {-status}" if status < 0 else f"status {status}"
    hint = " (out of memory?)" if status == -9 else ""
    return _shortened(f"its process ended with {how}{hint}" + (f": {lines[-1]}" if lines else ""))


def _shortened(reason: str) -> str:
    line = " ".join(reason.split())
    return line if len(line) <= LONGEST_REASON else f"{line[: LONGEST_REASON - 1]}…"
