"""The packaged model as packaged: accuracy through the command line, and what lower precision changes."""

import json
import tempfile
from pathlib import Path

from bench.measure import TONEWISE, data, run, write

TRIED = (
    ("onnxruntime", "fp32"),
    ("onnxruntime", "int8"),
    ("openvino", "int8"),
    ("openvino", "bf16"),
    ("torch", "bf16"),
)
Answer = tuple[str, str, dict[str, float]]


def answers(source: Path, output: Path, engine: str, precision: str) -> list[Answer]:
    """(gold label, given label, scores) for each row."""
    asked = ("--engine", engine, "--precision", precision)
    run((*TONEWISE, "classify", str(source), "--output", str(output), *asked))
    records = [json.loads(line) for line in output.read_text("utf-8").split("\n") if line]
    found = [(record["fields"]["label"], record["predictions"]["emotion"]) for record in records]
    return [(gold, answer["label"], answer["scores"]) for gold, answer in found]


def compared(exact: list[Answer], found: list[Answer]) -> dict[str, float]:
    """Accuracy, share of labels like fp32's, mean absolute difference of all scores."""
    pairs = list(zip(exact, found, strict=True))
    off = [abs(a[2][label] - b[2][label]) for a, b in pairs for label in a[2]]
    return {
        "accuracy": round(sum(gold == given for gold, given, _ in found) / len(found), 4),
        "agreement": round(sum(a[1] == b[1] for a, b in pairs) / len(pairs), 4),
        "score_difference": round(sum(off) / len(off), 6),
    }


def main() -> None:
    source = data() / "emotion" / "validation.tsv"
    with tempfile.TemporaryDirectory() as folder:
        found = {
            f"{engine}_{precision}": answers(source, Path(folder) / f"{i}.jsonl", engine, precision)
            for i, (engine, precision) in enumerate(TRIED)
        }
    exact = found["onnxruntime_fp32"]
    write(
        "quality",
        {
            "texts": len(exact),
            **{name: compared(exact, one) for name, one in found.items()},
            "bound_accuracy": 0.933,
            "bound_agreement_int8": 0.995,
            "bound_score_difference_int8": 0.01,
            "bound_agreement_bf16": 0.999,
        },
    )


if __name__ == "__main__":
    main()
