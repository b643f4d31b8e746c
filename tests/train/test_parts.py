"""Steps and pieces: every example once an epoch, in an order that the seed decides, within the budget."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tonewise.tokenizer import Row
from tonewise.train.parts import POOL, Part, Step, Target, count_steps, in_order, steps

LENGTHS = st.lists(st.lists(st.integers(1, 60), max_size=80), min_size=1, max_size=3)


def part_of(lengths: list[int]) -> Part:
    return Part([Row([1] * length) for length in lengths], {})


def met(planned: list[Step]) -> Counter[tuple[int, int]]:
    return Counter((step.part, row) for step in planned for piece in step.pieces for row in piece)


@given(LENGTHS, st.integers(1, 9), st.integers(1, 200), st.integers(0, 5))
def test_an_epoch_has_every_example_once(
    lengths: list[list[int]], size: int, most_tokens: int, seed: int
) -> None:
    parts = [part_of(one) for one in lengths]
    planned = steps(parts, size, most_tokens, (seed, 1))
    assert met(planned) == Counter((i, row) for i, one in enumerate(lengths) for row in range(len(one)))
    assert len(planned) == count_steps(parts, size)
    assert all(1 <= len(step) <= size for step in planned)


@given(LENGTHS, st.integers(1, 9), st.integers(1, 200))
def test_a_piece_is_within_the_budget_or_one_row(
    lengths: list[list[int]], size: int, most_tokens: int
) -> None:
    for step in steps([part_of(one) for one in lengths], size, most_tokens, (0, 1)):
        for piece in step.pieces:
            longest = max(lengths[step.part][row] for row in piece)
            assert len(piece) == 1 or longest * len(piece) <= most_tokens


def test_a_step_is_cut_no_finer_than_it_must_be() -> None:
    (step,) = steps([part_of([10] * 8)], 8, 40, (0, 1))
    assert [len(piece) for piece in step.pieces] == [4, 4]
    (whole,) = steps([part_of([10] * 8)], 8, 80, (0, 1))
    assert len(whole.pieces) == 1


@pytest.mark.parametrize("n", [0, 1, POOL * 2 - 1, POOL * 2, POOL * 2 + 1, POOL * 4 + 3])
def test_steps_are_counted_over_whole_pools_too(n: int) -> None:
    parts = [part_of([3] * n), part_of([3] * 5)]
    assert len(steps(parts, 2, 100, (0, 1))) == count_steps(parts, 2)


def test_the_seed_alone_decides_the_order() -> None:
    parts = [part_of(np.random.default_rng(0).integers(1, 60, 300).tolist())]
    first = steps(parts, 8, 100, (0, 1))
    assert steps(parts, 8, 100, (0, 1)) == first
    for seed in ((0, 2), (1, 1), (1, 0)):
        assert steps(parts, 8, 100, seed) != first


def test_rows_of_a_step_are_of_like_length_but_steps_are_mixed() -> None:
    lengths = np.random.default_rng(0).integers(1, 101, 1600)
    planned = steps([part_of(lengths.tolist())], 16, 10_000, (0, 1))
    longest = [lengths[step.pieces[0]].max() for step in planned]
    spread = [lengths[step.pieces[0]].max() - lengths[step.pieces[0]].min() for step in planned]
    assert np.mean(spread) < 5
    assert abs(np.corrcoef(np.arange(len(planned)), longest)[0, 1]) < 0.3


def test_company_changes_from_epoch_to_epoch() -> None:
    parts = [part_of(np.random.default_rng(0).integers(1, 60, 3200).tolist())]

    def pairs(epoch: int) -> set[tuple[int, int]]:
        planned = steps(parts, 8, 10_000, (0, epoch))
        return {(a, b) for step in planned for a in step.pieces[0] for b in step.pieces[0] if a < b}

    assert len(pairs(1) & pairs(2)) < len(pairs(1)) / 2


def test_steps_of_several_parts_are_mixed_by_their_sizes() -> None:
    planned = steps([part_of([5] * 300), part_of([5] * 100)], 4, 100, (0, 1))
    told = [step.part for step in planned]
    assert Counter(told) == {0: 75, 1: 25}
    assert 5 <= told[:50].count(1) <= 20


def test_a_target_of_other_length_is_refused() -> None:
    with pytest.raises(ValueError, match="one row of values for each example"):
        Part([Row([1, 2])], {"label": Target("single", np.zeros((2, 3), np.float32))})


@given(st.lists(st.integers(1, 60), max_size=50), st.integers(1, 200))
def test_answering_meets_every_row_once_shortest_first(lengths: list[int], most_tokens: int) -> None:
    rows = [Row(list(range(1, length + 1))) for length in lengths]
    batches = list(in_order(rows, 0, most_tokens))
    order = [int(row) for batch in batches for row in batch.rows]
    assert sorted(order) == list(range(len(rows)))
    assert [lengths[row] for row in order] == sorted(lengths)
    for batch in batches:
        assert len(batch) == 1 or batch.input_ids.size <= most_tokens
        assert batch.attention_mask.sum(axis=1).tolist() == [lengths[row] for row in batch.rows]
