"""Who is let in: so many tokens in the house, and in a storm so many seconds of work; judged unread."""

import math
import time
from collections.abc import Callable

from tonewise.errors import OverloadedError

BYTES_PER_TOKEN = 4
"""Of a request's body. English text has about five, JSON around it makes them fewer; nothing is tokenized."""
STORM_SECONDS = 60.0
"""After the house was full. Then it may fill again: callers who wait for their answers do not overfill it."""
RETURN_SECONDS = 30.0
"""So long a key that found the house full is expected back, and its share kept."""


def estimated_tokens(body_bytes: int) -> int:
    """What a body of so many bytes counts for."""
    return max(1, -(-body_bytes // BYTES_PER_TOKEN))


class Admission:
    """Counts what was let in and has not been answered. Belongs to one thread.

    The rule: a request is refused when the tokens in the house and its own would exceed `most`, unless the
    house is empty; and where several keys want in, when its key's own would exceed its even share while
    the house would be more than half full, unless it is that key's only request. Those want in that are
    in the house, and for RETURN_SECONDS those that were refused. What is refused is told when to come again.

    A key that found the house full is in a storm for STORM_SECONDS: as long, a request of it is refused too
    when more than `seconds` of work come before it. Refusals of that kind do not lengthen the storm.
    """

    def __init__(
        self,
        most: int,
        seconds: float = 1.0,
        ahead: Callable[[str], float] = lambda key: 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ahead` tells, for a key, how many seconds of work come before a request that it makes now."""
        self.most, self.seconds, self._ahead = most, seconds, ahead
        self.tokens = 0
        self._clock = clock
        self._of: dict[str, int] = {}
        self._refused: dict[str, float] = {}
        self._storms: dict[str, float] = {}

    def enter(self, tokens: int, key: str) -> "Place":
        """Let in so many tokens of a key. Raises OverloadedError."""
        now = self._clock()
        told = self._fault(tokens, key, now)
        if told is not None and tokens <= self.most:  # one that never fits says nothing of the others
            self._storm(key, now)
        told = told or self._storm_fault(key, now)
        if told is not None:
            self._refused[key] = now
            raise OverloadedError(told)
        self._refused.pop(key, None)
        self._add(key, tokens)
        return Place(self, key, tokens)

    def late(self, key: str) -> None:
        """A request that was let in would be answered too late: a storm, unless that was its own fault."""
        if self._ahead(key) > self.seconds:
            self._storm(key, self._clock())

    def _storm(self, key: str, now: float) -> None:
        self._storms = {name: at for name, at in self._storms.items() if now - at < STORM_SECONDS}
        self._storms[key] = now

    def _storm_fault(self, key: str, now: float) -> str | None:
        """Why a request may not come in that would find room."""
        in_storm = now - self._storms.get(key, -math.inf) < STORM_SECONDS
        if in_storm and self.tokens and (ahead := self._ahead(key)) > self.seconds:
            return f"{ahead:.1f} s of work wait, and in a storm {self.seconds:g} s are the most"
        return None

    def _fault(self, tokens: int, key: str, now: float) -> str | None:
        """Why so many tokens may not come in."""
        whole, had = self.tokens + tokens, self._of.get(key, 0)
        if whole <= self.most // 2:
            return None
        share = self.most // self._keys(key, now)
        if self.tokens and whole > self.most:
            return f"{self.tokens} tokens wait, and {self.most} are the most"
        if had and had + tokens > share:
            return f"{had} tokens of this key wait, and its share is {share}"
        return None

    def _keys(self, key: str, now: float) -> int:
        """How many want in."""
        self._refused = {name: at for name, at in self._refused.items() if now - at < RETURN_SECONDS}
        return len(self._of.keys() | self._refused.keys() | {key})

    def _add(self, key: str, tokens: int) -> None:
        self.tokens += tokens
        own = self._of.get(key, 0) + tokens
        if own > 0:
            self._of[key] = own
        else:
            self._of.pop(key, None)


class Place:
    """A request's place in the house, left once."""

    __slots__ = ("_house", "_key", "tokens")

    def __init__(self, house: Admission, key: str, tokens: int) -> None:
        self._house, self._key, self.tokens = house, key, tokens

    def leave(self) -> None:
        """Make room. Safe to call twice."""
        tokens, self.tokens = self.tokens, 0
        if tokens:
            self._house._add(self._key, -tokens)
