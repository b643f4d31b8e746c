"""SIGINT and SIGTERM end a run between two rows, so that no row is cut."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType
from typing import Generic, TypeVar

T = TypeVar("T")
DEFAULTS = ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL))


class Stopped(KeyboardInterrupt):
    """A signal asked the run to end; `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__("interrupted" if number == signal.SIGINT else "terminated")
        self.number = number


class Stoppable(Generic[T]):
    """The same items; a signal is answered while the next one is awaited, and held back meanwhile."""

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        self._awaited = self._raised = False
        self._heard: int | None = None

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        """The next item. Raises Stopped when a signal came."""
        self._awaited = True
        try:
            if self._heard is not None:
                self._raise(self._heard)
            return next(self._items)
        finally:
            self._awaited = False

    def hear(self, number: int, frame: FrameType | None) -> None:
        """The signals' handler. A second one does not wait for the row in hand; a third changes nothing."""
        if not self._raised and (self._awaited or self._heard is not None):
            self._raise(number)
        self._heard = number

    def _raise(self, number: int) -> None:
        self._raised = True
        raise Stopped(number)


@contextmanager
def stoppable(items: Iterator[T]) -> Iterator[Iterator[T]]:
    """`items`, ended by a signal as Stopped; as they are where signals are not ours to handle."""
    signals = [number for number, default in DEFAULTS if signal.getsignal(number) is default]
    if current_thread() is not main_thread() or not signals:
        yield items
        return
    guarded = Stoppable(items)
    before = {number: signal.signal(number, guarded.hear) for number in signals}
    try:
        yield guarded
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
