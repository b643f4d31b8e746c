"""What waits for an engine: fair between keys, and batched by length under a token budget."""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from tonewise.serve.cost import Cost
from tonewise.tokenizer import Encoding

LOOK_AHEAD = 4
"""Batches' worth of waiting texts among which neighbours in length are looked for."""

Compute = Callable[[Sequence[Encoding]], Sequence[Any]]


@dataclass(eq=False, slots=True, weakref_slot=True)
class Lane:
    """Texts that may share a batch: of one model, wanted for one kind of answer.

    compute   encodings → an answer each, an EngineError among them where one failed; runs in a worker
    budget    tokens of a batch, padding included
    open      whether batches may start; they wait while an engine is being replaced
    """

    name: str
    compute: Compute
    budget: int
    most_rows: int = 256
    open: bool = True
    cost: Cost = field(default_factory=Cost)
    hung: int = 0


@dataclass(eq=False, slots=True)
class Ticket:
    """One request's texts on their way: what is asked, what has been answered.

    done      called once, with the answers in the order of the encodings, or with an exception
    deadline  on the loop's clock: later than that nobody waits
    sizes     tokens of each text, all its windows together
    tokens    of all texts
    dropped   nobody waits any more
    begun     when its first batch began; 0 before
    """

    lane: Lane
    encodings: Sequence[Encoding]
    key: str
    deadline: float
    done: Callable[[Any], None]
    answers: list[Any] = field(init=False)
    left: int = field(init=False)
    sizes: list[int] = field(init=False)
    tokens: int = field(init=False)
    dropped: bool = False
    begun: float = 0.0

    def __post_init__(self) -> None:
        """Nothing is answered yet."""
        self.answers, self.left = [None] * len(self.encodings), len(self.encodings)
        self.sizes = [max(1, sum(len(row.input_ids) for row in one.rows)) for one in self.encodings]
        self.tokens = sum(self.sizes)


@dataclass(eq=False, slots=True)
class Item:
    """One text of a ticket.

    number  its place in the order of arrival, over all keys and lanes
    tries   workers that died with it in hand
    """

    ticket: Ticket
    place: int
    tokens: int
    number: int
    tries: int = 0


class _Queue:
    """What one key has waiting in one lane: its tickets in order, each with those texts that wait."""

    __slots__ = ("tickets", "tokens")

    def __init__(self) -> None:
        self.tickets: OrderedDict[Ticket, deque[Item]] = OrderedDict()
        self.tokens = 0


class _Line:
    """What one key has waiting, by lane, and how much service it had."""

    __slots__ = ("lanes", "service")

    def __init__(self, service: float) -> None:
        self.service = service
        self.lanes: dict[Lane, _Queue] = {}


