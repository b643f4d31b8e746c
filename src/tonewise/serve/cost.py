"""What a batch costs on this machine: seconds = a · tokens + b, learned from the batches that were run."""

FORGET = 0.98
"""Of each older batch's weight: about the last fifty count."""
FIRST_PER_TOKEN = 1e-4
"""Seconds of a token before anything was measured, and the most before batches of several sizes were."""


class Cost:
    """Least squares over (tokens, seconds), older batches counting less.

    Batches of one size do not tell `a` from `b`. Until sizes differ all above FIRST_PER_TOKEN counts as `b`:
    what is measured of short texts alone must not turn long ones away.
    """

    def __init__(self) -> None:
        self._weight = self._x = self._y = self._xx = self._xy = 0.0
        self.line = FIRST_PER_TOKEN, 0.0
        """`a`, seconds a token, and `b`, seconds a batch; neither is ever negative."""

    @property
    def known(self) -> bool:
        """Whether any batch was measured."""
        return self._weight > 0

    def learn(self, tokens: int, seconds: float) -> None:
        """A batch of so many tokens took so long."""
        self._weight = self._weight * FORGET + 1
        self._x = self._x * FORGET + tokens
        self._y = self._y * FORGET + seconds
        self._xx = self._xx * FORGET + tokens * tokens
        self._xy = self._xy * FORGET + tokens * seconds
        self.line = self._fitted()

    def seconds(self, tokens: int, batches: float = 1.0) -> float:
        """What so many tokens will take, in so many batches."""
        per_token, per_batch = self.line
        return per_token * tokens + per_batch * batches

    def _fitted(self) -> tuple[float, float]:
        mean_x, mean_y = self._x / self._weight, self._y / self._weight
        spread = self._xx / self._weight - mean_x**2
        if spread <= 1e-3 * mean_x**2:
            slope = FIRST_PER_TOKEN
        else:
            slope = (self._xy / self._weight - mean_x * mean_y) / spread
        slope = min(max(slope, 0.0), mean_y / max(mean_x, 1.0))
        return slope, max(mean_y - slope * mean_x, 0.0)
