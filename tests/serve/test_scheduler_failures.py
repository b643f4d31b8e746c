"""The scheduler when engines raise, die and hang: every failure has an end, and takes nobody with it."""

import asyncio
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from tests.serve.doubles import PATIENCE, Double, ask, encodings, in_hand, scheduling, until
from tonewise.errors import EngineError, EngineMemoryError
from tonewise.serve.waiting import Lane
from tonewise.serve.workers import Worker
from tonewise.tokenizer import Encoding


@pytest.fixture
def watchful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tonewise.serve.scheduler.WATCH_SECONDS", 0.005)


def test_an_error_in_one_texts_place_is_its_answer() -> None:
    async def main() -> None:
        guilty = EngineError("no")
        engine = Double()

        def compute(texts: Sequence[Encoding]) -> list[Any]:
            return [guilty if length == 13 else length for length in engine(texts)]

        async with scheduling() as scheduler:
            found, _ = await scheduler.answer(Lane("lane", compute, 64), encodings(3, 13, 4))
            assert found == [3, guilty, 4]
            assert scheduler.restarts == 0

    asyncio.run(main())


def test_an_engine_that_answers_with_nothing_but_errors_proves_and_teaches_nothing() -> None:
    async def main() -> None:
        lane = Lane("lane", lambda texts: [EngineError("no") for _ in texts], 64)
        async with scheduling() as scheduler:
            await scheduler.answer(lane, encodings(3, 4))
            assert lane not in scheduler.last_success
            assert not lane.cost.known

    asyncio.run(main())


FAULTS = [RuntimeError("x"), MemoryError(), EngineMemoryError("x"), SystemExit(1)]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_a_worker_that_dies_is_replaced_and_its_texts_are_tried_again(fault: BaseException) -> None:
    async def main() -> None:
        engine = Double()
        engine.fail = lambda lengths: fault if len(engine.batches) == 1 else None
        lane = Lane("lane", engine, 64)
        async with scheduling() as scheduler:
            assert (await scheduler.answer(lane, encodings(3, 4)))[0] == [3, 4]
            assert (scheduler.restarts, scheduler.size) == (1, 1)
        assert engine.batches == [[3, 4], [3, 4]]

    asyncio.run(main())


def test_too_few_answers_are_a_death_too() -> None:
    async def main() -> None:
        lane = Lane("lane", lambda texts: [1], 64)
        async with scheduling() as scheduler:
            with pytest.raises(EngineError, match="died of it twice: RuntimeError"):
                await scheduler.answer(lane, encodings(3, 4))
            assert scheduler.restarts == 2

    asyncio.run(main())


def test_an_engine_that_always_raises_is_asked_twice_and_its_words_are_told() -> None:
    async def main() -> None:
        engine = Double(lambda lengths: EngineError("the model is gone"))
        lane, whole = Lane("lane", engine, 64), Lane("whole", Double(), 64)
        async with scheduling() as scheduler:
            with pytest.raises(EngineError, match="died of it twice: the model is gone"):
                await scheduler.answer(lane, encodings(3))
            assert len(engine.batches) == scheduler.restarts == 2
            assert not len(scheduler.waiting)
            assert (await scheduler.answer(whole, encodings(5)))[0] == [5]

    asyncio.run(main())


def test_what_an_error_says_of_a_text_stays_here() -> None:
    async def main() -> None:
        engine = Double(lambda lengths: ValueError("a secret text"))
        async with scheduling() as scheduler:
            with pytest.raises(EngineError) as caught:
                await scheduler.answer(Lane("lane", engine, 64), encodings(3))
            assert "secret" not in str(caught.value)
            assert "ValueError" in str(caught.value)

    asyncio.run(main())


