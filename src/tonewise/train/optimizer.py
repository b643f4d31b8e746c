"""AdamW by groups: rates that fall from layer to layer, no decay of tables, norms and biases."""

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import Parameter

from tonewise.train.network import Network
from tonewise.train.recipe import Recipe

BETAS, EPSILON = (0.9, 0.999), 1e-8


def open_optimizer(network: Network, heads: nn.ModuleList, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) over what learns; what does not is left without gradient."""
    rate = recipe.learning_rate or 0.0
    groups: dict[tuple[float, float], list[Parameter]] = {}
    for scale, name, parameter in _scaled(network, heads, recipe):
        parameter.requires_grad_(scale > 0)
        if scale > 0:
            decays = parameter.ndim > 1 and not name.startswith("tables.")
            key = (rate * scale, recipe.weight_decay if decays else 0.0)
            groups.setdefault(key, []).append(parameter)
    made = [{"params": some, "lr": lr, "weight_decay": decay} for (lr, decay), some in groups.items()]
    return torch.optim.AdamW(made, betas=BETAS, eps=EPSILON, fused=True)


def open_schedule(
    optimizer: torch.optim.Optimizer, total: int, warmup: float
) -> torch.optim.lr_scheduler.LambdaLR:
    """Rates that rise to their greatest over a share of the steps and fall to 0 at the last."""
    rising = max(1, round(total * warmup))

    def scale(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return max(0.0, (total - step) / max(1, total - rising))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, scale)


def _scaled(network: Network, heads: nn.ModuleList, recipe: Recipe) -> Iterator[tuple[float, str, Parameter]]:
    """Each parameter with its share of the learning rate: 0 for what does not learn."""
    layers = len(network.layer)
    for name, parameter in network.named_parameters():
        lora = "lora_" in name
        depth = int(name.split(".")[1]) if name.startswith("layer.") else -1
        frozen = recipe.freeze_encoder or depth < recipe.frozen_layers > 0
        scale = (
            0.0 if frozen or (recipe.lora_rank and not lora) else recipe.layer_decay ** (layers - 1 - depth)
        )
        yield (recipe.head_rate * scale if lora else scale), name, parameter
    for name, parameter in heads.named_parameters():
        yield recipe.head_rate, f"heads.{name}", parameter
