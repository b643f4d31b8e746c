"""The whole spine as one object: encode, infer, decode. START HERE."""

from bisect import bisect_right
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any, Literal, Self, Unpack, overload

import numpy as np
from numpy.typing import NDArray

from tonewise.batching import Buffer, Work, ahead
from tonewise.config import KNOBS, Config, Settings, load_config
from tonewise.embedding import vectors
from tonewise.encoder.weights import NetworkSpec
from tonewise.engines import Budget, Engine, States, choose, feed, open_engine, open_named
from tonewise.errors import ConfigError, EngineError, InputError, ModelError, RowError
from tonewise.head import Head, HeadPrediction, Prediction, open_head, pool_windows, poolings_of
from tonewise.source import Example, check_clash, frame_columns, frame_texts, frame_with, kind_of_frame
from tonewise.store import Bundle, mapped, resolve
from tonewise.tokenizer import Encoding, Row, Text, Tokenizer, checked, estimated_length, open_tokenizer

Floats = NDArray[np.float32]
OnErrorPython = Literal["raise", "return"]
WARM_TOKENS = 128
NOT_FINITE = "a score of the model is no number"
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
        return cls.of(resolve(config.run.model if ref is None else ref, config.store), config)

    @classmethod
    def of(cls, bundle: Bundle, config: Config) -> Self:
        """Open a bundle that was resolved. Raises as `load` does."""
        bundle = mapped(bundle, config.head.map) if config.head.map is not None else bundle
        spec = NetworkSpec.from_config(bundle.network, bundle.ref)
        heads = {name: open_head(bundle, name, one, spec.hidden_size) for name, one in bundle.heads.items()}
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

    def infer(
        self, encodings: Sequence[Encoding], *, to_embed: bool = False, streams: int | None = None
    ) -> States:
        """Stages 3 and 4: the states of every row, in the order of the encodings' rows.

        Equal rows are computed once. A batch that fails is halved, down to the one row that cannot be
        computed, which is told in `States.errors`; the rest is answered. `to_embed` asks for the states
        that vectors are made of. `streams` batches are in flight at once; default: the engine's own.
        """
        engine = self._engine_for_embedding() if to_embed else self.engine
        return self._infer(engine, encodings, streams=streams)

    def decode(
        self, encodings: Sequence[Encoding], states: States, *, heads: Collection[str] | None = None
    ) -> list[Prediction | EngineError]:
        """Stage 5: one answer per encoding, or what kept the engine from one; of some heads if told."""
        if not encodings:
            return []
        logits, starts, failed = self._logits(encodings, states, heads)
        answers: dict[str, list[HeadPrediction]] = {}
        for name, of in logits.items():
            head = self.heads[name]
            scores = pool_windows(head.scores(of), starts, self.config.tokenizer.window_pooling)
            answers[name] = head.decode(scores)
        by_text = [dict(zip(answers, row, strict=True)) for row in zip(*answers.values(), strict=True)]
        return [
            failed.get(i) or Prediction(by_text[i], encoding.n_tokens, encoding.truncated)
            for i, encoding in enumerate(encodings)
        ]

    def decode_logits(
        self, encodings: Sequence[Encoding], states: States
    ) -> list[dict[str, Floats] | EngineError]:
        """Stage 5 without scores: each head's raw outputs, float32[L]; windows of a text are averaged."""
        if not encodings:
            return []
        logits, starts, failed = self._logits(encodings, states)
        pooled = {name: pool_windows(found, starts, "mean") for name, found in logits.items()}
        return [failed.get(i) or {name: of[i] for name, of in pooled.items()} for i in range(len(encodings))]

    def decode_vectors(
        self, encodings: Sequence[Encoding], states: States, *, normalize: bool | None = None
    ) -> list[Floats | EngineError]:
        """Stage 5': a vector per encoding, float32[H], of what `infer(…, to_embed=True)` gave."""
        if not encodings:
            return []
        how = self._embedding
        starts = _starts(encodings)
        if len(failed := _failures(starts, states)) == len(encodings):
            return list(failed.values())
        tokens = [len(row.input_ids) for encoding in encodings for row in encoding.rows]
        unit = bool(how["normalize"]) if normalize is None else normalize
        found = vectors(states.of(how["pooling"]), starts, tokens, normalize=unit)
        for i in np.flatnonzero(~np.isfinite(found).all(axis=1)).tolist():
            failed.setdefault(i, EngineError(NOT_FINITE))
        return [failed.get(i, vector) for i, vector in enumerate(found)]

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
        logits, starts, failed = self._logits(encodings, self.infer(encodings))
        _raise_first(failed)
        return {name: pool_windows(found, starts, "mean") for name, found in logits.items()}

    def embed(self, texts: Sequence[Text | Encoding], *, normalize: bool | None = None) -> Floats:
        """float32[N, H] vectors, pooled and normalized as the bundle says unless told. Raises RowError."""
        encodings = self._encodings(texts)
        found = self.decode_vectors(encodings, self.infer(encodings, to_embed=True), normalize=normalize)
        _raise_first({i: one for i, one in enumerate(found) if isinstance(one, EngineError)})
        return np.reshape(np.array(found, np.float32), (-1, self.network.hidden_size))

    def warm(self, most: int = WARM_TOKENS) -> None:
        """Run a row of each length up to `most` tokens, in each of the engine's streams.

        Some runtimes make kernels at the first sight of a shape; later texts do not wait. Raises EngineError.
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

    @property
    def _embedding(self) -> Mapping[str, Any]:
        """How the bundle says that vectors are made. Raises ModelError for a way that is not known here."""
        how = self.bundle.manifest.embedding
        if "unsupported" in how:
            raise ModelError(f"{self.bundle.ref}: its vectors are not computed here: {how['unsupported']}")
        return how

    def _logits(
        self, encodings: Sequence[Encoding], states: States, heads: Collection[str] | None = None
    ) -> tuple[dict[str, Floats], list[int], dict[int, EngineError]]:
        """By head float32[R, L]; where each encoding's rows begin; the encodings that failed, and why."""
        starts = _starts(encodings)
        failed = _failures(starts, states)
        logits = {
            name: _finite(_each_once(head, states), starts, failed)
            for name, head in self.heads.items()
            if heads is None or name in heads
        }
        return logits, starts, failed

    def _infer(
        self,
        engine: Engine,
        encodings: Sequence[Encoding],
        work: Work | None = None,
        streams: int | None = None,
    ) -> States:
        return feed(
            engine,
            [row for encoding in encodings for row in encoding.rows],
            hidden_size=self.network.hidden_size,
            padding_id=self.tokenizer.padding_id,
            config=self.config.batch,
            budget=self._budget,
            streams=streams,
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
        work = Work()

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

    def _computed(self, asked: Sequence[_Asked | RowError], work: Work | None = None) -> _Computed:
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
        words, most = self.network.vocabulary_size, self.tokenizer.max_length
        encoded = [checked(one, words, most) if isinstance(one, Encoding) else next(found) for one in texts]
        return [
            RowError(place, one) if isinstance(one, InputError) else one
            for one, place in zip(encoded, where, strict=True)
        ]

    def _encodings(self, texts: Sequence[Text | Encoding]) -> list[Encoding]:
        if isinstance(texts, (str, tuple, Encoding)) or not isinstance(texts, Sequence):
            raise InputError(f"wanted a list of texts, not {type(texts).__name__}; put one text into a list")
        return _raised(self._encode_each(texts, [f"text {i + 1}" for i in range(len(texts))]))

    def _engine_for_embedding(self) -> Engine:
        pooling = self._embedding["pooling"]
        if pooling in self.engine.poolings or self._closed:
            return self.engine
        with self._lock:
            if self._embedder is None:
                self._embedder = open_engine(self.bundle, (pooling,), self.config.engine, self.config.store)
            return self._embedder


def _placed(text: Any, number: int) -> _Asked | RowError:
    return text if isinstance(text, RowError) else (text, f"text {number}")


def _text_of_example(item: Example | RowError) -> Any:
    if isinstance(item, RowError):
        return item
    return (item.text if item.text_pair is None else (item.text, item.text_pair)), item.where


def _size(asked: Any) -> int:
    return 1 if isinstance(asked, RowError) else estimated_length(asked[0])


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


def _each_once(head: Head, states: States) -> Floats:
    logits = head.logits(states.of(head.spec.pooling))
    return logits if states.firsts is None else logits[list(states.firsts)]


def _finite(logits: Floats, starts: Sequence[int], failed: dict[int, EngineError]) -> Floats:
    """The logits, with zeros for rows that are no numbers, which are told in `failed`."""
    for row in np.flatnonzero(~np.isfinite(logits).all(axis=1)).tolist():
        logits[row] = 0
        failed.setdefault(bisect_right(starts, row) - 1, EngineError(NOT_FINITE))
    return logits


def _raise_first(failed: Mapping[int, EngineError]) -> None:
    for i in sorted(failed):
        raise RowError(f"text {i + 1}", failed[i])


def _raised(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, RowError):
            raise answer
    return answers
