"""The one admission rule: so many tokens in the house, estimated from bytes before anything is read."""

import time
from collections.abc import Callable

from tonewise.errors import OverloadedError

BYTES_PER_TOKEN = 4
"""Of a request's body. English text has about five, JSON around it makes them fewer; nothing is tokenized."""
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
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        self.tokens = 0
        self._clock = clock
        self._of: dict[str, int] = {}
        self._refused: dict[str, float] = {}

    def enter(self, tokens: int, key: str) -> "Place":
        """Let in so many tokens of a key. Raises OverloadedError."""
        whole, had = self.tokens + tokens, self._of.get(key, 0)
        if whole > self.most // 2:
            now = self._clock()
            share = self.most // self._keys(key, now)
            told = None
            if self.tokens and whole > self.most:
                told = f"{self.tokens} tokens wait, and {self.most} are the most"
            elif had and had + tokens > share:
                told = f"{had} tokens of this key wait, and its share is {share}"
            if told is not None:
                self._refused[key] = now
                raise OverloadedError(told)
        self._refused.pop(key, None)
        self._add(key, tokens)
        return Place(self, key, tokens)

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
