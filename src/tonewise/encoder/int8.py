"""Tensor arithmetic of quantization: scales per output channel, and what ranges make of activations.

Symmetric int8 weights and affine uint8 activations, as in Jacob et al. 2018 (arXiv:1712.05877).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tonewise.encoder.weights import Matrix

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


class Ranges:
    """The least and greatest value seen at each observed place."""

    def __init__(self) -> None:
        self._seen: dict[str, Range] = {}

    def observe(self, name: str, x: NDArray[np.floating]) -> None:
        """Widen the range of `name` to hold `x`."""
        low, high = self._seen.get(name, (0.0, 0.0))
        self._seen[name] = (min(low, float(x.min())), max(high, float(x.max())))

    def found(self) -> Mapping[str, Range]:
        """The ranges by name, rounded to what float32 tells apart."""
        seen = self._seen.items()
        return {name: (float(np.float32(low)), float(np.float32(high))) for name, (low, high) in seen}
