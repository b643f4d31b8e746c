"""What the engines that compile a program per shape share: the weights as arrays, each program made once."""

from collections.abc import Callable
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from tonewise.batching import Batch
from tonewise.encoder.weights import Weights
from tonewise.engines.buckets import Shape
from tonewise.errors import EngineError, EngineMemoryError

Program = Callable[[Batch], NDArray[np.float32]]
"""From a batch of one shape to its pooled states float32[B, P, H]."""


def parameters(weights: Weights) -> dict[str, NDArray[np.float32]]:
    """Every tensor as float32 by its canonical name, int8 dequantized: `word.weight`, `layer.0.up.bias` …"""
    named = {f"{name}.weight": table.dense() for name, table in weights.tables.items()}
    for name, linear in weights.linears.items():
        named |= {f"{name}.weight": linear.weight.dense(), f"{name}.bias": linear.bias}
    for name, norm in weights.norms.items():
        named |= {f"{name}.weight": norm.weight, f"{name}.bias": norm.bias}
    return named


class Programs:
    """One program per shape, compiled at its first use by one thread while the others wait.

    compiled  how many were
    """

    def __init__(self, build: Callable[[Shape], Program]) -> None:
        self._build: Callable[[Shape], Program] | None = build
        self._lock = Lock()
        self._made: dict[Shape, Program] = {}
        self.compiled = 0

    def at(self, shape: Shape) -> Program:
        """The program of a shape. Raises EngineError once closed, and what compiling raises."""
        if (program := self._made.get(shape)) is not None:
            return program
        with self._lock:
            if self._build is None:
                raise EngineError("the engine is closed")
            if shape not in self._made:
                self._made[shape] = self._build(shape)
                self.compiled += 1
            return self._made[shape]

    def close(self) -> None:
        """Let go of all programs and of the weights that they hold; who runs one keeps it to the end."""
        with self._lock:
            self._build = None
            self._made = {}


def failure(runtime: str, error: Exception, memory: bool) -> EngineError:
    """What a runtime raised, as the error that engines raise: one line of at most 300 characters."""
    line = " ".join(str(error).split())[:300] or type(error).__name__
    kind = EngineMemoryError if memory or isinstance(error, MemoryError) else EngineError
    return kind(f"{runtime} failed: {line}")