class Waiting:
    """All that waits. Belongs to one thread.

    Fairness is start-time fair queuing (Goyal, Vin and Cheng, 1996) over keys: the key that had the least
    service goes next. One that comes back after a pause has no claim to what it did not use, and no
    pardon for what it used. Service is counted in seconds of a worker, as batches were measured.
    """

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self._ahead: dict[str, float] = {}
        self._now = 0.0
        self._arrived = self._texts = 0
        self.tokens: dict[Lane, int] = {}

    def __len__(self) -> int:
        """How many texts wait."""
        return self._texts

    @property
    def all_tokens(self) -> int:
        """Of all lanes."""
        return sum(self.tokens.values())

    def add(self, ticket: Ticket) -> None:
        """A ticket's texts, one at least, take their places at the end of its key's queue."""
        items = deque(
            Item(ticket, place, tokens, self._arrived + place) for place, tokens in enumerate(ticket.sizes)
        )
        self._arrived += len(items)
        self._queue(ticket).tickets[ticket] = items
        self._count(ticket, len(items), ticket.tokens)

    def put_back(self, items: Sequence[Item]) -> None:
        """Texts that were taken take their old places again, before all that came after them."""
        touched: dict[int, _Queue] = {}
        for item in items:
            queue = touched[id(item.ticket)] = self._queue(item.ticket)
            queue.tickets.setdefault(item.ticket, deque()).append(item)
            self._count(item.ticket, 1, item.tokens)
        for queue in {id(one): one for one in touched.values()}.values():
            for ticket, of in queue.tickets.items():
                if id(ticket) in touched:
                    queue.tickets[ticket] = deque(sorted(of, key=lambda item: item.number))
            queue.tickets = OrderedDict(sorted(queue.tickets.items(), key=lambda one: one[1][0].number))

    def drop(self, ticket: Ticket) -> None:
        """Nobody waits for a ticket any more: what waits of it is gone, what runs is run for nothing."""
        ticket.dropped = True
        line = self._lines.get(ticket.key)
        queue = line.lanes.get(ticket.lane) if line else None
        if queue is not None and (items := queue.tickets.pop(ticket, None)):
            self._count(ticket, -len(items), -sum(item.tokens for item in items))

    def next_batch(self, now: float, workers: int = 1) -> tuple[Lane, list[Item]] | None:
        """The next batch for one of `workers` that are free, shortest text first; None when none may start.

        The texts wait until they are taken. Those whose deadline is over by `now` are in no batch.
        """
        for line in sorted(self._lines.values(), key=lambda one: one.service):
            heads = [head for lane in list(line.lanes) if lane.open and (head := self._head(line, lane, now))]
            if heads:
                head = min(heads, key=lambda item: item.number)
                return head.ticket.lane, self._around(head, now, workers)
        return None

    def take(self, lane: Lane, items: Sequence[Item]) -> None:
        """A batch leaves; its keys have had that much service."""
        places: dict[Ticket, set[int]] = {}
        used: dict[str, int] = {}
        for item in items:
            places.setdefault(item.ticket, set()).add(item.place)
            used[item.ticket.key] = used.get(item.ticket.key, 0) + item.tokens
        self._now = max(self._now, min(self._lines[key].service for key in used))
        for key, tokens in used.items():
            line = self._lines[key]
            took = lane.cost.seconds(tokens, tokens / lane.budget)
            line.service = max(line.service, self._now) + took
        for ticket, of in places.items():
            tickets = self._lines[ticket.key].lanes[lane].tickets
            rest = deque(item for item in tickets[ticket] if item.place not in of)
            if rest:
                tickets[ticket] = rest
            else:
                del tickets[ticket]
            self._count(ticket, -len(of), -sum(ticket.sizes[place] for place in of))

    def seconds_ahead(self, key: str | None = None, own: float = 0.0) -> float:
        """Seconds of one worker for all that waits; for a key, only for what comes before `own` more of it.

        Keys have turns: of what another key has waiting no more comes first than this key has itself.
        """
        rates = {
            lane: lane.cost.seconds(tokens, max(1.0, tokens / lane.budget)) / tokens
            for lane, tokens in self.tokens.items()
        }
        of = {
            name: sum(rates[lane] * queue.tokens for lane, queue in line.lanes.items())
            for name, line in self._lines.items()
        }
        if key is None:
            return sum(of.values())
        before = of.pop(key, 0.0)
        return before + sum(min(other, before + own) for other in of.values())

    # How.

    def _queue(self, ticket: Ticket) -> _Queue:
        line = self._lines.get(ticket.key)
        if line is None:
            line = self._lines[ticket.key] = _Line(self._ahead.pop(ticket.key, self._now))
        return line.lanes.setdefault(ticket.lane, _Queue())

    def _count(self, ticket: Ticket, texts: int, tokens: int) -> None:
        """Texts came to a queue, or left it; an empty one is forgotten, but not that its key was served."""
        key, lane = ticket.key, ticket.lane
        line = self._lines[key]
        queue = line.lanes[lane]
        queue.tokens += tokens
        self._texts += texts
        self.tokens[lane] = self.tokens.get(lane, 0) + tokens
        if not self.tokens[lane]:
            del self.tokens[lane]
        if not queue.tickets:
            del line.lanes[lane]
        if not line.lanes:
            del self._lines[key]
            self._ahead[key] = line.service
            if not self._lines:  # nobody waits, and so nobody owes anybody anything
                self._now = max(self._ahead.values())
            self._ahead = {name: had for name, had in self._ahead.items() if had > self._now}

    def _head(self, line: _Line, lane: Lane, now: float) -> Item | None:
        """The first text of a queue that somebody waits for."""
        queue = line.lanes[lane]
        while queue.tickets:
            ticket, items = next(iter(queue.tickets.items()))
            if ticket.deadline > now:
                return items[0]
            self.drop(ticket)
        return None

    def _around(self, head: Item, now: float, workers: int) -> list[Item]:
        """The batch of a text. One whose worker died has none but its own request's others for company."""
        lane = head.ticket.lane
        if head.tries:
            others = self._lines[head.ticket.key].lanes[lane].tickets[head.ticket]
            candidates = [item for item in others if item.tries]
        else:
            candidates = list(self._candidates(lane, now))
        # Where the queue is short every free worker gets its part of it.
        share = max(-(-self.tokens[lane] // max(workers, 1)), lane.budget // 8)
        return _neighbours(head, candidates, lane, share)

    def _candidates(self, lane: Lane, now: float) -> Iterator[Item]:
        """Some batches' worth of the lane, the keys taking turns, the least served first."""
        most, seen, rows = LOOK_AHEAD * lane.budget, 0, 0
        lines = [line for line in self._lines.values() if lane in line.lanes]
        lines.sort(key=lambda line: line.service)
        streams = [
            chain.from_iterable(
                items for ticket, items in line.lanes[lane].tickets.items() if ticket.deadline > now
            )
            for line in lines
        ]
        while streams:
            for stream in list(streams):
                item = next((one for one in stream if not one.tries), None)
                if item is None:
                    streams.remove(stream)
                    continue
                yield item
                seen, rows = seen + item.tokens, rows + 1
                if seen >= most or rows >= LOOK_AHEAD * lane.most_rows:
                    return


def _neighbours(head: Item, candidates: Sequence[Item], lane: Lane, share: int) -> list[Item]:
    """The head and those nearest to it in length: as many as the lane's limits take, up to `share` tokens."""
    ordered = sorted(candidates, key=lambda item: item.tokens)
    low = high = ordered.index(head)
    tokens = head.tokens
    while (rows := high - low + 1) < lane.most_rows and tokens < share:
        below = head.tokens - ordered[low - 1].tokens if low > 0 else None
        above = ordered[high + 1].tokens - head.tokens if high + 1 < len(ordered) else None
        is_above = above is not None and (below is None or above < below)
        if is_above and ordered[high + 1].tokens * (rows + 1) <= lane.budget:
            high += 1
            tokens += ordered[high].tokens
        elif below is not None and ordered[high].tokens * (rows + 1) <= lane.budget:
            low -= 1
            tokens += ordered[low].tokens
        else:
            break
    return ordered[low : high + 1]
