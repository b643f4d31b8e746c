"""Splits and folds: stratified, and where a text goes hangs on the text alone."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tonewise.errors import ConfigError, InputError
from tonewise.source import Example
from tonewise.source.labelled import Labelled, Labels, read_labelled
from tonewise.source.split import folds, normalised, split

rows_single = st.lists(
    st.tuples(st.text("abc ", max_size=4), st.sampled_from("xyz")), min_size=2, max_size=60
)
rows_multi = st.lists(
    st.tuples(st.text("abc ", max_size=4), st.sets(st.sampled_from("xyz"))), min_size=2, max_size=60
)
shares = st.sampled_from([0.05, 0.1, 0.2, 0.5, 0.9])


def single(rows: list[tuple[str, str]]) -> Labelled:
    return read_labelled(
        [{"text": text, "label": label} for text, label in rows], labels=Labels(names=("x", "y", "z"))
    )


def multi(rows: list[tuple[str, set[str]]]) -> Labelled:
    names = Labels(names=("x", "y", "z"), multi_label=True)
    return read_labelled([{"text": text, "label": sorted(label)} for text, label in rows], labels=names)


def many(n: int) -> Labelled:
    return single([(f"text {i}", "xxxxxxyyyz"[i % 10]) for i in range(n)])


def sides(labelled: Labelled, share: float = 0.1, seed: int = 0) -> dict[str, int]:
    parts = split(labelled, share, seed)
    return {normalised(one): side for side, part in enumerate(parts) for one in part.examples}


def assert_sound(labelled: Labelled, share: float) -> None:
    train, held = split(labelled, share)
    both = Counter(one.where for part in (train, held) for one in part.examples)
    assert both == Counter(one.where for one in labelled.examples)
    for part in (train, held):
        places = [labelled.examples.index(one) for one in part.examples]
        assert places == sorted(places)
    assert not {normalised(one) for one in train.examples} & {normalised(one) for one in held.examples}
    assert (train.gold.any(axis=0) == labelled.gold.any(axis=0)).all()


@given(rows_single, shares)
def test_every_row_is_on_one_side_equal_texts_together_and_every_label_stays_in_train(
    rows: list[tuple[str, str]], share: float
) -> None:
    assert_sound(single(rows), share)


@given(rows_multi, shares)
def test_so_it_is_with_several_labels(rows: list[tuple[str, set[str]]], share: float) -> None:
    assert_sound(multi(rows), share)


@given(rows_single, shares, st.randoms())
def test_the_order_of_rows_changes_nothing(rows: list[tuple[str, str]], share: float, random: object) -> None:
    known = sides(single(rows), share)
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert sides(single(shuffled), share) == known


@given(st.integers(10, 200), st.text("abc", min_size=5, max_size=9), shares)
def test_a_row_more_moves_at_most_one_other_text(n: int, text: str, share: float) -> None:
    rows = [(f"text {i}", "xxxxxxyyyz"[i % 10]) for i in range(n)]
    before, after = sides(single(rows), share), sides(single([(text, "x"), *rows]), share)
    assert sum(before[one] != after[one] for one in before) <= 1


@given(rows_single, st.integers(2, 5))
def test_folds_part_the_rows_and_keep_equal_texts_together(rows: list[tuple[str, str]], k: int) -> None:
    labelled = single(rows)
    texts = [normalised(one) for one in labelled.examples]
    if len(set(texts)) < k:
        with pytest.raises(InputError, match=f"different texts cannot make {k} folds"):
            folds(labelled, k)
        return
    parts = folds(labelled, k)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(rows)))
    found = [{texts[row] for row in part} for part in parts]
    assert sum(map(len, found)) == len(set(texts))
    assert max(map(len, found)) - min(map(len, found)) <= 1


def test_shares_hold_in_every_label() -> None:
    train, held = split(many(1000), 0.1)
    assert (len(train), held.gold.sum(axis=0).tolist()) == (900, [60, 30, 10])
    for part in folds(many(1000), 5):
        assert many(1000).take(part).gold.sum(axis=0).tolist() == [120, 60, 20]


def test_a_label_of_five_texts_is_seen_in_validation_and_one_of_four_is_not() -> None:
    rows = [(f"x {i}", "x") for i in range(5)] + [(f"y {i}", "y") for i in range(4)]
    _, held = split(single(rows), 0.05)
    assert held.gold.sum(axis=0).tolist() == [1, 0, 0]


def test_the_split_is_the_same_for_ever() -> None:
    assert [one.text for one in split(many(30), 0.1)[1].examples] == ["text 14", "text 20", "text 27"]
    assert sides(many(100), seed=1) != sides(many(100))


def test_a_text_with_several_labels_counts_to_the_rarest() -> None:
    rows = [(f"common {i}", {"x"}) for i in range(90)] + [(f"both {i}", {"x", "y"}) for i in range(10)]
    _, held = split(multi(rows), 0.1)
    assert held.gold.sum(axis=0).tolist() == [10, 1, 0]


def test_case_and_space_make_no_other_text() -> None:
    one = Example(" Straße  und\tWeg\n")
    assert normalised(one) == normalised(Example("STRASSE und weg"))
    assert normalised(Example("a", "b")) != normalised(Example("a b"))


def test_what_makes_no_two_sides_is_refused() -> None:
    for share in (0.0, 1.0, float("nan"), -1, 2):
        with pytest.raises(ConfigError, match="wanted: between 0 and 1"):
            split(many(10), share)
    with pytest.raises(ConfigError, match="the least is 2"):
        folds(many(10), 1)


def test_a_label_that_only_stands_beside_rarer_ones_stays_in_train() -> None:
    rows = [
        ("a", {"x", "y"}),
        ("b", {"x", "y"}),
        ("c", {"x", "z"}),
        ("d", {"x", "z"}),
        ("e", {"y"}),
        ("f", {"z"}),
    ]
    for seed in range(60):
        train, _ = split(multi(rows), 0.5, seed)
        assert train.gold.any(axis=0).all()


def test_texts_without_a_label_are_on_both_sides_too() -> None:
    rows = [(f"none {i}", set[str]()) for i in range(5)] + [(f"x {i}", {"x"}) for i in range(5)]
    train, held = split(multi(rows), 0.9)
    assert [len(train), (~train.gold.any(axis=1)).sum(), len(held)] == [2, 1, 8]
