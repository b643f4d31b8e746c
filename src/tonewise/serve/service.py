"""What every route asks for, in whatever dialect: answers to texts, from the cache or through the queue."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tonewise import __version__
from tonewise.config import Config, TokenizerConfig, TooLong
from tonewise.errors import (
    ConfigError,
    EngineError,
    InputError,
    ModelError,
    RequestError,
    RowError,
    TooLargeError,
)
from tonewise.head import Prediction
from tonewise.serve.admission import Admission, Place
from tonewise.serve.cache import Answer, Cache
from tonewise.serve.keys import ANYONE, Key, Keys
from tonewise.serve.models import Kind, Model, Models, Opened
from tonewise.serve.rates import Rates
from tonewise.serve.scheduler import Scheduler
from tonewise.tokenizer import Encoding, Text, Token, Tokenizer, checked

INLINE_CHARACTERS = 20_000
"""Texts of so many characters together are tokenized on the loop: a thread would cost more than they do."""
PROBE_SECONDS = 15.0
"""A forward pass that succeeded so lately is one that `/ready` need not ask for."""

Asked = Text | Encoding
Classified = tuple[Prediction, Mapping[str, NDArray[np.float32]]]
"""What a text is, and the logits of each head where they were wanted."""
Floats = NDArray[np.float32]


@dataclass(slots=True)
class Call:
    """One request on its way: who asks, until when, and what became of it.

    deadline   on `time.monotonic`
    truncated  texts of which a part was not seen
    said       the texts, where the log wants them
    times      seconds of each stage: tokenize, queue, compute
    place      what it holds of the house's tokens
    """

    id: str
    route: str
    begun: float
    deadline: float
    key: Key = ANYONE
    use_cache: bool = True
    place: Place | None = None
    model: Model | None = None
    texts: int = 0
    tokens: int = 0
    hits: int = 0
    characters: int = 0
    truncated: int = 0
    said: Sequence[Any] = ()
    times: dict[str, float] = field(default_factory=dict)

    @property
    def seconds_left(self) -> float:
        """Until the deadline."""
        return self.deadline - time.monotonic()


@dataclass(frozen=True, slots=True)
class Policy:
    """What a request asks for in place of the server's own settings; None keeps those."""

    too_long: TooLong | None = None
    max_length: int | None = None


