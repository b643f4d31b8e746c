"""The packaged model as packaged: accuracy through the command line, and what int8 changes."""

import json
import tempfile
from pathlib import Path

from bench.measure import TONEWISE, data, run, write


def answers(source: Path, output: Path, precision: str) -> list[tuple[str, str, float]]:
    """(gold label, given label, score of the given label) for each row."""
    run((*TONEWISE, "classify", str(source), "--output", str(output), "--precision", precision))
    records = [json.loads(line) for line in output.read_text("utf-8").split("\n") if line]
    found = [(record["fields"]["label"], record["predictions"]["emotion"]) for record in records]
    return [(gold, answer["label"], answer["score"]) for gold, answer in found]


def main() -> None:
    source = data() / "emotion" / "validation.tsv"
    with tempfile.TemporaryDirectory() as folder:
        int8, fp32 = (answers(source, Path(folder) / f"{name}.jsonl", name) for name in ("int8", "fp32"))
    rows = len(int8)
    write(
        "quality",
        {
            "texts": rows,
            "int8_accuracy": round(sum(gold == given for gold, given, _ in int8) / rows, 4),
            "fp32_accuracy": round(sum(gold == given for gold, given, _ in fp32) / rows, 4),
            "bound_accuracy": 0.933,
            "agreement": round(sum(a[1] == b[1] for a, b in zip(int8, fp32, strict=True)) / rows, 4),
            "bound_agreement": 0.995,
        },
    )


if __name__ == "__main__":
    main()
