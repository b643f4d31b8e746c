"""The rate of this machine's bf16 matrix products, from which the int8 ceiling is taken. Answers no texts."""

import os
import statistics
from typing import Any

from bench.rivals.protocol import Answer, Job, serve

ROWS, INNER, COLUMNS = 1024, 768, 3072
PRODUCTS = 60


def opened(job: Job) -> tuple[Answer, dict[str, Any]]:
    import time

    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    left = torch.randn(ROWS, INNER).bfloat16()
    right = torch.randn(INNER, COLUMNS).bfloat16()

    def rates(texts: list[str]) -> list[tuple[str, float]]:
        """GFLOP/s, median of the products, in the place of each text's score."""
        seconds = []
        for _ in range(PRODUCTS):
            started = time.perf_counter()
            torch.mm(left, right)
            seconds.append(time.perf_counter() - started)
        return [("bf16", 2 * ROWS * INNER * COLUMNS / statistics.median(seconds) / 1e9)] * len(texts)

    return rates, {"shape": f"{ROWS}x{INNER}x{COLUMNS}", "threads": torch.get_num_threads()}


if __name__ == "__main__":
    serve(opened, ("torch",))