def test_a_poisonous_request_takes_no_other_with_it() -> None:
    async def main() -> None:
        engine = Double(lambda lengths: ValueError() if 13 in lengths else None)
        lane = Lane("lane", engine, 640)
        async with scheduling() as scheduler:
            first = await in_hand(scheduler, engine, lane)
            good, bad = ask(scheduler, lane, 12, 12), ask(scheduler, lane, 13, 12)
            other = ask(scheduler, lane, 12)
            await until(lambda: len(scheduler.waiting) == 5)
            engine.gate.set()
            found = await asyncio.gather(first, good, other, bad, return_exceptions=True)
        assert [one[0] for one in found[:3] if isinstance(one, tuple)] == [[1], [12, 12], [12]]
        assert isinstance(found[3], EngineError)
        assert engine.batches[1] == [12, 12, 12, 12, 13]  # they did share the batch that died

    asyncio.run(main())


def test_what_waits_of_a_failed_request_is_not_computed() -> None:
    async def main() -> None:
        engine = Double(lambda lengths: ValueError() if 60 in lengths else None)
        async with scheduling() as scheduler:
            with pytest.raises(EngineError):
                await scheduler.answer(Lane("lane", engine, 64), encodings(60, 3, 3, 3))
            assert (await scheduler.answer(Lane("lane", engine, 64), encodings(5)))[0] == [5]
        assert engine.batches == [[60], [60], [5]]

    asyncio.run(main())


def test_parts_of_a_request_that_die_together_have_each_another_try() -> None:
    async def main() -> None:
        both = threading.Barrier(2)
        engine = Double()

        def fail(lengths: list[int]) -> BaseException | None:
            if len(engine.batches) > 2:
                return None
            both.wait(PATIENCE)
            return RuntimeError()

        engine.fail = fail
        async with scheduling(2) as scheduler:
            found, _ = await scheduler.answer(Lane("lane", engine, 64), encodings(60, 50))
            assert found == [60, 50]
            assert scheduler.restarts == 2

    asyncio.run(main())


def test_a_batch_that_hangs_is_given_up_and_its_lane_closed(watchful: None) -> None:
    async def main() -> None:
        told: list[Lane] = []
        stuck, fresh = Double(), Double()
        lane, other = Lane("stuck", stuck, 64), Lane("other", Double(), 64)
        async with scheduling(1, hang_seconds=0.05) as scheduler:
            scheduler.on_hang = told.append
            hung = await in_hand(scheduler, stuck, lane, 9)
            with pytest.raises(EngineError, match=r"did not come back within 0\.05 s"):
                await hung
            assert told == [lane]
            assert (lane.open, lane.hung, scheduler.restarts, scheduler.size) == (False, 1, 1, 1)
            scheduler.hang_seconds = PATIENCE
            waits = ask(scheduler, lane, 5)
            assert (await scheduler.answer(other, encodings(4)))[0] == [4]
            assert not waits.done()
            scheduler.reopen(lane, fresh)
            assert (await waits)[0] == [5]
            before = lane.cost.line
            stuck.gate.set()  # the late one comes back to nobody
            assert (await scheduler.answer(other, encodings(4)))[0] == [4]
            assert (scheduler.size, lane.cost.line, lane.hung) == (1, before, 1)
        assert (stuck.batches, fresh.batches) == ([[9]], [[5]])

    asyncio.run(main())


def test_one_engine_that_hangs_in_two_workers_is_told_of_once(watchful: None) -> None:
    async def main() -> None:
        told: list[Lane] = []
        stuck = Double()
        stuck.gate.clear()
        lane = Lane("stuck", stuck, 64)
        before = set(threading.enumerate())
        async with scheduling(2, hang_seconds=0.05) as scheduler:
            left_behind = set(threading.enumerate()) - before
            scheduler.on_hang = told.append
            tasks = [ask(scheduler, lane, 3), ask(scheduler, lane, 4)]
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(one) for one in found] == [EngineError, EngineError]
            assert (told, lane.hung, scheduler.size) == ([lane], 1, 2)
            stuck.gate.set()
            await until(lambda: not any(thread.is_alive() for thread in left_behind))

    asyncio.run(main())


