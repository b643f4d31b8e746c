"""The queue: fair between keys, batches of like length, no head that starves, nothing left behind."""

import gc
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tonewise.serve.waiting import Item, Lane, Ticket, Waiting
from tonewise.tokenizer import Encoding, Row

FOR_EVER = 1e9


def lane(budget: int = 64, name: str = "lane", **options: Any) -> Lane:
    made = Lane(name, lambda encodings: encodings, budget, **options)
    made.cost.learn(budget, 0.01)
    return made


def encoding(*tokens: int) -> Encoding:
    return Encoding(tuple(Row((7,) * count) for count in tokens), sum(tokens))


def ticket(of: Lane, sizes: Sequence[int], key: str = "", deadline: float = FOR_EVER) -> Ticket:
    return Ticket(of, [encoding(size) for size in sizes], key, deadline, lambda found: None)


def added(waiting: Waiting, of: Lane, sizes: Sequence[int], key: str = "", **options: Any) -> Ticket:
    one = ticket(of, sizes, key, **options)
    waiting.add(one)
    return one


def taken(waiting: Waiting, now: float = 0.0, workers: int = 1) -> list[Item]:
    chosen = waiting.next_batch(now, workers)
    if chosen is None:
        return []
    waiting.take(*chosen)
    return chosen[1]


def drained(waiting: Waiting) -> Iterator[list[Item]]:
    while batch := taken(waiting):
        yield batch


def is_clean(waiting: Waiting) -> bool:
    return not len(waiting) and not waiting.tokens and not waiting.all_tokens and not waiting._lines


def test_a_ticket_counts_the_tokens_of_all_windows() -> None:
    one = Ticket(lane(), [encoding(5, 4), encoding(2)], "", FOR_EVER, lambda found: None)
    assert (one.sizes, one.tokens, one.left, one.answers) == ([9, 2], 11, 2, [None, None])
    assert ticket(lane(), []).tokens == 0
    assert Ticket(lane(), [Encoding((), 0)], "", FOR_EVER, lambda found: None).sizes == [1]


def test_nothing_waits_nothing_starts() -> None:
    assert Waiting().next_batch(0.0) is None


def test_a_batch_stays_until_it_is_taken() -> None:
    waiting = Waiting()
    added(waiting, lane(), [4, 5])
    first = waiting.next_batch(0.0)
    assert first is not None
    assert waiting.next_batch(0.0) == first
    assert (len(waiting), waiting.all_tokens) == (2, 9)
    waiting.take(*first)
    assert is_clean(waiting)


sizes = st.lists(st.integers(1, 90), min_size=1, max_size=12)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 1), sizes), max_size=20),
    st.integers(1, 4),
    st.integers(1, 9),
)
def test_every_text_is_in_one_batch_and_every_batch_within_its_limits(
    requests: list[tuple[str, int, list[int]]], workers: int, most_rows: int
) -> None:
    waiting, lanes = Waiting(), [lane(64, "one", most_rows=most_rows), lane(100, "two")]
    tickets = [added(waiting, lanes[which], of, key) for key, which, of in requests]
    assert len(waiting) == sum(len(of) for _, _, of in requests)
    seen: list[Item] = []
    while (chosen := waiting.next_batch(0.0, workers)) is not None:
        of, items = chosen
        waiting.take(of, items)
        assert {item.ticket.lane for item in items} == {of}
        assert len(items) <= of.most_rows
        assert len(items) == 1 or max(item.tokens for item in items) * len(items) <= of.budget
        assert [item.tokens for item in items] == sorted(item.tokens for item in items)
        assert waiting.all_tokens == sum(one.tokens for one in tickets) - sum(
            item.tokens for item in (*seen, *items)
        )
        seen += items
    assert sorted((id(item.ticket), item.place) for item in seen) == sorted(
        (id(one), place) for one in tickets for place in range(len(one.sizes))
    )
    assert is_clean(waiting)


def test_texts_of_like_length_share_a_batch() -> None:
    waiting, of = Waiting(), lane(64)
    added(waiting, of, [30, 2, 29, 3, 2, 31, 3])
    assert [[item.tokens for item in batch] for batch in drained(waiting)] == [[29, 30], [2, 2, 3, 3], [31]]


def test_a_text_above_the_budget_is_a_batch_of_its_own() -> None:
    waiting, of = Waiting(), lane(64)
    added(waiting, of, [500, 2])
    assert [[item.tokens for item in batch] for batch in drained(waiting)] == [[500], [2]]


def test_the_oldest_text_is_in_the_next_batch_whatever_its_length() -> None:
    waiting, of = Waiting(), lane(64)
    odd = added(waiting, of, [60])
    for _ in range(5):
        added(waiting, of, [3] * 20)
    assert odd in {item.ticket for item in taken(waiting)}
    second = added(waiting, of, [61])
    batches = 0
    while second not in {item.ticket for item in taken(waiting)}:
        batches += 1
        added(waiting, of, [3] * 20)  # as many again as a batch takes
    assert batches == 5


