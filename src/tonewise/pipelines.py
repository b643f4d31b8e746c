"""A drop-in for `transformers.pipeline("text-classification")`: its arguments, its shapes."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from tonewise.classifier import Classifier
from tonewise.config import Settings
from tonewise.errors import ConfigError, InputError, ModelError
from tonewise.head import Head, sigmoid, softmax

IDLE = ("batch_size", "num_workers")
"""Options of transformers that change no answer."""
CUTS: dict[str, tuple[object, ...]] = {
    "truncate": (True, "longest_first"),
    "error": (False, "do_not_truncate"),
}
"""Values of transformers' `truncation` by our policy for what is too long."""
CHUNK_TEXTS = 256
TASKS = ("text-classification", "sentiment-analysis")
FUNCTIONS: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    "softmax": softmax,
    "sigmoid": sigmoid,
    "none": lambda x: x,
}
_UNSET: Any = object()


class Options(Settings, total=False):
    """Ours, and what transformers' pipeline takes besides."""

    device: object  # type: ignore[misc]  # transformers takes numbers and torch.device too
    batch_size: int
    num_workers: int
    truncation: bool
    framework: str | None
    return_all_scores: bool


def pipeline(
    task: str = "text-classification",
    model: str | Path | None = None,
    *,
    top_k: int | None = _UNSET,
    function_to_apply: str | None = None,
    **options: Unpack[Options],
) -> "TextClassificationPipeline":
    """Open `model` (a ref of ours) as a callable that answers as transformers' pipeline does.

    Of transformers' own options those are accepted that ask for what is done anyway; batches are planned
    here whatever `batch_size` says. Raises ConfigError for another task or option, ModelError for a model
    that cannot be had or has several heads (select one: `model="name#head"`).
    """
    if task not in TASKS:
        raise ConfigError(f"no task '{task}'; there are: {', '.join(TASKS)}")
    settings: Any = dict(options)
    if device := _device(settings.pop("device", None)):
        settings["device"] = device
    if settings.pop("framework", None) not in (None, "pt"):
        raise ConfigError("framework: none is needed here; leave it out")
    truncation = settings.pop("truncation", True)
    if truncation not in (*CUTS["truncate"], *CUTS["error"]):
        raise ConfigError(f"truncation={truncation!r}: a single text is cut at its end or not at all")
    if truncation in CUTS["error"]:
        settings.setdefault("too_long", "error")
    if settings.pop("return_all_scores", False) and top_k is _UNSET:
        top_k = None
    for name in IDLE:
        settings.pop(name, None)
    classifier = Classifier.load(model, **settings)
    return TextClassificationPipeline(classifier, top_k=top_k, function_to_apply=function_to_apply)


def _device(wanted: object) -> str | None:
    """What transformers means by its numbers, strings and torch.device; None for no wish."""
    named = {"None": None, "-1": "cpu", "cpu": "cpu", "0": "cuda", "cuda": "cuda", "cuda:0": "cuda"}
    if str(wanted) not in named:
        raise ConfigError(f"device {wanted} is not known here; wanted: -1, 'cpu', 0 or 'cuda'")
    return named[str(wanted)]


