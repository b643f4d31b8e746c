"""A head's matrix product, block by block, so that no other thread is woken for it."""

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
        most = MOST_PRODUCTS // (ROWS * max(self.inputs, 1))
        columns = max(2, min(most // 16 * 16 or most, self.outputs))  # of one it makes another product
        blocks = max(-(-self.outputs // columns), 1)
        filled = np.zeros((blocks * columns, self.inputs), np.float32)
        filled[: self.outputs] = weight
        self._columns = blocks * columns
        by_block = filled.reshape(blocks, columns, self.inputs).transpose(0, 2, 1)
        self._weight = np.ascontiguousarray(by_block)  # float32[blocks, K, columns]

    def __call__(self, states: Floats) -> Floats:
        """What a row gives depends on its place among ROWS, and not on the rows beside it."""
        count = len(states)
        rows = -(-count // ROWS) * ROWS
        if rows != count:
            states = np.concatenate([states, np.zeros((rows - count, self.inputs), np.float32)])
        product = states.reshape(rows // ROWS, 1, ROWS, self.inputs) @ self._weight
        flat = product.transpose(0, 2, 1, 3).reshape(rows, self._columns)
        result: Floats = flat[:count, : self.outputs] + self._bias
        return result
