"""The self-test of an engine, and the race: times by a clock of the test's own, memory by the system's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.models import FAMILIES, opened
from tonewise.batching import Batch
from tonewise.engines import trial
from tonewise.engines.reference import ReferenceEngine
from tonewise.engines.trial import BUDGETS, TEXTS, TOLERANCE, WIDTH, deviation, is_right, race, sample_rows
from tonewise.errors import EngineError, EngineMemoryError
from tonewise.store import Pooling
from tonewise.tokenizer import Row

Make = Callable[..., Path]
ROWS = [Row([2, 5, 6, 7, 3]), Row([2, 3])]
MIB = 1 << 20


class Clocked:
    """An engine that takes the time that it is told to, and no other."""

    def __init__(self, name: str, clock: "Clock", start: float, each: float, streams: int = 1) -> None:
        self.name, self.precision, self.streams = name, "fp32", streams
        self.poolings: tuple[Pooling, ...] = ("first",)
        self.clock, self.start, self.each = clock, start, each
        self.fails: Callable[[int], Exception | None] = lambda tokens: None
        self.sizes: list[int] = []

    def run(self, batch: Batch) -> NDArray[np.float32]:
        tokens = int(batch.input_ids.size)
        self.sizes.append(tokens)
        if error := self.fails(tokens):
            raise error
        self.clock.now += (self.start + self.each * tokens) / self.streams
        return np.zeros((len(batch), 1, 4), np.float32)

    def close(self) -> None: ...


class Clock:
    """Seconds that pass when an engine says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(trial, "perf_counter", clock)
    return clock


def of(size: int) -> int:
    """Tokens of a batch of so many at most."""
    return size // WIDTH * WIDTH


@pytest.mark.parametrize("family", FAMILIES)
def test_the_texts_of_the_self_test_are_rows_of_any_model(model: Make, family: str) -> None:
    bundle = opened(model(family))
    rows, padding_id = sample_rows(bundle)
    assert len(rows) == len(TEXTS)
    assert padding_id == bundle.network["pad_token_id"]
    assert len({len(row.input_ids) for row in rows}) > 4, "of many lengths"
    states = trial.states_of(ReferenceEngine(bundle, ("first", "mean")), rows, padding_id)
    assert states.shape == (len(rows), 2, 32)


