"""A signal ends a loop while it waits, and waits while a row is being written."""

import os
import signal
from collections.abc import Iterator

import pytest

from tonewise.jobs.stopping import Stopped, stoppable


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def test_without_a_signal_every_item_comes() -> None:
    with stoppable(iter(range(5))) as items:
        assert list(items) == [0, 1, 2, 3, 4]


def test_a_signal_in_hand_is_held_back_until_the_next_item_is_wanted() -> None:
    with stoppable(iter(range(5))) as items:
        assert next(items) == 0
        send(signal.SIGTERM)
        with pytest.raises(Stopped) as caught:
            next(items)
    assert caught.value.number == signal.SIGTERM


def test_a_signal_ends_the_wait_for_an_item() -> None:
    def endless() -> Iterator[int]:
        yield 1
        send(signal.SIGINT)
        yield 2

    with stoppable(endless()) as items:
        assert next(items) == 1
        with pytest.raises(KeyboardInterrupt):
            next(items)


def test_a_second_signal_does_not_wait_and_a_third_changes_nothing() -> None:
    with stoppable(iter(range(3))) as items:
        assert next(items) == 0
        send(signal.SIGINT)
        with pytest.raises(Stopped):
            send(signal.SIGINT)
        send(signal.SIGINT)
        send(signal.SIGTERM)


def test_handlers_are_put_back_and_those_of_others_are_left_alone() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with stoppable(iter([1])) as items:
            send(signal.SIGTERM)
            assert list(items) == [1]
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
