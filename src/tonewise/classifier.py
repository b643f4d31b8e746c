"""The whole spine as one object: encode, infer, decode. START HERE."""

import atexit
from bisect import bisect_right
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any, Literal, Self, Unpack, overload
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from tonewise.batching import Buffer, ahead
from tonewise.config import KNOBS, Config, Settings, load_config
from tonewise.embedding import vectors
from tonewise.encoder.weights import NetworkSpec, read_head
from tonewise.engines import Budget, Engine, States, choose, feed, open_engine, open_named
from tonewise.errors import ConfigError, EngineError, InputError, ModelError, RowError
from tonewise.head import Head, HeadPrediction, Prediction, pool_windows, poolings_of
from tonewise.source import Example, check_clash, frame_columns, frame_texts, frame_with, kind_of_frame
from tonewise.store import Bundle, HeadSpec, mapped, resolve
from tonewise.tokenizer import Encoding, Row, Text, Tokenizer, open_tokenizer

Floats = NDArray[np.float32]
OnErrorPython = Literal["raise", "return"]
MOST_SECONDS_AT_EXIT = 30
WARM_TOKENS = 128
_Columns = tuple[str | None, str | None]  # of texts and of their pairs
_Asked = tuple[Any, str]  # a text, and where it stands
_Computed = tuple[list[Encoding | RowError], list[str], States]


