"""One measurement: what a task finds, and what it tells."""

import io
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.doubles import MakeModel
from tonewise.batching import Batch
from tonewise.benchmark import worker
from tonewise.classifier import Classifier
from tonewise.config import BatchConfig, Config, EngineConfig, StoreConfig
from tonewise.encoder.weights import NetworkSpec
from tonewise.engines.buckets import Buckets

TEXTS = ["so happy", "they are so sad today and never happy", "love", "the food is bad", "a day"]
Task = Callable[..., dict[str, Any]]


@pytest.fixture
def task(model: MakeModel, tmp_path: Path) -> Task:
    def made(texts: list[Any] = TEXTS, **batch: int) -> dict[str, Any]:
        (tmp_path / "texts.json").write_text(json.dumps(texts))
        config = Config(engine=EngineConfig("stub"), batch=BatchConfig(**batch))
        return {
            "model": str(model()),
            "config": json.loads(json.dumps(asdict(config))),
            "first": texts[0],
            "texts": str(tmp_path / "texts.json"),
            "seconds": 0.0,
        }

    return made


def test_a_config_comes_through_json_unchanged() -> None:
    config = Config(StoreConfig(accept_licences=("mit", "unstated")), engine=EngineConfig("torch", threads=3))
    assert worker.config_from(json.loads(json.dumps(asdict(config)))) == config


def test_the_answers_are_those_of_the_classifier(task: Task, model: MakeModel) -> None:
    told = io.StringIO()
    found = worker.answer(task(), told)
    assert json.loads(told.getvalue()) == {"answered": True}
    with Classifier.load(model(), engine="stub") as classifier:
        answers = classifier.classify(TEXTS)
    assert found["answers"] == [[[one.label, list(one.scores.values())]] for one in answers]
    tokens = [one.n_tokens for one in answers]
    assert (found["tokens_mean"], found["tokens_max"]) == (np.mean(tokens), max(tokens))
    assert found["truncated"] == 0


def test_a_pair_is_read_back_as_a_pair(task: Task, model: MakeModel) -> None:
    (found,) = worker.answer(task([["so happy", "so sad"]]), io.StringIO())["answers"]
    with Classifier.load(model(), engine="stub") as classifier:
        assert found[0][0] == classifier.classify(("so happy", "so sad")).label


def test_padding_is_that_of_the_batches_that_ran(task: Task) -> None:
    tokens = [4, 10, 3, 6, 4]  # with both special ones
    together = worker.answer(task(max_batch_tokens=1000), io.StringIO())
    assert together["tokens_mean"] == np.mean(tokens)
    assert together["padding"] == pytest.approx(1 - sum(tokens) / 50)
    assert together["bucket_padding"] is None
    assert worker.answer(task(max_batch_rows=1), io.StringIO())["padding"] == 0


def test_what_shape_buckets_add_is_told_apart_and_only_once_per_text(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Classifier.load

    def bucketed(*arguments: Any, **options: Any) -> Classifier:
        classifier = load(*arguments, **options)
        classifier.engine = Bucketed(classifier)
        return classifier

    monkeypatch.setattr(Classifier, "load", bucketed)
    found = worker.answer(task(["so happy", "so sad"], max_batch_rows=1), io.StringIO())
    # Two batches of one row of 4 tokens, each widened to the narrowest bucket, of 8; the first answer aside.
    assert (found["padding"], found["bucket_padding"]) == (0, 0.5)
    # One batch of 4, 4 and 10 tokens: 12 of planned padding, and a fourth row.
    found = worker.answer(task(["so happy", "so sad", TEXTS[1]]), io.StringIO())
    assert (found["padding"], found["bucket_padding"]) == (pytest.approx(12 / 30), 10 / 40)


class Bucketed:
    """An engine that pads up to buckets."""

    name, precision, streams = "bucketed", "fp32", 1

    def __init__(self, classifier: Classifier) -> None:
        self.inner, self.poolings = classifier.engine, classifier.engine.poolings
        self.buckets = Buckets(NetworkSpec.from_config(classifier.bundle.network, "it"))

    def run(self, batch: Batch) -> NDArray[np.float32]:
        self.buckets.fit(batch)
        return self.inner.run(batch)

    def close(self) -> None:
        self.inner.close()


def test_one_text_at_a_time_is_timed_after_others(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    classify = Classifier.classify

    def noted(self: Classifier, texts: Any) -> Any:
        asked.append(texts)
        return classify(self, texts)

    monkeypatch.setattr(Classifier, "classify", noted)
    found = worker.single(task(), io.StringIO())
    assert asked == [TEXTS[0], *TEXTS]  # the first answer, the warm-up, the others
    assert 0 < found["p50_ms"] <= found["p95_ms"] <= found["p99_ms"] < 60_000


@pytest.mark.parametrize(("count", "warming", "timed"), [(1, 1, 1), (2, 1, 1), (50, 5, 45), (9999, 20, 200)])
def test_no_text_is_both_warmed_up_with_and_timed_save_one_alone(
    count: int, warming: int, timed: int
) -> None:
    texts = [f"text {i}" for i in range(count)]
    before, after = worker.texts_to_time(texts)
    assert (len(before), len(after)) == (warming, timed)
    assert count == 1 or not set(before) & set(after)
    if count > 220:
        assert int(after[-1].split()[1]) > 0.9 * count  # type: ignore[union-attr]  # drawn from all of them


def test_many_texts_are_counted_by_the_second(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(clock)))
    found = worker.bulk(task() | {"seconds": 3.0}, io.StringIO())
    assert found["texts_per_second"] == pytest.approx(
        2 * len(TEXTS) / 3
    )  # looked at before and after each pass
    assert found["peak_memory_mb"] > 10


def test_peak_memory_grows_with_what_was_held() -> None:
    before = worker.peak_memory_mb()
    held = np.ones(int((before + 50) * 1e6), np.uint8)
    assert worker.peak_memory_mb() >= held.nbytes / 1e6
