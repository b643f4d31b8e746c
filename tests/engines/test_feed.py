"""Rows through an engine: planned, computed once, in streams; halved where they fail, and remembered."""

from collections.abc import Callable, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Lock

import numpy as np
import pytest
from numpy.typing import NDArray

from tonewise.batching import Batch
from tonewise.config import BatchConfig
from tonewise.engines.base import States
from tonewise.engines.feed import LEAST_BUDGET, Budget, feed
from tonewise.errors import EngineError, EngineMemoryError
from tonewise.store import Pooling
from tonewise.tokenizer import Row

Fault = Callable[[Batch], EngineError | None]
FULL = EngineMemoryError("no memory")


class Summing:
    """An engine whose states are the sum of a row's ids; it keeps what it was given, and fails as told."""

    name, precision = "summing", "fp32"
    poolings: tuple[Pooling, ...] = ("first",)

    def __init__(self, fault: Fault = lambda batch: None, streams: int = 1) -> None:
        self.fault, self.streams = fault, streams
        self.sizes: list[int] = []
        self.tried: list[int] = []
        self._lock = Lock()

    def run(self, batch: Batch) -> NDArray[np.float32]:
        with self._lock:
            self.tried.append(int(batch.input_ids.size))
        if error := self.fault(batch):
            raise error
        with self._lock:
            self.sizes.append(int(batch.input_ids.size))
        sums = (batch.input_ids * batch.attention_mask).sum(axis=1)
        return np.repeat(sums[:, None, None], 4, axis=2).astype(np.float32)

    def close(self) -> None: ...


def some(lengths: Sequence[int]) -> list[Row]:
    """Unlike rows of these lengths."""
    return [Row([i + 1] * length) for i, length in enumerate(lengths)]


def fed(engine: Summing, rows: Sequence[Row], budget: Budget | None = None, **config: int) -> States:
    return feed(
        engine,
        rows,
        hidden_size=4,
        padding_id=0,
        config=BatchConfig(**config),
        budget=budget,
    )


def assert_answered(states: States, rows: Sequence[Row], but: Set[int] = frozenset()) -> None:
    assert set(states.errors) == but
    wanted = [0 if i in but else sum(row.input_ids) for i, row in enumerate(rows)]
    np.testing.assert_array_equal(states.of("first")[:, 0], wanted)


LENGTHS = np.random.default_rng(0).integers(1, 40, 200).tolist()


@pytest.mark.parametrize("streams", [1, 3])
def test_every_row_is_answered_in_its_place(streams: int) -> None:
    rows = some(LENGTHS)
    engine = Summing(streams=streams)
    states = fed(engine, rows, max_batch_tokens=256)
    assert_answered(states, rows)
    assert states.values.shape == (200, 1, 4)
    assert states.values.dtype == np.float32
    assert max(engine.sizes) <= 256


def test_no_rows_have_no_states() -> None:
    engine = Summing()
    assert fed(engine, []).values.shape == (0, 1, 4)
    assert engine.tried == []


def test_equal_rows_are_computed_once_and_fail_together() -> None:
    rows = [Row([7]), Row([5, 5]), Row([7]), Row([5, 5]), Row([1])]
    engine = Summing(lambda batch: EngineError("five") if (batch.input_ids == 5).any() else None)
    states = fed(engine, rows)
    assert_answered(states, rows, {1, 3})
    assert states.errors[1] is states.errors[3]
    assert sum(engine.sizes) == 2


@pytest.mark.parametrize("streams", [1, 3])
def test_an_engine_without_memory_at_half_its_batches_still_gives_every_answer(streams: int) -> None:
    rows, turn, lock = some(LENGTHS), [0], Lock()

    def every_second(batch: Batch) -> EngineError | None:
        with lock:
            turn[0] += 1
            return FULL if turn[0] % 2 and len(batch) > 1 else None

    assert_answered(fed(Summing(every_second, streams), rows, max_batch_tokens=512), rows)
    assert turn[0] > 8


def test_a_budget_that_did_not_fit_is_lowered_for_good() -> None:
    rows, budget = some([8] * 200), Budget(1024)
    engine = Summing(lambda batch: FULL if batch.input_ids.size > 300 else None)
    assert_answered(fed(engine, rows, budget), rows)
    assert budget.tokens == 256
    assert [size for size in engine.tried if size > 300] == [1024, 512], (
        "what is known not to fit is not tried"
    )
    engine.tried.clear()
    assert_answered(fed(engine, rows, budget), rows)
    assert max(engine.tried) <= 256
    assert budget.tokens == 256


def test_a_budget_does_not_fall_below_what_a_text_needs() -> None:
    rows, budget = some([8] * 40), Budget(1024)
    engine = Summing(lambda batch: FULL if len(batch) > 1 else None)
    assert_answered(fed(engine, rows, budget), rows)
    assert budget.tokens == LEAST_BUDGET == 64


def test_a_single_row_that_does_not_fit_is_its_own_error_and_lowers_nothing() -> None:
    rows, budget = some([8, 500, 8]), Budget(1024)
    engine = Summing(lambda batch: FULL if batch.input_ids.shape[1] > 400 else None)
    states = fed(engine, rows, budget, max_batch_rows=1)
    assert_answered(states, rows, {1})
    assert states.errors[1] is FULL
    assert budget.tokens == 1024


def test_another_failure_halves_and_lowers_nothing() -> None:
    rows, budget = some([8] * 30), Budget(1024)
    engine = Summing(lambda batch: EngineError("13") if (batch.input_ids == 13).any() else None)
    assert_answered(fed(engine, rows, budget), rows, {12})
    assert budget.tokens == 1024


def test_states_of_another_shape_are_an_error_of_every_row() -> None:
    class Wrong(Summing):
        def run(self, batch: Batch) -> NDArray[np.float32]:
            return super().run(batch)[:, :, :3]

    states = fed(Wrong(), some([3, 4]))
    assert {str(error) for error in states.errors.values()} == {
        "the summing engine gave states (1, 1, 3) for 1 rows"
    }


def test_as_many_batches_are_in_flight_as_the_engine_likes() -> None:
    met = Barrier(3)

    def wait(batch: Batch) -> None:
        met.wait(timeout=30)  # breaks unless three are inside at once

    assert_answered(fed(Summing(wait, streams=3), rows := some([8] * 6), max_batch_rows=1), rows)


def test_once_nobody_waits_no_batch_begins() -> None:
    engine = Summing()
    with pytest.raises(EngineError, match="nobody waits for the answers any more"):
        feed(
            engine,
            some([8] * 6),
            hidden_size=4,
            padding_id=0,
            config=BatchConfig(max_batch_rows=1),
            stopped=lambda: len(engine.tried) == 2,
        )
    assert len(engine.tried) == 2


def test_a_budget_is_shared_by_threads() -> None:
    budget = Budget(4096)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(budget.lower, [4096, 2048, 1024, 300] * 50))
    assert budget.tokens == 150
    budget.lower(10_000)
    assert budget.tokens == 150, "it never rises"
