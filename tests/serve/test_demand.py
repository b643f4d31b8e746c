"""How much is asked for: callers who wait are no overload, a storm is, and it passes."""

import pytest

from tonewise.serve.demand import HALF_LIFE_SECONDS, OVERLOAD, Demand


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def asked(demand: Demand, clock: Clock, share: float, seconds: float, *, workers: int = 2) -> float:
    """Ten requests a second that together ask for `share` of what the workers can do; the load after it."""
    each = share * workers / 10
    for _ in range(round(seconds * 10)):
        clock.now += 0.1
        demand.ask(100)
        demand.answered(100, each)
    return demand.load(workers)


def test_nothing_is_known_before_anything_was_answered() -> None:
    demand = Demand(Clock())
    demand.ask(1_000_000)
    assert demand.load(1) == 0


@pytest.mark.parametrize("share", [0.25, 1.0, 5.0])
def test_the_load_is_the_share_that_is_asked_for(share: float) -> None:
    clock = Clock()
    found = asked(Demand(clock), clock, share, 60)
    assert found == pytest.approx(share, rel=0.05)


def test_a_burst_of_callers_who_wait_is_no_overload() -> None:
    clock = Clock()
    demand = Demand(clock)
    asked(demand, clock, 0.1, 30)
    demand.ask(64 * 800)  # each with 32 texts, 2.6 s of two workers together
    demand.answered(64 * 800, 5.1)
    clock.now += 0.1
    assert demand.load(2) < OVERLOAD


def test_a_storm_is_seen_within_seconds_and_forgotten_after_it() -> None:
    clock = Clock()
    demand = Demand(clock)
    asked(demand, clock, 0.5, 60)
    assert asked(demand, clock, 5.0, 2.5) > OVERLOAD
    clock.now += 4 * HALF_LIFE_SECONDS
    assert demand.load(2) < OVERLOAD / 2


def test_kept_answers_cost_nothing() -> None:
    clock = Clock()
    demand = Demand(clock)
    for _ in range(200):
        clock.now += 0.1
        demand.ask(1_000)
        demand.answered(1_000, 0)
    assert demand.load(1) == 0