def test_a_batch_of_the_engine_before_does_not_close_the_fresh_one(watchful: None) -> None:
    async def main() -> None:
        told: list[Lane] = []
        stuck, fresh = Double(), Double()
        stuck.gate.clear()
        lane = Lane("stuck", stuck, 64)
        async with scheduling(2, hang_seconds=0.05) as scheduler:

            def mend(lane: Lane) -> None:
                told.append(lane)
                scheduler.reopen(lane, fresh)

            scheduler.on_hang = mend
            tasks = [ask(scheduler, lane, 3), ask(scheduler, lane, 4)]
            await asyncio.gather(*tasks, return_exceptions=True)
            assert (told, lane.open) == ([lane], True)
            scheduler.hang_seconds = PATIENCE
            assert (await scheduler.answer(lane, encodings(8)))[0] == [8]
            stuck.gate.set()

    asyncio.run(main())


def test_a_fresh_engine_that_hangs_too_is_told_of_again(watchful: None) -> None:
    async def main() -> None:
        told: list[Lane] = []
        stuck = Double()
        lane = Lane("stuck", stuck, 64)
        async with scheduling(1, hang_seconds=0.05) as scheduler:
            scheduler.on_hang = told.append
            for _ in range(2):
                with pytest.raises(EngineError):
                    await (await in_hand(scheduler, stuck, lane))
                scheduler.reopen(lane, partial(stuck))
            assert told == [lane, lane]
            stuck.gate.set()

    asyncio.run(main())


def test_a_caller_who_left_while_the_batch_died_is_not_tried_for_again() -> None:
    async def main() -> None:
        engine = Double(lambda lengths: RuntimeError() if len(engine.batches) == 1 else None)
        lane = Lane("lane", engine, 64)
        async with scheduling() as scheduler:
            leaves = await in_hand(scheduler, engine, lane)
            leaves.cancel()
            await asyncio.gather(leaves, return_exceptions=True)
            engine.gate.set()
            assert (await scheduler.answer(lane, encodings(4)))[0] == [4]
        assert engine.batches == [[1], [4]]

    asyncio.run(main())


def test_a_worker_that_cannot_be_replaced_now_is_replaced_later(
    watchful: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        refusals = [True, True, True]

        def scarce(*arguments: Any) -> Any:
            if refusals:
                refusals.pop()
                raise RuntimeError("can't start new thread")
            return Worker(*arguments)

        faults: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context))
        engine = Double()
        engine.fail = lambda lengths: MemoryError() if len(engine.batches) == 1 else None
        async with scheduling() as scheduler:
            monkeypatch.setattr("tonewise.serve.scheduler.Worker", scarce)
            assert (await scheduler.answer(Lane("lane", engine, 64), encodings(3)))[0] == [3]
            assert scheduler.size == 1
        assert not refusals
        assert not faults

    asyncio.run(main())


def test_a_batch_that_ends_after_the_loop_disturbs_nobody() -> None:
    engine = Double()
    before = set(threading.enumerate())

    async def main() -> None:
        async with scheduling() as scheduler:
            task = await in_hand(scheduler, engine, Lane("lane", engine, 64))
            task.cancel()

    asyncio.run(main())
    (thread,) = set(threading.enumerate()) - before
    engine.gate.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_closed_scheduler_ends_its_workers_and_makes_no_more() -> None:
    before = set(threading.enumerate())

    async def main() -> None:
        engine = Double(lambda lengths: RuntimeError())
        async with scheduling(3) as scheduler:
            task = await in_hand(scheduler, engine, Lane("lane", engine, 64))
            scheduler.close()
            engine.gate.set()
            await until(lambda: scheduler.restarts)
            task.cancel()

    asyncio.run(main())
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)
        assert not thread.is_alive()
