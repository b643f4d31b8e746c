"""What a text costs in operations, and how many texts a second the processor's int8 products could answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

INT8_OVER_BF16 = 2
"""An int8 dot product takes four values a lane where a bf16 one takes two."""


@dataclass(frozen=True)
class Shape:
    """Of an encoder: layers, hidden size H, inner size of the feed-forward part F."""

    layers: int
    hidden: int
    inner: int

    @classmethod
    def of(cls, config: dict[str, Any]) -> Self:
        """From a BERT or DistilBERT config."""
        if config["model_type"] == "distilbert":
            return cls(config["n_layers"], config["dim"], config["hidden_dim"])
        return cls(config["num_hidden_layers"], config["hidden_size"], config["intermediate_size"])

    def operations(self, tokens: int) -> int:
        """Multiplications and additions of the matrix products for one text, padding not counted.

        Per layer and token 2(4H² + 2HF) for the weights and 4TH for attention's two products. The last
        layer has keys and values of all tokens, 4H² each, and the rest for the first token alone.
        Embeddings, norms, softmax, GELU and the head are not matrix products of the encoder: not counted.
        """
        h, f = self.hidden, self.inner
        whole = 2 * (4 * h * h + 2 * h * f) + 4 * tokens * h
        last = tokens * 4 * h * h + 2 * (2 * h * h + 2 * h * f) + 4 * tokens * h
        return (self.layers - 1) * tokens * whole + last


def ceiling(shape: Shape, lengths: Sequence[int], bf16_gflops: float) -> dict[str, float]:
    """Texts a second if nothing but int8 products took time, and what a text costs on average."""
    gflop = sum(map(shape.operations, lengths)) / len(lengths) / 1e9
    return {
        "gflop_per_text": round(gflop, 3),
        "int8_gflops": round(INT8_OVER_BF16 * bf16_gflops),
        "texts_per_second": round(INT8_OVER_BF16 * bf16_gflops / gflop, 1),
    }
