"""The most memory that a file run holds: many rows against few with the stub, and with the real engine."""

import itertools
import tempfile
from pathlib import Path

from bench.measure import TONEWISE, data, run, texts_of, write

FEW, MANY = 50_000, 1_000_000


def main() -> None:
    texts = texts_of(data() / "emotion" / "train.tsv")
    with tempfile.TemporaryDirectory() as folder:
        peaks = {}
        for name, rows, engine in (("few", FEW, "stub"), ("many", MANY, "stub"), ("real", MANY, "auto")):
            source = Path(folder) / f"{name}.tsv"
            with source.open("w", encoding="utf-8") as file:
                file.write("id\ttext\n")
                # Numbered, so that no row equals another and every one is computed.
                some = itertools.islice(itertools.cycle(texts), rows)
                file.writelines(f"{i}\t{text} {i}\n" for i, text in enumerate(some))
            output = Path(folder) / f"{name}.jsonl"
            command = (*TONEWISE, "classify", str(source), "--output", str(output), "--engine", engine)
            peaks[name] = run(command).peak_mb
            output.unlink()
    write(
        "memory",
        {
            f"stub_{FEW}_rows_mb": round(peaks["few"]),
            f"stub_{MANY}_rows_mb": round(peaks["many"]),
            "growth_mb": round(peaks["many"] - peaks["few"]),
            "bound_growth_mb": 50,
            f"real_{MANY}_rows_mb": round(peaks["real"]),
            "bound_real_mb": 500,
        },
    )


if __name__ == "__main__":
    main()
