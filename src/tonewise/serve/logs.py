"""The log of a server: one JSON object a line on stderr; texts are in it only where that was asked for."""

import sys
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from tonewise.serve.service import Call

Write = Callable[[bytes], Any]


class Log:
    """Writes lines; a line that cannot be written is counted, and nothing else comes of it."""

    def __init__(self, write: Write | None = None) -> None:
        self.lost = 0
        self._write = write or _stderr
        self._encode = msgspec.json.Encoder(enc_hook=str).encode

    def say(self, event: str, **told: Any) -> None:
        """One line: when, what, and whatever else is told."""
        line = {"time": _now(), "event": event, **told}
        try:
            self._write(self._encode(line) + b"\n")
        except (OSError, ValueError):  # a full disk, a closed pipe: no reason to refuse an answer
            self.lost += 1

    def request(self, call: Call, method: str, status: int, seconds: float) -> None:
        """One request was answered."""
        model = call.model
        said = {"said": list(call.said)} if call.said else {}
        self.say(
            "request",
            id=call.id,
            key=call.key.name,
            method=method,
            route=call.route,
            status=status,
            seconds=round(seconds, 6),
            texts=call.texts,
            tokens=call.tokens,
            cached=call.hits,
            model=model.name if model else None,
            digest=model.bundle.digest if model else None,
            **said,
            **{f"{stage}_seconds": round(took, 6) for stage, took in call.times.items()},
        )


def _now() -> str:
    now = time.time()
    return f"{_second(int(now))}.{int(now % 1 * 1000):03d}Z"


@lru_cache(4)
def _second(now: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))


def _stderr(line: bytes) -> None:
    sys.stderr.buffer.write(line)
    sys.stderr.buffer.flush()
