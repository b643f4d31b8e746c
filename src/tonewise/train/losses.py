"""What a head's answers cost: cross-entropy, its kin for several labels, and imitation of another model."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tonewise.train.parts import Target

TEMPERATURE = 2.0
"""At which another model's scores are imitated (Hinton et al. 2015)."""


def weights_of(target: Target, power: float) -> NDArray[np.float32] | None:
    """float32[L] of class weights, (mean count / count) ** power, of mean 1 over the rows; None for none."""
    if not power or target.kind.endswith("logits"):
        return None
    counts = np.maximum(target.values.sum(axis=0), 1.0)
    weights = (counts.mean() / counts) ** power
    found: NDArray[np.float32] = (weights / np.average(weights, weights=counts)).astype(np.float32)
    return found


def loss_of(
    logits: Tensor, target: Target, rows: list[int], smoothing: float, weights: Tensor | None
) -> Tensor:
    """The sum over the rows, a scalar; of several labels the sum of their binary cross-entropies."""
    values = torch.from_numpy(target.values[rows]).to(logits.device)
    logits = logits.float()
    if target.kind == "logits":
        return _imitation(logits, values) * target.weight
    if target.kind == "multi_logits":
        return _imitation_by_label(logits, values) * target.weight
    if target.kind == "multi":
        values = values * (1 - smoothing) + smoothing / 2
        total = functional.binary_cross_entropy_with_logits(logits, values, weight=weights, reduction="sum")
    else:
        total = functional.cross_entropy(
            logits, values, weight=weights, label_smoothing=smoothing, reduction="sum"
        )
    return total * target.weight


def _imitation(logits: Tensor, wanted: Tensor) -> Tensor:
    """Divergence of softened scores from the other model's, times T²: softening shrinks gradients."""
    soft = functional.log_softmax(wanted / TEMPERATURE, dim=-1)
    own = functional.log_softmax(logits / TEMPERATURE, dim=-1)
    return functional.kl_div(own, soft, log_target=True, reduction="sum") * TEMPERATURE**2


def _imitation_by_label(logits: Tensor, wanted: Tensor) -> Tensor:
    """The same for labels that each hold or not."""
    pairs = [torch.stack([one, torch.zeros_like(one)], dim=-1) for one in (logits, wanted)]
    return _imitation(*pairs)
