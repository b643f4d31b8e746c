"""Streams keep their order and end their threads; failures stay in their places."""

import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.doubles import TEXTS, MakeModel, Recorder, scores_of, with_head
from tests.models import WORDS
from tonewise import Classifier, Example
from tonewise.batching import Batch
from tonewise.engines.stub import StubEngine
from tonewise.errors import EngineMemoryError, InputError, RowError
from tonewise.head import Prediction

SAD = WORDS.index("sad")


@pytest.fixture
def classifier(model: MakeModel) -> Iterator[Classifier]:
    with Classifier.load(model()) as opened:
        yield opened


@pytest.fixture
def stubbed(model: MakeModel) -> Iterator[Classifier]:
    with Classifier.load(model(), engine="stub") as opened:
        yield opened


def test_bad_texts_are_told_in_their_places(classifier: Classifier) -> None:
    answers = classifier.classify(["i am happy", None, "sad", 3, "\ud800", "love"], on_error="return")
    faults = {i: answer for i, answer in enumerate(answers) if isinstance(answer, RowError)}
    assert {i: fault.where for i, fault in faults.items()} == {1: "text 2", 3: "text 4", 4: "text 5"}
    assert {fault.code for fault in faults.values()} == {"bad_input"}
    good = [answer for answer in answers if not isinstance(answer, RowError)]
    np.testing.assert_allclose(
        scores_of(good), scores_of(classifier.classify(["i am happy", "sad", "love"])), atol=1e-5
    )


def test_the_first_bad_text_is_raised(classifier: Classifier) -> None:
    with pytest.raises(RowError, match="text 2: the text is missing"):
        classifier.classify(["i am happy", None, 3])
    answers = classifier.classify(iter(["i am happy", None, 3]))
    assert isinstance(next(answers), Prediction)
    with pytest.raises(RowError, match="text 2: the text is missing"):
        next(answers)


def test_one_text_too_may_be_answered_by_its_error(classifier: Classifier) -> None:
    answer = classifier.classify("\ud800", on_error="return")
    assert isinstance(answer, RowError)


def test_a_poisonous_row_fails_alone(stubbed: Classifier) -> None:
    texts = [
        f"i am {word} {number}"
        for number in (1, 2, 3)
        for word in ("happy", "angry", "good", "slow", "great")
    ]
    texts.insert(7, "so sad")
    clean = [text for text in texts if "sad" not in text]
    wanted = scores_of(stubbed.classify(clean))
    stubbed.engine = StubEngine(stubbed.engine.poolings, 32, fail_on=SAD)
    answers = stubbed.classify(texts, on_error="return")
    fault = answers.pop(7)
    assert isinstance(fault, RowError)
    assert (fault.where, fault.code, fault.exit_status) == ("text 8", "engine_failed", 6)
    np.testing.assert_allclose(scores_of(answers), wanted, atol=1e-5)
    with pytest.raises(RowError, match="text 8: the stub was told to fail"):
        stubbed.classify(texts)
    with pytest.raises(RowError, match="text 8"):
        stubbed.logits(texts)
    with pytest.raises(RowError, match="text 8"):
        list(stubbed.classify(iter(texts)))


def test_every_text_with_a_poisonous_window_fails_and_no_other(model: MakeModel) -> None:
    with Classifier.load(model(), engine="stub", too_long="window", max_length=8, stride=0) as classifier:
        classifier.engine = StubEngine(classifier.engine.poolings, 32, fail_on=SAD)
        texts = ["love", "i am happy you are very sad", "so sad", "so sad", "i am happy you are very good"]
        answers = classifier.classify(texts, on_error="return")
    assert [isinstance(answer, RowError) for answer in answers] == [False, True, True, True, False]


@pytest.mark.parametrize("most", [1, 2, 3, 7])
def test_out_of_memory_halves_batches_until_they_fit(classifier: Classifier, most: int) -> None:
    texts = [f"{word} {number}" for word in WORDS[5:30] for number in (1, 2)]
    wanted = scores_of(classifier.classify(texts))
    full = EngineMemoryError("no memory")
    classifier.engine = recorder = Recorder(
        classifier.engine, lambda batch: full if len(batch) > most else None
    )
    answers = classifier.classify(texts, on_error="return")
    assert not [answer for answer in answers if isinstance(answer, RowError)]
    np.testing.assert_allclose(scores_of(answers), wanted, atol=1e-5)
    assert max(len(batch) for batch in recorder.batches) <= most


