"""Stage 3 · encodings → batches: planned by length under a token budget, each remembering its rows."""

import atexit
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from queue import Full, Queue
from threading import Condition, Event, Lock, Thread
from typing import Any, Generic, TypeVar
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from tonewise.config import BatchConfig
from tonewise.tokenizer import Row

T = TypeVar("T")
MOST_SECONDS_AT_EXIT = 30
MAX_PADDING = 0.03
"""Padded share of a batch at which a new one is begun, unless the batch is still small."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rectangular model input, padded on the right.

    input_ids       int32[B, T]
    attention_mask  int32[B, T]  1 where a token is real
    token_type_ids  int32[B, T]  0 or 1: which text of a pair
    rows            int64[B]     where each row stood in the caller's list
    """

    input_ids: NDArray[np.int32]
    attention_mask: NDArray[np.int32]
    token_type_ids: NDArray[np.int32]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        """How many rows."""
        return len(self.rows)

    def part(self, start: int, stop: int) -> "Batch":
        """Some of the rows, cut to their own longest."""
        mask = self.attention_mask[start:stop]
        width = int(mask.sum(axis=1).max())
        cut = (slice(start, stop), slice(0, width))
        return Batch(self.input_ids[cut], mask[:, :width], self.token_type_ids[cut], self.rows[start:stop])


def plan(lengths: Sequence[int], config: BatchConfig) -> list[list[int]]:
    """Split positions `0..n-1` into groups whose padded size fits the budget.

    Longest first, so that neighbours differ little and the greatest need for memory shows at once. A
    row longer than the whole budget gets a group of its own: the budget shapes batches, it drops nothing.
    """
    groups: list[list[int]] = []
    group: list[int] = []
    width = tokens = 0
    for position in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        length = lengths[position]
        if group and not _joins(length, width, len(group), tokens, config):
            groups.append(group)
            group, tokens = [], 0
        if not group:
            width = length
        group.append(position)
        tokens += length
    if group:
        groups.append(group)
    return groups


def _joins(length: int, width: int, size: int, tokens: int, config: BatchConfig) -> bool:
    padded = width * (size + 1)
    if size >= config.max_batch_rows or padded > config.budget:
        return False
    small = padded < config.budget // 4
    return small or padded - tokens - length <= MAX_PADDING * padded


def collate(rows: Sequence[Row], chosen: Sequence[int], padding_id: int) -> Batch:
    """Pad the chosen rows into one rectangle."""
    picked = [rows[position] for position in chosen]
    lengths = np.fromiter((len(row.input_ids) for row in picked), np.int64, len(picked))
    mask = np.arange(lengths.max()) < lengths[:, None]
    input_ids = np.full(mask.shape, padding_id, np.int32)
    input_ids[mask] = np.fromiter(chain.from_iterable(row.input_ids for row in picked), np.int32)
    types = np.zeros(mask.shape, np.int32)
    for i, row in enumerate(picked):
        if row.type_ids is not None:
            types[i, : len(row.type_ids)] = row.type_ids
    return Batch(input_ids, mask.astype(np.int32), types, np.asarray(chosen, np.int64))


def batches(rows: Sequence[Row], padding_id: int, config: BatchConfig) -> Iterator[Batch]:
    """Yield batches that together hold every row exactly once."""
    for chosen in plan([len(row.input_ids) for row in rows], config):
        yield collate(rows, chosen, padding_id)


def distinct(rows: Sequence[Row]) -> tuple[list[Row], list[int]]:
    """The rows without repetition, and for each row where its equal stands among them."""
    seen: dict[tuple[tuple[int, ...], tuple[int, ...] | None], int] = {}
    places = []
    unlike: list[Row] = []
    for row in rows:
        key = (tuple(row.input_ids), None if row.type_ids is None else tuple(row.type_ids))
        place = seen.setdefault(key, len(unlike))
        if place == len(unlike):
            unlike.append(row)
        places.append(place)
    return unlike, places


class Buffer(Generic[T]):
    """Chunks of a stream, read ahead by a thread: each is as full as the limits allow, or as time allows.

    While one chunk is worked on, the next is being read. A source slower than
    `max_wait_seconds` is not waited for: what has arrived is handed on.
    """

    def __init__(self, stream: Iterable[T], size: Callable[[T], int], config: BatchConfig) -> None:
        """`size` estimates an item's tokens."""
        self._stream, self._size, self._config = stream, size, config
        self._waiting: deque[T] = deque()
        self._tokens = 0
        self._changed = Condition()
        self._ended = self._stopped = False
        self._failure: BaseException | None = None

    def __iter__(self) -> Iterator[list[T]]:
        """Yield non-empty lists in the stream's order; what the stream raises is raised after them."""
        Thread(target=self._read, name="tonewise-reader", daemon=True).start()
        try:
            while chunk := self._take():
                yield chunk
            if self._failure is not None:
                raise self._failure
        finally:
            with self._changed:
                self._stopped = True
                self._changed.notify_all()

    def _is_full(self) -> bool:
        return self._tokens >= self._config.buffer_tokens or len(self._waiting) >= self._config.buffer_rows

    def _read(self) -> None:
        try:
            for item in self._stream:
                with self._changed:
                    self._waiting.append(item)
                    self._tokens += self._size(item)
                    if len(self._waiting) == 1 or self._is_full():
                        self._changed.notify_all()
                    self._changed.wait_for(lambda: self._stopped or not self._is_full())
                    if self._stopped:
                        return
        except BaseException as failure:  # it is raised again where the chunks are taken
            self._failure = failure
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _take(self) -> list[T]:
        """All that waits, once it is a full chunk, has waited long enough, or is the last."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended)
            wait = self._config.max_wait_seconds
            self._changed.wait_for(lambda: self._ended or self._is_full(), timeout=wait)
            chunk = list(self._waiting)
            self._waiting.clear()
            self._tokens = 0
            self._changed.notify_all()
        return chunk


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, computed by a thread while the caller works on the one before.

    What the iterator raises is raised in its place. Closing this generator ends the thread after the
    item in hand.
    """
    ready: Queue[tuple[bool, Any]] = Queue(maxsize=1)
    stopped = Event()

    def put(entry: tuple[bool, Any]) -> None:
        while not stopped.is_set():
            with suppress(Full):
                return ready.put(entry, timeout=0.1)

    def work() -> None:
        try:
            for item in items:
                put((True, item))
                if stopped.is_set():
                    break
            put((False, None))
        except BaseException as failure:  # it is raised again where the items are taken
            put((False, failure))

    Thread(target=work, name="tonewise-worker", daemon=True).start()
    try:
        while True:
            more, item = ready.get()
            if more:
                yield item
            elif item is None:
                return
            else:
                raise item
    finally:
        stopped.set()


class Work:
    """A thread's use of the runtimes. Python aborts when it ends while a thread is inside one."""

    def __init__(self) -> None:
        self.busy, self.stopped = Lock(), False
        _working.add(self)

    def end(self) -> None:
        """Let no further batch begin, and wait for the one in hand, but not for ever."""
        self.stopped = True
        if self.busy.acquire(timeout=MOST_SECONDS_AT_EXIT):
            self.busy.release()


_working: WeakSet[Work] = WeakSet()
atexit.register(lambda: list(map(Work.end, list(_working))))
