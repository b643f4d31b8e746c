"""How a model is trained: every knob, and its default by how much there is to learn from."""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from tonewise.errors import ConfigError
from tonewise.store import Pooling

TrainPrecision = Literal["auto", "fp32", "bf16"]
HeadPooling = Literal["auto", "first", "mean"]
IDLE = ("epochs", "learning_rate", "head_rate", "layer_decay", "batch_size", "batch_tokens", "warmup")
IDLE_TOO = ("weight_decay", "clip_norm", "dropout", "label_smoothing", "patience", "average")
"""Knobs that mean nothing where the encoder is frozen: its heads are not trained in steps."""
NARROW = 384
"""Hidden size up to which the rates hold; a wider network takes smaller steps, in proportion."""
MANY = 5_000
FROM_ONE = ("epochs", "batch_size", "batch_tokens", "patience", "max_length")
WHOLE = dict.fromkeys(FROM_ONE, 1) | dict.fromkeys(("frozen_layers", "lora_rank", "seed"), 0)
"""Knobs that are counts, and the least of each."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """The knobs of a training run; None is filled in by `settled`, by the number of examples.

    epochs            passes over the examples, at most
    learning_rate     the greatest, of the encoder's last layer
    head_rate         so many times the learning rate, for layers that are new
    layer_decay       each layer below the last learns at the rate of the one above times this
    batch_size        examples of a step
    batch_tokens      tokens that are computed at once; a step of more is summed from parts
    warmup            share of the steps over which the rate rises from 0; after them it falls to 0 linearly
    weight_decay      of matrices; tables, norms and biases have none
    clip_norm         greatest norm of a step's gradient
    dropout           share of activations left out, after each layer's products and before the output
    label_smoothing   share of the gold label's weight that all labels divide among them
    class_weights     rows of a rare label count for more, by (mean count / count) to this power; 0 is none
    patience          epochs without a better macro F1 on validation after which training ends
    frozen_layers     layers, counted from the first, that do not learn, nor do the tables; None: none
    freeze_encoder    only heads learn, on states that are computed once
    lora_rank         of low-rank updates in place of full ones, merged at the end; 0 is none
    average           share of the last steps over which weights are averaged for the result; 0 is none
    pooling           what a new head reads: first | mean; auto: see `docs/log.md`
    max_length        tokens of a text; longer ones are cut; default: the model's limit
    precision         auto: bf16 where the processor has it and it is measured faster
    seed              of everything that is drawn
    """

    epochs: int | None = None
    learning_rate: float | None = None
    head_rate: float = 5.0
    layer_decay: float = 1.0
    batch_size: int | None = None
    batch_tokens: int = 4096
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    dropout: float = 0.1
    label_smoothing: float = 0.0
    class_weights: float = 0.0
    patience: int = 3
    frozen_layers: int = 0
    freeze_encoder: bool = False
    lora_rank: int = 0
    average: float = 0.0
    pooling: HeadPooling = "auto"
    max_length: int | None = None
    precision: TrainPrecision = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what no run could follow."""
        for name, least in WHOLE.items():
            whole = isinstance(getattr(self, name), int) and getattr(self, name) >= least
            self._check(name, whole, f"a whole number from {least} on")
        for name in ("warmup", "dropout", "label_smoothing", "average"):
            self._check(name, 0 <= getattr(self, name) < 1, "from 0 to less than 1")
        for name in ("learning_rate", "head_rate", "layer_decay", "clip_norm"):
            self._check(name, 0 < (getattr(self, name) or 0) < float("inf"), "a number above 0")
        for name in ("weight_decay", "class_weights"):
            self._check(name, 0 <= getattr(self, name) < float("inf"), "a number from 0 on")
        for name, kinds in (("pooling", get_args(HeadPooling)), ("precision", get_args(TrainPrecision))):
            self._check(name, getattr(self, name) in kinds, f"one of {', '.join(kinds)}")
        if self.freeze_encoder and (self.lora_rank or self.frozen_layers):
            other = "lora_rank" if self.lora_rank else "frozen_layers"
            raise ConfigError(f"freeze_encoder leaves nothing of the encoder to learn; drop it, or {other}")

    def check_used(self) -> None:
        """Raise ConfigError for a knob that was turned and that a frozen encoder has no use for."""
        if not self.freeze_encoder:
            return
        usual = Recipe()
        turned = [name for name in (*IDLE, *IDLE_TOO) if getattr(self, name) != getattr(usual, name)]
        if turned:
            told = f"{turned[0]} is {getattr(self, turned[0])}, which freeze_encoder makes no use of"
            raise ConfigError(f"{told}; drop one of them")

    def _check(self, name: str, fits: bool, wanted: str) -> None:
        value = getattr(self, name)
        if not fits and value is not None:
            raise ConfigError(f"{name} is {value}; wanted: {wanted}")

    def settled(self, examples: int, pooling: Pooling, hidden_size: int = NARROW) -> "Recipe":
        """The recipe with what was left open told by the number of examples and the width of the network.

        How these defaults were found: `docs/log.md`.
        """
        if self.freeze_encoder:
            return replace(self, pooling=pooling)
        few = examples < 1_000
        rate = (2e-4 if examples < MANY else 1e-4) * min(1.0, NARROW / hidden_size)
        return replace(
            self,
            epochs=self.epochs or (10 if few else 5),
            learning_rate=self.learning_rate or rate,
            batch_size=self.batch_size or (16 if few else 32),
            pooling=pooling,
        )

    def stated(self) -> dict[str, Any]:
        """Knobs by name, as cards and checkpoints hold them."""
        return {one.name: getattr(self, one.name) for one in fields(self)}