def test_an_engine_without_memory_at_half_its_batches_still_gives_every_answer(
    classifier: Classifier,
) -> None:
    texts = [f"{word} {number}" for word in WORDS[5:45] for number in (1, 2, 3)] * 2
    wanted = scores_of(classifier.classify(texts))
    turns = iter(range(10**6))
    small = replace(classifier.config.batch, max_batch_rows=8)
    classifier.config = replace(classifier.config, batch=small)
    full = EngineMemoryError("no memory")
    classifier.engine = recorder = Recorder(
        classifier.engine, lambda batch: full if next(turns) % 2 and len(batch) > 1 else None
    )
    for answers in (classifier.classify(texts), list(classifier.classify(iter(texts)))):
        np.testing.assert_allclose(scores_of(answers), wanted, atol=1e-5)
    assert next(turns) - len(recorder.batches) > 10, "so many failed"


def test_what_did_not_fit_is_remembered_by_later_calls(classifier: Classifier) -> None:
    texts = [f"{word} {number}" for word in WORDS[5:45] for number in (1, 2, 3)]
    wanted = scores_of(classifier.classify(texts))
    tried: list[int] = []

    def fail(batch: Batch) -> EngineMemoryError | None:
        tried.append(batch.input_ids.size)
        return EngineMemoryError("no memory") if batch.input_ids.size > 200 else None

    classifier.engine = Recorder(classifier.engine, fail)
    np.testing.assert_allclose(scores_of(classifier.classify(texts)), wanted, atol=1e-5)
    assert max(tried) > 200
    tried.clear()
    np.testing.assert_allclose(scores_of(classifier.classify(texts)), wanted, atol=1e-5)
    assert 64 <= max(tried) <= 200


def test_a_text_that_alone_does_not_fit_is_its_own_error(classifier: Classifier) -> None:
    texts = ["so sad", "i am happy " * 15, "love"]
    classifier.engine = Recorder(
        classifier.engine, lambda batch: EngineMemoryError("no memory") if batch.input_ids.size > 40 else None
    )
    answers = classifier.classify(texts, on_error="return")
    assert [isinstance(answer, RowError) for answer in answers] == [False, True, False]
    assert (answers[1].where, answers[1].code) == ("text 2", "out_of_memory")


UNFINITE = {"not a number": [np.nan] * 32, "infinite": [np.inf] + [0] * 31, "overflowing": [3e38, -3e38] * 16}


@pytest.mark.parametrize("case", UNFINITE)
def test_scores_that_are_no_numbers_are_errors_of_their_rows(
    model: MakeModel, tmp_path: Path, case: str
) -> None:
    stubbed = with_head(tmp_path / "bundle", model())

    class Broken(Recorder):
        def run(self, batch: Batch) -> NDArray[np.float32]:
            states = super().run(batch).copy()
            states[(batch.input_ids == SAD).any(axis=1)] = np.array(UNFINITE[case], np.float32)
            return states

    stubbed.engine = Broken(stubbed.engine)
    answers = stubbed.classify(["i am happy", "so sad", "love"], on_error="return")
    assert [isinstance(answer, RowError) for answer in answers] == [False, True, False]
    assert answers[1].code == "engine_failed"
    with pytest.raises(RowError, match="text 2: a score of the model is no number"):
        stubbed.logits(["i am happy", "so sad", "love"])


def test_texts_are_numbered_through_a_long_list(model: MakeModel) -> None:
    with Classifier.load(model(), engine="stub", buffer_rows=2) as classifier:
        for texts in (["love"] * 4 + [None], iter(["love"] * 4 + [None])):
            found = list(classifier.classify(texts, on_error="return"))
            assert [one.where for one in found if isinstance(one, RowError)] == ["text 5"]


def test_answers_come_in_the_order_of_the_input(stubbed: Classifier) -> None:
    small = replace(stubbed.config.batch, buffer_rows=7, max_batch_rows=3)
    stubbed.config = replace(stubbed.config, batch=small)
    texts = [" ".join(WORDS[5 + i % 20 :][: 1 + i * 7 % 19]) for i in range(100)]
    wanted = scores_of(stubbed.classify(text) for text in texts)
    np.testing.assert_allclose(scores_of(stubbed.classify(iter(texts))), wanted, atol=1e-5)
    np.testing.assert_allclose(scores_of(stubbed.classify(texts)), wanted, atol=1e-5)
    assert len({tuple(row) for row in wanted.round(4)}) > 90, "the texts should differ in their answers"


def test_equal_texts_are_computed_once(classifier: Classifier) -> None:
    classifier.engine = recorder = Recorder(classifier.engine)
    answers = classifier.classify(["i am happy", "sad", "I am  HAPPY", "sad", "sad"])
    assert sum(len(batch) for batch in recorder.batches) == 2
    assert answers[0] == answers[2]
    assert answers[1] == answers[3] == answers[4]


