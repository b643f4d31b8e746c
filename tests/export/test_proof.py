"""A proof passes for the oracle itself, and for nothing that is off, of another shape or not a number."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.doubles import MakeModel
from tests.models import opened
from tonewise.batching import Batch
from tonewise.encoder.forward import NumpyOps
from tonewise.errors import EngineError
from tonewise.export.network import Network
from tonewise.export.proof import Run, _batches, _oracle, prove


def oracle_of(network: Network, spoilt: Callable[[Any], Any] = lambda x: x) -> Run:
    """An export that is the oracle, but for what `spoilt` does to its answers."""
    ops = NumpyOps(network.weights)

    def run(feeds: Any) -> Any:
        types = feeds.get("token_type_ids", np.zeros_like(feeds["input_ids"]))
        rows = np.arange(len(types))
        batch = Batch(feeds["input_ids"], feeds["attention_mask"], types, rows)
        return spoilt(_oracle(network, ops, batch))

    return run


@pytest.mark.parametrize("family", ["distilbert", "bert", "roberta"])
def test_the_oracle_proves_equal_to_itself(family: str, model: MakeModel) -> None:
    network = Network.read(opened(model(family)), "fp32")
    proof = prove(network, oracle_of(network))
    assert (proof.batches, proof.rows, proof.close_rows, proof.greatest_difference) == (12, 35, 35, 0)
    assert proof.allowed == pytest.approx(1e-4)


@pytest.mark.parametrize(
    ("spoilt", "told"),
    [
        (lambda x: x + 1.1e-4, r"is 0\.00011 from the oracle where 0\.0001 is allowed"),
        (lambda x: x * np.nan, "is nan from the oracle"),
        (lambda x: x[:, :1], r"answers \(4, 1\) where \(4, 3\) was wanted"),
        (lambda x: x[None], r"answers \(1, 4, 3\) where \(4, 3\) was wanted"),
    ],
)
def test_what_is_off_is_refused(spoilt: Callable[[Any], Any], told: str, model: MakeModel) -> None:
    network = Network.read(opened(model()), "fp32")
    with pytest.raises(EngineError, match=told):
        prove(network, oracle_of(network, spoilt))


def test_great_outputs_are_allowed_the_noise_of_their_size(model: MakeModel) -> None:
    network = Network.read(opened(model()), "fp32")
    head: Any = network.head
    small = head._output
    head._output = lambda states: small(states) * np.float32(1e5)
    assert prove(network, oracle_of(network, lambda x: x * (1 + 1e-6))).allowed > 1e-2


def test_int8_may_round_to_the_other_side_but_not_everywhere(ranged: Path) -> None:
    network = Network.read(opened(ranged), "int8")
    exact = oracle_of(network)  # which does not round, so that every row is off by what rounding does
    with pytest.raises(EngineError, match="of 35 rows come within"):
        prove(network, exact)


def test_batches_have_padding_full_rows_types_and_every_family_its_own_padding(model: MakeModel) -> None:
    for family, padding in (("bert", 0), ("roberta", 1)):
        network = Network.read(opened(model(family)), "fp32")
        batches = _batches(network)
        assert max(batch.input_ids.shape[1] for batch in batches) == network.spec.max_length
        assert any((batch.attention_mask == 0).any() for batch in batches)
        for batch in batches:
            np.testing.assert_array_equal(batch.input_ids == padding, batch.attention_mask == 0)
        assert any((batch.token_type_ids == 1).any() for batch in batches) is (family == "bert")
