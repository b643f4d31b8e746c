"""Workers: every batch comes back, as answers or as what the thread died of."""

import gc
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any

import pytest

from tonewise.serve.waiting import Item, Lane, Ticket
from tonewise.serve.workers import Load, Worker
from tonewise.tokenizer import Encoding

PATIENCE = 20.0
Done = SimpleQueue[tuple[Worker, Load]]


def load(compute: Callable[[Sequence[Encoding]], Any], lengths: Sequence[int] = (2, 3)) -> Load:
    lane = Lane("lane", compute, 64)
    ticket = Ticket(lane, [Encoding.of([7] * length) for length in lengths], "", 1e9, lambda found: None)
    items = [Item(ticket, place, length, place) for place, length in enumerate(lengths)]
    return Load(lane, compute, items[::-1], sum(lengths))


def lengths_of(encodings: Sequence[Encoding]) -> list[int]:
    return [encoding.n_tokens for encoding in encodings]


def thread_of(number: int) -> threading.Thread | None:
    return next((one for one in threading.enumerate() if one.name == f"tonewise-serve-{number}"), None)


def made(number: int) -> tuple[Worker, Done]:
    done: Done = SimpleQueue()
    return Worker(number, lambda worker, load: done.put((worker, load))), done


def test_a_batch_comes_back_with_an_answer_per_item_and_its_time() -> None:
    worker, done = made(9001)
    given = load(lengths_of)
    worker.give(given)
    assert worker.load is given
    assert done.get(timeout=PATIENCE) == (worker, given)
    assert given.answers == [3, 2]
    assert 0 <= given.seconds <= time.perf_counter() - given.begun
    worker.end()


def test_a_worker_computes_with_the_engine_that_the_batch_began_with() -> None:
    worker, done = made(9002)
    given = load(lengths_of)
    given.lane.compute = lambda encodings: ["another"] * len(encodings)
    worker.give(given)
    done.get(timeout=PATIENCE)
    assert given.answers == [3, 2]
    worker.end()


def too_few(encodings: Sequence[Encoding]) -> list[int]:
    return [0]


def too_many(encodings: Sequence[Encoding]) -> list[int]:
    return [0] * 3


def nothing(encodings: Sequence[Encoding]) -> None:
    return None


def out_of_memory(encodings: Sequence[Encoding]) -> list[int]:
    raise MemoryError


def exits(encodings: Sequence[Encoding]) -> list[int]:
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("number", "compute", "death"),
    [
        (9010, too_few, RuntimeError),
        (9011, too_many, RuntimeError),
        (9012, nothing, TypeError),
        (9013, out_of_memory, MemoryError),
        (9014, exits, SystemExit),
    ],
)
def test_a_worker_tells_what_it_died_of_and_is_gone(
    number: int, compute: Callable[..., Any], death: type[BaseException]
) -> None:
    worker, done = made(number)
    thread = thread_of(number)
    assert thread is not None
    given = load(compute)
    worker.give(given)
    done.get(timeout=PATIENCE)
    assert isinstance(given.answers, death)
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_worker_that_is_ended_finishes_what_it_has() -> None:
    worker, done = made(9020)
    thread = thread_of(9020)
    assert thread is not None
    go = threading.Event()

    def waits(encodings: Sequence[Encoding]) -> list[int]:
        assert go.wait(PATIENCE)
        return lengths_of(encodings)

    given = load(waits)
    worker.give(given)
    worker.end()
    go.set()
    assert done.get(timeout=PATIENCE)[1].answers == [3, 2]
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_an_idle_worker_keeps_no_model_in_memory() -> None:
    class Model:
        def __call__(self, encodings: Sequence[Encoding]) -> list[int]:
            return lengths_of(encodings)

    worker, done = made(9030)
    model = Model()
    gone = weakref.ref(model)
    worker.give(load(model))
    done.get(timeout=PATIENCE)
    worker.load = None  # as the scheduler does
    del model
    until = time.monotonic() + PATIENCE
    while gone() is not None and time.monotonic() < until:
        gc.collect()
        time.sleep(0.001)
    assert gone() is None
    worker.end()
