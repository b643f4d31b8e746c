"""Tensor arithmetic of quantization: scales per output channel, ranges of activations, smoothing of outliers.

Symmetric int8 weights and affine uint8 activations, as in Jacob et al. 2018 (arXiv:1712.05877); outlier
channels moved into the weights after Xiao et al. 2022 (SmoothQuant, arXiv:2211.10438).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tonewise.encoder.weights import Linear, Matrix, NetworkSpec, linear_names
from tonewise.errors import ModelError

GraphPrecision = Literal["fp32", "int8"]
Dialect = Literal["onnxruntime", "standard"]
"""The operators that a graph is written in, and how it holds 8 bit codes."""
Range = tuple[float, float]
LEAST = np.finfo(np.float32).tiny
"""The least scale that float32 holds in full: what is smaller than that is zero."""


def quantize_rows(values: NDArray[np.float32]) -> Matrix:
    """float32[rows, columns] → int8 with one scale a row: value ≈ int8 × scale, error at most scale / 2."""
    scale = np.abs(values).max(axis=1) / np.float32(127)
    scale = np.where(scale >= LEAST, scale, np.float32(1)).astype(np.float32)
    stored = np.clip(np.rint(values / scale[:, None]), -127, 127).astype(np.int8)
    return Matrix(stored, scale)


def as_int8(matrix: Matrix) -> Matrix:
    """The matrix as int8 with scales, as stored or quantized now."""
    return matrix if matrix.scale is not None else quantize_rows(matrix.stored)


Factors = Mapping[int, float]
"""By input channel of a linear layer, what its activation is divided by and its weight multiplied by."""


@dataclass(frozen=True, slots=True)
class Quantization:
    """What static int8 needs to know of a network's activations.

    ranges     by linear layer the least and greatest input, after smoothing; a layer without one is left
               to the engine: by a scale per token, or in a float precision
    smoothing  by linear layer the channels that are divided before they are rounded
    """

    ranges: Mapping[str, Range] = field(default_factory=dict)
    smoothing: Mapping[str, Factors] = field(default_factory=dict)

    def check(self, spec: NetworkSpec) -> None:
        """Raise ModelError for ranges or factors of layers and channels that the network does not have."""
        told = sorted({*self.ranges, *self.smoothing} - set(linear_names(spec)))
        if told:
            some = f"{', '.join(map(repr, told[:3]))}{' …' * (len(told) > 3)}"
            raise ModelError(
                f"activation ranges for layers that the model does not have: {some}; fit them anew"
            )
        for name, factors in self.smoothing.items():
            width = spec.intermediate_size if name.endswith(".down") else spec.hidden_size
            if max(factors, default=0) >= width:
                raise ModelError(
                    f"smoothing of '{name}' names channel {max(factors)} of {width}; fit it anew"
                )

    def divisor(self, name: str, width: int) -> NDArray[np.float32] | None:
        """float32[width]: what the layer's input is divided by; None where it is not."""
        if not self.smoothing.get(name):
            return None
        divisor = np.ones(width, np.float32)
        for channel, factor in self.smoothing[name].items():
            divisor[channel] = factor
        return divisor


def smoothed(linear: Linear, divisor: NDArray[np.float32] | None) -> Linear:
    """The layer that computes the same from an input divided by `divisor` float32[in]."""
    if divisor is None:
        return linear
    return Linear(Matrix(linear.weight.dense() * divisor), linear.bias)


@dataclass(frozen=True, slots=True)
class Affine:
    """uint8 activations: value ≈ (uint8 − zero_point) × scale."""

    scale: np.float32
    zero_point: np.uint8


def affine(low: float, high: float) -> Affine:
    """Scale and zero point that cover [low, high] and hold zero exactly."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 255
    if scale < LEAST:
        scale = 1.0
    return Affine(np.float32(scale), np.uint8(np.clip(round(-low / scale), 0, 255)))


def symmetric(low: float, high: float) -> np.float32:
    """The scale of signed 8 bit codes about zero that cover [low, high]."""
    scale = max(-low, high) / 127
    return np.float32(scale if scale >= LEAST else 1.0)


def rounded(x: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    """x as far as its signed 8 bit codes tell."""
    scale = symmetric(low, high)
    codes: NDArray[np.float32] = np.clip(np.rint(x / scale), -128, 127)
    return codes * scale


COMMON_CHANNELS = 0.98
"""Share of a layer's channels that set its scale; the others are divided down to them (docs/log.md)."""
LEAST_OUTLIER, MOST_OUTLIER = 4, 2.0**20
"""A layer whose greatest factor is smaller gains a bit at most, and is spared the pass over its input; a
greater one would carry weights towards the end of float32."""


class Ranges:
    """The least and greatest value seen in each channel at each observed place."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}

    def observe(self, name: str, x: NDArray[np.floating]) -> None:
        """Widen what is known of `name` to hold `x`, float [..., channels]."""
        flat = x.reshape(-1, x.shape[-1])
        low, high = flat.min(axis=0).astype(np.float32), flat.max(axis=0).astype(np.float32)
        if name in self._seen:
            low, high = np.minimum(low, self._seen[name][0]), np.maximum(high, self._seen[name][1])
        self._seen[name] = (low, high)

    def found(self, *, smooth: bool = True) -> Quantization:
        """Ranges and smoothing of all that was observed.

        In a layer with outliers, a channel that reaches beyond what 98% of them do is divided by the least
        power of two that brings it back: float arithmetic does not change by that, and the other channels
        keep their resolution.
        """
        ranges, smoothing = {}, {}
        for name, (low, high) in self._seen.items():
            reach = np.maximum(-low, high)
            divisor = outlier_factors(reach) if smooth else np.ones_like(reach)
            if (divisor > 1).any():
                smoothing[name] = {int(i): float(divisor[i]) for i in np.flatnonzero(divisor > 1)}
            ranges[name] = (min(0.0, float((low / divisor).min())), max(0.0, float((high / divisor).max())))
        return Quantization(ranges, smoothing)


def outlier_factors(reach: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32[channels] powers of two from 1 on, by the greatest magnitude of each channel, float32."""
    common = np.quantile(reach, COMMON_CHANNELS)
    if common < LEAST:
        return np.ones_like(reach)
    beyond = np.clip(reach.astype(np.float64) / common, 1, MOST_OUTLIER)
    factors: NDArray[np.float32] = np.exp2(np.ceil(np.log2(beyond))).astype(np.float32)
    return factors if factors.max() >= LEAST_OUTLIER else np.ones_like(reach)
