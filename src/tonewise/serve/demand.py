"""How much is asked for, refused requests included: as a share of what the workers can compute."""

import math
import time
from collections.abc import Callable

OVERLOAD = 1.25
"""From here on more is asked for than can be computed. Callers who wait for their answers come to 1, and a
burst of them passes it for no longer than they all need together."""
HALF_LIFE_SECONDS = 5.0
FORGET = 0.98
"""Of each older request's weight when one more was answered: about the last fifty count."""


class Demand:
    """Counts in tokens as they are estimated from bytes, for nothing else is known of what is refused."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rate: float = 0.0
        self._rated = clock()
        self._tokens = self._seconds = 0.0

    def ask(self, tokens: int) -> None:
        """A request of so many tokens came, whether it is let in or not."""
        now = self._clock()
        self._rate *= math.exp2((self._rated - now) / HALF_LIFE_SECONDS)
        self._rate += tokens * math.log(2) / HALF_LIFE_SECONDS
        self._rated = now

    def answered(self, tokens: int, seconds: float) -> None:
        """One that was let in is done; it took so many seconds of a worker, none if answers were kept."""
        self._tokens = self._tokens * FORGET + tokens
        self._seconds = self._seconds * FORGET + seconds

    def load(self, workers: int) -> float:
        """The share of the workers' time that is asked for; 0 before anything was answered."""
        if not self._tokens:
            return 0.0
        rate = self._rate * math.exp2((self._rated - self._clock()) / HALF_LIFE_SECONDS)
        return rate * self._seconds / self._tokens / max(workers, 1)