class TextClassificationPipeline:
    """Calls a classifier; speaks transformers' dialect of lists and dicts."""

    task = "text-classification"

    def __init__(
        self, classifier: Classifier, *, top_k: int | None = _UNSET, function_to_apply: str | None = None
    ) -> None:
        if len(classifier.heads) != 1:
            named = ", ".join(classifier.heads) or "none"
            raise ModelError(
                f"{classifier.bundle.ref}: a pipeline needs one head (it has: {named}); add #HEAD"
            )
        self.classifier = classifier
        self._head: Head = next(iter(classifier.heads.values()))
        self._top_k, self._function = top_k, function_to_apply
        _check(top_k, function_to_apply)

    def __call__(
        self,
        inputs: Any,
        *,
        top_k: int | None = _UNSET,
        function_to_apply: str | None = None,
        **tokenizer_options: Any,
    ) -> Any:
        """Classify a text, a `{"text", "text_pair"}` dict, a list of them, or any iterable (→ an iterator).

        The shapes are transformers': without `top_k` one dict per text (a lone string's in a list); with
        `top_k` (None for all) a list of dicts per text. Of its tokenizer options `truncation`, `padding`
        and `max_length` are accepted where they ask for what is done anyway. Raises InputError.
        """
        self._check_options(tokenizer_options)
        _check(top_k, function_to_apply)
        one = isinstance(inputs, (str, dict))
        if not isinstance(inputs, Iterable) or isinstance(inputs, (bytes, tuple)):
            kind = type(inputs).__name__
            raise InputError(f"cannot classify {kind}; wanted: a text, a dict, or a list of them")
        wanted = self._top_k if top_k is _UNSET else top_k
        function = function_to_apply or self._function
        if isinstance(inputs, Iterator):
            return self._stream(inputs, function, wanted)
        texts = [_text(item) for item in ([inputs] if one else inputs)]
        answers = [self._answer(row, wanted) for row in self._scores(texts, function)]
        if not one:
            return answers
        # A lone string is wrapped unless top_k was given in this very call: so does transformers.
        return [answers[0]] if isinstance(inputs, str) and top_k is _UNSET else answers[0]

    def _scores(self, texts: list[Any], function: str | None) -> NDArray[np.float32]:
        if function is None:
            answers = self.classifier.classify(texts)
            rows = [list(answer.heads[self._head.name].scores.values()) for answer in answers]
            return np.asarray(rows, np.float32).reshape(len(rows), len(self._head.labels))
        if self._head.spec.mapping is not None:
            raise ConfigError("function_to_apply works on the model's own labels, and these are mapped")
        if self.classifier.config.tokenizer.window_pooling != "mean":
            raise ConfigError("function_to_apply works on the mean over windows; leave out window_pooling")
        return FUNCTIONS[function.lower()](self.classifier.logits(texts)[self._head.name])

    def _stream(self, inputs: Iterator[Any], function: str | None, top_k: int | None) -> Iterator[Any]:
        """Answers as they come, for an input that may have no end."""
        while texts := [_text(item) for item in islice(inputs, CHUNK_TEXTS)]:
            for row in self._scores(texts, function):
                yield self._answer(row, top_k)

    def _answer(self, row: NDArray[np.float32], top_k: int | None) -> Any:
        labels = self._head.labels
        if top_k is _UNSET:
            best = int(row.argmax())
            return {"label": labels[best], "score": float(row[best])}
        found = [{"label": label, "score": float(score)} for label, score in zip(labels, row, strict=True)]
        found.sort(key=lambda entry: -entry["score"])  # type: ignore[operator]
        return found[:top_k]

    @property
    def _cuts(self) -> tuple[object, ...]:
        """Values of transformers' `truncation` that mean what is done with a text that is too long."""
        return CUTS.get(self.classifier.config.tokenizer.too_long, ())

    def _check_options(self, options: dict[str, Any]) -> None:
        for name, value in options.items():
            if name not in ("truncation", "padding", "max_length", *IDLE):
                raise ConfigError(f"the pipeline has no option '{name}'")
            if name == "truncation" and value not in self._cuts:
                raise ConfigError(
                    f"truncation={value!r} is not what is done; choose pipeline(..., too_long=…)"
                )
            if name == "max_length" and value != self.classifier.tokenizer.max_length:
                raise ConfigError(
                    f"max_length is chosen when the pipeline is made: pipeline(..., max_length={value})"
                )


def _check(top_k: int | None, function: str | None) -> None:
    whole = isinstance(top_k, int) and not isinstance(top_k, bool)
    if top_k is not _UNSET and top_k is not None and not (whole and top_k >= 1):
        raise ConfigError(f"top_k is {top_k!r}; wanted: a whole number from 1 on, or None for all")
    if function is not None and (not isinstance(function, str) or function.lower() not in FUNCTIONS):
        raise ConfigError(f"function_to_apply is {function!r}; wanted: softmax, sigmoid or none")


def _text(item: Any) -> Any:
    if isinstance(item, dict):
        if "text" not in item or set(item) - {"text", "text_pair"}:
            raise InputError(
                f"a dict needs the keys text and, for a pair, text_pair; this one has {sorted(item)}"
            )
        # Whatever is false is no second text: so does transformers.
        return (item["text"], item["text_pair"]) if item.get("text_pair") else item["text"]
    if isinstance(item, (list, tuple)):
        raise InputError('a pair is a dict here: {"text": "…", "text_pair": "…"}')
    return item
