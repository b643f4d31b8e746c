"""DistilBERT-base's shape in int8: 100,000 sentences file to file, and single texts of unseen lengths."""

import json
import re
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.measure import TONEWISE, data, run, texts_of, write
from bench.peers import quantized
from bench.rivals.random_model import write_random_distilbert
from bench.rivals.sets import read_set
from tonewise import Classifier
from tonewise.store.packaged import packaged_folder

SENTENCES = 100_000
SENTENCE = re.compile(r"(?<=[.!?])\s+")
SINGLE = 400
ROUNDS = 3
WORK = Path(tempfile.gettempdir()) / "tonewise-peers" / "large"
"""Kept between runs: fitting takes minutes."""


def sentences() -> list[str]:
    """The first 100,000 sentences of imdb's reviews, split at their full stops."""
    found: list[str] = []
    for review in read_set(data(), "imdb"):
        found += [one.strip() for one in SENTENCE.split(review.replace("<br />", " ")) if one.strip()]
        if len(found) >= SENTENCES:
            return found[:SENTENCES]
    raise SystemExit(f"imdb has {len(found):,} sentences only")


def model(folder: Path) -> Path:
    """Random weights of DistilBERT-base's shape with activation ranges: for speed alone."""
    plain = folder / "distilbert-base-random"
    if not plain.is_dir():
        write_random_distilbert(plain, packaged_folder("emotion"))
    texts = folder / "calibration.txt"
    texts.write_text("\n".join(texts_of(data() / "emotion" / "train.tsv")[::16]) + "\n", "utf-8")
    return quantized(plain, texts, target=0)


def bulk(ref: Path, folder: Path) -> dict[str, object]:
    source = folder / "sentences.txt"
    source.write_text("\n".join(sentences()) + "\n", "utf-8")
    # Asked for by name: labels of random weights mean nothing, so their agreement cannot allow it.
    asked = ("--precision", "int8")
    command = (
        *TONEWISE,
        "classify",
        str(source),
        "--model",
        str(ref),
        *asked,
        "--output",
        str(folder / "out.jsonl"),
    )
    run((*TONEWISE, "warm", str(ref), *asked))
    taken = [run(command).seconds for _ in range(ROUNDS)]
    told = json.loads((folder / "out.jsonl.run.json").read_text())
    return {
        "sentences": SENTENCES,
        "runs": len(taken),
        "seconds": round(statistics.median(taken)),
        "spread": [round(min(taken)), round(max(taken))],
        "engine": told["engine"],
        "bound_seconds": 300,
    }


def single(ref: Path) -> dict[str, object]:
    """Milliseconds of one text at a time, each engine after `warm`, over texts that it never saw."""
    texts = texts_of(data() / "emotion" / "validation.tsv")[:SINGLE]
    found: dict[str, object] = {}
    for engine in ("openvino", "onnxruntime"):
        with Classifier.load(ref, engine=engine, precision="int8") as classifier:
            classifier.warm()
            taken = []
            for text in texts:
                started = time.perf_counter()
                classifier.classify(text)
                taken.append(1000 * (time.perf_counter() - started))
        found[engine] = {f"p{share}": round(float(np.percentile(taken, share)), 2) for share in (50, 95, 99)}
    return found | {"texts": len(texts), "bound_p50": 3, "bound_p99": "3 × p50"}


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ref = model(WORK)
        write("large", {"single_ms": single(ref), "bulk": bulk(ref, folder)})


if __name__ == "__main__":
    main()