def test_a_key_with_one_text_does_not_wait_for_a_key_with_three_thousand() -> None:
    waiting, of = Waiting(), lane(64)
    for _ in range(300):
        added(waiting, of, [3] * 10, "many")
    for _ in range(4):
        taken(waiting)
    for _ in range(3):
        few = added(waiting, of, [40], "few")
        assert few in {item.ticket for item in taken(waiting)}
        assert {item.ticket.key for item in taken(waiting)} == {"many"}  # nor is that one forgotten


def test_a_key_is_fairly_served_also_where_tokens_cost_nothing() -> None:
    waiting, of = Waiting(), lane(64)
    of.cost.learn(4 * of.budget, 0.001)
    assert of.cost.line[0] == 0
    added(waiting, of, [30] * 100, "many")
    few = added(waiting, of, [1], "few")
    batches = [taken(waiting), taken(waiting)]
    assert few in {item.ticket for batch in batches for item in batch}


def test_a_key_that_comes_and_goes_has_no_more_than_its_share() -> None:
    waiting, of = Waiting(), lane(64)
    added(waiting, of, [60] * 100, "steady")
    served = {"steady": 0, "goes": 0}
    for _ in range(40):
        if "goes" not in waiting._lines:
            added(waiting, of, [30, 30], "goes")
        for item in taken(waiting):
            served[item.ticket.key] += item.tokens
    assert served["steady"] == served["goes"]


def test_what_a_key_had_is_remembered_while_it_has_nothing_waiting() -> None:
    waiting, of = Waiting(), lane(64)
    added(waiting, of, [16] * 100, "steady")
    added(waiting, of, [16] * 2, "goes")
    assert {item.ticket.key for item in taken(waiting)} == {"steady", "goes"}
    assert "goes" in waiting._ahead  # equal service, and it is the one that left
    added(waiting, of, [60] * 2, "goes")
    first = [{item.ticket.key for item in taken(waiting)} for _ in range(2)]
    assert first == [{"steady"}, {"goes"}]


def test_a_pause_earns_no_claim() -> None:
    waiting, of = Waiting(), lane(64)
    added(waiting, of, [60], "pauses")
    taken(waiting)
    added(waiting, of, [60] * 50, "steady")
    for _ in range(20):
        taken(waiting)
    added(waiting, of, [60] * 50, "pauses")
    keys = [taken(waiting)[0].ticket.key for _ in range(10)]
    assert 4 <= keys.count("steady") <= 6


def test_keys_of_long_ago_take_no_memory() -> None:
    waiting, of = Waiting(), lane(64)
    for i in range(200):
        added(waiting, of, [60], f"key {i}")
        taken(waiting)
    assert is_clean(waiting)
    assert not waiting._ahead
    for _ in range(2):
        for i in range(50):
            added(waiting, of, [60], f"key {i}")
        for _ in drained(waiting):
            pass
        assert not waiting._ahead


def test_a_closed_lane_waits_and_holds_up_no_other() -> None:
    waiting, shut, of = Waiting(), lane(name="shut", open=False), lane()
    first = added(waiting, shut, [5])
    second = added(waiting, of, [5])
    assert [item.ticket for item in taken(waiting)] == [second]
    assert waiting.next_batch(0.0) is None
    assert len(waiting) == 1
    shut.open = True
    assert [item.ticket for item in taken(waiting)] == [first]


def test_a_lane_that_was_closed_for_long_has_no_claim_to_the_time() -> None:
    waiting, shut, of = Waiting(), lane(name="shut", open=False), lane()
    added(waiting, shut, [60] * 50, "shut")
    added(waiting, of, [60] * 50, "steady")
    for _ in range(20):
        taken(waiting)
    shut.open = True
    keys = [taken(waiting)[0].ticket.key for _ in range(10)]
    assert 4 <= keys.count("steady") <= 6


def test_many_keys_have_their_turns() -> None:
    waiting, of = Waiting(), lane(64)
    for _ in range(2):
        for i in range(100):
            added(waiting, of, [20], f"key {i}")
    keys = [item.ticket.key for batch in drained(waiting) for item in batch]
    assert len(set(keys[:100])) == 100


def test_free_workers_share_a_short_queue() -> None:
    for workers, wanted in ((1, [8]), (2, [4, 4]), (4, [2, 2, 2, 2])):
        waiting = Waiting()
        added(waiting, lane(64), [8] * 8)
        batches = [len(taken(waiting, workers=workers - i)) for i in range(workers)]
        assert batches == wanted


def test_no_share_is_so_small_that_a_batch_is_wasted_on_it() -> None:
    waiting = Waiting()
    added(waiting, lane(64), [2] * 4)
    assert len(taken(waiting, workers=4)) == 4


def test_what_nobody_waits_for_is_gone_at_once() -> None:
    waiting, of = Waiting(), lane(64)
    kept, left = added(waiting, of, [3, 4]), added(waiting, of, [5] * 1000)
    waiting.drop(left)
    assert left.dropped
    assert (len(waiting), waiting.tokens) == (2, {of: 7})
    waiting.drop(left)
    assert {item.ticket for batch in drained(waiting) for item in batch} == {kept}
    waiting.drop(kept)
    assert is_clean(waiting)


