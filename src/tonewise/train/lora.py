"""Low-rank updates in place of full ones, by PEFT: put into the encoder's layers, merged at the end."""

import warnings
from typing import Any

from torch import nn

from tonewise.errors import MissingExtraError
from tonewise.train.network import Network

TARGETS = ["qkv", "attention_out", "up", "down"]


def add_adapters(network: Network, rank: int) -> None:
    """Put an adapter of this rank beside every linear layer (Hu et al. 2021), of twice its rank in weight.

    Raises MissingExtraError without PEFT.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise MissingExtraError("peft", "train") from None
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=TARGETS, lora_dropout=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it misses the methods of a transformers model, which this is not
        inject_adapter_in_model(config, network)


def merge_adapters(network: Network) -> None:
    """Add the updates to the weights that they stand beside, and leave plain layers."""
    for layer in network.layer:
        for name in TARGETS:
            module: Any = getattr(layer, name)
            if isinstance(module, nn.Linear):
                continue
            module.merge()
            setattr(layer, name, module.get_base_layer())
