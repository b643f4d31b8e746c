"""The process that asks: open loop (requests come whether answers do or not) or closed; checks answers."""

import asyncio
import json
import random
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

MOST_SECONDS = 60.0
"""For an answer; beyond, the request counts as lost."""
CONNECTIONS = 1_000


@dataclass(frozen=True, slots=True)
class Job:
    """What to ask, and how often.

    bodies     of the requests, JSON each
    wanted     for each body and each of its texts the label and score that are right; empty: not checked
    tolerance  of a score
    rate       requests a second, at random moments (Poisson); 0: `callers` that ask as soon as they may
    seconds    how long new requests are sent
    probe      body asked one at a time when the load is over, for `probing` seconds
    """

    port: int
    bodies: list[str]
    wanted: list[list[tuple[str, float]]]
    tolerance: float = 1e-3
    rate: float = 0.0
    callers: int = 16
    seconds: float = 10.0
    probe: int = 0
    probing: float = 0.0
    seed: int = 0

    def dumps(self) -> str:
        """As `load` reads it."""
        return json.dumps(asdict(self))


@dataclass(slots=True)
class Asked:
    """One request. Times are seconds since the load began; status 0 is none: the answer was lost."""

    body: int
    due: float
    sent: float
    done: float
    status: int
    wrong: int
    told: str = ""


class Generator:
    """Asks over kept connections and notes what became of each request."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.requests = [_request(body) for body in job.bodies]
        self.found: list[Asked] = []
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._begun = 0.0

    async def run(self) -> dict[str, Any]:
        """The load, then the probes."""
        self._begun = time.perf_counter()
        await (self._open_loop() if self.job.rate else self._closed_loop())
        probes: list[Asked] = []
        if self.job.probing:
            waiting, self.found = self.found, probes
            end = self._now() + self.job.probing
            while self._now() < end:
                await self._ask(self.job.probe, self._now())
                await asyncio.sleep(0.02)
            self.found = waiting
        await self._settle()
        return {"asked": [_row(one) for one in self.found], "probes": [_row(one) for one in probes]}

    async def _open_loop(self) -> None:
        chance, due = random.Random(self.job.seed), 0.0
        self._running: set[asyncio.Task[None]] = set()
        while (due := due + chance.expovariate(self.job.rate)) < self.job.seconds:
            if (wait := due - self._now()) > 0:
                await asyncio.sleep(wait)
            task = asyncio.create_task(self._ask(chance.randrange(len(self.requests)), due))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _closed_loop(self) -> None:
        async def caller(number: int) -> None:
            chance = random.Random(self.job.seed + number)
            while self._now() < self.job.seconds:
                await self._ask(chance.randrange(len(self.requests)), self._now())

        self._running = set()
        await asyncio.gather(*(caller(i) for i in range(self.job.callers)))

    async def _settle(self) -> None:
        """Nothing is left behind."""
        if self._running:
            await asyncio.wait(self._running)
        for _, writer in self._idle:
            writer.close()

    async def _ask(self, body: int, due: float) -> None:
        sent = self._now()
        try:
            async with asyncio.timeout(MOST_SECONDS):
                status, answer = await self._exchange(self.requests[body])
        except (OSError, asyncio.IncompleteReadError, ValueError, TimeoutError) as error:
            self.found.append(Asked(body, due, sent, self._now(), 0, 0, f"{type(error).__name__}: {error}"))
            return
        done, wrong = self._now(), 0
        if status == 200 and self.job.wanted:
            wanted = self.job.wanted[body]
            try:
                wrong = _wrong(json.loads(answer), wanted, self.job.tolerance)
            except (ValueError, KeyError, TypeError, AttributeError):  # no answer of any kind
                wrong = len(wanted)
        told = "" if status in (200, 429) else answer.decode("utf-8", "replace")[:200]
        self.found.append(Asked(body, due, sent, done, status, wrong, told))

    async def _exchange(self, request: bytes) -> tuple[int, bytes]:
        line = reader, writer = await self._line()
        try:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            status, length = int(head[9:12]), int(head.partition(b"content-length: ")[2].partition(b"\r")[0])
            answer = await reader.readexactly(length)
        except BaseException:
            writer.close()
            raise
        if b"connection: close" in head or len(self._idle) >= CONNECTIONS:
            writer.close()
        else:
            self._idle.append(line)
        return status, answer

    async def _line(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A kept connection, or a new one. Those that the server closed while they idled are no loss."""
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", self.job.port)

    def _now(self) -> float:
        return time.perf_counter() - self._begun


def _request(body: str) -> bytes:
    raw = body.encode()
    head = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(raw)}\r\n\r\n".encode() + raw


def _wrong(answers: Any, wanted: list[tuple[str, float]], tolerance: float) -> int:
    """How many answers are not those to their texts."""
    if len(answers) != len(wanted):
        return len(wanted)
    count = 0
    for answer, (label, score) in zip(answers, wanted, strict=True):
        scores = {one["label"]: one["score"] for one in answer}
        best = max(scores.values())
        count += abs(scores.get(label, 2.0) - score) > tolerance or abs(best - score) > tolerance
    return count


def _row(one: Asked) -> list[Any]:
    return [one.body, one.due, one.sent, one.done, one.status, one.wrong, one.told]


def main(read: Callable[[], str] = sys.stdin.read) -> None:
    """A job on stdin, what became of its requests on stdout."""
    found = asyncio.run(Generator(Job(**json.loads(read()))).run())
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
