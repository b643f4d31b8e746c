"""The admission rule: bounded, fair between keys, and everything that enters leaves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tonewise.errors import OverloadedError
from tonewise.serve.admission import RETURN_SECONDS, STORM_SECONDS, Admission, Place, estimated_tokens


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_tokens_are_estimated_from_bytes_upwards() -> None:
    assert [estimated_tokens(n) for n in (0, 1, 4, 5, 8, 9, 2_000_000)] == [1, 1, 1, 2, 2, 3, 500_000]


def test_what_would_be_too_much_is_refused_and_told_how_much_waits() -> None:
    house = Admission(100)
    house.enter(60, "a")
    house.enter(40, "a")
    with pytest.raises(OverloadedError, match="100 tokens wait, and 100 are the most"):
        house.enter(1, "a")
    assert house.tokens == 100


def test_an_empty_house_takes_whatever_comes() -> None:
    house = Admission(100)
    place = house.enter(5_000, "a")
    with pytest.raises(OverloadedError):
        house.enter(1, "b")
    place.leave()
    house.enter(1, "b")


def test_a_place_is_left_once() -> None:
    house = Admission(100)
    first, second = house.enter(30, "a"), house.enter(50, "a")
    first.leave()
    first.leave()
    assert house.tokens == 50
    second.leave()
    assert house.tokens == 0
    assert not house._of


def test_a_key_alone_has_the_whole_house() -> None:
    house = Admission(100)
    for _ in range(10):
        house.enter(10, "a")
    assert house.tokens == 100


def test_where_keys_compete_none_has_more_than_its_even_share() -> None:
    house = Admission(100)
    for _ in range(4):
        house.enter(10, "a")
    house.enter(10, "b")
    house.enter(10, "a")  # 50 of its 50
    with pytest.raises(OverloadedError, match="50 tokens of this key wait, and its share is 50"):
        house.enter(1, "a")
    for _ in range(4):
        house.enter(10, "b")
    assert house.tokens == 100


def test_no_share_counts_while_half_of_the_house_is_free() -> None:
    house = Admission(100)
    for key in "bcdefghi":
        house.enter(1, key)
    house.enter(20, "a")
    house.enter(22, "a")  # its share would be 11
    with pytest.raises(OverloadedError, match="its share is 11"):
        house.enter(1, "a")


def test_one_request_of_a_key_is_let_in_whatever_its_share() -> None:
    house = Admission(100)
    house.enter(10, "a")
    house.enter(80, "b")
    assert house.tokens == 90


def test_a_key_that_found_the_house_full_has_its_share_kept() -> None:
    clock = Clock()
    house = Admission(100, clock=clock)
    places = [house.enter(10, "hog") for _ in range(10)]
    with pytest.raises(OverloadedError):
        house.enter(10, "late")
    for place in places[:6]:  # the hog comes back for each place that it leaves
        place.leave()
        clock.now += 1
        if house.tokens < 50:
            house.enter(10, "hog")
        else:
            with pytest.raises(OverloadedError, match="its share is 50"):
                house.enter(10, "hog")
    assert house.tokens == 50
    house.enter(10, "late")


def test_a_key_that_does_not_come_back_has_no_share_for_ever() -> None:
    clock = Clock()
    house = Admission(100, clock=clock)
    places = [house.enter(10, "a") for _ in range(10)]
    with pytest.raises(OverloadedError):
        house.enter(10, "gone")
    places[0].leave()
    with pytest.raises(OverloadedError):
        house.enter(10, "a")
    clock.now += RETURN_SECONDS
    house.enter(10, "a")
    assert not house._refused


visits = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.integers(1, 150), st.sampled_from("abc")),
        st.tuples(st.just("leave"), st.integers(0, 50), st.just("")),
    ),
    max_size=60,
)


@given(visits)
def test_the_house_is_never_fuller_than_told_and_empties(steps: list[tuple[str, int, str]]) -> None:
    house, inside = Admission(100), list[Place]()
    for what, amount, key in steps:
        if what == "leave" and inside:
            inside.pop(amount % len(inside)).leave()
        elif what == "enter":
            before = house.tokens
            try:
                inside.append(house.enter(amount, key))
            except OverloadedError:
                assert before > 0
                assert house.tokens == before
            else:
                assert house.tokens <= 100 or before == 0
        assert house.tokens == sum(place.tokens for place in inside)
    for place in inside:
        place.leave()
    assert house.tokens == 0
    assert not house._of


def test_a_key_that_found_the_house_full_waits_for_little_work_for_a_while() -> None:
    clock, ahead = Clock(), {"a": 5.0, "b": 5.0}
    house = Admission(100, 1.0, ahead.__getitem__, clock)
    first, second = (house.enter(50, "a") for _ in range(2))  # five seconds of work, and nobody is refused
    with pytest.raises(OverloadedError, match="100 tokens wait"):
        house.enter(1, "a")
    first.leave()
    for _ in range(3):
        clock.now += STORM_SECONDS / 4
        with pytest.raises(OverloadedError, match=r"5.0 s of work wait, and in a storm 1 s are the most"):
            house.enter(1, "a")
    house.enter(1, "b").leave()  # another key's storm is none of its own
    ahead["a"] = 1.0
    house.enter(1, "a").leave()
    ahead["a"] = 5.0
    clock.now += STORM_SECONDS / 4  # refusals of the storm's own did not lengthen it
    house.enter(1, "a").leave()
    second.leave()
    assert house.tokens == 0


def test_an_empty_house_takes_whatever_comes_in_a_storm_too() -> None:
    house = Admission(100, 1.0, lambda key: 5.0, Clock())
    place = house.enter(100, "a")
    with pytest.raises(OverloadedError):
        house.enter(1, "a")
    place.leave()
    house.enter(1, "a")


def test_a_request_that_never_fits_makes_no_storm() -> None:
    house = Admission(100, 1.0, lambda key: 5.0, Clock())
    house.enter(10, "a")
    with pytest.raises(OverloadedError):
        house.enter(101, "a")
    house.enter(10, "a")


@pytest.mark.parametrize(("ahead", "stormy"), [(5.0, True), (0.5, False)])
def test_what_would_come_too_late_makes_a_storm_unless_little_waits(ahead: float, stormy: bool) -> None:
    waits = [ahead]
    house = Admission(100, 1.0, lambda key: waits[0], Clock())
    house.enter(10, "a")
    house.late("a")
    waits[0] = 5.0
    if not stormy:
        house.enter(10, "a")
        return
    with pytest.raises(OverloadedError, match="in a storm"):
        house.enter(10, "a")