class Classifier:
    """A tokenizer, an engine and heads that belong together. Safe to share between threads.

    bundle  the verified model
    heads   by name; one forward pass serves them all
    engine  what runs the encoder
    """

    def __init__(
        self,
        bundle: Bundle,
        network: NetworkSpec,
        tokenizer: Tokenizer,
        engine: Engine,
        heads: Mapping[str, Head],
        config: Config,
    ) -> None:
        self.bundle, self.network, self.tokenizer, self.engine = bundle, network, tokenizer, engine
        self.heads, self.config = heads, config
        self._budget = Budget(config.batch.budget)
        self._embedder: Engine | None = None
        self._closed = False
        self._lock = Lock()

    @classmethod
    def load(
        cls, ref: str | Path | None = None, *, config: Config | None = None, **settings: Unpack[Settings]
    ) -> Self:
        """Resolve, verify and open the model that `ref` names; without it, the one that settings name.

        `settings` are the knobs of `tonewise.config` by name (`engine=`, `precision=`, `too_long=` …), which
        come over `TONEWISE_*` and `tonewise.toml`; a whole `config` stands in for them. Raises ModelError and
        its kin for the model, ConfigError for a setting, EngineError when the runtime does not start.
        """
        if commands := (KNOBS.keys() & settings) - Settings.__annotations__.keys():
            raise ConfigError(f"'{min(commands)}' is a setting of the command line; load does not take it")
        if config and settings:
            raise ConfigError(f"give a whole config or single settings, not both ({', '.join(settings)})")
        config = config or load_config(settings)
        bundle = resolve(config.run.model if ref is None else ref, config.store)
        bundle = mapped(bundle, config.head.map) if config.head.map is not None else bundle
        spec = NetworkSpec.from_config(bundle.network, bundle.ref)
        heads = {name: _open_head(bundle, name, one, spec) for name, one in bundle.heads.items()}
        tokenizer = open_tokenizer(
            bundle, config.tokenizer, max_length=spec.max_length, types=spec.type_count > 1
        )
        poolings = poolings_of(heads.values()) or (bundle.manifest.embedding.get("pooling", "mean"),)
        choice = choose(config.engine, bundle, poolings, config.store.cache_dir)
        engine = open_named(choice.name, bundle, poolings, choice.options)
        tokens = config.batch.max_batch_tokens or choice.batch_tokens
        config = replace(config, batch=replace(config.batch, max_batch_tokens=tokens))
        return cls(bundle, spec, tokenizer, engine, heads, config)

    # The spine.

    def encode(self, texts: Sequence[Text]) -> list[Encoding]:
        """Stage 2. Raises RowError naming the first text that cannot be tokenized."""
        return self.tokenizer.encode(texts)

    def infer(self, encodings: Sequence[Encoding]) -> States:
        """Stages 3 and 4: the states of every row, in the order of the encodings' rows.

        Equal rows are computed once. A batch that fails is halved, down to the one row that cannot be
        computed, which is told in `States.errors`; the rest is answered.
        """
        return self._infer(self.engine, encodings)

    def decode(self, encodings: Sequence[Encoding], states: States) -> list[Prediction | EngineError]:
        """Stage 5: one answer per encoding, or what kept the engine from one."""
        if not encodings:
            return []
        starts = _starts(encodings)
        failed = _failures(starts, states)
        answers: dict[str, list[HeadPrediction]] = {}
        for name, head in self.heads.items():
            logits = _finite(head.logits(states.of(head.spec.pooling)), starts, failed)
            scores = pool_windows(head.scores(logits), starts, self.config.tokenizer.window_pooling)
            answers[name] = head.decode(scores)
        by_text = [dict(zip(answers, row, strict=True)) for row in zip(*answers.values(), strict=True)]
        return [
            failed.get(i) or Prediction(by_text[i], encoding.n_tokens, encoding.truncated)
            for i, encoding in enumerate(encodings)
        ]

    # What users call.

    @overload
    def classify(self, texts: Text | Encoding) -> Prediction: ...
    @overload
    def classify(self, texts: list[Any], *, on_error: Literal["raise"] = "raise") -> list[Prediction]: ...
    @overload
    def classify(self, texts: list[Any], *, on_error: Literal["return"]) -> list[Prediction | RowError]: ...
    @overload
    def classify(
        self,
        texts: Any,
        *,
        on_error: OnErrorPython = ...,
        text_column: str | None = ...,
        text_pair_column: str | None = ...,
        scores: bool = ...,
        uncertainty: bool = ...,
    ) -> Any: ...

    def classify(
        self,
        texts: Any,
        *,
        on_error: OnErrorPython = "raise",
        text_column: str | None = None,
        text_pair_column: str | None = None,
        scores: bool = False,
        uncertainty: bool = False,
    ) -> Any:
        """Classify a text (→ a Prediction), a list (→ list), any iterable (→ iterator) or a frame (→ frame).

        A text is a string, a pair (a tuple of two strings) or an Encoding. A pandas, polars, Arrow or
        Hugging Face frame comes back with the columns `HEAD` and `HEAD_score` added (`scores=True` adds
        `HEAD_score_LABEL`, `uncertainty=True` adds `HEAD_entropy` and `HEAD_margin`). With
        `on_error='return'` a RowError stands in the place of a text that could not be answered; with
        `'raise'` the first is raised. Raises ModelError for a bundle without heads, ConfigError for options
        that mean nothing here.
        """
        if on_error not in ("raise", "return"):
            raise ConfigError(f"on_error cannot be {on_error!r}; wanted: raise | return")
        if kind_of_frame(texts):
            source = self.config.source
            columns = (text_column or source.text_column, text_pair_column or source.text_pair_column)
            wanted = {"scores": scores, "uncertainty": uncertainty}
            return self._classify_frame(texts, on_error, columns, wanted)
        if text_column is not None or text_pair_column is not None or scores or uncertainty:
            raise ConfigError("columns and scores are named for data frames; a Prediction has all of them")
        if isinstance(texts, (str, tuple, Encoding)):
            return self._classify_list([texts], on_error)[0]
        if not isinstance(texts, Iterable) or isinstance(texts, (bytes, Mapping)):
            raise InputError(f"cannot classify {type(texts).__name__}; wanted: text, list, iterable or frame")
        if isinstance(texts, Sequence):
            return self._classify_list(texts, on_error)
        return self._classify_iterable(texts, on_error)

    def stream(
        self, examples: Iterable[Example | RowError]
    ) -> Generator[tuple[Example | None, Prediction | RowError], None, None]:
        """Classify without end and in bounded memory; answers come in the order of the input.

        Yields each example with its answer, or with the RowError that stands in its place; an error that
        came instead of an example is passed on beside None.
        """
        for chunk, answers in self._stream(examples, _text_of_example):
            for item, answer in zip(chunk, answers, strict=True):
                yield (None if isinstance(item, RowError) else item), answer

    def logits(self, texts: Sequence[Text | Encoding]) -> dict[str, Floats]:
        """The heads' raw outputs, float32[N, L] each; windows of a text are averaged. Raises RowError."""
        encodings = self._encodings(texts)
        states, starts = self.infer(encodings), _starts(encodings)
        failed = _failures(starts, states)
        logits = {
            name: _finite(head.logits(states.of(head.spec.pooling)), starts, failed)
            for name, head in self.heads.items()
        }
        _raise_first(failed)
        return {name: pool_windows(found, starts, "mean") for name, found in logits.items()}

    def embed(self, texts: Sequence[Text | Encoding], *, normalize: bool | None = None) -> Floats:
        """float32[N, H] vectors, pooled and normalized as the bundle says unless told. Raises RowError."""
        how = self.bundle.manifest.embedding
        if "unsupported" in how:
            raise ModelError(f"{self.bundle.ref}: its vectors are not computed here: {how['unsupported']}")
        encodings = self._encodings(texts)
        states = self._infer(self._engine_for_embedding(), encodings)
        starts = _starts(encodings)
        _raise_first(_failures(starts, states))
        tokens = [len(row.input_ids) for encoding in encodings for row in encoding.rows]
        unit = bool(how["normalize"]) if normalize is None else normalize
        found = vectors(states.of(how["pooling"]), starts, tokens, normalize=unit)
        _raise_first({int(i): _unfinite() for i in np.flatnonzero(~np.isfinite(found).all(axis=1))})
        return found

    def warm(self, most: int = WARM_TOKENS) -> None:
        """Run a row of each length up to `most` tokens, in each of the engine's streams.

        Some runtimes make their kernels at the first sight of a shape: no later text of such a length
        waits for that. Raises EngineError.
        """
        for length in range(1, min(most, self.tokenizer.max_length) + 1):
            for _ in range(self.engine.streams):
                states = self.infer([Encoding((Row([self.tokenizer.padding_id] * length),), length)])
                if states.errors:
                    raise states.errors[0]

    def close(self) -> None:
        """Free the engines; what is asked from then on is answered by EngineError. Safe to call twice."""
        with self._lock:
            self._closed = True
            self.engine.close()
            if self._embedder is not None:
                self._embedder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    # How.

    def _infer(self, engine: Engine, encodings: Sequence[Encoding], work: "_Work | None" = None) -> States:
        return feed(
            engine,
            [row for encoding in encodings for row in encoding.rows],
            hidden_size=self.network.hidden_size,
            padding_id=self.tokenizer.padding_id,
            config=self.config.batch,
            budget=self._budget,
            stopped=lambda: work is not None and work.stopped,
        )

    def _classify_list(self, texts: Sequence[Any], on_error: OnErrorPython) -> list[Prediction | RowError]:
        """A list needs no reader thread: it is cut and answered here."""
        answers: list[Prediction | RowError] = []
        size = self.config.batch.buffer_rows
        for start in range(0, len(texts), size):
            chunk = enumerate(texts[start : start + size], start + 1)
            some = self._decoded(self._computed([_placed(text, number) for number, text in chunk]))
            answers += _raised(some) if on_error == "raise" else some
        return answers

    def _classify_iterable(
        self, texts: Iterable[Any], on_error: OnErrorPython
    ) -> Iterator[Prediction | RowError]:
        numbered = (_placed(text, i) for i, text in enumerate(texts, 1))
        for _, answers in self._stream(numbered, lambda item: item):
            for answer in answers:
                if on_error == "raise" and isinstance(answer, RowError):
                    raise answer
                yield answer

    def _classify_frame(
        self, frame: Any, on_error: OnErrorPython, columns: _Columns, wanted: Mapping[str, bool]
    ) -> Any:
        shapes = {name: head.shape for name, head in self.heads.items()}
        names = [column for name, shape in shapes.items() for column in shape.columns(name, **wanted)]
        check_clash(frame_columns(frame), names)
        rows = []
        for answer in self._classify_list(list(frame_texts(frame, *columns)), on_error):
            found = {} if isinstance(answer, RowError) else answer.heads
            cells = (shape.cells(found.get(name), **wanted) for name, shape in shapes.items())
            rows.append([cell for some in cells for cell in some])
        return frame_with(frame, {name: [row[i] for row in rows] for i, name in enumerate(names)})

    def _stream(
        self, items: Iterable[Any], text_of: Any
    ) -> Iterator[tuple[list[Any], list[Prediction | RowError]]]:
        """Read ahead, compute ahead: while one chunk's answers are used, the next is in the engine."""
        chunks = Buffer(items, lambda item: _size(text_of(item)), self.config.batch)
        work = _Work()

        def compute() -> Iterator[tuple[list[Any], Any]]:
            for chunk in chunks:
                with work.busy:
                    computed = self._computed([text_of(item) for item in chunk], work)
                yield chunk, computed

        try:
            for chunk, computed in ahead(compute()):
                yield chunk, self._decoded(computed)
        finally:
            # Never wait here: the garbage collector may run this on the very thread that would be waited for.
            work.stopped = True

    def _computed(self, asked: Sequence[_Asked | RowError], work: "_Work | None" = None) -> _Computed:
        """Encodings, or errors in their places, and the states of those that are."""
        if not self.heads:
            raise ModelError(f"{self.bundle.ref} has no head to classify with; it can embed")
        texts = [one for one in asked if not isinstance(one, RowError)]
        found = iter(self._encode_each([text for text, _ in texts], [where for _, where in texts]))
        encoded = [one if isinstance(one, RowError) else next(found) for one in asked]
        where = ["" if isinstance(one, RowError) else one[1] for one in asked]
        good = [one for one in encoded if isinstance(one, Encoding)]
        return encoded, where, self._infer(self.engine, good, work)

    def _decoded(self, computed: _Computed) -> list[Prediction | RowError]:
        encoded, where, states = computed
        found = iter(self.decode([one for one in encoded if isinstance(one, Encoding)], states))
        answers = (next(found) if isinstance(one, Encoding) else one for one in encoded)
        return [
            RowError(place, one) if isinstance(one, EngineError) else one
            for one, place in zip(answers, where, strict=True)
        ]

    def _encode_each(self, texts: Sequence[Any], where: Sequence[str]) -> list[Encoding | RowError]:
        plain = [text for text in texts if not isinstance(text, Encoding)]
        found = iter(self.tokenizer.encode_each(plain))
        encoded = [self._checked(text) if isinstance(text, Encoding) else next(found) for text in texts]
        return [
            RowError(place, one) if isinstance(one, InputError) else one
            for one, place in zip(encoded, where, strict=True)
        ]

    def _checked(self, encoding: Encoding) -> Encoding | InputError:
        """Token ids from elsewhere may not be the model's."""
        words, most = self.network.vocabulary_size, self.tokenizer.max_length
        if not encoding.rows:
            return InputError("an Encoding needs at least one row")
        for row in encoding.rows:
            ids, types = row.input_ids, row.type_ids
            if not 1 <= len(ids) <= most:
                return InputError(f"an Encoding has a row of {len(ids)} tokens; wanted: 1 to {most}")
            if types is not None and len(types) != len(ids):
                return InputError(f"an Encoding has a row of {len(ids)} tokens but {len(types)} type ids")
            if not all(isinstance(one, (int, np.integer)) for one in (*ids, *(types or ()))):
                return InputError("an Encoding holds an id that is not a whole number")
            if not 0 <= min(ids) <= max(ids) < words:
                return InputError(f"an Encoding holds a token id outside 0 to {words - 1}")
        return encoding

    def _encodings(self, texts: Sequence[Text | Encoding]) -> list[Encoding]:
        if isinstance(texts, (str, tuple, Encoding)) or not isinstance(texts, Sequence):
            raise InputError(f"wanted a list of texts, not {type(texts).__name__}; put one text into a list")
        return _raised(self._encode_each(texts, [f"text {i + 1}" for i in range(len(texts))]))

    def _engine_for_embedding(self) -> Engine:
        pooling = self.bundle.manifest.embedding["pooling"]
        if pooling in self.engine.poolings or self._closed:
            return self.engine
        with self._lock:
            if self._embedder is None:
                self._embedder = open_engine(self.bundle, (pooling,), self.config.engine, self.config.store)
            return self._embedder


