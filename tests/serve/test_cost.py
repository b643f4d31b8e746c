"""What batches cost: learned from those that ran, cautious where they say little."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tonewise.serve.cost import FIRST_PER_TOKEN, Cost

batches = st.lists(st.tuples(st.integers(1, 100_000), st.floats(1e-6, 1e3)), min_size=1, max_size=40)


def learned(*measured: tuple[int, float]) -> Cost:
    cost = Cost()
    for tokens, seconds in measured:
        cost.learn(tokens, seconds)
    return cost


def test_before_anything_was_measured_a_guess_is_told_as_one() -> None:
    cost = Cost()
    assert not cost.known
    assert cost.seconds(1000, 7) == pytest.approx(1000 * FIRST_PER_TOKEN)
    cost.learn(10, 0.5)
    assert cost.known


@given(st.floats(1e-6, 1e-2), st.floats(0, 1), st.lists(st.integers(1, 4096), min_size=2, max_size=60))
def test_the_line_of_steady_batches_is_found(a: float, b: float, sizes: list[int]) -> None:
    cost = learned(*((size, a * size + b) for size in (*sizes, 1, 4096)))
    found_a, found_b = cost.line
    assert found_a == pytest.approx(a, rel=1e-4, abs=1e-7)
    assert found_b == pytest.approx(b, rel=1e-4, abs=1e-5)
    assert cost.seconds(1000, 3) == pytest.approx(1000 * a + 3 * b, rel=1e-3)


def test_short_texts_alone_do_not_make_long_ones_look_slow() -> None:
    cost = learned((8, 0.008), (8, 0.008))
    assert cost.seconds(8) == pytest.approx(0.008)
    assert cost.seconds(4000, 4) < 1  # one of 8 tokens says 4 s, were it all in the tokens


def test_a_fast_engine_is_believed_from_its_first_batch() -> None:
    a, b = learned((1000, 0.001)).line
    assert a == pytest.approx(1e-6)
    assert b == pytest.approx(0)


@given(batches)
def test_no_part_is_negative_and_the_mean_batch_costs_the_mean(measured: list[tuple[int, float]]) -> None:
    cost = learned(*measured)
    a, b = cost.line
    assert a >= 0
    assert b >= 0
    weights = [0.98 ** (len(measured) - 1 - i) for i in range(len(measured))]
    tokens = sum(w * x for w, (x, _) in zip(weights, measured, strict=True)) / sum(weights)
    seconds = sum(w * y for w, (_, y) in zip(weights, measured, strict=True)) / sum(weights)
    assert a * tokens + b == pytest.approx(seconds, rel=1e-6)


def test_longer_batches_that_took_no_longer_cost_nothing_a_token() -> None:
    a, b = learned((10, 0.5), (1000, 0.4)).line
    assert a == 0
    assert b == pytest.approx(0.45, rel=0.01)


def test_what_was_long_ago_is_forgotten() -> None:
    cost = learned(*[(100 + i % 50, 5.0) for i in range(100)], *[(100 + i % 50, 0.01) for i in range(600)])
    assert cost.seconds(120) == pytest.approx(0.01, rel=0.05)
