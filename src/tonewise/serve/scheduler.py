"""The scheduler: texts of all requests and models → batches → workers → answers; every failure is bounded."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from tonewise.errors import DeadlineError, EngineError, OverloadedError
from tonewise.serve.waiting import Lane, Ticket, Waiting
from tonewise.serve.workers import Load, Worker
from tonewise.tokenizer import Encoding

WATCH_SECONDS = 0.25
MOST_TRIES = 2
"""Of a text: the worker that computes it may die once, of it or of its company."""
HALF_LIFE_SECONDS = 1.0
"""Of the load: arrivals older than that count half."""


class Scheduler:
    """Lives on one event loop; only `Lane.compute` runs elsewhere.

    workers       batches in flight
    hang_seconds  after which a batch is given up
    on_hang       told of the lane whose batch did not come back, once for each engine that it had
    """

    def __init__(
        self, workers: int, hang_seconds: float, on_hang: Callable[[Lane], None] = lambda lane: None
    ) -> None:
        self.waiting, self.hang_seconds, self.on_hang = Waiting(), hang_seconds, on_hang
        self.restarts = 0
        self.last_success: WeakKeyDictionary[Lane, float] = WeakKeyDictionary()
        self.batches: Callable[[Load], None] = lambda load: None
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._wanted, self._made = workers, 0
        self._free: list[Worker] = []
        self._busy: set[Worker] = set()
        self._rate, self._rated = 0.0, time.monotonic()
        self._hold: asyncio.TimerHandle | None = None
        self._fill()
        self._watching = self._loop.call_later(WATCH_SECONDS, self._watch)

    @property
    def size(self) -> int:
        """How many workers there are."""
        return len(self._free) + len(self._busy)

    async def answer(
        self, lane: Lane, encodings: Sequence[Encoding], *, key: str = "", seconds: float = 30.0
    ) -> tuple[list[Any], float]:
        """An answer per encoding, EngineErrors among them, and the seconds from here to the first batch.

        Raises OverloadedError at once when what waits already takes longer than `seconds`, DeadlineError
        when the answers did not come in time, EngineError when the engine did not survive them.
        """
        if not encodings:
            return [], 0.0
        if seconds <= 0:
            raise DeadlineError("the time allowed for the answer was over before it could be computed")
        began = time.monotonic()
        future: asyncio.Future[Any] = self._loop.create_future()
        ticket = Ticket(lane, encodings, key, began + seconds, lambda found: _settle(future, found))
        self._refuse_the_hopeless(ticket, seconds)
        timer = self._loop.call_later(seconds, self._expire, ticket)
        self._count(ticket.tokens, began)
        self.waiting.add(ticket)
        self._pump()
        try:
            found = await future
        finally:
            timer.cancel()
            self.waiting.drop(ticket)
        if isinstance(found, BaseException):
            raise found
        return found, max(ticket.begun - began, 0.0)

    def seconds_ahead(self, key: str | None = None) -> float:
        """About how long the workers are busy with all that waits; for a key, with what it would wait for."""
        return (self.waiting.seconds_ahead(key) + self._seconds_in_hand()) / max(self.size, 1)

    def overloaded(self, told: str) -> OverloadedError:
        """The refusal, with when to come back."""
        later = max(1, math.ceil(self.seconds_ahead()))
        return OverloadedError(told, retry_after_seconds=later, queued_tokens=self.waiting.all_tokens)

    def load(self, lane: Lane) -> float:
        """The share of the workers' time that arrivals ask for; above 1 the queue grows."""
        rate = self._rate * 0.5 ** ((time.monotonic() - self._rated) / HALF_LIFE_SECONDS)
        per_token, per_batch = lane.cost.line
        return float(rate * (per_token + per_batch / lane.budget) / max(self.size, 1))

    def reopen(self, lane: Lane, compute: Callable[[Sequence[Encoding]], Sequence[Any]]) -> None:
        """A lane goes on with a new engine."""
        lane.compute, lane.open = compute, True
        self._pump()

    def close(self) -> None:
        """End the workers; what waits is left to its deadlines."""
        self._closed = True
        self._watching.cancel()
        for worker in (*self._free, *self._busy):
            worker.end()

    # How: what is let in.

    def _refuse_the_hopeless(self, ticket: Ticket, seconds: float) -> None:
        """Raise OverloadedError for what cannot be answered in time.

        What can begin at once is tried whatever is predicted: it keeps nobody waiting, and a prediction
        gone wrong is put right by nothing but a batch.
        """
        cost, budget = ticket.lane.cost, ticket.lane.budget
        if not cost.known or (self._free and not len(self.waiting)):
            return
        size = max(self.size, 1)
        whole = cost.seconds(ticket.tokens, max(1.0, ticket.tokens / budget))
        ahead = self.waiting.seconds_ahead(ticket.key, whole) + self._seconds_in_hand()
        predicted = ahead / size + max(whole / size, cost.seconds(min(ticket.tokens, budget)))
        if predicted > seconds:
            raise self.overloaded(f"an answer would take {predicted:.1f} s, and {seconds:g} s is the most")

    def _seconds_in_hand(self) -> float:
        """Seconds of one worker until the batches that run are done."""
        now, total = time.perf_counter(), 0.0
        for worker in self._busy:
            if (load := worker.load) is not None:
                total += max(load.lane.cost.seconds(load.tokens) - (now - load.begun), 0.0)
        return total

    def _count(self, tokens: int, now: float) -> None:
        """Tokens that arrive a second, the last second or so counting most."""
        self._rate *= 0.5 ** ((now - self._rated) / HALF_LIFE_SECONDS)
        self._rate += tokens * math.log(2) / HALF_LIFE_SECONDS
        self._rated = now

    # How: what runs.

    def _wait_for_more(self, lane: Lane) -> float:
        """How long a batch that is not full may wait for more texts.

        Waiting saves at most what one batch costs beside its tokens, and only a busy server needs the
        saving: nothing while another worker idles or half of the time is spare.
        """
        busy = self.load(lane)
        if len(self._free) > 1 or not self._busy:
            return 0.0
        _, per_batch = lane.cost.line
        return per_batch * min(1.0, 2 * busy - 1)

    def _holds(self, lane: Lane) -> bool:
        """Whether a batch that is not full stays where it is for a moment; the pump runs again after it."""
        wait = self._wait_for_more(lane)
        if wait > 0 and self._hold is None:
            self._hold = self._loop.call_later(wait, self._waited)
        return wait > 0

    def _waited(self) -> None:
        self._hold = None
        self._pump(patient=False)

    def _pump(self, *, patient: bool = True) -> None:
        """Give batches to workers for as long as there are both."""
        while self._free and len(self.waiting) and not self._closed:
            now = time.monotonic()
            chosen = self.waiting.next_batch(now, len(self._free))
            if chosen is None:
                return
            lane, items = chosen
            padded = items[-1].tokens * len(items)
            if patient and padded < lane.budget // 2 and self._holds(lane):
                return
            patient = True
            if self._hold is not None:
                self._hold.cancel()
                self._hold = None
            self.waiting.take(lane, items)
            for item in items:
                item.ticket.begun = item.ticket.begun or now
            worker = self._free.pop()
            self._busy.add(worker)
            worker.give(Load(lane, lane.compute, items, sum(item.tokens for item in items)))

    def _finished(self, worker: Worker, load: Load) -> None:
        """A worker is back, or died."""
        if worker not in self._busy:
            return  # given up on before
        self._busy.discard(worker)
        worker.load = None
        if isinstance(load.answers, BaseException):
            self._retry(load, load.answers)
            self._replace()
        else:
            self._free.append(worker)
            self._deliver(load, load.answers)
        self._pump()

    def _deliver(self, load: Load, answers: Sequence[Any]) -> None:
        if not all(isinstance(answer, EngineError) for answer in answers):
            load.lane.cost.learn(load.tokens, load.seconds)
            self.last_success[load.lane] = time.monotonic()
        for item, answer in zip(load.items, answers, strict=True):
            ticket = item.ticket
            ticket.answers[item.place] = answer
            ticket.left -= 1
            if ticket.left == 0:
                ticket.done(ticket.answers)
        self.batches(load)

    # How: what fails.

    def _worker(self) -> Worker:
        self._made += 1

        def deliver(worker: Worker, load: Load) -> None:
            with suppress(RuntimeError):  # the loop was closed, and nobody waits
                self._loop.call_soon_threadsafe(self._finished, worker, load)

        return Worker(self._made, deliver)

    def _fill(self) -> None:
        """As many workers as are wanted, or as the machine has threads for; the watch tries again."""
        with suppress(RuntimeError):
            while self.size < self._wanted and not self._closed:
                self._free.append(self._worker())

    def _replace(self) -> None:
        self.restarts += 1
        self._fill()

    def _retry(self, load: Load, death: BaseException) -> None:
        """The texts of a worker that died have one more try, each request's by themselves."""
        again, spent = [], dict[Ticket, None]()
        for item in load.items:
            item.tries += 1
            if item.tries < MOST_TRIES:
                again.append(item)
            else:
                spent[item.ticket] = None
        why = str(death) if isinstance(death, EngineError) else type(death).__name__
        for ticket in spent:
            self._fail(ticket, EngineError(f"the engine's worker died of it twice: {why}"))
        self.waiting.put_back([item for item in again if not item.ticket.dropped])

    def _fail(self, ticket: Ticket, error: Exception) -> None:
        self.waiting.drop(ticket)
        ticket.done(error)

    def _expire(self, ticket: Ticket) -> None:
        self._fail(ticket, DeadlineError("the answer did not come in the time allowed for it"))

    def _watch(self) -> None:
        """Give up batches that do not come back."""
        self._watching = self._loop.call_later(WATCH_SECONDS, self._watch)
        now = time.perf_counter()
        for worker in list(self._busy):
            load = worker.load
            if load is not None and now - load.begun > self.hang_seconds:
                self._give_up(worker, load)
        self._fill()
        self._pump()

    def _give_up(self, worker: Worker, load: Load) -> None:
        self._busy.discard(worker)
        worker.end()  # should it ever come back
        lane = load.lane
        known = not lane.open or load.compute is not lane.compute  # that this engine hangs
        if not known:
            lane.open = False
            lane.hung += 1
        for ticket in dict.fromkeys(item.ticket for item in load.items):
            self._fail(ticket, EngineError(f"the engine did not come back within {self.hang_seconds:g} s"))
        self._replace()
        if not known:
            self.on_hang(lane)


def _settle(future: "asyncio.Future[Any]", found: Any) -> None:
    if not future.done():
        future.set_result(found)