def test_a_deviation_is_the_median_rows_share_of_its_norm() -> None:
    exact = np.array([[[3.0, 4.0]], [[0.0, 10.0]], [[6.0, 8.0]]], np.float32)
    assert deviation(exact, exact) == 0
    off = exact + np.array([[[0.0, 0.5]], [[2.0, 0.0]], [[0.0, 9.0]]], np.float32)
    assert deviation(off, exact) == pytest.approx(0.2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_single_state_that_is_no_number_is_never_right(value: float) -> None:
    exact = np.ones((9, 1, 4), np.float32)
    broken = exact.copy()
    broken[3, 0, 1] = value
    assert deviation(broken, exact) == np.inf
    assert not any(is_right(precision, deviation(broken, exact)) for precision in TOLERANCE)


def test_states_of_nothing_but_zeros_are_compared_too() -> None:
    zeros = np.zeros((3, 1, 4), np.float32)
    assert deviation(zeros, zeros) == 0
    assert not is_right("int8", deviation(zeros + 1e-3, zeros))


@pytest.mark.parametrize("precision", TOLERANCE)
def test_a_precision_has_its_own_tolerance(precision: str) -> None:
    assert is_right(precision, TOLERANCE[precision])
    assert not is_right(precision, TOLERANCE[precision] * 1.01)
    assert TOLERANCE["fp32"] < TOLERANCE["bf16"] < TOLERANCE["int8"] < 1


def test_a_race_tells_each_engines_time_as_a_function_of_tokens(clock: Clock) -> None:
    quick, slow = Clocked("quick", clock, 0.001, 1e-5), Clocked("slow", clock, 0.02, 5e-5)
    found = {cost.engine: cost for cost in race([(quick, 0.1), (slow, 0.2)], ROWS, 0)}
    assert [(cost.deviation, cost.right) for cost in found.values()] == [(0.1, True), (0.2, True)]
    for engine in (quick, slow):
        cost = found[engine.name]
        assert cost.single_seconds == pytest.approx(engine.start + WIDTH * engine.each)
        assert cost.seconds == pytest.approx(engine.start, abs=engine.each * WIDTH)
        assert cost.seconds_per_token == pytest.approx(engine.each, rel=0.02)
        best = of(cost.batch_tokens)
        assert cost.tokens_per_second == pytest.approx(best / (engine.start + engine.each * best))


def test_every_engine_sees_the_same_sizes_in_turns(clock: Clock) -> None:
    engines = [Clocked("a", clock, 0.001, 1e-5), Clocked("b", clock, 0.001, 1e-5)]
    race([(engine, 0.0) for engine in engines], ROWS, 0)
    assert engines[0].sizes == engines[1].sizes == [WIDTH, *map(of, BUDGETS)] * 4


def test_the_first_sight_of_a_shape_does_not_count(clock: Clock) -> None:
    class Compiling(Clocked):
        def run(self, batch: Batch) -> NDArray[np.float32]:
            if batch.input_ids.size not in self.sizes:
                self.clock.now += 60
            return super().run(batch)

    (cost,) = race([(Compiling("a", clock, 0.001, 1e-5), 0.0)], ROWS, 0)
    assert cost.single_seconds < 0.01
    assert cost.tokens_per_second > 10_000


def test_the_least_time_of_each_size_counts(clock: Clock) -> None:
    class Disturbed(Clocked):
        def run(self, batch: Batch) -> NDArray[np.float32]:
            if len(self.sizes) >= 12:  # the last turn
                self.clock.now += 1
            return super().run(batch)

    (cost,) = race([(Disturbed("a", clock, 0.001, 1e-5), 0.0)], ROWS, 0)
    assert cost.single_seconds == pytest.approx(0.001 + WIDTH * 1e-5)


def test_the_smallest_batch_that_is_nearly_best_is_preferred(clock: Clock) -> None:
    flat, steep = Clocked("flat", clock, 0.0, 1e-5), Clocked("steep", clock, 0.05, 1e-6)
    found = race([(flat, 0.0), (steep, 0.0)], ROWS, 0)
    assert [cost.batch_tokens for cost in found] == [BUDGETS[0], BUDGETS[-1]]


def test_all_streams_run_at_once_but_for_a_single_row(clock: Clock) -> None:
    engine = Clocked("a", clock, 0.0, 1e-5, streams=4)
    (cost,) = race([(engine, 0.0)], ROWS, 0)
    assert engine.sizes.count(WIDTH) == 4, "one a turn"
    assert engine.sizes.count(of(512)) == 4 * 4
    assert cost.tokens_per_second == pytest.approx(4 / 1e-5)


@pytest.mark.parametrize("kind", [EngineError, EngineMemoryError])
def test_a_size_at_which_an_engine_fails_does_not_count(clock: Clock, kind: type[EngineError]) -> None:
    engine = Clocked("a", clock, 0.05, 1e-6)
    engine.fails = lambda tokens: kind("too much") if tokens > 1024 else None
    (cost,) = race([(engine, 0.0)], ROWS, 0)
    assert (cost.right, cost.batch_tokens) == (True, 1024)
    assert engine.sizes.count(of(2048)) == 1, "it is not tried again"
    engine.fails = lambda tokens: kind("too much") if tokens > 512 else None
    (cost,) = race([(engine, 0.0)], ROWS, 0)
    assert (cost.right, cost.batch_tokens) == (True, 512)
    assert cost.seconds_per_token == pytest.approx(0.05 / 512 + 1e-6, rel=0.02)


@pytest.mark.parametrize("wrong", [lambda tokens: tokens > WIDTH, lambda tokens: tokens == WIDTH, bool])
def test_an_engine_that_answers_no_batch_or_no_single_row_is_not_right(
    clock: Clock, wrong: Callable[[int], bool]
) -> None:
    broken, whole = Clocked("broken", clock, 0.0, 1e-5), Clocked("whole", clock, 0.0, 1e-5)
    broken.fails = lambda tokens: EngineError("no") if wrong(tokens) else None
    found = race([(broken, 0.0), (whole, 0.0)], ROWS, 0)
    assert [(cost.engine, cost.right) for cost in found] == [("broken", False), ("whole", True)]


class Hungry(Clocked):
    """Takes 128 KiB of memory a token, and as much as it had before once."""

    kept: Any = None

    def run(self, batch: Batch) -> NDArray[np.float32]:
        if not self.sizes:
            self.kept = np.ones(64 * MIB, np.uint8)  # as a runtime takes at its first batch
        np.ones(batch.input_ids.size * 128 * 1024, np.uint8)
        return super().run(batch)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells and forgets a peak")
def test_memory_is_told_by_token_whatever_this_process_had_before(clock: Clock) -> None:
    np.ones(300 * MIB, np.uint8)  # a peak beyond all that follows
    (cost,) = race([(Hungry("a", clock, 0.0, 1e-5), 0.0)], ROWS, 0)
    assert 112 * 1024 < cost.bytes_per_token < 144 * 1024  # what else the process does may take 30 MB
