"""The scheduler: answers in order, fair and early refusals, no wait that serves nobody."""

import asyncio
import gc
import weakref
from itertools import chain

import pytest

from tests.serve.doubles import PATIENCE, Double, ask, encodings, in_hand, scheduling, until
from tonewise.errors import DeadlineError, OverloadedError
from tonewise.serve.scheduler import Scheduler
from tonewise.serve.waiting import Lane
from tonewise.serve.workers import Load


def test_answers_come_in_the_order_of_the_texts_whatever_the_batches() -> None:
    async def main() -> None:
        engine = Double()
        lane = Lane("lane", engine, 64)
        lengths = [(7 * i) % 61 + 1 for i in range(200)]
        async with scheduling(2) as scheduler:
            seen: list[Load] = []
            scheduler.batches = seen.append
            found, queued = await scheduler.answer(lane, encodings(*lengths))
            assert found == lengths
            assert queued >= 0
            assert scheduler.last_success[lane] > 0
            assert not len(scheduler.waiting)
        assert sorted(chain.from_iterable(engine.batches)) == sorted(lengths)
        assert sorted(load.tokens for load in seen) == sorted(map(sum, engine.batches))

    asyncio.run(main())


def test_no_texts_have_no_answers() -> None:
    async def main() -> None:
        engine = Double()
        async with scheduling() as scheduler:
            assert await scheduler.answer(Lane("lane", engine, 64), []) == ([], 0.0)
        assert engine.batches == []

    asyncio.run(main())


def test_requests_that_wait_together_share_a_batch() -> None:
    async def main() -> None:
        engine = Double()
        lane = Lane("lane", engine, 64)
        async with scheduling() as scheduler:
            tasks = [await in_hand(scheduler, engine, lane)]
            tasks += [ask(scheduler, lane, length) for length in (5, 6, 5, 6)]
            await until(lambda: len(scheduler.waiting) == 4)
            engine.gate.set()
            assert [found for found, _ in await asyncio.gather(*tasks)] == [[1], [5], [6], [5], [6]]
        assert engine.batches == [[1], [5, 5, 6, 6]]

    asyncio.run(main())


def test_a_request_that_is_too_late_is_told_so_while_its_batch_runs() -> None:
    async def main() -> None:
        engine = Double()
        lane = Lane("lane", engine, 64)
        async with scheduling() as scheduler:
            engine.gate.clear()
            with pytest.raises(DeadlineError):
                await scheduler.answer(lane, encodings(60, 50), seconds=0.2)
            assert not len(scheduler.waiting)
            engine.gate.set()
            assert (await scheduler.answer(lane, encodings(4)))[0] == [4]
        assert engine.batches == [[60], [4]]  # the rest of it was not begun

    asyncio.run(main())


@pytest.mark.parametrize("seconds", [0.0, -3.0])
def test_a_deadline_that_is_over_is_told_as_one_and_costs_nothing(seconds: float) -> None:
    async def main() -> None:
        engine = Double()
        lane = Lane("lane", engine, 64)
        lane.cost.learn(10, 1.0)
        async with scheduling() as scheduler:
            first = await in_hand(scheduler, engine, lane)
            waits = ask(scheduler, lane, 4)
            await until(lambda: len(scheduler.waiting))
            with pytest.raises(DeadlineError):  # to come again later would not help
                await scheduler.answer(lane, encodings(3), seconds=seconds)
            engine.gate.set()
            await asyncio.gather(first, waits)
        assert engine.batches == [[1], [4]]

    asyncio.run(main())


def test_the_texts_of_a_caller_who_left_are_dropped() -> None:
    async def main() -> None:
        engine = Double()
        lane = Lane("lane", engine, 64)
        async with scheduling() as scheduler:
            first = await in_hand(scheduler, engine, lane)
            leaves, stays = ask(scheduler, lane, *[30] * 50), ask(scheduler, lane, 31)
            await until(lambda: len(scheduler.waiting) == 51)
            leaves.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaves
            assert (len(scheduler.waiting), scheduler.waiting.all_tokens) == (1, 31)
            engine.gate.set()
            assert [(await task)[0] for task in (first, stays)] == [[1], [31]]
        assert engine.batches == [[1], [31]]

    asyncio.run(main())


def test_what_cannot_be_answered_in_time_is_refused_at_once() -> None:
    async def main() -> None:
        engine = Double()
        lane = Lane("lane", engine, 64)
        lane.cost.learn(64, 10.0)
        lane.cost.learn(128, 20.0)
        async with scheduling() as scheduler:
            first = await in_hand(scheduler, engine, lane)
            ahead = ask(scheduler, lane, 64, seconds=100)
            await until(lambda: len(scheduler.waiting))
            with pytest.raises(
                OverloadedError, match=r"would take 2\d\.\d s, and 15 s is the most"
            ) as caught:
                await scheduler.answer(lane, encodings(64), seconds=15)
            assert caught.value.queued_tokens == 64
            assert 9 <= caught.value.retry_after_seconds <= 11
            assert len(scheduler.waiting) == 1
            engine.gate.set()
            await asyncio.gather(first, ahead)

    asyncio.run(main())


def test_nobody_is_refused_by_a_guess() -> None:
    async def main() -> None:
        engine = Double()
        lane = Lane("lane", engine, 10**6)
        async with scheduling() as scheduler:
            first = await in_hand(scheduler, engine, lane)
            tasks = [ask(scheduler, lane, 100_000, seconds=5) for _ in range(3)]  # a guess says 30 s
            await until(lambda: len(scheduler.waiting) == 3)
            engine.gate.set()
            await asyncio.gather(first, *tasks)

    asyncio.run(main())


