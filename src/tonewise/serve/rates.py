"""Rate limits per key, in requests and in tokens a minute, and the headers that tell of them."""

import math
from dataclasses import dataclass

from tonewise.errors import RateLimitedError
from tonewise.serve.keys import Key

WINDOW_SECONDS = 60
CRUMB = 1e-9
"""Of a limit: what rounding may take from a bucket and nobody is refused for."""


@dataclass(slots=True)
class _Bucket:
    """A token bucket: full at first, refilled evenly over a minute."""

    kind: str
    most: int
    held: float
    filled: float

    def refill(self, now: float) -> None:
        grown = (now - self.filled) * self.most / WINDOW_SECONDS
        self.held, self.filled = min(float(self.most), self.held + grown), now

    @property
    def left(self) -> int:
        """What it holds, in whole ones."""
        return min(self.most, max(0, int(self.held + CRUMB * self.most)))

    def seconds_until(self, amount: float) -> int:
        """Whole seconds until it holds so much, or all that it can."""
        lacking = min(amount, self.most) * (1 - CRUMB) - self.held
        return max(0, math.ceil(lacking * WINDOW_SECONDS / self.most))


class Rates:
    """What each key has left. Belongs to one thread."""

    def __init__(self) -> None:
        self._buckets: dict[str, list[_Bucket]] = {}

    def take(self, key: Key, tokens: int, now: float) -> None:
        """Count one request of so many tokens. Raises RateLimitedError, and then counts nothing.

        A request of more tokens than a minute allows passes when the bucket is full: it could never else.
        `now` is in seconds, on a clock that never goes back.
        """
        buckets = self._of(key, now)
        amounts = {"requests": 1, "tokens": tokens}
        for bucket in buckets:
            bucket.refill(now)
        waits = [bucket.seconds_until(amounts[bucket.kind]) for bucket in buckets]
        if (later := max(waits, default=0)) > 0:
            short = buckets[waits.index(later)]
            told = f"the key '{key.name}' may ask for {short.most} {short.kind} a minute"
            raise RateLimitedError(told, retry_after_seconds=later)
        for bucket in buckets:
            bucket.held -= min(amounts[bucket.kind], bucket.most)

    def headers(self, key: Key) -> list[tuple[str, str]]:
        """`ratelimit` and `ratelimit-policy`, by the IETF's draft-ietf-httpapi-ratelimit-headers.

        They tell of the key's last request: `r` is what is left, `t` the seconds until all is there again.
        The limit that has the least left comes first: there are clients that read no further.
        """
        buckets = sorted(self._buckets.get(key.name, ()), key=lambda one: one.held / one.most)
        if not buckets:
            return []
        left = ", ".join(f'"{one.kind}";r={one.left};t={one.seconds_until(one.most)}' for one in buckets)
        policy = ", ".join(f'"{one.kind}";q={one.most};w={WINDOW_SECONDS}' for one in buckets)
        return [("ratelimit", left), ("ratelimit-policy", policy)]

    def _of(self, key: Key, now: float) -> list[_Bucket]:
        if key.name not in self._buckets:
            limits = {"requests": key.requests_per_minute, "tokens": key.tokens_per_minute}
            self._buckets[key.name] = [
                _Bucket(kind, most, float(most), now) for kind, most in limits.items() if most is not None
            ]
        return self._buckets[key.name]
