"""From a labelled file to a bundle: fine-tune, calibrate, measure, write the card (extra `train`)."""

from tonewise.errors import MissingExtraError

try:
    import sklearn  # noqa: F401  the heads on frozen states
    import torch  # noqa: F401  the network that learns
except ImportError as error:
    raise MissingExtraError(error.name or "torch", "train") from None

from tonewise.train.recipe import Recipe
from tonewise.train.run import Plan, Terms, prepare, train

__all__ = ["Plan", "Recipe", "Terms", "prepare", "train"]