class _Work:
    """A thread's use of the runtimes. Python aborts when it ends while a thread is inside one."""

    def __init__(self) -> None:
        self.busy, self.stopped = Lock(), False
        _working.add(self)

    def end(self) -> None:
        """Let no further batch begin, and wait for the one in hand, but not for ever."""
        self.stopped = True
        if self.busy.acquire(timeout=MOST_SECONDS_AT_EXIT):
            self.busy.release()


_working: WeakSet[_Work] = WeakSet()
atexit.register(lambda: list(map(_Work.end, list(_working))))


def _open_head(bundle: Bundle, name: str, one: HeadSpec, network: NetworkSpec) -> Head:
    head = Head(name, one, read_head(bundle.weights, one.dense, one.output, bundle.ref))
    if head.inputs != network.hidden_size:
        told = f"reads {head.inputs} numbers, but config.json tells of {network.hidden_size}"
        raise ModelError(f"{bundle.ref}: head '{name}' {told}")
    return head


def _placed(text: Any, number: int) -> _Asked | RowError:
    return text if isinstance(text, RowError) else (text, f"text {number}")


def _text_of_example(item: Example | RowError) -> Any:
    if isinstance(item, RowError):
        return item
    return (item.text if item.text_pair is None else (item.text, item.text_pair)), item.where


