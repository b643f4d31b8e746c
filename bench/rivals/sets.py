"""The real texts of the comparison: a fixed sample of each set, and what it is warmed and calibrated with."""

import gzip
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.measure import texts_of
from bench.rivals.protocol import MOST_TOKENS
from tonewise.config import TokenizerConfig
from tonewise.store import resolve
from tonewise.tokenizer import open_tokenizer

SEED = 0
TEXTS = {"emotion": 512, "amazon-mds": 96, "imdb": 48}
QUICK = {"emotion": 128, "amazon-mds": 24, "imdb": 16}
CALIBRATION_TEXTS = 100  # of each set


@dataclass(frozen=True)
class Sample:
    """Texts of one set, no two alike, and a quarter of them for those who are slow, of the same lengths.

    tokens  by text, cut as all cut
    warm    other texts, read once before the first pass
    files   `all`, `some` and `warm` as JSON lists on disk
    """

    texts: list[str]
    slow: list[str]
    tokens: dict[str, int]
    files: dict[str, Path]

    def mean_tokens(self, texts: list[str]) -> float:
        return round(sum(self.tokens[text] for text in texts) / len(texts), 1)


def draw(data: Path, counts: dict[str, int], model: str, folder: Path) -> tuple[dict[str, Sample], list[str]]:
    """A sample of each set, and texts of all sets, in none of the samples, to calibrate with."""
    samples, calibration = {}, []
    count = token_counter(model)
    for name, wanted in counts.items():
        texts = sorted(set(read_set(data, name)))
        random.Random(SEED).shuffle(texts)
        chosen, warm = texts[:wanted], texts[wanted : wanted + max(wanted // 8, 8)]
        calibration += texts[-CALIBRATION_TEXTS:]  # the same whatever the counts: what was fitted is kept
        tokens = dict(zip(chosen, count(chosen), strict=True))
        some = quarter(chosen, tokens)
        files = {}
        for part, held in {"all": chosen, "some": some, "warm": warm}.items():
            files[part] = folder / f"{name}-{part}.json"
            files[part].write_text(json.dumps(held))
        samples[name] = Sample(chosen, some, tokens, files)
    random.Random(SEED).shuffle(calibration)
    return samples, calibration


def quarter(texts: list[str], tokens: dict[str, int]) -> list[str]:
    """Every fourth by length, in the order given: of eight neighbours the second and the seventh."""
    ranked = sorted(texts, key=lambda text: (tokens[text], text))
    kept = {text for rank, text in enumerate(ranked) if rank % 8 in (1, 6)}
    return [text for text in texts if text in kept]


def token_counter(model: str) -> Callable[[list[str]], list[int]]:
    """Tokens of texts as a model reads them, special ones included, cut at the limit that all share."""
    tokenizer = open_tokenizer(resolve(model), TokenizerConfig(), max_length=MOST_TOKENS, types=False)
    return lambda texts: [len(encoding.rows[0].input_ids) for encoding in tokenizer.encode(texts)]


def read_set(data: Path, name: str) -> list[str]:
    """The texts of a set, as it lies under TONEWISE_DATA."""
    if name == "emotion":
        return texts_of(data / name / "validation.tsv")
    path = data / name / {"amazon-mds": "all.jsonl", "imdb": "test.jsonl.gz"}[name]
    open_text = gzip.open if path.suffix == ".gz" else open
    with open_text(path, "rt", encoding="utf-8") as file:
        return [json.loads(line)["text"] for line in file]
