"""A benchmark whose processes are made up: what they were asked, and what they find."""

from typing import Any

import pytest

from tonewise.benchmark.turns import Combination, Turns
from tonewise.errors import EngineError

ANSWERS = [[["joy", [0.75, 0.25]]], [["anger", [0.5, 0.5]]]]
ANSWERED = {
    "answers": ANSWERS,
    "tokens_mean": 22.25,
    "tokens_max": 300,
    "truncated": 3,
    "padding": 0.02,
    "bucket_padding": None,
}


class MadeUp:
    """What stands in for the processes.

    asked   each task with its combination and streams, in order
    broken  by engine: what its processes say instead of answering
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, int]] = []
        self.broken: dict[str, str] = {}
        self.speeds: dict[str, list[float]] = {}

    def run(self, name: str, one: Combination, streams: int) -> tuple[dict[str, Any], float]:
        self.asked.append((name, f"{one.engine} {one.precision}", streams))
        if one.engine in self.broken:
            raise EngineError(self.broken[one.engine])
        if name == "answer":
            return ANSWERED, 9.0
        if name == "single":
            return {"p50_ms": 4.0, "p95_ms": 5.5, "p99_ms": 123.4}, 0.5
        some = self.speeds.get(one.engine, [])
        return {"texts_per_second": some.pop(0) if some else 1000.0, "peak_memory_mb": 310.0}, 0.5


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> MadeUp:
    """No process is started."""
    double = MadeUp()
    monkeypatch.setattr(Turns, "_run", double.run)
    return double
