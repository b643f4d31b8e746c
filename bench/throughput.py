"""Texts per second, file to file, beside `transformers.pipeline` on the same network and texts."""

import json
import statistics
import tempfile
from pathlib import Path

from bench.measure import TONEWISE, data, run, texts_of, timed, write
from bench.peer import transformers_pipeline

PEER_TEXTS = 1600
ROUNDS = 3


def main() -> None:
    source = data() / "emotion" / "train.tsv"
    texts = texts_of(source)
    some = texts[:: len(texts) // PEER_TEXTS]
    with tempfile.TemporaryDirectory() as folder:
        command = (*TONEWISE, "classify", str(source), "--output", str(Path(folder) / "out.jsonl"))
        peer = transformers_pipeline(Path(folder) / "model")
        peer(some[:64], batch_size=32)
        run((*TONEWISE, "warm"))
        run(command)
        ours, theirs = [], []
        for _ in range(ROUNDS):  # in turns, so that a noisy minute meets both
            done = run(command)
            ours.append(len(texts) / done.seconds)
            theirs.append(len(some) / timed(lambda: peer(some, batch_size=32)))
        told = json.loads((Path(folder) / "out.jsonl.run.json").read_text())
    write(
        "throughput",
        {
            "texts": len(texts),
            "whole_command_texts_per_second": round(statistics.median(ours)),
            "transformers_pipeline_texts_per_second": round(statistics.median(theirs)),
            "ratio": round(statistics.median(ours) / statistics.median(theirs), 1),
            "engine": told["engine"],
            "bound_texts_per_second": 1800,
            "bound_ratio": 4,
        },
    )


if __name__ == "__main__":
    main()