def test_what_came_too_late_is_in_no_batch() -> None:
    waiting, of = Waiting(), lane(64)
    late, kept = added(waiting, of, [3, 3], deadline=5.0), added(waiting, of, [3])
    behind = added(waiting, of, [3], deadline=5.0)
    assert [item.ticket for item in taken(waiting, now=5.0)] == [kept]
    assert late.dropped
    assert taken(waiting, now=5.0) == []
    assert behind.dropped
    assert is_clean(waiting)


def test_what_is_put_back_has_its_old_place() -> None:
    waiting, of = Waiting(), lane(64)
    first, second = added(waiting, of, [60, 61, 62]), added(waiting, of, [63])
    batches = [taken(waiting), taken(waiting), taken(waiting), taken(waiting)]
    third = added(waiting, of, [64])
    for i in (3, 0, 2):  # in any order
        waiting.put_back(batches[i])
    assert (len(waiting), waiting.tokens) == (4, {of: 60 + 62 + 63 + 64})
    order = [(item.ticket, item.place) for batch in drained(waiting) for item in batch]
    assert order == [(first, 0), (first, 2), (second, 0), (third, 0)]
    assert is_clean(waiting)


def test_texts_of_one_batch_are_put_back_in_their_order() -> None:
    waiting, of = Waiting(), lane(64)
    added(waiting, of, [9, 7, 8])
    waiting.put_back(taken(waiting))
    of.most_rows = 1
    assert [item.place for batch in drained(waiting) for item in batch] == [0, 1, 2]


def test_put_back_to_a_queue_that_others_share_keeps_the_counts() -> None:
    waiting, of = Waiting(), lane(64)
    added(waiting, of, [20, 20], "a")
    added(waiting, of, [20], "b")
    batch = taken(waiting)
    assert len(batch) == 3
    waiting.put_back(batch)
    assert (len(waiting), waiting.all_tokens) == (3, 60)
    assert len(taken(waiting)) == 3
    assert is_clean(waiting)


def test_a_text_whose_worker_died_has_its_own_request_for_company() -> None:
    waiting, of = Waiting(), lane(64)
    first, second = added(waiting, of, [8, 8]), added(waiting, of, [8])
    batch = taken(waiting)
    assert {item.ticket for item in batch} == {first, second}
    for item in batch:
        item.tries += 1
    waiting.put_back(batch)
    third = added(waiting, of, [8, 8])
    assert [{item.ticket for item in batch} for batch in drained(waiting)] == [{first}, {second}, {third}]


def test_no_other_key_has_texts_whose_worker_died_for_company() -> None:
    waiting, of = Waiting(), lane(64)
    added(waiting, of, [8], "a")
    batch = taken(waiting)
    batch[0].tries = 1
    added(waiting, of, [8], "b")
    waiting.put_back(batch)
    assert [{item.ticket.key for item in batch} for batch in drained(waiting)] == [{"b"}, {"a"}]


def test_the_time_ahead_of_a_key_is_that_of_its_turns() -> None:
    waiting, of = Waiting(), lane(64)
    of.cost.learn(6400, 1.0)
    assert waiting.seconds_ahead() == 0
    added(waiting, of, [64] * 100, "many")
    added(waiting, of, [64] * 10, "some")
    whole = of.cost.seconds(6400 + 640, 110)
    assert waiting.seconds_ahead() == pytest.approx(whole)
    one = whole / 110
    assert waiting.seconds_ahead("new", one) == pytest.approx(2 * one)  # one of each
    assert waiting.seconds_ahead("some", one) == pytest.approx(10 * one + 11 * one)
    assert waiting.seconds_ahead("many", one) == pytest.approx(whole)


def test_the_time_ahead_counts_every_lane_at_its_own_cost() -> None:
    waiting, slow, fast = Waiting(), lane(64, "slow"), lane(64, "fast")
    slow.cost.learn(64, 100.0)
    added(waiting, fast, [64])
    before = waiting.seconds_ahead()
    added(waiting, slow, [64])
    assert waiting.seconds_ahead() > before + 40


def test_a_lane_that_is_done_is_not_remembered() -> None:
    waiting, of = Waiting(), lane(64)
    added(waiting, of, [3])
    taken(waiting)
    gone = weakref.ref(of)
    del of
    gc.collect()
    assert gone() is None


def test_a_long_queue_is_not_walked_through_for_a_batch() -> None:
    """Steps are counted, not seconds."""
    waiting, of = Waiting(), lane(64)
    looked = 0

    class Watched(Ticket):
        @property
        def deadline(self) -> float:
            nonlocal looked
            looked += 1
            return FOR_EVER

        @deadline.setter
        def deadline(self, value: float) -> None: ...

    for _ in range(3000):
        waiting.add(Watched(of, [encoding(20)], "", FOR_EVER, lambda found: None))
    for _ in range(10):
        assert len(taken(waiting)) == 3
        waiting.seconds_ahead("new", 0.1)
    assert looked <= 10 * 20
