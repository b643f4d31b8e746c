"""Near duplicates: every pair above the mark and no other, whatever it stands beside."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tonewise.evaluate.near_duplicates import near_pairs

LONG = "the quick brown fox jumps over the lazy dog and then over the next one"


def jaccard(first: str, second: str) -> float:
    """By the definition, on the strings themselves."""
    a, b = ({text[i : i + 5] for i in range(max(1, len(text) - 4))} for text in (first, second))
    return len(a & b) / len(a | b)


def test_a_word_more_is_nearly_the_same_and_another_text_is_not() -> None:
    texts = ["something else", LONG, "no relation to it", f"{LONG} today", LONG.replace("the quick", "quick")]
    wanted: list[object] = [
        (1, 3, pytest.approx(jaccard(texts[1], texts[3]))),
        (1, 4, pytest.approx(jaccard(texts[1], texts[4]))),
    ]
    assert [*near_pairs(texts)] == wanted


@given(st.lists(st.text("ab", max_size=12), unique=True, max_size=20))
def test_what_is_told_is_so(texts: list[str]) -> None:
    for first, second, alike in near_pairs(texts, 0.5):
        assert first < second
        assert alike == pytest.approx(jaccard(texts[first], texts[second]))
        assert alike >= 0.5


def test_hardly_a_pair_is_missed() -> None:
    rng = np.random.default_rng(0)
    texts = []
    for _ in range(300):
        letters = rng.integers(97, 123, 80).astype(np.uint8)
        texts.append(letters.tobytes().decode())
        letters[rng.integers(40)] = 65  # another letter in 5 shingles of 76
        texts.append(letters.tobytes().decode())
    wanted = {(i, i + 1) for i in range(0, 600, 2)}
    found = {(first, second) for first, second, _ in near_pairs(texts)}
    assert found <= wanted
    assert len(found) >= 298


def test_the_nearest_earlier_one_is_told() -> None:
    texts = [LONG, f"{LONG} today and tomorrow", f"{LONG} today and tomorrow!"]
    assert [(first, second) for first, second, _ in near_pairs(texts, 0.5)] == [(0, 1), (1, 2)]


def test_nothing_is_like_nothing() -> None:
    assert near_pairs([]) == []
    assert near_pairs(["", "a", "日本"]) == []
