"""For tests of the scheduler: an engine that waits and fails as told, and what asks it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tonewise.serve.scheduler import Scheduler
from tonewise.serve.waiting import Lane
from tonewise.tokenizer import Encoding

PATIENCE = 20.0
Answers = tuple[list[Any], float]


class Double:
    """An engine that answers each text with its length, waits where told, and fails as told."""

    def __init__(self, fail: Callable[[list[int]], BaseException | None] = lambda lengths: None) -> None:
        self.fail = fail
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, encodings: Sequence[Encoding]) -> list[Any]:
        lengths = [encoding.n_tokens for encoding in encodings]
        self.batches.append(lengths)
        assert self.gate.wait(PATIENCE)
        if error := self.fail(lengths):
            raise error
        return list(lengths)


def encodings(*lengths: int) -> list[Encoding]:
    return [Encoding.of([7] * length) for length in lengths]


@asynccontextmanager
async def scheduling(workers: int = 1, hang_seconds: float = PATIENCE) -> AsyncIterator[Scheduler]:
    made = Scheduler(workers, hang_seconds)
    try:
        yield made
    finally:
        made.close()


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.001)


def ask(scheduler: Scheduler, lane: Lane, *lengths: int, **options: Any) -> "asyncio.Task[Answers]":
    return asyncio.create_task(scheduler.answer(lane, encodings(*lengths), **options))


async def in_hand(
    scheduler: Scheduler, engine: Double, lane: Lane, length: int = 1
) -> "asyncio.Task[Answers]":
    """A batch that a worker has begun and does not end until `engine.gate` is set."""
    engine.gate.clear()
    seen = len(engine.batches)
    task = ask(scheduler, lane, length)
    await until(lambda: len(engine.batches) > seen)
    return task
