"""Buckets are few, change no row, and count what they add."""

import csv
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.models import opened
from tonewise.batching import Batch, batches, collate
from tonewise.config import BatchConfig, TokenizerConfig
from tonewise.encoder.weights import NetworkSpec
from tonewise.engines.buckets import Buckets, Tally
from tonewise.errors import EngineError
from tonewise.store import packaged
from tonewise.tokenizer import Row, open_tokenizer

BERT = NetworkSpec("bert", 100, 32, 2, 4, 64, "gelu", 1e-12, 512, 2, None)
ROBERTA = replace(BERT, family="roberta", padding_index=1)
CONFIG = BatchConfig(max_batch_tokens=1024)


def batch_of(*lengths: int) -> Batch:
    rows = [Row([5 + i % 90] * length, [1] * length) for i, length in enumerate(lengths)]
    return collate(rows, range(len(rows)), 0)


def feed(buckets: Buckets, lengths: Sequence[int]) -> Tally:
    rows = [Row([5] * length, None) for length in lengths]
    for start in range(0, len(rows), 4096):
        for batch in batches(rows[start : start + 4096], 0, CONFIG):
            buckets.fit(batch)
    return buckets.tally()


@given(st.lists(st.integers(1, 512), min_size=1, max_size=40), st.sampled_from([1, 100, 1024, 9999]))
def test_a_bucket_holds_the_batch_unchanged_and_padding_beside_it(lengths: list[int], budget: int) -> None:
    batch = batch_of(*lengths)
    buckets = Buckets(ROBERTA, max_batch_tokens=budget)
    padded = buckets.fit(batch)
    rows, width = batch.input_ids.shape
    assert padded.input_ids.shape == buckets.shape(rows, width)
    assert padded.input_ids.shape[1] <= 512
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        before, after = getattr(batch, name), getattr(padded, name)
        assert after.dtype == np.int32
        np.testing.assert_array_equal(after[:rows, :width], before)
    assert (padded.input_ids[rows:] == 1).all()
    assert (padded.input_ids[:, width:] == 1).all()
    assert not padded.attention_mask[:, width:].any()
    assert (padded.attention_mask.sum(axis=1) >= 1).all(), "a row of no token has no softmax"
    np.testing.assert_array_equal(padded.rows, [*batch.rows, *[-1] * (len(padded) - rows)])


@given(st.integers(1, 3000), st.integers(1, 512), st.sampled_from([4, 8, 16]))
def test_a_bucket_is_its_own_bucket(rows: int, width: int, steps: int) -> None:
    buckets = Buckets(BERT, steps=steps)
    bucket = buckets.shape(rows, width)
    assert bucket[0] >= rows
    assert bucket[1] >= width
    assert buckets.shape(*bucket) == bucket


@pytest.mark.parametrize("steps", [4, 8, 16])
def test_a_row_is_widened_by_at_most_one_step_in_as_many(steps: int) -> None:
    buckets = Buckets(BERT, steps=steps)
    for width in range(8, 513):
        assert buckets.shape(1, width)[1] < width * (1 + 1 / steps)


@pytest.mark.parametrize("longest", [1, 7, 8, 64, 65, 130, 512])
def test_no_bucket_is_wider_than_the_model(longest: int) -> None:
    buckets = Buckets(replace(BERT, max_length=longest))
    assert buckets.widths[-1] == longest
    assert list(buckets.widths) == sorted(set(buckets.widths))
    assert buckets.shape(1, longest) == (1, longest)
    with pytest.raises(EngineError, match=f"a row of {longest + 1} tokens, but this model takes {longest}"):
        buckets.shape(1, longest + 1)


def test_the_planners_full_batches_fill_the_rows_of_their_bucket() -> None:
    buckets = Buckets(BERT)
    for width in (9, 22, 23, 64, 130, 512):
        full = 1024 // width
        rows, wide = buckets.shape(full, width)
        assert rows == buckets.rows(wide)[-1]
        assert rows * wide <= 1024 * (1 + 1 / 8)


def test_batches_beyond_the_budget_go_up_by_whole_ones() -> None:
    buckets = Buckets(BERT)
    assert buckets.rows(22) == (1, 2, 3, 6, 12, 24, 48)
    assert [buckets.shape(rows, 22)[0] for rows in (1, 4, 48, 49, 96, 97, 500)] == [
        1,
        6,
        48,
        96,
        96,
        144,
        528,
    ]


def test_tokens_are_counted_apart_by_why_they_are_computed() -> None:
    buckets = Buckets(BERT)
    buckets.fit(batch_of(17, 16))
    buckets.fit(batch_of(18, 18))
    buckets.fit(batch_of(8))
    assert buckets.tally() == Tally(
        real=17 + 16 + 36 + 8, planner=1, bucket=2 * 18 - 2 * 17, shapes=frozenset({(2, 18), (1, 8)})
    )


def test_no_token_goes_uncounted_between_threads() -> None:
    buckets = Buckets(BERT)
    batch = batch_of(17, 16, 3)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(buckets.fit, [batch] * 400))
    tally, (rows, width) = buckets.tally(), buckets.shape(3, 17)
    assert (tally.real, tally.planner, tally.bucket) == (400 * 36, 400 * 15, 400 * (rows * width - 51))


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("input_ids", 100, "token id 100, but this model's end at 99"),
        ("input_ids", -1, "negative"),
        ("token_type_ids", 2, "type id 2, but this model's end at 1"),
        ("token_type_ids", -1, "negative"),
    ],
)
def test_ids_without_a_row_in_the_tables_are_refused_and_not_counted(
    name: str, value: int, told: str
) -> None:
    buckets, batch = Buckets(BERT), batch_of(4, 3)
    getattr(batch, name)[1, 0] = value
    with pytest.raises(EngineError, match=told):
        buckets.fit(batch)
    assert not buckets.tally().shapes


def test_a_model_without_types_takes_any() -> None:
    batch = batch_of(4)
    Buckets(replace(BERT, type_count=0)).fit(batch)
    assert batch.token_type_ids.max() == 1


def test_mixed_lengths_meet_few_buckets() -> None:
    rng = np.random.default_rng(0)
    tally = feed(Buckets(BERT), np.clip(rng.gamma(4, 6, 5000), 3, 512).astype(int).tolist())
    assert len(tally.shapes) <= 60
    assert tally.bucket <= 0.13 * (tally.real + tally.planner)


def test_real_texts_meet_few_buckets(data: Path) -> None:
    """Measured: 47 shapes and 11% over 5,000 texts."""
    with (data / "emotion" / "train.tsv").open(encoding="utf-8", newline="") as file:
        texts = [row[0] for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)][1:5001]
    bundle = opened(packaged.ROOT / "emotion")
    tokenizer = open_tokenizer(bundle, TokenizerConfig(), max_length=512, types=False)
    lengths = [encoding.n_tokens for encoding in tokenizer.encode(texts)]
    tally = feed(Buckets(BERT), lengths)
    assert len(tally.shapes) <= 55
    assert tally.bucket <= 0.12 * (tally.real + tally.planner)
