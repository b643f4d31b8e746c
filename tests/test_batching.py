"""Plans fit the budget and lose nothing; a buffer is full, or timely, or at its end."""

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tonewise.batching import MAX_PADDING, Buffer, ahead, batches, collate, distinct, plan
from tonewise.config import BatchConfig
from tonewise.tokenizer import Row

lengths_of_rows = st.lists(st.integers(1, 600), max_size=100)
budgets = st.builds(
    BatchConfig,
    max_batch_tokens=st.integers(1, 3000),
    max_batch_rows=st.integers(1, 64),
    buffer_rows=st.just(8),
)


@given(lengths_of_rows, budgets)
def test_a_plan_holds_every_row_exactly_once(lengths: list[int], config: BatchConfig) -> None:
    assert sorted(row for group in plan(lengths, config) for row in group) == list(range(len(lengths)))


@given(lengths_of_rows, budgets)
def test_a_plan_keeps_to_the_budget_but_for_a_row_that_exceeds_it_alone(
    lengths: list[int], config: BatchConfig
) -> None:
    for group in plan(lengths, config):
        width = max(lengths[row] for row in group)
        assert len(group) <= config.max_batch_rows
        assert len(group) == 1 or len(group) * width <= config.budget


@given(lengths_of_rows, budgets)
def test_a_plan_begins_with_the_longest_and_is_the_same_each_time(
    lengths: list[int], config: BatchConfig
) -> None:
    groups = plan(lengths, config)
    assert groups == plan(lengths, config)
    widest = [lengths[group[0]] for group in groups]
    assert widest == sorted(widest, reverse=True)
    assert all(lengths[group[0]] == max(lengths[row] for row in group) for group in groups)


@given(lengths_of_rows, budgets)
def test_a_batch_is_padded_little_or_is_small(lengths: list[int], config: BatchConfig) -> None:
    for group in plan(lengths, config):
        padded = len(group) * max(lengths[row] for row in group)
        padding = padded - sum(lengths[row] for row in group)
        assert padding <= MAX_PADDING * padded or padded < config.budget // 4


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_the_padding_of_a_full_buffer_stays_under_three_percent(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lengths = rng.lognormal(3, 0.6, 4096).clip(3, 512).astype(int).tolist()
    padded = sum(len(group) * max(lengths[row] for row in group) for group in plan(lengths, BatchConfig()))
    assert padded - sum(lengths) < 0.03 * padded


def test_nothing_makes_no_batch() -> None:
    assert plan([], BatchConfig()) == []
    assert list(batches([], 0, BatchConfig())) == []


@given(st.lists(st.lists(st.integers(1, 99), min_size=1, max_size=9), min_size=1, max_size=9))
def test_a_batch_gives_back_what_was_put_in(ids: list[list[int]]) -> None:
    rows = [Row(some, [1] * len(some) if len(some) % 2 else None) for some in ids]
    batch = collate(rows, range(len(rows)), padding_id=7)
    for i, row in enumerate(rows):
        real = batch.attention_mask[i].astype(bool)
        assert batch.input_ids[i, real].tolist() == list(row.input_ids)
        assert (batch.input_ids[i, ~real] == 7).all()
        assert batch.token_type_ids[i, real].tolist() == list(row.type_ids or [0] * len(row.input_ids))
    assert batch.input_ids.dtype == batch.attention_mask.dtype == batch.token_type_ids.dtype == np.int32


def test_a_part_of_a_batch_is_cut_to_its_own_longest() -> None:
    batch = collate([Row([1, 2, 3]), Row([4]), Row([5, 6])], [0, 1, 2], padding_id=0)
    part = batch.part(1, 3)
    assert part.input_ids.tolist() == [[4, 0], [5, 6]]
    assert part.rows.tolist() == [1, 2]


def test_equal_rows_are_told_apart_from_unlike_ones() -> None:
    rows = [Row([1, 2]), Row([3]), Row([1, 2]), Row([1, 2], [0, 1])]
    unlike, places = distinct(rows)
    assert [unlike[place] for place in places] == rows
    assert len(unlike) == 3


def chunks(stream: Iterator[int], **knobs: float) -> list[list[int]]:
    return list(Buffer(stream, lambda _: 1, BatchConfig(**knobs)))  # type: ignore[arg-type]


def test_a_buffer_hands_on_everything_in_order() -> None:
    found = chunks(iter(range(10)), buffer_rows=4)
    assert [one for chunk in found for one in chunk] == list(range(10))
    assert max(map(len, found)) <= 4


def test_a_buffer_is_bounded_by_tokens_too() -> None:
    found = list(Buffer(iter(range(6)), lambda _: 50, BatchConfig(buffer_tokens=100)))
    assert max(map(len, found)) <= 2


def test_a_slow_source_is_not_waited_for() -> None:
    release = threading.Event()

    def slow() -> Iterator[int]:
        yield 1
        yield 2
        release.wait(10)
        yield 3

    stream = iter(Buffer(slow(), lambda _: 1, BatchConfig(max_wait_seconds=0.05)))
    assert next(stream) == [1, 2]
    release.set()
    assert next(stream) == [3]
    assert list(stream) == []


def test_what_the_source_raises_comes_after_what_it_gave() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    stream = iter(Buffer(failing(), lambda _: 1, BatchConfig()))
    assert next(stream) == [1]
    with pytest.raises(OSError, match="gone"):
        next(stream)


def test_a_reader_ends_when_nobody_reads_on() -> None:
    given_out = []

    def endless() -> Iterator[int]:
        while True:
            given_out.append(1)
            yield 1

    stream = iter(Buffer(endless(), lambda _: 1, BatchConfig(buffer_rows=8)))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    time.sleep(0.05)
    held = len(given_out)
    time.sleep(0.1)
    assert len(given_out) == held <= 64


def test_ahead_keeps_the_order_and_raises_in_place() -> None:
    def work() -> Iterator[int]:
        yield from (1, 2)
        raise ValueError("three")

    stream = ahead(work())
    assert next(stream) == 1
    assert next(stream) == 2
    with pytest.raises(ValueError, match="three"):
        next(stream)