def test_a_stream_gives_each_example_with_its_answer_and_passes_errors_on(stubbed: Classifier) -> None:
    lost = RowError("reviews.csv line 3", InputError("no text"))
    items = [
        Example("i am happy", id="a", where="x line 1"),
        lost,
        Example("\udcff", where="x line 4"),
        Example("sad", "love"),
    ]
    found = list(stubbed.stream(items))
    assert [example for example, _ in found] == [items[0], None, items[2], items[3]]
    assert found[1][1] is lost
    assert isinstance(found[2][1], RowError)
    assert found[2][1].where == "x line 4"
    alone = [stubbed.classify("i am happy"), stubbed.classify(("sad", "love"))]
    np.testing.assert_allclose(scores_of([found[0][1], found[3][1]]), scores_of(alone), atol=1e-5)


def test_an_exception_of_the_users_generator_surfaces_after_the_answers_before_it(
    stubbed: Classifier,
) -> None:
    def texts() -> Iterator[str]:
        yield "i am happy"
        yield "sad"
        raise ZeroDivisionError("mine")

    answers = stubbed.classify(texts())
    assert [isinstance(next(answers), Prediction) for _ in range(2)] == [True, True]
    with pytest.raises(ZeroDivisionError, match="mine"):
        next(answers)


def test_nothing_is_read_before_it_is_asked_for_and_not_much_ahead(stubbed: Classifier) -> None:
    stubbed.config = replace(stubbed.config, batch=replace(stubbed.config.batch, buffer_rows=4))
    read: list[int] = []

    def texts() -> Iterator[str]:
        for i in range(1000):
            read.append(i)
            yield "sad"

    answers = stubbed.classify(texts())
    assert read == []
    next(answers)
    time.sleep(0.1)
    assert len(read) < 40
    answers.close()


def own_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("tonewise")}


def test_a_consumer_that_stops_early_ends_the_threads(stubbed: Classifier) -> None:
    def endless() -> Iterator[str]:
        while True:
            yield "i am happy"

    before = own_threads()
    for answer in stubbed.classify(endless()):
        assert answer.label
        break
    deadline = time.monotonic() + 5
    while own_threads() - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert own_threads() <= before


@pytest.mark.parametrize("end", ["pass", "answers.close()"])
def test_a_program_may_end_while_a_stream_is_being_computed(end: str) -> None:
    program = f"""
        from itertools import count
        from tonewise import Classifier
        classifier = Classifier.load("emotion", threads=1, max_batch_tokens=16, buffer_rows=100)
        answers = classifier.classify(f"text number {{i}} is" for i in count())
        next(answers)
        {end}
        """
    for _ in range(2):  # without care four of five such programs are aborted
        command = [sys.executable, "-c", textwrap.dedent(program)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (ended.returncode, ended.stderr) == (0, "")


def test_threads_get_the_answers_that_one_would(classifier: Classifier) -> None:
    lists = [[f"{word} {i}" for word in WORDS[5:25]] for i in (1, 2, 3)] * 3
    wanted = [scores_of(classifier.classify(texts)) for texts in lists]
    vectors = classifier.embed(TEXTS)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda texts: scores_of(classifier.classify(iter(texts))), lists * 2))
        embedded = list(pool.map(lambda _: classifier.embed(TEXTS), range(8)))
    for ours, theirs in zip(found, wanted * 2, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    for ours in embedded:
        np.testing.assert_allclose(ours, vectors, atol=1e-5)


def test_closing_frees_every_engine_and_may_be_repeated(model: MakeModel) -> None:
    with Classifier.load(model()) as classifier:
        classifier.embed(["a"])  # by an engine of its own: the head reads another pooling
        classifier.engine = recorder = Recorder(classifier.engine)
    assert recorder.closed
    classifier.close()
    with pytest.raises(RowError, match="the engine is closed"):
        classifier.classify("a")
    with pytest.raises(RowError, match="the engine is closed"):
        classifier.embed(["a"])


def test_an_abandoned_stream_that_the_collector_ends_on_its_own_thread_does_not_hang() -> None:
    program = """
import gc, threading
from tonewise import Classifier, StubEngine
dropped, plain = threading.Event(), StubEngine.run
def run(self, batch):
    if dropped.wait(0.2):
        gc.collect()
    return plain(self, batch)
StubEngine.run = run
class Holder:
    pass
def abandon(classifier):
    holder = Holder()
    holder.itself = holder
    holder.answers = classifier.classify(f"text {i}" for i in range(10**9))
    next(holder.answers)
gc.disable()
abandon(Classifier.load("emotion", engine="stub", buffer_rows=64, max_wait_seconds=0.05))
dropped.set()
threading.Event().wait(0.5)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=25)
