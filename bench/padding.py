"""How much of the planned batches is padding, on every real set, cut into buffers as a run does."""

import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

from bench.measure import data, write
from tonewise.batching import plan
from tonewise.config import BatchConfig, TokenizerConfig
from tonewise.store import resolve
from tonewise.tokenizer import open_tokenizer

MOST = 20_000


def texts_of_set(folder: Path) -> Iterator[str]:
    """The texts of every file of a set."""
    for path in sorted(folder.rglob("*")):
        if path.name == "emotions.txt" or path.suffix not in (".tsv", ".jsonl", ".gz"):
            continue
        open_text = gzip.open if path.suffix == ".gz" else open
        with open_text(path, "rt", encoding="utf-8") as file:
            if ".jsonl" in path.name:
                yield from (json.loads(line)["text"] for line in file)
            else:
                rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
                yield from (row["text"] for row in rows)


def buffers(texts: list[str], config: BatchConfig) -> Iterator[list[str]]:
    """Cut as the reader does: by rows, or by tokens at about four characters each."""
    held: list[str] = []
    tokens = 0
    for text in texts:
        held.append(text)
        tokens += 2 + len(text) // 4
        if len(held) >= config.buffer_rows or tokens >= config.buffer_tokens:
            yield held
            held, tokens = [], 0
    if held:
        yield held


def main() -> None:
    bundle = resolve("emotion")
    tokenizer = open_tokenizer(bundle, TokenizerConfig(), max_length=512, types=True)
    config = BatchConfig()
    figures: dict[str, object] = {}
    for folder in sorted(path for path in data().iterdir() if path.is_dir()):
        texts = list(texts_of_set(folder))[:MOST]
        real = padded = batches = 0
        for some in buffers(texts, config):
            lengths = [len(encoding.rows[0].input_ids) for encoding in tokenizer.encode(some)]
            groups = plan(lengths, config)
            batches += len(groups)
            real += sum(lengths)
            padded += sum(max(lengths[i] for i in group) * len(group) for group in groups)
        figures[folder.name] = {
            "padding_percent": round(100 * (1 - real / padded), 2),
            "tokens_per_batch": round(padded / batches),
        }
    write("padding", {"bound_padding_percent": 3, "sets": figures})


if __name__ == "__main__":
    main()
