"""States know which pooling is which."""

import numpy as np
import pytest

from tonewise.engines.base import States


def test_states_are_taken_by_the_name_of_their_pooling() -> None:
    values = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    states = States(values, ("mean", "first"))
    np.testing.assert_array_equal(states.of("first"), values[:, 1])
    np.testing.assert_array_equal(states.of("mean"), values[:, 0])
    assert states.errors == {}


def test_a_pooling_that_was_not_asked_for_is_refused() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        States(np.zeros((1, 1, 3), np.float32), ("mean",)).of("first")
