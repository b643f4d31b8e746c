"""Label errors: what the other rows say, by scores of models that never saw the row."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tonewise.errors import InputError
from tonewise.evaluate.label_errors import find_label_errors
from tonewise.source import Example
from tonewise.source.labelled import Labelled

N, WIDTH = 300, 64


def made(gold: NDArray[np.bool_], kind: str = "single") -> Labelled:
    names = tuple(f"label {i}" for i in range(gold.shape[1]))
    examples = tuple(
        Example(f"text {row}", labels=tuple(names[i] for i in np.flatnonzero(held)))
        for row, held in enumerate(gold)
    )
    return Labelled(examples, names, gold.astype(np.float32), kind)  # type: ignore[arg-type]


def vectors(gold: NDArray[np.bool_]) -> NDArray[np.float32]:
    """float32[N, 64]: what the labels put there, and a little noise."""
    rng = np.random.default_rng(0)
    directions = rng.normal(0, 1, (gold.shape[1], WIDTH))
    return (gold @ directions + rng.normal(0, 0.1, (len(gold), WIDTH))).astype(np.float32)


def one_of(labels: int) -> NDArray[np.bool_]:
    return np.asarray(np.eye(labels, dtype=np.bool_)[np.arange(N) % labels])


def test_turned_labels_are_found_and_no_others() -> None:
    gold = one_of(3)
    seen = vectors(gold)
    turned = [4, 50, 99]
    gold[turned] = np.roll(gold[turned], 1, axis=1)
    found = find_label_errors(made(gold), seen)
    assert sorted(found.rows) == turned
    assert (found.quality[turned] < 0.5).all()
    assert (np.delete(found.quality, turned) > 0.5).all()
    assert np.allclose(found.scores.sum(axis=1), 1, atol=1e-5)
    assert [found.quality[row] for row in found.rows] == sorted(found.quality[turned])


def test_each_of_several_labels_may_be_wrong() -> None:
    gold = np.random.default_rng(1).random((N, 3)) < 0.4
    seen = vectors(gold)
    gold[7, 0] ^= True
    gold[80, 2] ^= True
    found = find_label_errors(made(gold, "multi"), seen)
    assert set(found.rows) <= {7, 80}
    assert len(found.rows) > 0
    assert set(np.argsort(found.quality)[:2].tolist()) == {7, 80}
    assert ((found.scores > 0.5) == gold).all(axis=1).sum() == N - 2


def test_one_label_that_holds_or_not_is_enough() -> None:
    gold = np.random.default_rng(1).random((N, 1)) < 0.4
    seen = vectors(gold)
    gold[7] ^= True
    found = find_label_errors(made(gold, "multi"), seen)
    assert found.rows == (7,)
    assert found.quality.argmin() == 7


def test_an_unused_name_changes_nothing_and_scores_nothing() -> None:
    gold = one_of(2)
    seen = vectors(gold)
    gold[5] = ~gold[5]
    wider = np.insert(gold, [0, 1], False, axis=1)
    known, found = find_label_errors(made(gold), seen), find_label_errors(made(wider), seen)
    assert (found.rows, found.rows) == (known.rows, (5,))
    assert np.array_equal(found.quality, known.quality)
    assert found.scores[:, [0, 2]].max() == 0
    several = find_label_errors(made(np.insert(wider, 0, True, axis=1), "multi"), seen)
    assert several.rows == (5,)


def test_a_label_of_one_row_stops_nothing() -> None:
    gold = np.pad(one_of(2), ((0, 0), (0, 1)))
    seen = vectors(gold)
    gold[3] = [False, False, True]
    assert find_label_errors(made(gold), seen).scores[3, 2] == 0
    assert find_label_errors(made(gold, "multi"), seen).scores[3, 2] == 0


def test_equal_texts_do_not_vouch_for_each_other() -> None:
    gold = one_of(2)
    seen = vectors(gold)
    gold[:10] = ~gold[:10]
    labelled = made(gold)
    alike = tuple(Example("text", labels=one.labels) for one in labelled.examples[:10])
    seen[:10] = seen[0]
    same = Labelled((*alike, *labelled.examples[10:]), labelled.names, labelled.targets, "single")
    assert len(set(find_label_errors(same, seen).scores[:10, 0].tolist())) == 1


def test_few_texts_are_refused() -> None:
    gold = one_of(2)[:4]
    with pytest.raises(InputError, match="4 different texts cannot make 5 folds"):
        find_label_errors(made(gold), vectors(gold))
