"""Vectors: the mean over a text's windows by their tokens, and of length one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from tonewise.embedding import vectors

Floats = NDArray[np.float32]


@st.composite
def texts(draw: st.DrawFn) -> tuple[Floats, list[int], list[int]]:
    """States of all windows, where each text begins, and the tokens of each window."""
    counts = draw(st.lists(st.integers(1, 4), min_size=1, max_size=6))
    elements = st.floats(-100, 100, width=32)
    states = draw(arrays.arrays(np.float32, (sum(counts), 5), elements=elements))
    tokens = draw(st.lists(st.integers(1, 512), min_size=sum(counts), max_size=sum(counts)))
    return states, [sum(counts[:i]) for i in range(len(counts))], tokens


@given(texts())
def test_a_vector_is_the_mean_of_its_windows_by_tokens(
    given_texts: tuple[Floats, list[int], list[int]],
) -> None:
    states, starts, tokens = given_texts
    found = vectors(states, starts, tokens, normalize=False)
    assert found.shape == (len(starts), 5)
    assert found.dtype == np.float32
    for row, start, stop in zip(found, starts, [*starts[1:], len(states)], strict=True):
        wanted = np.average(states[start:stop].astype(np.float64), axis=0, weights=tokens[start:stop])
        np.testing.assert_allclose(row, wanted, atol=1e-3)


@given(texts())
def test_a_normalized_vector_has_length_one_and_the_same_direction(
    given_texts: tuple[Floats, list[int], list[int]],
) -> None:
    raw = vectors(*given_texts, normalize=False)
    unit = vectors(*given_texts, normalize=True)
    assert unit.dtype == np.float32
    length = np.linalg.norm(raw, axis=1)
    real = length > 1e-6
    np.testing.assert_allclose(np.linalg.norm(unit[real], axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(unit[real] * length[real, None], raw[real], atol=1e-3)


def test_a_vector_of_zeros_stays_one() -> None:
    zeros = np.zeros((2, 3), np.float32)
    np.testing.assert_array_equal(vectors(zeros, [0, 1], [4, 4], normalize=True), zeros)


def test_the_given_states_are_not_changed() -> None:
    states = np.ones((3, 2), np.float32)
    vectors(states, [0, 2], [1, 2, 3], normalize=True)
    vectors(states, [0, 1, 2], [1, 2, 3], normalize=True)
    np.testing.assert_array_equal(states, np.ones((3, 2)))


def test_no_text_has_no_vector() -> None:
    assert vectors(np.zeros((0, 3), np.float32), [], [], normalize=True).shape == (0, 3)
