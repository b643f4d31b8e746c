"""Threads that run batches: each watched, and replaced when it dies or does not come back."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import Any

from tonewise.serve.waiting import Compute, Item, Lane


@dataclass(eq=False, slots=True)
class Load:
    """One batch in a worker's hands.

    compute  the lane's when it began; a lane that was reopened has another
    tokens   of all items, without padding
    begun    on `time.perf_counter`
    answers  one per item once it is done, or the exception that the worker died of
    seconds  that computing took
    """

    lane: Lane
    compute: Compute
    items: Sequence[Item]
    tokens: int
    begun: float = 0.0
    answers: Sequence[Any] | BaseException = ()
    seconds: float = 0.0


Deliver = Callable[["Worker", Load], None]


class Worker:
    """One thread and the batch that it has in hand.

    It is a daemon: a native call that never returns cannot be ended from here, only be left behind.
    """

    def __init__(self, number: int, deliver: Deliver) -> None:
        """`deliver` is called in the thread when a batch is done. Raises RuntimeError for want of threads."""
        self.load: Load | None = None
        self._deliver = deliver
        self._inbox: SimpleQueue[Load | None] = SimpleQueue()
        Thread(target=self._run, name=f"tonewise-serve-{number}", daemon=True).start()

    def give(self, load: Load) -> None:
        """Begin a batch. The worker has none in hand."""
        load.begun = time.perf_counter()
        self.load = load
        self._inbox.put(load)

    def end(self) -> None:
        """Let the thread go once it is done with what it has."""
        self._inbox.put(None)

    def _run(self) -> None:
        while (load := self._inbox.get()) is not None:
            survived = self._survives(load)
            del load  # a worker that idles must not keep a model in memory that was unloaded
            if not survived:
                return

    def _survives(self, load: Load) -> bool:
        try:
            answers = load.compute([one.ticket.encodings[one.place] for one in load.items])
            if len(answers) != len(load.items):
                raise RuntimeError(f"{len(answers)} answers to {len(load.items)} texts")
            load.answers = answers
        except BaseException as death:  # whatever it is: the requests must not wait for ever
            load.answers = death
        load.seconds = time.perf_counter() - load.begun
        survived = not isinstance(load.answers, BaseException)  # the loop may change what it is given
        self._deliver(self, load)
        return survived
