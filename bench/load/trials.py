"""Two trials of a server: more than it can do, to be refused; and four fifths of what it can do, for long."""

import json
import random
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.load.generator import Asked, Job
from tonewise import Classifier

OVER = 5.0
SHARE = 0.8
SAMPLE_SECONDS = 0.25
CALIBRATING_SECONDS = 10.0
CALLERS = 16
WARMING_CALLERS = 64
"""Who fill the largest batches: the runtime keeps the memory of the largest that it met."""
PROBE_TEXTS = 8
PROBING_SECONDS = 8.0
LIKE_BEFORE = 5


@dataclass(frozen=True)
class Server:
    """A server under test: its process, its port."""

    pid: int
    port: int


@dataclass(frozen=True)
class Requests:
    """Bodies of several texts each, with the answers that are right."""

    bodies: list[str]
    wanted: list[list[tuple[str, float]]]

    @property
    def mean_texts(self) -> float:
        """Of a request."""
        return statistics.mean(map(len, self.wanted))


def requests(
    classifier: Classifier, texts: Sequence[str], sizes: tuple[int, int], count: int = 400
) -> Requests:
    """`count` requests of `sizes` texts each, drawn at random; what is right is what the library answers."""
    answers = classifier.classify(list(texts))
    chance = random.Random(0)
    bodies, wanted = [], []
    for _ in range(count):
        drawn = [chance.randrange(len(texts)) for _ in range(chance.randint(*sizes))]
        bodies.append(json.dumps({"inputs": [texts[i] for i in drawn]}))
        wanted.append([(str(answers[i].label), float(answers[i].score)) for i in drawn])
    return Requests(bodies, wanted)


def overload(server: Server, asked: Requests, seconds: float) -> dict[str, Any]:
    """Five times what it can do, then nothing: what it answers meanwhile, and how soon it is itself again."""
    capacity = _capacity(server, asked)
    probe = min(range(len(asked.bodies)), key=lambda i: abs(len(asked.wanted[i]) - PROBE_TEXTS))
    alone = Requests([asked.bodies[probe]], [asked.wanted[probe]])
    calm = _ask(server, alone, callers=1, seconds=3.0)["asked"]
    usual = statistics.median(one.done - one.sent for one in calm)
    rate = OVER * capacity / asked.mean_texts
    with memory(server.pid) as held:
        told = _ask(server, asked, rate=rate, seconds=seconds, probe=probe, probing=PROBING_SECONDS)
    storm, probes = told["asked"], told["probes"]
    good = [one for one in storm if one.status == 200]
    refused = [one.done - one.sent for one in storm if one.status == 429]
    answered = sum(len(asked.wanted[one.body]) for one in good if one.done <= seconds)
    return {
        "capacity_texts_a_second": round(capacity, 1),
        "requests": len(storm),
        "requests_a_second": round(rate, 1),
        "goodput_share": round(answered / seconds / capacity, 3),
        "refused": len(refused),
        "refusal_p99_milliseconds": round(_percentile(refused, 99) * 1000, 1) if refused else None,
        "answer_p50_seconds": round(_percentile([one.done - one.sent for one in good], 50), 2),
        "answer_p99_seconds": round(_percentile([one.done - one.sent for one in good], 99), 2),
        "sent_late_p99_milliseconds": round(_percentile([one.sent - one.due for one in storm], 99) * 1000, 1),
        "usual_milliseconds": round(usual * 1000, 1),
        "recovery_seconds": _recovery(probes, seconds, usual),
        **_faults(storm + probes + calm),
        **_growth(held[: round(seconds / SAMPLE_SECONDS)]),
    }


def _recovery(probes: Sequence[Asked], end: float, usual: float) -> float | None:
    """Seconds from the load's end until LIKE_BEFORE probes in a row took no more than twice the usual."""
    fine = [one.status == 200 and one.done - one.sent < 2 * usual for one in probes]
    for i in range(len(fine) - LIKE_BEFORE + 1):
        if all(fine[i : i + LIKE_BEFORE]):
            return round(probes[i].done - end, 2)
    return None


def soak(server: Server, asked: Requests, seconds: float) -> dict[str, Any]:
    """Four fifths of what it can do, for long: every answer right, none lost, no memory lost either."""
    capacity = _capacity(server, asked)
    rate = SHARE * capacity / asked.mean_texts
    with memory(server.pid) as held:
        found = _ask(server, asked, rate=rate, seconds=seconds)["asked"]
    took = [one.done - one.sent for one in found if one.status == 200]
    return {
        "capacity_texts_a_second": round(capacity, 1),
        "requests": len(found),
        "texts_checked": sum(len(asked.wanted[one.body]) for one in found if one.status == 200),
        "refused": sum(one.status == 429 for one in found),
        "p50_seconds": round(_percentile(took, 50), 3),
        "p99_seconds": round(_percentile(took, 99), 3),
        "sent_late_p99_milliseconds": round(_percentile([one.sent - one.due for one in found], 99) * 1000, 1),
        **_faults(found),
        **_growth(held),
    }


@contextmanager
def memory(pid: int) -> Iterator[list[float]]:
    """MB that a process holds, sampled while it is worked with."""
    held: list[float] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(SAMPLE_SECONDS):
            held.append(resident_mb(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield held
    finally:
        done.set()
        thread.join()


def resident_mb(pid: int) -> float:
    """What a process holds in memory now."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def _capacity(server: Server, asked: Requests) -> float:
    """Texts a second with as many callers as keep it busy, once it is warm."""
    _ask(server, asked, callers=WARMING_CALLERS, seconds=CALIBRATING_SECONDS / 2)
    found = _ask(server, asked, callers=CALLERS, seconds=CALIBRATING_SECONDS)["asked"]
    good = (one for one in found if one.status == 200 and one.done <= CALIBRATING_SECONDS)
    return sum(len(asked.wanted[one.body]) for one in good) / CALIBRATING_SECONDS


def _ask(server: Server, asked: Requests, **how: Any) -> dict[str, list[Asked]]:
    job = Job(server.port, asked.bodies, asked.wanted, **how)
    done = subprocess.run(
        (sys.executable, "-m", "bench.load.generator"),
        input=job.dumps(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return {name: [Asked(*row) for row in rows] for name, rows in json.loads(done.stdout).items()}


def _faults(found: Sequence[Asked]) -> dict[str, Any]:
    """What must not be: each count is 0, and `faults` empty, unless something is broken."""
    others = [one for one in found if one.status not in (0, 200, 429)]
    lost = [one for one in found if one.status == 0]
    return {
        "wrong_answers": sum(one.wrong for one in found),
        "lost": len(lost),
        "other_statuses": len(others),
        "faults": sorted({f"{one.status} {one.told}" for one in others + lost})[:5],
    }


def _growth(held: Sequence[float]) -> dict[str, Any]:
    """Memory after the first fifth, in which caches of the runtime fill, against the last fifth."""
    part = max(1, len(held) // 5)
    held = [*held] or [float("nan")]
    before, after = statistics.median(held[part : 2 * part]), statistics.median(held[-part:])
    return {
        "memory_mb": [round(before, 1), round(after, 1), round(max(held), 1)],
        "memory_growth": round(after / before - 1, 4),
    }


def _percentile(values: Sequence[float], which: int) -> float:
    return float(np.percentile(values, which)) if values else float("nan")
