"""Rate limits: so much a minute and no more, a wait that suffices, headers that clients read."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tonewise.errors import RateLimitedError
from tonewise.serve.keys import ANYONE, Key
from tonewise.serve.rates import WINDOW_SECONDS, Rates


def refused(rates: Rates, key: Key, tokens: int, now: float) -> int:
    with pytest.raises(RateLimitedError) as caught:
        rates.take(key, tokens, now)
    return caught.value.retry_after_seconds


def told(rates: Rates, key: Key) -> dict[str, str]:
    return dict(rates.headers(key))


def test_a_key_without_limits_is_never_refused_and_told_of_none() -> None:
    rates = Rates()
    for _ in range(1000):
        rates.take(ANYONE, 10**9, 5.0)
    assert rates.headers(ANYONE) == []
    assert rates.headers(Key("unseen", requests_per_minute=1)) == []


def test_so_many_requests_a_minute_and_no_more() -> None:
    rates, key = Rates(), Key("team", requests_per_minute=6)
    for _ in range(6):
        rates.take(key, 10**6, 100.0)
    assert refused(rates, key, 1, 100.0) == 10
    assert refused(rates, key, 1, 104.0) == 6
    rates.take(key, 1, 110.0)
    assert refused(rates, key, 1, 110.0) == 10


def test_so_many_tokens_a_minute_and_no_more() -> None:
    rates, key = Rates(), Key("team", tokens_per_minute=600)
    rates.take(key, 500, 0.0)
    assert refused(rates, key, 200, 0.0) == 10
    rates.take(key, 100, 0.0)
    rates.take(key, 50, 5.0)


def test_what_was_refused_counts_for_nothing() -> None:
    rates, key = Rates(), Key("team", requests_per_minute=2, tokens_per_minute=100)
    rates.take(key, 90, 0.0)
    for _ in range(50):
        refused(rates, key, 20, 0.0)
    rates.take(key, 10, 0.0)


def test_the_wait_is_that_of_the_limit_that_lasts_longest() -> None:
    rates, key = Rates(), Key("team", requests_per_minute=60, tokens_per_minute=60)
    for _ in range(60):
        rates.take(key, 1, 0.0)
    assert refused(rates, key, 30, 0.0) == 30
    with pytest.raises(RateLimitedError, match="the key 'team' may ask for 60 tokens a minute"):
        rates.take(key, 30, 0.0)


def test_more_than_a_minute_allows_passes_when_all_is_there() -> None:
    rates, key = Rates(), Key("team", tokens_per_minute=100)
    rates.take(key, 1000, 0.0)
    assert refused(rates, key, 1, 0.0) == 1
    assert refused(rates, key, 1000, 30.0) == 30
    rates.take(key, 1000, 60.0)


def test_a_long_pause_saves_up_no_more_than_a_minute() -> None:
    rates, key = Rates(), Key("team", requests_per_minute=3)
    rates.take(key, 1, 0.0)
    for _ in range(3):
        rates.take(key, 1, 1e6)
    assert refused(rates, key, 1, 1e6) == 20


def test_each_key_has_its_own() -> None:
    rates = Rates()
    one, two = Key("one", requests_per_minute=1), Key("two", requests_per_minute=1)
    rates.take(one, 1, 0.0)
    rates.take(two, 1, 0.0)
    refused(rates, one, 1, 0.0)


visits = st.lists(st.tuples(st.floats(0, 40), st.integers(1, 300)), min_size=1, max_size=60)


@given(st.integers(1, 1000), st.integers(1, 1000), visits)
def test_no_walk_of_requests_gets_more_than_its_minutes_and_every_wait_suffices(
    requests: int, tokens: int, walk: list[tuple[float, int]]
) -> None:
    rates, key = Rates(), Key("team", ("infer",), requests, tokens)
    now, passed = 1000.0, list[int]()
    for pause, amount in walk:
        now += pause
        wait = 0
        try:
            rates.take(key, amount, now)
        except RateLimitedError as error:
            wait = error.retry_after_seconds
        if wait:
            now += wait
            rates.take(key, amount, now)
        assert wait <= WINDOW_SECONDS
        passed.append(min(amount, tokens))
        minutes = (now - 1000.0) / WINDOW_SECONDS
        assert len(passed) <= requests * (1 + minutes) + 1e-3
        assert sum(passed) <= tokens * (1 + minutes) + 1e-3


@given(st.integers(1, 1000), st.integers(1, 200))
def test_a_caller_who_keeps_the_pace_is_never_refused(most: int, steps: int) -> None:
    rates, key = Rates(), Key("team", requests_per_minute=most)
    for _ in range(most):
        rates.take(key, 1, 0.0)
    for i in range(1, steps + 1):
        rates.take(key, 1, i * WINDOW_SECONDS / most)


def test_the_headers_tell_what_is_left_and_when_all_is_there_again() -> None:
    rates, key = Rates(), Key("team", requests_per_minute=10)
    rates.take(key, 1, 0.0)
    assert told(rates, key) == {"ratelimit": '"requests";r=9;t=6', "ratelimit-policy": '"requests";q=10;w=60'}
    for _ in range(9):
        rates.take(key, 1, 0.0)
    refused(rates, key, 1, 5.0)
    assert told(rates, key)["ratelimit"] == '"requests";r=0;t=55'


def test_the_limit_with_the_least_left_is_told_first() -> None:
    rates, key = Rates(), Key("team", requests_per_minute=10, tokens_per_minute=1000)
    rates.take(key, 1000, 0.0)
    assert told(rates, key) == {
        "ratelimit": '"tokens";r=0;t=60, "requests";r=9;t=6',
        "ratelimit-policy": '"tokens";q=1000;w=60, "requests";q=10;w=60',
    }
    for _ in range(9):
        rates.take(key, 1, 60.0)
    assert told(rates, key)["ratelimit"].startswith('"requests";r=1;')


@given(st.integers(1, 10**9), st.integers(1, 10**9), visits)
def test_the_headers_are_lists_of_the_standard(
    requests: int, tokens: int, walk: list[tuple[float, int]]
) -> None:
    rates, key, now = Rates(), Key("team", ("infer",), requests, tokens), 0.0
    for pause, amount in walk:
        now += pause
        wait = 0
        try:
            rates.take(key, amount, now)
        except RateLimitedError as error:
            wait = error.retry_after_seconds
        found = told(rates, key)
        left = re.findall(r'"(requests|tokens)";r=(\d+);t=(\d+)(?:, |$)', found["ratelimit"])
        limits = re.findall(r'"(requests|tokens)";q=(\d+);w=60(?:, |$)', found["ratelimit-policy"])
        assert [kind for kind, *_ in left] == [kind for kind, _ in limits]
        assert {kind: int(most) for kind, most in limits} == {"requests": requests, "tokens": tokens}
        assert all(int(r) <= int(dict(limits)[kind]) and int(t) <= 60 for kind, r, t in left)
        assert max(int(t) for _, _, t in left) >= wait  # never a date before Retry-After's


def test_rounding_never_tells_of_more_than_the_limit() -> None:
    rates, key = Rates(), Key("team", requests_per_minute=1, tokens_per_minute=999_999_941)
    rates.take(key, 1, 0.0)
    refused(rates, key, 1, 1.0)
    assert '"tokens";r=999999941;' in told(rates, key)["ratelimit"]


def test_the_hub_client_reads_them() -> None:
    http = pytest.importorskip("huggingface_hub.utils._http")
    if not hasattr(http, "parse_ratelimit_headers"):
        pytest.skip("this version of huggingface_hub reads no such headers")
    rates, key = Rates(), Key("team", requests_per_minute=500, tokens_per_minute=40)
    rates.take(key, 40, 0.0)
    refused(rates, key, 20, 5.0)
    info = http.parse_ratelimit_headers(told(rates, key))
    assert (info.resource_type, info.remaining, info.reset_in_seconds) == ("tokens", 3, 55)
    assert (info.limit, info.window_seconds) == (40, 60)
