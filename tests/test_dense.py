"""A dense layer: its sums are right, its rows know nothing of each other, and no thread is woken for it."""

import time

import numpy as np
import pytest

from tonewise.dense import Dense


def layer(inputs: int, outputs: int) -> tuple[Dense, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(inputs)
    weight = rng.normal(size=(outputs, inputs)).astype(np.float32)
    bias = rng.normal(size=outputs).astype(np.float32)
    return Dense(weight, bias), weight, bias


@pytest.mark.parametrize("inputs", [1, 4, 384, 768, 4096])
@pytest.mark.parametrize("outputs", [1, 2, 15, 16, 17, 28, 384, 1000])
def test_it_is_weights_times_states_plus_bias(inputs: int, outputs: int) -> None:
    dense, weight, bias = layer(inputs, outputs)
    states = np.random.default_rng(1).normal(size=(19, inputs)).astype(np.float32)
    found = dense(states)
    assert found.dtype == np.float32
    wanted = states.astype(np.float64) @ weight.T + bias
    np.testing.assert_allclose(found, wanted, atol=1e-5 * inputs**0.5 * 4)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 100])
def test_any_number_of_rows(count: int) -> None:
    dense, weight, bias = layer(32, 6)
    states = np.ones((count, 32), np.float32)
    assert dense(states).shape == (count, 6)
    np.testing.assert_allclose(dense(states), np.tile(weight.sum(axis=1) + bias, (count, 1)), atol=1e-5)


@pytest.mark.parametrize("inputs", [384, 768])
def test_a_rows_digits_do_not_depend_on_its_company(inputs: int) -> None:
    dense, _, _ = layer(inputs, inputs)
    states = np.random.default_rng(2).normal(size=(50, inputs)).astype(np.float32)
    whole = dense(states)
    for at in range(0, 50, 8):
        np.testing.assert_array_equal(dense(states[at : at + 1]), whole[at : at + 1])
        np.testing.assert_array_equal(dense(states[at : at + 5]), whole[at : at + 5])
    alone = np.concatenate([dense(states[i : i + 1]) for i in range(50)])
    np.testing.assert_allclose(whole, alone, rtol=1e-5, atol=1e-5)


def test_a_row_that_is_no_number_stays_by_itself() -> None:
    dense, _, _ = layer(16, 3)
    states = np.ones((9, 16), np.float32)
    states[4] = np.nan
    assert np.flatnonzero(~np.isfinite(dense(states)).all(axis=1)).tolist() == [4]


def test_states_of_another_width_are_refused() -> None:
    dense, _, _ = layer(16, 3)
    with pytest.raises(ValueError, match=r"reshape|dimensions"):
        dense(np.ones((8, 32), np.float32))


@pytest.mark.parametrize(("inputs", "outputs"), [(768, 768), (4096, 16), (2048, 1)])
def test_no_other_thread_works_for_it(inputs: int, outputs: int) -> None:
    dense, _, _ = layer(inputs, outputs)
    states = np.ones((256, inputs), np.float32)
    time.sleep(0.2)  # what another test's product left spinning comes to rest
    here, everywhere = time.thread_time(), time.process_time()
    for _ in range(20):
        dense(states)
    here, everywhere = time.thread_time() - here, time.process_time() - everywhere
    assert everywhere < here * 1.3 + 0.01
