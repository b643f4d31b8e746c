"""Dropout that a step's number alone decides, drawn by numpy: torch draws one number after another."""

import numpy as np
import torch
from torch import Tensor

LEVELS = 256


class Dropout:
    """Leaves out activations, by 256ths, and scales the others up (Srivastava et al. 2014).

    What is left out depends on the seed and the step, not on what was drawn before: a run that goes on
    from a checkpoint needs no state of a generator.
    """

    def __init__(self, share: float) -> None:
        self._least = min(round(share * LEVELS), LEVELS - 1)
        self._generator: np.random.Generator | None = None

    def begin(self, *seed: int) -> None:
        """From here on draw by this seed."""
        self._generator = np.random.default_rng(seed)

    def end(self) -> None:
        """From here on let everything pass."""
        self._generator = None

    def __call__(self, x: Tensor) -> Tensor:
        """The tensor with a share of its values at 0; outside of a step, as it is."""
        if self._generator is None or not self._least:
            return x
        drawn = np.frombuffer(self._generator.bytes(x.numel()), np.uint8).reshape(x.shape)
        kept = torch.from_numpy(drawn >= self._least).to(x.device)
        return x * (kept.to(x.dtype) * (LEVELS / (LEVELS - self._least)))
