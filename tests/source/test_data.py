"""The real sets, read whole: counts and hashes as their cards state them."""

import os
import re
from pathlib import Path

import pytest

from tonewise.errors import RowError
from tonewise.source import open_source

DATA = os.environ.get("TONEWISE_DATA")
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA, reason="TONEWISE_DATA does not point at the real sets"),
]
FOLDER = Path(DATA or ".")
ROWS = {
    "emotion/train.tsv": 16_000,
    "emotion/validation.tsv": 2_000,
    "sst2/train.tsv": 67_349,
    "sst2/train_sentences_6920.tsv": 6_920,
    "sst2/validation.tsv": 872,
    "goemotions/train.tsv": 43_410,
    "goemotions/validation.tsv": 5_426,
    "sms-spam/train.tsv": 4_479,
    "sms-spam/validation.tsv": 555,
    "banking77/train.jsonl": 10_003,
    "banking77/test.jsonl": 3_080,
    "amazon-mds/all.jsonl": 8_000,
    "imdb/train.jsonl.gz": 25_000,
    "imdb/test.jsonl.gz": 25_000,
    "20newsgroups/train.jsonl.gz": 11_314,
    "20newsgroups/test.jsonl.gz": 7_532,
}
CARD_ROW = re.compile(r"^\| `?([\w./-]+)`? \| (\d+) \| (\d+) \| `?([0-9a-f]{16})", re.MULTILINE)
FILES = sorted(
    str(path.relative_to(FOLDER))
    for pattern in ("*.tsv", "*.jsonl", "*.jsonl.gz")
    for path in (FOLDER.rglob(pattern) if DATA else ())
)


def card_of(name: str) -> tuple[int, int, str]:
    """Rows, bytes and the start of the sha256, as the set's card states them."""
    folder, _, file = name.partition("/")
    rows = {row[0]: row[1:] for row in CARD_ROW.findall((FOLDER / folder / "SOURCE.md").read_text())}
    count, size, digest = rows[file]
    return int(count), int(size), digest


@pytest.mark.parametrize("name", FILES)
def test_a_real_file_is_read_whole(name: str) -> None:
    with open_source([FOLDER / name]) as source:
        rows = 0
        for item in source:
            assert not isinstance(item, RowError), item
            assert item.fields.keys() & {"label", "stars"}
            rows += 1
        digest = source.sha256()[str(FOLDER / name)]
        assert (rows, source.bytes_read, digest[:16]) == card_of(name)
    assert rows == ROWS.get(name, rows)
