"""Scales, codes and ranges: what quantization may cost, and what it may not."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tonewise.encoder.int8 import Ranges, affine, as_int8, quantize_rows
from tonewise.encoder.weights import Matrix

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


@given(st.lists(arrays(np.float64, 5, elements=ordinary), min_size=1, max_size=5))
def test_ranges_hold_all_that_was_seen_and_zero(seen: list[np.ndarray[Any, Any]]) -> None:
    ranges = Ranges()
    for x in seen:
        ranges.observe("layer.0.up", x)
    ranges.observe("layer.0.down", np.array([7.0]))
    found = ranges.found()
    low, high = found["layer.0.up"]
    assert low == min([0.0, *(float(x.min()) for x in seen)])
    assert high == max([0.0, *(float(x.max()) for x in seen)])
    assert found["layer.0.down"] == (0.0, 7.0)
