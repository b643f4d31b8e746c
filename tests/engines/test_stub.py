"""The double that users test with: repeatable, sensitive as a model is, and able to fail."""

import numpy as np
import pytest

from tonewise.batching import collate
from tonewise.engines.stub import StubEngine
from tonewise.errors import EngineError
from tonewise.tokenizer import Row

ROWS = [Row([2, 7, 9, 3]), Row([2, 9, 7, 3]), Row([2, 7, 9, 3]), Row([2, 3])]


def test_equal_rows_get_equal_states_and_others_others() -> None:
    states = StubEngine(("first", "mean"), 8).run(collate(ROWS, range(4), 0))
    assert states.shape == (4, 2, 8)
    assert states.dtype == np.float32
    np.testing.assert_array_equal(states[0], states[2])
    for i, j in ((0, 1), (0, 3), (1, 3)):
        assert np.abs(states[i] - states[j]).max() > 0.01
    assert np.abs(states[:, 0] - states[:, 1]).max() > 0.01


def test_it_tells_which_batches_it_ran() -> None:
    engine = StubEngine(("first",), 4)
    engine.run(collate(ROWS, [0, 3], 0))
    engine.run(collate(ROWS, [3], 0))
    assert engine.batches == [(2, 4), (1, 2)]


def test_it_fails_on_the_token_it_was_told_to_fail_on() -> None:
    engine = StubEngine(("first",), 4, fail_on=9)
    with pytest.raises(EngineError, match="told to fail on token 9"):
        engine.run(collate(ROWS, [3, 0], 0))
    assert engine.batches == []
    assert engine.run(collate(ROWS, [3], 0)).shape == (1, 1, 4)
