"""Scales, codes and ranges: what quantization may cost, and what it may not."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tonewise.encoder.int8 import (
    LEAST_OUTLIER,
    MOST_OUTLIER,
    Ranges,
    affine,
    as_int8,
    outlier_factors,
    quantize_rows,
    rounded,
    smoothed,
    symmetric,
)
from tonewise.encoder.weights import Linear, Matrix

ordinary = st.floats(-1e4, 1e4, width=32)
matrices = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=ordinary)
bounds = st.floats(-1e6, 1e6)


@given(matrices)
def test_a_rounded_weight_is_off_by_half_a_step_of_its_own_row_at_most(values: np.ndarray[Any, Any]) -> None:
    matrix = quantize_rows(values)
    assert matrix.scale is not None
    assert matrix.stored.dtype == np.int8
    assert matrix.scale.dtype == np.float32
    assert (matrix.scale > 0).all()
    error = np.abs(matrix.dense().astype(np.float64) - values)
    # Half a step, and the rounding of float32 itself on the greatest value of the row.
    allowed = matrix.scale * 0.5 + np.abs(values).max(axis=1) * 1e-6 + 1e-38
    assert (error <= allowed[:, None]).all()


@given(matrices)
def test_a_rows_scale_is_its_own(values: np.ndarray[Any, Any]) -> None:
    together = quantize_rows(values)
    assert together.scale is not None
    for row, stored, scale in zip(values, together.stored, together.scale, strict=True):
        alone = quantize_rows(row[None])
        assert alone.scale is not None
        np.testing.assert_array_equal(alone.stored[0], stored)
        assert alone.scale[0] == scale


def test_the_greatest_value_of_a_row_is_kept_and_no_code_is_128() -> None:
    values = np.array([[-3.0, 1.0, 3.0], [0.0, 0.0, 0.0], [1e-30, -1e-30, 0.0]], np.float32)
    matrix = quantize_rows(values)
    np.testing.assert_array_equal(matrix.stored[0, [0, 2]], [-127, 127])
    np.testing.assert_array_equal(matrix.stored[1], 0)
    np.testing.assert_allclose(matrix.dense(), values, rtol=0.01)


def test_what_is_int8_already_stays_as_it_is() -> None:
    matrix = Matrix(np.array([[3, -4]], np.int8), np.array([0.5], np.float32))
    assert as_int8(matrix) is matrix
    assert as_int8(Matrix(np.ones((2, 2), np.float32))).stored.dtype == np.int8


@given(bounds, bounds)
def test_a_range_holds_zero_exactly_and_covers_its_ends(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    how = affine(low, high)
    assert how.scale > 0
    assert how.scale.dtype == np.float32
    assert how.zero_point.dtype == np.uint8
    zero, scale = int(how.zero_point), float(how.scale)
    assert 0 <= zero <= 255
    assert np.clip(round(0.0 / scale) + zero, 0, 255) == zero, "zero has a code, and it means zero"
    least, greatest = -zero * scale, (255 - zero) * scale
    # Where the zero point is rounded, one end moves out and the other in by half a step.
    assert least <= min(low, 0.0) + scale * 0.501
    assert greatest >= max(high, 0.0) - scale * 0.501


@pytest.mark.parametrize(
    ("low", "high", "zero"),
    [(0.0, 0.0, 0), (0.0, 5.1, 0), (-5.1, 0.0, 255), (2.0, 5.1, 0), (-5.0, -2.0, 255)],
)
def test_a_range_on_one_side_spends_no_code_on_the_other(low: float, high: float, zero: int) -> None:
    assert affine(low, high).zero_point == zero


@given(bounds, bounds)
def test_codes_about_zero_cover_a_range_and_lose_half_a_step(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    scale = symmetric(low, high)
    assert scale > 0
    assert scale.dtype == np.float32
    x = np.linspace(low, high, 50, dtype=np.float32)
    off = np.abs(rounded(x, low, high).astype(np.float64) - x)
    if max(-low, high) > 0:
        inside = x >= -128 * float(scale)
        assert (off[inside] <= scale * 0.501 + np.abs(x[inside]) * 1e-6).all()
    np.testing.assert_array_equal(rounded(np.zeros(1, np.float32), low, high), 0)


@given(st.lists(arrays(np.float64, (2, 5), elements=ordinary), min_size=1, max_size=5))
def test_ranges_hold_all_that_was_seen_and_zero(seen: list[np.ndarray[Any, Any]]) -> None:
    ranges = Ranges()
    for x in seen:
        ranges.observe("layer.0.up", x)
    ranges.observe("layer.0.down", np.array([7.0]))
    found = ranges.found(smooth=False)
    low, high = found.ranges["layer.0.up"]
    assert low == min([0.0, *(float(x.min()) for x in seen)])
    assert high == max([0.0, *(float(x.max()) for x in seen)])
    assert found.ranges["layer.0.down"] == (0.0, 7.0)
    assert found.smoothing == {}


@given(st.lists(arrays(np.float32, (3, 60), elements=ordinary), min_size=1, max_size=3))
def test_ranges_are_those_of_what_is_left_after_smoothing(seen: list[np.ndarray[Any, Any]]) -> None:
    ranges = Ranges()
    for x in seen:
        ranges.observe("layer.0.up", x)
    found = ranges.found()
    divisor = found.divisor("layer.0.up", 60)
    left = [x if divisor is None else x / divisor for x in seen]
    low, high = found.ranges["layer.0.up"]
    assert low == min([0.0, *(float(x.min()) for x in left)])
    assert high == max([0.0, *(float(x.max()) for x in left)])


reaches = arrays(np.float32, st.integers(1, 120), elements=st.floats(0, 2.0**100, width=32))


@given(reaches)
def test_factors_are_powers_of_two_that_bring_outliers_back_and_leave_the_others(
    reach: np.ndarray[Any, Any],
) -> None:
    factors = outlier_factors(reach)
    assert factors.dtype == np.float32
    assert factors.shape == reach.shape
    exponents = np.log2(factors)
    np.testing.assert_array_equal(exponents, np.rint(exponents))
    assert factors.min() >= 1
    assert factors.max() == 1 or LEAST_OUTLIER <= factors.max() <= MOST_OUTLIER
    common = np.quantile(reach.astype(np.float64), 0.98) * (1 + 1e-6)
    assert (factors[reach <= common / (1 + 2e-6)] == 1).all(), "what is common is left alone"
    brought = (factors > 1) & (factors < MOST_OUTLIER)
    left = reach[brought].astype(np.float64) / factors[brought]
    assert (left <= common).all()
    assert (2 * left >= common / (1 + 3e-6)).all(), "no further than needed"


def test_a_channel_far_out_is_divided_and_one_a_little_out_is_not() -> None:
    reach = np.ones(100, np.float32)
    assert (outlier_factors(reach) == 1).all()
    reach[7] = 1.9
    assert (outlier_factors(reach) == 1).all(), "a bit at most is not worth the pass"
    reach[7] = 30
    assert [(i, factor) for i, factor in enumerate(outlier_factors(reach)) if factor > 1] == [(7, 32)]
    assert (outlier_factors(np.zeros(4, np.float32)) == 1).all()


@given(
    arrays(np.float32, (3, 6), elements=st.floats(-100, 100, width=16)),
    arrays(np.float32, (4, 6), elements=st.floats(-100, 100, width=16)),
    arrays(np.int64, 6, elements=st.integers(0, 20)),
)
def test_smoothing_by_powers_of_two_does_not_change_what_float_computes(
    x: np.ndarray[Any, Any], weight: np.ndarray[Any, Any], exponents: np.ndarray[Any, Any]
) -> None:
    divisor = np.exp2(exponents).astype(np.float32)
    linear = Linear(Matrix(weight), np.zeros(4, np.float32))
    other = smoothed(linear, divisor)
    np.testing.assert_array_equal((x / divisor) @ other.weight.dense().T, x @ weight.T)
    assert other.bias is linear.bias
    assert smoothed(linear, None) is linear
