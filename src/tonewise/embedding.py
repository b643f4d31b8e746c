"""Stage 5' · states → vectors: the mean over a text's windows, normalized."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def vectors(states: Floats, starts: Sequence[int], weights: Sequence[int], *, normalize: bool) -> Floats:
    """float32[R, H] of windows → float32[N, H] of texts; text i owns the rows from `starts[i]` on.

    A window counts by its tokens (`weights`, one per row). With `normalize` each vector has length 1.
    """
    if len(starts) != len(states):
        heavy = np.asarray(weights, np.float32)[:, None]
        total: Floats = np.add.reduceat(heavy, starts, axis=0)
        states = np.divide(np.add.reduceat(states * heavy, starts, axis=0), total)
    if not normalize:
        return states
    length = np.linalg.norm(states, axis=1, keepdims=True)
    unit: Floats = states / np.maximum(length, np.float32(1e-12))
    return unit
