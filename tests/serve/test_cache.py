"""Kept answers: the same ones, in bounded memory, the one unused longest going first."""

import tracemalloc
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tonewise.head import HeadPrediction, Prediction
from tonewise.serve.cache import Answer, Cache
from tonewise.tokenizer import Encoding

LABELS = [f"label {i}" for i in range(28)]


def prediction(labels: int = 6, heads: int = 1, chosen: tuple[str, ...] | None = None) -> Prediction:
    scores = [
        {label: float(np.random.default_rng().random()) for label in LABELS[:labels]} for _ in range(heads)
    ]
    return Prediction(
        {f"head {i}": HeadPrediction(LABELS[0], 0.5, of, chosen) for i, of in enumerate(scores)}, 9
    )


def key(text: Any, digest: str = "digest") -> tuple[Any, ...]:
    return digest, "engine", "int8", "1", "classify", None, text


def put(cache: Cache, text: Any, value: Any = None, digest: str = "digest") -> Answer:
    answer = Answer(prediction() if value is None else value, 5, False)
    cache.put(key(text, digest), text, answer)
    return answer


def size_of(text: Any, value: Any) -> int:
    cache = Cache(10**9)
    put(cache, text, value)
    return cache.bytes


def test_an_answer_comes_back_as_it_was() -> None:
    cache = Cache(10**6)
    answer = put(cache, "a")
    assert cache.get(key("a")) == answer
    assert cache.get(key("b")) is None
    assert cache.get(key("a", "another")) is None
    assert (cache.hits, cache.misses, len(cache)) == (1, 2, 1)


def test_texts_pairs_and_encodings_are_told_apart() -> None:
    cache = Cache(10**6)
    texts: list[Any] = ["a b", ("a", "b"), ("a b", ""), Encoding.of([1, 2]), Encoding.of([1, 2], [0, 1])]
    answers = [put(cache, text) for text in texts]
    assert [cache.get(key(text)) for text in texts] == answers


def test_any_text_can_be_kept() -> None:
    cache = Cache(10**6)
    for text in ("", "\0", "\ud800", "日本" * 100, ("", "")):
        assert put(cache, text) == cache.get(key(text))


def test_a_cache_of_no_bytes_keeps_nothing() -> None:
    cache = Cache(0)
    put(cache, "a")
    assert (len(cache), cache.bytes) == (0, 0)


def test_what_is_too_large_is_not_kept_and_drives_nothing_out() -> None:
    cache = Cache(10_000)
    answer = put(cache, "small")
    put(cache, "x" * 20_000)
    assert len(cache) == 1
    assert cache.get(key("small")) == answer


texts = st.integers(0, 12)
steps = st.lists(st.tuples(st.sampled_from(["put", "get", "forget"]), texts), max_size=80)


@given(steps, st.integers(0, 12_000))
def test_the_bytes_are_those_of_the_entries_and_the_unused_go_first(
    walk: list[tuple[str, int]], most: int
) -> None:
    cache, model = Cache(most), OrderedDict[int, int]()
    value = prediction()
    for what, i in walk:
        text, digest = "x" * (100 * i), f"digest {i % 2}"
        if what == "put":
            put(cache, text, value, digest)
            size = model.pop(i, size_of(text, value))
            if size <= most:
                model[i] = size
            while sum(model.values()) > most:
                model.popitem(last=False)
        elif what == "get":
            found = cache.get(key(text, digest))
            assert (found is not None) == (i in model)
            if i in model:
                model.move_to_end(i)
        else:
            cache.forget(digest)
            model = OrderedDict((one, size) for one, size in model.items() if one % 2 != i % 2)
        assert cache.bytes == sum(model.values()) <= most
        assert len(cache) == len(model)


def test_a_vector_does_not_keep_its_whole_batch_in_memory() -> None:
    batch = np.ones((64, 384), np.float32)
    cache = Cache(10**6)
    put(cache, "vector", batch[3])
    put(cache, "logits", (prediction(), {"head": batch[4, :6]}))
    batch[:] = 7  # nor does it change with it
    vector, logits = cache.get(key("vector")), cache.get(key("logits"))
    assert vector is not None
    assert logits is not None
    for array in (vector.value, logits.value[1]["head"]):
        assert array.base is None
        assert (array == 1).all()


def ids(count: int) -> list[int]:
    return [int(i) for i in np.random.default_rng().integers(300, 30_000, count)]


MADE: dict[str, tuple[Callable[[int], Any], Callable[[], Any]]] = {
    "text": (lambda i: f"a text that someone wrote {i}", prediction),
    "long text": (lambda i: f"a text that someone wrote {i} " * 40, prediction),
    "wide characters": (lambda i: f"日本語 {i} " * 40, prediction),
    "pair": (lambda i: (f"one text {i}", f"another {i}"), prediction),
    "encoding": (lambda i: Encoding.of(ids(50), [0] * 50), prediction),
    "many labels": (lambda i: f"text {i}", lambda: prediction(28, 2, ("a", "b"))),
    "vector": (lambda i: f"text {i}", lambda: np.ones((9, 384), np.float32)[2]),
    "logits": (lambda i: f"text {i}", lambda: (prediction(), {"head": np.ones((9, 6), np.float32)[2]})),
}


@pytest.mark.parametrize("kind", MADE)
def test_the_bytes_that_are_counted_are_those_that_are_taken(kind: str) -> None:
    text, value = MADE[kind]
    cache = Cache(10**9)
    was_on = tracemalloc.is_tracing()
    if not was_on:
        tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for i in range(1000):
        put(cache, text(i), value())
    taken = tracemalloc.get_traced_memory()[0] - before
    if not was_on:
        tracemalloc.stop()
    assert 0.8 * taken < cache.bytes < 1.3 * taken