def test_what_can_begin_at_once_is_tried_and_puts_a_wrong_prediction_right() -> None:
    async def main() -> None:
        engine = Double()
        lane = Lane("lane", engine, 64)
        lane.cost.learn(10, 1000.0)  # a first batch that compiled for long, say
        async with scheduling() as scheduler:
            before = lane.cost.seconds(10)
            for _ in range(5):
                assert (await scheduler.answer(lane, encodings(10), seconds=20))[0] == [10]
            assert lane.cost.seconds(10) < before / 4

    asyncio.run(main())


def test_a_key_is_not_refused_for_what_another_key_has_waiting() -> None:
    async def main() -> None:
        engine = Double()
        lane = Lane("lane", engine, 64)
        lane.cost.learn(64, 0.5)
        lane.cost.learn(128, 1.0)
        async with scheduling() as scheduler:
            first = await in_hand(scheduler, engine, lane)
            many = [ask(scheduler, lane, *[64] * 20, key="many", seconds=60) for _ in range(4)]
            await until(lambda: len(scheduler.waiting) == 80)
            with pytest.raises(OverloadedError):
                await scheduler.answer(lane, encodings(32), key="many", seconds=5)
            few = ask(scheduler, lane, 32, key="few", seconds=PATIENCE)
            await until(lambda: len(scheduler.waiting) == 81)
            engine.gate.set()
            await few
            assert len(scheduler.waiting) >= 70
            for task in many:
                task.cancel()
            await asyncio.gather(first, *many, return_exceptions=True)

    asyncio.run(main())


def test_the_load_is_what_arrives_by_what_it_costs() -> None:
    async def main() -> None:
        lane = Lane("lane", Double(), 1000)
        lane.cost.learn(1000, 1.0)
        lane.cost.learn(500, 0.5)
        async with scheduling(2) as scheduler:
            assert scheduler.load(lane) == 0
            engine = Lane("other", Double(), 10_000)
            await scheduler.answer(engine, encodings(2000))
            assert 0 < scheduler.load(lane) <= 0.694  # 2000 tokens in 1.44 s, 1 ms each, two workers

    asyncio.run(main())


def busy(scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch, load: float = 1.0) -> None:
    monkeypatch.setattr(scheduler, "load", lambda lane: load)


def costly(engine: Double, seconds: float) -> Lane:
    """A lane whose batches cost so much beside their tokens."""
    lane = Lane("lane", engine, 64)
    lane.cost.learn(10, seconds)
    lane.cost.learn(60, seconds)
    return lane


def test_a_small_batch_waits_for_more_while_the_server_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        engine = Double()
        lane = costly(engine, 60.0)
        async with scheduling(2) as scheduler:
            busy(scheduler, monkeypatch)
            first = await in_hand(scheduler, engine, lane)
            small = [ask(scheduler, lane, 3, seconds=1000) for _ in range(2)]
            await until(lambda: len(scheduler.waiting) == 2)
            await asyncio.sleep(0)
            assert engine.batches == [[1]]
            more = ask(scheduler, lane, *[4] * 10, seconds=1000)  # enough for half a batch
            await until(lambda: not len(scheduler.waiting))
            engine.gate.set()
            await asyncio.gather(first, *small, more)
        assert sorted(map(len, engine.batches)) == [1, 12]

    asyncio.run(main())


def test_no_batch_waits_once_another_worker_idles(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        engine = Double()
        lane = costly(engine, 600.0)
        async with scheduling(2) as scheduler:
            busy(scheduler, monkeypatch)
            first = await in_hand(scheduler, engine, lane)
            small = ask(scheduler, lane, 3, seconds=3000)
            await until(lambda: len(scheduler.waiting))
            engine.gate.set()
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(first, small)

    asyncio.run(main())


def test_the_wait_for_more_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        engine = Double()
        lane = costly(engine, 0.02)
        async with scheduling(2) as scheduler:
            busy(scheduler, monkeypatch)
            monkeypatch.setattr(scheduler, "_watch", lambda: None)
            scheduler._watching.cancel()  # nothing else may wake it
            first = await in_hand(scheduler, engine, lane)
            small = ask(scheduler, lane, 3)
            await until(lambda: len(engine.batches) == 2)
            assert not first.done()
            engine.gate.set()
            await asyncio.gather(first, small)

    asyncio.run(main())


@pytest.mark.parametrize(("workers", "load"), [(2, 0.4), (3, 1.0)])
def test_no_batch_waits_while_time_or_a_worker_is_spare(
    workers: int, load: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        engine = Double()
        lane = costly(engine, 600.0)
        async with scheduling(workers) as scheduler:
            busy(scheduler, monkeypatch, load)
            first = await in_hand(scheduler, engine, lane)
            small = ask(scheduler, lane, 3, seconds=3000)
            await until(lambda: len(engine.batches) == 2)
            engine.gate.set()
            await asyncio.gather(first, small)

    asyncio.run(main())


def test_an_idle_server_begins_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        for workers in (1, 2):
            async with scheduling(workers) as scheduler:
                busy(scheduler, monkeypatch)
                _, queued = await scheduler.answer(costly(Double(), 600.0), encodings(3), seconds=3000)
                assert queued < PATIENCE

    asyncio.run(main())


def test_a_model_that_was_unloaded_is_not_kept_by_what_it_answered() -> None:
    async def main() -> None:
        async with scheduling() as scheduler:
            lane = Lane("lane", Double(), 64)
            await scheduler.answer(lane, encodings(3))
            gone = weakref.ref(lane)
            del lane

            def is_gone() -> bool:
                gc.collect()
                return gone() is None

            await until(is_gone)
            assert len(scheduler.last_success) == 0

    asyncio.run(main())