class Service:
    """The server's parts together. Belongs to one event loop."""

    def __init__(self, config: Config, keys: Keys, workers: int) -> None:
        self.config, self.keys = config, keys
        self.scheduler = Scheduler(workers, config.serve.hang_seconds, self._hung)
        self.models = Models(config, self.scheduler, workers, self._retired)
        serve = config.serve
        self.admission = Admission(
            serve.max_queue_tokens, serve.max_queue_seconds, self.scheduler.seconds_ahead
        )
        self.cache = Cache(config.serve.cache_bytes)
        self.rates = Rates()
        self.hangs = 0
        self.stopping = False
        self.mending: asyncio.Task[None] | None = None
        self.mended: Opened | None = None
        self.broken: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def answers(
        self,
        call: Call,
        model: Model,
        kind: Kind,
        texts: Sequence[Asked],
        policy: Policy = Policy(),
    ) -> list[Answer | RowError]:
        """An answer for each text, or why it has none, in their order.

        Raises TooLargeError for more texts than a request may hold, RequestError for a policy that means
        nothing, and what the model's opening and `Scheduler.answer` raise.
        """
        self._check_count(texts)
        call.model, call.texts = model, call.texts + len(texts)
        if self.config.serve.log_texts:
            call.said = [*call.said, *texts]
        opened = await self.models.use(model)
        try:
            return await self._answers(call, opened, kind, texts, policy)
        finally:
            opened.release()

    async def predictions(
        self,
        call: Call,
        model: Model,
        texts: Sequence[Asked],
        policy: Policy = Policy(),
        *,
        heads: Sequence[str] = (),
        logits: bool = False,
    ) -> list[Classified | RowError]:
        """The same as Predictions of the model's heads, or of some of them, with their logits where wanted.

        Raises ModelError for a model without heads, RequestError for heads that it has not.
        """
        if not model.heads:
            raise ModelError(f"{model.name} has no head to classify with; it can embed")
        if unknown := set(heads) - set(model.heads):
            told = f"no head '{min(unknown)}' in {model.name}; there are: {', '.join(model.heads)}"
            raise RequestError(told)
        wanted = tuple(heads) or model.heads
        found: list[Classified | RowError] = []
        for answer in await self.answers(call, model, "logits" if logits else "classify", texts, policy):
            if isinstance(answer, RowError):
                found.append(answer)
                continue
            prediction, raw = answer.value if logits else (answer.value, {})
            of = {name: prediction.heads[name] for name in wanted}
            found.append((Prediction(of, answer.n_tokens, answer.truncated), raw))
        return found

    async def vectors(
        self,
        call: Call,
        model: Model,
        texts: Sequence[Asked],
        policy: Policy = Policy(),
        *,
        normalize: bool | None = None,
        dimensions: int | None = None,
    ) -> Floats:
        """float32[N, H] vectors, normalized as the model says unless told, cut to `dimensions` before that.

        Raises the RowError of the first text that has none; RequestError for more dimensions than there are.
        """
        answers = await self.answers(call, model, "embed", texts, policy)
        for answer in answers:
            if isinstance(answer, RowError):
                raise answer
        found = np.array([answer.value for answer in answers if isinstance(answer, Answer)], np.float32)
        if dimensions is not None:
            if not found.size or not 1 <= dimensions <= found.shape[1]:
                raise RequestError(f"dimensions is {dimensions}; wanted: 1 to {found.shape[-1]}")
            found = found[:, :dimensions]
        unit = (
            bool(model.bundle.manifest.embedding.get("normalize", True)) if normalize is None else normalize
        )
        if unit and found.size:
            length = np.linalg.norm(found, axis=1, keepdims=True)
            found = found / np.maximum(length, np.float32(1e-12))
        return np.ascontiguousarray(found, np.float32)

    async def tokens(self, call: Call, model: Model, texts: Sequence[str]) -> list[list[Token]]:
        """The tokens of each text. Raises InputError for one that cannot be tokenized, TooLargeError."""
        self._check_count(texts)
        call.model, call.texts = model, call.texts + len(texts)
        opened = await self.models.use(model)
        try:
            tokenizer = opened.classifier.tokenizer
            found = await asyncio.to_thread(lambda: [tokenizer.tokens(text) for text in texts])
            call.tokens += sum(map(len, found))
            return found
        finally:
            opened.release()

    @property
    def is_whole(self) -> bool:
        """Whether it is neither stopping nor mending itself."""
        return not self.stopping and self.mending is None

    async def is_ready(self) -> bool:
        """Whether a real forward pass succeeded lately, or does now; of the default model if it is open."""
        if not self.is_whole:
            return False
        # The default model may have made room for another, and is opened again when it is asked for.
        every = (self.models.default, *self.models)
        found = [one for one in every if one.opened] or [one for one in every if one.opening]
        if not found:
            return False
        try:
            opened = found[0].opened or await self._waited_for(found[0])
        except Exception:
            return False
        lane = opened.lanes["classify" if found[0].heads else "embed"]
        last = self.scheduler.last_success.get(lane)
        if last is not None and time.monotonic() - last < PROBE_SECONDS:
            return True
        probe = opened.classifier.encode(["ready?"])
        try:
            answers, _ = await self.scheduler.answer(lane, probe, key=" probe", seconds=PROBE_SECONDS)
        except Exception:
            return False
        return not isinstance(answers[0], EngineError)

    def close(self) -> None:
        """End the workers and close the models."""
        self.scheduler.close()
        self.models.close()

    # How.

    async def _waited_for(self, model: Model) -> Opened:
        """A model that somebody else has opened just now. Raises TimeoutError, and what opening it raised."""
        async with asyncio.timeout(PROBE_SECONDS):
            opened = await self.models.use(model)
        opened.release()
        return opened

    def _check_count(self, texts: Sequence[Any]) -> None:
        most = self.config.serve.max_texts
        if len(texts) > most:
            raise TooLargeError(f"{len(texts)} texts in one request; {most} are the most", items=True)

    async def _answers(
        self, call: Call, opened: Opened, kind: Kind, texts: Sequence[Asked], policy: Policy
    ) -> list[Answer | RowError]:
        engine = opened.classifier.engine
        scope = (opened.bundle.digest, engine.name, engine.precision, __version__, kind, policy)
        caching = call.use_cache and self.cache.most_bytes > 0
        found: list[Any] = [self.cache.get((*scope, text)) if caching else None for text in texts]
        missing = [i for i, answer in enumerate(found) if answer is None]
        call.hits += len(texts) - len(missing)
        if missing:
            wanted = [texts[i] for i in missing]
            for i, answer in zip(
                missing, await self._computed(call, opened, kind, wanted, policy), strict=True
            ):
                found[i] = answer
                if isinstance(answer, Answer) and caching:
                    self.cache.put((*scope, texts[i]), texts[i], answer)
        answers: list[Answer | RowError] = []
        for i, answer in enumerate(found):
            if isinstance(answer, Answer):
                call.tokens += answer.n_tokens
                call.truncated += answer.truncated
                answers.append(answer)
            else:
                answers.append(RowError(f"text {i + 1}", answer))
        return answers

    async def _computed(
        self, call: Call, opened: Opened, kind: Kind, texts: Sequence[Asked], policy: Policy
    ) -> list[Answer | InputError | EngineError]:
        encoded = await self._encoded(call, opened, self._tokenizer(opened, policy), texts)
        good = [one for one in encoded if isinstance(one, Encoding)]
        begun = time.monotonic()
        values, queued = await self.scheduler.answer(
            opened.lanes[kind], good, key=call.key.name, seconds=call.seconds_left
        )
        call.times["queue"] = call.times.get("queue", 0.0) + queued
        call.times["compute"] = call.times.get("compute", 0.0) + time.monotonic() - begun - queued
        rest = iter(zip(good, values, strict=True))
        return [_answer(*next(rest)) if isinstance(one, Encoding) else one for one in encoded]

    async def _encoded(
        self, call: Call, opened: Opened, tokenizer: Tokenizer, texts: Sequence[Asked]
    ) -> list[Encoding | InputError]:
        begun = time.monotonic()
        plain = [text for text in texts if not isinstance(text, Encoding)]
        characters = sum(len(text) if isinstance(text, str) else sum(map(len, text)) for text in plain)
        call.characters += characters
        if characters <= INLINE_CHARACTERS:
            encoded = tokenizer.encode_each(plain)
        else:
            encoded = await asyncio.to_thread(tokenizer.encode_each, plain)
        found = iter(encoded)
        words, most = opened.classifier.network.vocabulary_size, tokenizer.max_length
        every = [checked(one, words, most) if isinstance(one, Encoding) else next(found) for one in texts]
        call.times["tokenize"] = call.times.get("tokenize", 0.0) + time.monotonic() - begun
        return every

    def _tokenizer(self, opened: Opened, policy: Policy) -> Tokenizer:
        base = opened.classifier.tokenizer
        if policy == Policy():
            return base
        config: TokenizerConfig = base.config
        try:
            return base.under(
                replace(
                    config,
                    too_long=policy.too_long or config.too_long,
                    max_length=policy.max_length or config.max_length,
                )
            )
        except ConfigError as error:
            raise RequestError(str(error)) from None

    def _retired(self, opened: Opened) -> None:
        """Its answers would never be asked for again, unless the same version comes back."""
        self.cache.forget(opened.bundle.digest)

    def _hung(self, lane: Any) -> None:
        """One fresh engine is opened; when that hangs too, the process is of no use any more."""
        if self.mended is not None and lane in self.mended.lanes.values():
            return  # another batch of the engine that is being replaced
        self.hangs += 1
        if self.hangs > 1 or self.mending is not None:
            if not self.broken.done():
                self.broken.set_result("the engine hung twice")
            return
        self.mended = self.models.owner(lane)
        self.mending = asyncio.get_running_loop().create_task(self._mend(lane))

    async def _mend(self, lane: Any) -> None:
        try:
            await self.models.mend(lane)
        except Exception as error:
            if not self.broken.done():
                self.broken.set_result(f"no fresh engine can be opened: {error}")
        finally:
            self.mending = self.mended = None


def _answer(encoding: Encoding, value: Any) -> Answer | EngineError:
    if isinstance(value, EngineError):
        return value
    return Answer(value, encoding.n_tokens, encoding.truncated)
