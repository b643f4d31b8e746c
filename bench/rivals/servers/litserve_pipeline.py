"""LitServe around `transformers.pipeline`: requests of a list of texts, up to 32 of them at once."""

import itertools
import sys
from collections.abc import Iterator
from typing import Any

import litserve  # type: ignore[import-not-found]
from transformers import pipeline

MOST_TOGETHER = 32
WAIT_SECONDS = 0.05
TIMEOUT_SECONDS = 300


class Classify(litserve.LitAPI):  # type: ignore[misc]
    """All texts of the requests that are answered together, in batches of the pipeline's own."""

    def __init__(self, folder: str) -> None:
        super().__init__(max_batch_size=MOST_TOGETHER, batch_timeout=WAIT_SECONDS)
        self.folder = folder

    def setup(self, device: str) -> None:
        self.pipeline: Any = pipeline("text-classification", model=self.folder, device=device, top_k=None)

    def decode_request(self, request: dict[str, Any]) -> list[str]:
        texts: list[str] = request["inputs"]
        return texts

    def predict(self, batch: list[list[str]]) -> list[list[list[dict[str, Any]]]]:
        texts = list(itertools.chain.from_iterable(batch))
        rows: Iterator[Any] = iter(self.pipeline(texts, batch_size=MOST_TOGETHER, truncation=True))
        return [list(itertools.islice(rows, len(one))) for one in batch]

    def encode_response(self, rows: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
        return rows


def main() -> None:
    """Serve: FOLDER PORT."""
    server = litserve.LitServer(Classify(sys.argv[1]), accelerator="cpu", devices=1, timeout=TIMEOUT_SECONDS)
    server.run(host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    main()
