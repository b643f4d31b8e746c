"""A head's matrix product, block by block: on one thread, and with the same digits in any company."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

ROWS = 8
MOST_PRODUCTS = 1 << 18
"""Of one block. Above it OpenBLAS, which NumPy ships with, wakes a thread for each processor (its
`interface/gemm.c`); they then spin for some 30 ms in wait of more, on the cores that the engine needs."""


class Dense:
    """float32[N, K] → float32[N, L]: states times weights, plus bias."""

    def __init__(self, weight: Floats, bias: Floats) -> None:
        """`weight` is float32[L, K] and `bias` float32[L], as model files have them."""
        self.outputs, self.inputs = weight.shape
        self._bias = bias
        most = max(16, MOST_PRODUCTS // (ROWS * max(self.inputs, 1)) // 16 * 16)
        columns = min(most, max(self.outputs, 1))
        blocks = max(-(-self.outputs // columns), 1)
        filled = np.zeros((blocks * columns, self.inputs), np.float32)
        filled[: self.outputs] = weight
        self._columns = blocks * columns
        by_block = filled.reshape(blocks, columns, self.inputs).transpose(0, 2, 1)
        self._weight = np.ascontiguousarray(by_block)  # float32[blocks, K, columns]

    def __call__(self, states: Floats) -> Floats:
        """What a row gives does not depend on the values beside it, nor on how many rows there are."""
        count = len(states)
        rows = -(-count // ROWS) * ROWS
        if rows != count:
            states = np.concatenate([states, np.zeros((rows - count, self.inputs), np.float32)])
        product = states.reshape(rows // ROWS, 1, ROWS, self.inputs) @ self._weight
        flat = product.transpose(0, 2, 1, 3).reshape(rows, self._columns)
        result: Floats = flat[:count, : self.outputs] + self._bias
        return result
