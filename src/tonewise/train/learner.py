"""A network with its heads, as it stands while it learns: what it answers, what it costs, what it holds."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tonewise.batching import Batch, collate
from tonewise.encoder.weights import NetworkSpec
from tonewise.engines.machine import has_bf16
from tonewise.errors import ConfigError
from tonewise.store import Pooling
from tonewise.tokenizer import Row
from tonewise.train.dropout import Dropout
from tonewise.train.losses import loss_of
from tonewise.train.network import HeadModule, Network
from tonewise.train.parts import Part, in_order
from tonewise.train.recipe import Recipe

Floats = NDArray[np.float32]
ANSWER_TOKENS = 8_192
TRIED_TOKENS, TRIALS = 512, 15


class Learner:
    """The network, its heads by name, and the precision in which it computes.

    bf16  products are computed in bf16 under autocast; weights and the optimizer stay in float32
    """

    def __init__(
        self,
        network: Network,
        heads: Mapping[str, HeadModule],
        dropout: Dropout,
        padding_id: int,
        *,
        bf16: bool,
    ) -> None:
        self.network, self.padding_id, self.bf16, self.dropout = network, padding_id, bf16, dropout
        self.heads = nn.ModuleList(heads.values())  # by number: a user's names may be no names for torch
        self.numbers = {name: i for i, name in enumerate(heads)}

    def forward(self, batch: Batch, names: Sequence[str]) -> dict[str, Tensor]:
        """Logits by head, float[B, L] each."""
        forms = {name: self.head(name).form for name in names}
        poolings: list[Pooling] = sorted({form.pooling for form in forms.values()})
        with self._precision():
            states = self.network(batch, poolings)
            return {name: self.head(name)(states[form.pooling]) for name, form in forms.items()}

    def cost(
        self, part: Part, rows: list[int], smoothing: float, weights: Mapping[str, Tensor | None]
    ) -> Tensor:
        """The loss summed over these rows and the part's targets: a scalar to go back from."""
        batch = collate(part.rows, rows, self.padding_id)
        logits = self.forward(batch, list(part.targets))
        losses = [
            loss_of(logits[name], target, rows, smoothing, weights.get(name))
            for name, target in part.targets.items()
        ]
        return torch.stack(losses).sum()

    def logits(self, rows: Sequence[Row], names: Sequence[str] | None = None) -> dict[str, Floats]:
        """What the heads answer, float32[N, L] each."""
        names = list(self.numbers) if names is None else names
        found = {name: np.zeros((len(rows), len(self.head(name).form.labels)), np.float32) for name in names}
        with torch.inference_mode():
            for batch in in_order(rows, self.padding_id, ANSWER_TOKENS):
                for name, logits in self.forward(batch, names).items():
                    found[name][batch.rows] = logits.float().cpu().numpy()
        return found

    def states(self, rows: Sequence[Row], pooling: Pooling) -> Floats:
        """The pooled states float32[N, H], computed in float32 whatever the learner computes in."""
        found = np.zeros((len(rows), self.network.spec.hidden_size), np.float32)
        with torch.inference_mode(), self.exact():
            for batch in in_order(rows, self.padding_id, ANSWER_TOKENS):
                found[batch.rows] = self.network(batch, [pooling])[pooling].float().cpu().numpy()
        return found

    @contextmanager
    def exact(self) -> Iterator[None]:
        """Inside, all is computed in float32."""
        was, self.bf16 = self.bf16, False
        try:
            yield
        finally:
            self.bf16 = was

    def to(self, device: torch.device) -> None:
        """Move all weights."""
        self.network.to(device)
        self.heads.to(device)

    def parameters(self) -> Iterator[nn.Parameter]:
        """Of the network and of the heads."""
        yield from self.network.parameters()
        yield from self.heads.parameters()

    def state(self) -> dict[str, dict[str, Tensor]]:
        """A copy of all weights."""
        return {
            name: {key: value.detach().clone() for key, value in module.state_dict().items()}
            for name, module in (("network", self.network), ("heads", self.heads))
        }

    def restore(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take weights that `state` gave."""
        self.network.load_state_dict(dict(state["network"]))
        self.heads.load_state_dict(dict(state["heads"]))

    def head(self, name: str) -> HeadModule:
        """One of the heads."""
        head: Any = self.heads[self.numbers[name]]
        found: HeadModule = head
        return found

    def _precision(self) -> AbstractContextManager[Any]:
        kind = next(self.network.parameters()).device.type
        return torch.autocast(kind, dtype=torch.bfloat16) if self.bf16 else nullcontext()


def wants_bf16(spec: NetworkSpec, recipe: Recipe, device: torch.device) -> bool:
    """Whether to compute in bf16: as the recipe says, or where this machine has it and is faster with it.

    A GPU that has it is faster with it; a processor is measured, once. Raises ConfigError when it is asked
    for and the device has it not.
    """
    if recipe.precision == "fp32":
        return False
    able = torch.cuda.is_bf16_supported() if device.type == "cuda" else has_bf16()
    if recipe.precision == "bf16" and not able:
        raise ConfigError(f"precision is bf16, which this {device.type} has not; leave it out, or take fp32")
    if recipe.precision == "bf16" or not able or device.type == "cuda":
        return able
    shape = (spec.intermediate_size, spec.hidden_size)
    half, single = _seconds(shape)
    return half < single


@cache
def _seconds(shape: tuple[int, int]) -> tuple[float, float]:
    """Of one feed-forward product there and back in bf16 and in float32, the least of some.

    They take turns: what else the machine does would slow all trials of the one that is tried first, and
    the weights would depend on it.
    """
    weight = torch.ones(shape, requires_grad=True)  # which draws no numbers
    x = torch.ones(TRIED_TOKENS, shape[1])
    times: dict[torch.dtype, list[float]] = {torch.bfloat16: [], torch.float32: []}
    for _ in range(TRIALS):
        for dtype, some in times.items():
            start = time.perf_counter()
            (x.to(dtype) @ weight.to(dtype).T).float().sum().backward()  # type: ignore[no-untyped-call]
            some.append(time.perf_counter() - start)
    half, single = map(min, times.values())
    return half, single
