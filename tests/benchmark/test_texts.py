"""Sentences of our own: the same everywhere, and as long as people's."""

import numpy as np

from tonewise.benchmark.texts import Sample, own_sample
from tonewise.config import TokenizerConfig
from tonewise.store import resolve
from tonewise.tokenizer import open_tokenizer


def test_the_sentences_are_the_same_everywhere() -> None:
    sample = own_sample()
    assert sample == own_sample()
    assert sample.sha256.startswith("b8eecf296aa24399")
    assert own_sample(20).texts == sample.texts[:20]


def test_the_sentences_are_as_long_as_those_of_people() -> None:
    sample = own_sample()
    assert len(set(sample.texts)) > 0.95 * len(sample.texts)
    tokenizer = open_tokenizer(resolve("emotion"), TokenizerConfig(), max_length=512, types=True)
    tokens = [one.n_tokens for one in tokenizer.encode(sample.texts)]
    least, fifth, middle, most = np.percentile(tokens, [0, 5, 50, 95])
    assert 5 <= least <= fifth <= 10
    assert 15 <= middle <= 25
    assert 45 <= most <= 70
    assert 200 < max(tokens) <= 512


def test_a_sample_is_known_by_its_texts() -> None:
    assert Sample("a", ["x"]).sha256 == Sample("b", ["x"]).sha256 != Sample("a", ["y"]).sha256