def _size(asked: Any) -> int:
    """Tokens of a text before it is tokenized, at about four characters each."""
    if isinstance(asked, RowError):
        return 1
    text, _ = asked
    if isinstance(text, Encoding):
        return sum(len(row.input_ids) for row in text.rows)
    parts = text if isinstance(text, tuple) else (text,)
    return 2 + sum(len(part) for part in parts if isinstance(part, str)) // 4


def _starts(encodings: Sequence[Encoding]) -> list[int]:
    """Where each encoding's rows begin."""
    ends = list(accumulate(len(encoding.rows) for encoding in encodings))
    return [0, *ends][: len(ends)]


def _failures(starts: Sequence[int], states: States) -> dict[int, EngineError]:
    """For each encoding that has a failed row: why."""
    failed: dict[int, EngineError] = {}
    for row in sorted(states.errors):
        failed.setdefault(bisect_right(starts, row) - 1, states.errors[row])
    return failed


def _finite(logits: Floats, starts: Sequence[int], failed: dict[int, EngineError]) -> Floats:
    """The logits, with zeros for rows that are no numbers, which are told in `failed`."""
    for row in np.flatnonzero(~np.isfinite(logits).all(axis=1)).tolist():
        logits[row] = 0
        failed.setdefault(bisect_right(starts, row) - 1, _unfinite())
    return logits


def _unfinite() -> EngineError:
    return EngineError("a score of the model is no number")


def _raise_first(failed: Mapping[int, EngineError]) -> None:
    for i in sorted(failed):
        raise RowError(f"text {i + 1}", failed[i])


def _raised(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, RowError):
            raise answer
    return answers
