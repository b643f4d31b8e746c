"""The proof of an export: what it answers, read from the disk again, against the oracle in float64."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tonewise.batching import Batch, collate
from tonewise.encoder.forward import ALL, NumpyOps, run_numpy
from tonewise.encoder.int8 import Quantization, as_int8, rounded, smoothed
from tonewise.encoder.weights import Weights
from tonewise.errors import EngineError
from tonewise.export.network import Network
from tonewise.tokenizer import Row

Feeds = Mapping[str, NDArray[np.int32]]
"""`Network.inputs` by name, int32[B, T] each."""
Run = Callable[[Feeds], NDArray[np.float32]]
"""An export, opened: from its inputs to float32[B, L or H]."""

BATCHES = (
    *((8, 3, 1, 2), (4, 8, 7, 1), (8, 8, 5, 3), (2, 1, 8, 6), (8, 4, 4, 1), (1, 2, 8, 1)),
    *((33, 2), (1, 33), (33, 24), (16, 33), (33, 9)),
)
"""Tokens of each row, in few shapes, since some runtimes compile; the twelfth is a row of the full length."""
TOLERANCE = 1e-4
"""Greatest difference of a row in fp32; a hundred-thousandth of the greatest output where that is over 10."""
LEAST_CLOSE = 0.25
"""Share of the rows that come within that in int8, where the oracle rounds as the export does.

In the others float32 rounded some value to the other side than float64, and all that follows differs by
as much as 8 bit differ: they may be twice as far from the oracle as its own rounding moves any row.
"""


@dataclass(frozen=True, slots=True)
class Proof:
    """What was compared, the greatest difference that was seen and that was allowed, and the rows within
    the tolerance of fp32: in fp32 all of them.
    """

    batches: int
    rows: int
    close_rows: int
    greatest_difference: float
    allowed: float


def prove(network: Network, run: Run) -> Proof:
    """Compare on a dozen batches of random tokens, padded. Raises EngineError where they differ too much."""
    batches = _batches(network)
    truth, exact = _truths(network, batches)
    found = np.concatenate([_answers(network, run, batch, truth.shape[1]) for batch in batches])
    tolerance = TOLERANCE * max(1.0, float(np.abs(truth).max()) / 10)
    allowed = tolerance + 2 * float(np.abs(truth - exact).max())
    differences = np.abs(found - truth).max(axis=1)
    close = int((differences <= tolerance).sum())  # not a number is never close
    proof = Proof(len(batches), len(truth), close, float(differences.max()), allowed)
    if not (proof.greatest_difference <= allowed and close >= LEAST_CLOSE * len(truth)):
        told = f"{proof.greatest_difference:.2g} from the oracle where {allowed:.2g} is allowed"
        rows = f"{close} of {len(truth)} rows come within {tolerance:.2g}"
        raise EngineError(f"the export, read again, is {told}, and {rows}; nothing was written")
    return proof


def _truths(network: Network, batches: Sequence[Batch]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What the oracle answers, float64[R, L or H], rounded as in int8 and not; in fp32 twice the same."""
    ops = NumpyOps(network.weights)
    exact = np.concatenate([_oracle(network, ops, batch) for batch in batches])
    if network.ranges is None:
        return exact, exact
    ops = RoundedOps(network.weights, network.ranges)
    return np.concatenate([_oracle(network, ops, batch) for batch in batches]), exact


def _answers(network: Network, run: Run, batch: Batch, width: int) -> NDArray[np.float32]:
    found = np.asarray(run({name: getattr(batch, name) for name in network.inputs}))
    if found.shape != (wanted := (len(batch), width)):
        raise EngineError(f"the export answers {found.shape} where {wanted} was wanted; nothing was written")
    return found


class RoundedOps(NumpyOps):
    """The oracle with weights and inputs of the quantized layers rounded as the graph rounds them."""

    def __init__(self, weights: Weights, quantization: Quantization) -> None:
        super().__init__(weights)
        self.quantization = quantization

    def linear(self, x: Any, name: str, outputs: slice = ALL) -> Any:
        """See `Ops.linear`."""
        if name not in self.quantization.ranges:
            return super().linear(x, name, outputs)
        linear = self.weights.linears[name]
        divisor = self.quantization.divisor(name, x.shape[-1])
        linear = smoothed(linear, divisor).rows(outputs)
        weight: Any = as_int8(linear.weight).dense().astype(self.dtype)
        x = rounded(x if divisor is None else x / divisor, *self.quantization.ranges[name])
        return x @ weight.T + linear.bias.astype(self.dtype)


def _oracle(network: Network, ops: NumpyOps, batch: Batch) -> NDArray[np.float64]:
    states: NDArray[np.float64] = run_numpy(ops, batch, (network.pooling,))[:, 0]
    if network.head:
        logits: Any = network.head.logits(states)  # type: ignore[arg-type]  # float64 stays float64
        return np.asarray(logits)
    length = np.maximum(np.linalg.norm(states, axis=1, keepdims=True), 1e-12)
    return np.divide(states, length) if network.normalize else states


def _batches(network: Network) -> list[Batch]:
    """Rows of random tokens, as long as the model takes; half of each of type 1 where there are types."""
    spec, chance = network.spec, np.random.default_rng(0)
    padding = int(network.bundle.network.get("pad_token_id") or 0)
    padding = padding if spec.padding_index is None else spec.padding_index
    ids = np.delete(np.arange(spec.vocabulary_size), padding)

    def row(wanted: int) -> Row:
        length = min(wanted, spec.max_length)
        types = [int(i >= length / 2) for i in range(length)] if spec.type_count > 1 else None
        return Row(chance.choice(ids, length).tolist(), types)

    made = [[row(length) for length in lengths] for lengths in (*BATCHES, (spec.max_length,))]
    return [collate(rows, range(len(rows)), padding) for rows in made]
