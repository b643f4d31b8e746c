"""One engine at one precision on this machine: is it right, how fast is it, how much memory does it take."""

import resource
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from tonewise.batching import Batch, collate
from tonewise.config import TokenizerConfig
from tonewise.encoder.weights import NetworkSpec
from tonewise.engines.base import Engine
from tonewise.errors import EngineError
from tonewise.store import Bundle
from tonewise.tokenizer import Row, open_tokenizer

TEXTS = (
    "ok",
    "what a waste of an evening",
    "i am so glad that you came after all",
    "the parcel arrived late, and half of it was broken when i opened the box",
    "not bad, not good either; i might go there again if somebody else pays",
    "Das Essen war kalt, aber die Bedienung hat sich sehr bemüht.",
    "je ne sais pas encore quoi en penser, on verra demain",
    "lo recomiendo a todos mis amigos, de verdad",
    "she laughed until she cried, then she left without a word to anyone at the table",
    "this is the third time that i write to you about the same charger, and i still expect an answer",
    "?!",
    "free entry tonight, reply YES to win",
)
TOLERANCE = {"int8": 0.25, "bf16": 0.03, "fp32": 1e-3}
"""How far pooled states may be off, in median, against their norm: about three times what was measured."""
BUDGETS = (512, 1024, 2048)
WIDTH = 24
"""Tokens of the rows that are timed: a sentence."""
ENOUGH = 0.97
"""Share of the best speed with which a smaller batch is preferred: it needs less memory."""
TURNS = 3
PROC = Path("/proc/self")


@dataclass(frozen=True, slots=True)
class Cost:
    """What was measured of one engine at one precision.

    deviation         of its pooled states from fp32's, in median, against their norm
    right             whether that is within the tolerance
    single_seconds    of one row of 24 tokens
    seconds           of a batch however small
    seconds_per_token of a batch, per token more
    tokens_per_second with all streams, at the best size
    batch_tokens      that size
    bytes_per_token   of memory, per token of a batch
    """

    engine: str
    precision: str
    deviation: float
    right: bool
    single_seconds: float = 0.0
    seconds: float = 0.0
    seconds_per_token: float = 0.0
    tokens_per_second: float = 0.0
    batch_tokens: int = 0
    bytes_per_token: float = 0.0


def sample_rows(bundle: Bundle) -> tuple[list[Row], int]:
    """The texts of the self-test as this model's rows, and its padding id. Raises ModelError."""
    spec = NetworkSpec.from_config(bundle.network, bundle.ref)
    tokenizer = open_tokenizer(
        bundle, TokenizerConfig(), max_length=spec.max_length, types=spec.type_count > 1
    )
    return [row for text in tokenizer.encode(TEXTS) for row in text.rows], tokenizer.padding_id


def states_of(engine: Engine, rows: Sequence[Row], padding_id: int) -> NDArray[np.float32]:
    """float32[R, P, H] of rows that run together. Raises EngineError."""
    return engine.run(collate(rows, range(len(rows)), padding_id))


def deviation(states: NDArray[np.float32], exact: NDArray[np.float32]) -> float:
    """How far the rows' states are off, in median, against their norm."""
    off = np.linalg.norm(states - exact, axis=-1) / np.maximum(np.linalg.norm(exact, axis=-1), 1e-30)
    return float(np.median(off)) if np.isfinite(off).all() else inf


def is_right(precision: str, off: float) -> bool:
    """Whether a deviation is within the precision's tolerance."""
    return off <= TOLERANCE[precision]


def race(engines: Sequence[tuple[Engine, float]], rows: Sequence[Row], padding_id: int) -> list[Cost]:
    """Time and memory of engines, each with its deviation, over batches of 512 to 2,048 tokens.

    They take turns, so that what else runs here slows all of them, and the least time of each counts: a
    machine's noise only adds. A size at which an engine fails does not count; one that fails at all of
    them, or at a single row, is not right.
    """
    tokens = max((row.input_ids for row in rows), key=len)
    row = Row([tokens[i % len(tokens)] for i in range(WIDTH)])
    batches = {size: collate([row] * (size // WIDTH), range(size // WIDTH), padding_id) for size in BUDGETS}
    single = collate([row], [0], padding_id)
    runners = [_Runner(engine, off) for engine, off in engines]
    for turn in range(1 + TURNS):  # the first shows the shapes
        for runner in runners:
            runner.time(1, single, at_once=1, counts=turn > 0)
            for size, batch in batches.items():
                runner.time(size, batch, at_once=runner.engine.streams, counts=turn > 0)
    return [runner.cost() for runner in runners]


class _Runner:
    """Times one engine, the least of each size."""

    def __init__(self, engine: Engine, off: float) -> None:
        self.engine, self.off = engine, off
        self.least: dict[int, float] = {}
        self.failed: set[int] = set()
        self.before = self.grown = 0.0

    def time(self, size: int, batch: Batch, *, at_once: int, counts: bool) -> None:
        if size in self.failed:
            return
        try:
            with ThreadPoolExecutor(at_once) as pool:
                start = perf_counter()
                list(pool.map(lambda _: self.engine.run(batch), range(at_once)))
                took = perf_counter() - start
        except EngineError:
            self.failed.add(size)
            return
        if counts:
            self.least[size] = min(took, self.least.get(size, took))
        elif size > 1:
            self.grown = _peak() - self.before
        else:  # what the first row takes is taken once
            _forget_peak()
            self.before = _peak()

    @property
    def sizes(self) -> list[int]:
        """The sizes that were answered each time; none where a single row was not."""
        return [] if 1 in self.failed else [size for size in BUDGETS if size not in self.failed]

    def cost(self) -> Cost:
        streams, sizes = self.engine.streams, self.sizes
        if not sizes:
            return Cost(self.engine.name, self.engine.precision, inf, right=False)
        speeds = {size: size // WIDTH * WIDTH * streams / self.least[size] for size in sizes}
        best = next(size for size in sizes if speeds[size] >= ENOUGH * max(speeds.values()))
        seconds = [self.least[size] for size in sizes]
        slope, start = np.polyfit(sizes, seconds, 1) if len(sizes) > 1 else (seconds[0] / sizes[0], 0.0)
        return Cost(
            self.engine.name,
            self.engine.precision,
            deviation=self.off,
            right=True,
            single_seconds=self.least[1],
            seconds=max(0.0, float(start)),
            seconds_per_token=float(slope),
            tokens_per_second=speeds[best],
            batch_tokens=best,
            bytes_per_token=self.grown / (sizes[-1] // WIDTH * WIDTH * streams),
        )


def _forget_peak() -> None:
    """Let the peak be what this process has now, where Linux allows that."""
    with suppress(OSError):
        (PROC / "clear_refs").write_text("5")


def _peak() -> float:
    """The greatest memory that this process has had, in bytes."""
    with suppress(OSError, IndexError):
        told = [line.split()[1] for line in (PROC / "status").read_text().splitlines() if "VmHWM:" in line]
        return float(told[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
