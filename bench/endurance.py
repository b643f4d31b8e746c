"""The server under five times what it can do, and for ten minutes at four fifths of it, with their bounds."""

import argparse
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.large import WORK, model
from bench.load.trials import Server, overload, requests, soak
from bench.measure import data, texts_of, write
from bench.serve import serving
from tonewise import Classifier

BOUNDS: dict[str, tuple[str, float]] = {
    "goodput_share": ("least", 0.85),
    "refusal_p99_milliseconds": ("most", 100),
    "recovery_seconds": ("most", 2),
    "memory_growth": ("most", 0.05),
    "wrong_answers": ("most", 0),
    "lost": ("most", 0),
    "other_statuses": ("most", 0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--overload", type=float, default=120, metavar="SECONDS")
    parser.add_argument("--soak", type=float, default=600, metavar="SECONDS")
    options = parser.parse_args()
    texts = texts_of(data() / "emotion" / "validation.tsv")
    found: dict[str, Any] = {}
    if options.overload:
        WORK.mkdir(parents=True, exist_ok=True)
        found["overload"] = tried(overload, str(model(WORK)), texts, (8, 32), options.overload)
    if options.soak:
        found["soak"] = tried(soak, "emotion", texts, (1, 32), options.soak)
    write("endurance", found)
    if beyond := [f"{name}: {told}" for name, of in found.items() for told in missed(of)]:
        sys.exit("\n".join(beyond))


def tried(trial: Any, ref: str, texts: list[str], sizes: tuple[int, int], seconds: float) -> dict[str, Any]:
    """One trial on a server of its own, without kept answers; int8 by name, as in bench/large.py."""
    with Classifier.load(ref, precision="int8") as classifier:
        asked = requests(classifier, texts, sizes)
    name = f"shown={ref}/" if Path(ref).is_dir() else ref
    with serving(name, "--precision", "int8") as (process, url):
        port = urlsplit(url).port
        assert port is not None
        return {"seconds": seconds, **trial(Server(process.pid, port), asked, seconds)}


def missed(figures: dict[str, Any]) -> list[str]:
    """The figures that are not within their bounds; None and NaN are not."""
    told = []
    for name, (kind, bound) in BOUNDS.items():
        if name not in figures:
            continue
        value = figures[name]
        if value is None or not (value >= bound if kind == "least" else value <= bound):
            told.append(f"{name} is {value}; the {kind} is {bound:g}")
    return told


if __name__ == "__main__":
    main()
