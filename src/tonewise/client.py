"""A thin HTTP client for `tonewise serve`, with the method names that people know (extra `client`)."""

import json
import math
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import monotonic, sleep
from typing import Any, Literal, Self, TypedDict, TypeVar, Unpack, overload
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from tonewise.config import TooLong
from tonewise.errors import (
    ConfigError,
    DeadlineError,
    InputError,
    MissingExtraError,
    OverloadedError,
    RowError,
    ServiceError,
    TonewiseError,
    TooLargeError,
)

try:
    import urllib3
    from urllib3 import exceptions
except ImportError:
    raise MissingExtraError("urllib3", "client") from None

Text = str | tuple[str, str]
Texts = Text | Iterable[Text]
"""One text, a pair as a tuple, or several of either."""
Function = Literal["softmax", "sigmoid", "none"] | None
Record = dict[str, Any]
Floats = NDArray[np.float32]
Response = urllib3.BaseHTTPResponse
Found = TypeVar("Found")

MOST_SECONDS = 86_400
TRIES = 4
RETRIED = (429, 503)
"""Statuses of a server that is busy or starting: it did nothing, so asking again does no harm."""
PAUSE_SECONDS = 0.25
"""Before the second try, where the server names no time; doubled before each other."""
CONNECTIONS = 64
"""Kept open at most; more threads than these open and close some of their own."""


def _kinds(parent: type[TonewiseError]) -> dict[str, type[TonewiseError]]:
    """Every error below `parent` that has a code of its own, but for those that words alone do not make."""
    found: dict[str, type[TonewiseError]] = {}
    for kind in parent.__subclasses__():
        if "code" in vars(kind) and kind is not MissingExtraError:
            found |= {kind.code: kind, **_kinds(kind)}
    return found


KINDS: Mapping[str, type[TonewiseError]] = _kinds(TonewiseError)
STATUSES: Mapping[int, str] = {
    **{400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found", 408: "slow_request"},
    **{413: "too_large", 422: "bad_input", 429: "overloaded", 503: "unavailable", 504: "deadline"},
}
"""The code that a status stands for where the body has none: a proxy's, or that of a borrowed dialect."""


@dataclass(frozen=True, slots=True)
class LabelScore:
    """One label and its score."""

    label: str
    score: float


class ClassifyOptions(TypedDict, total=False):
    """What `Client.classify` takes beside the texts; the server's own choice holds where one is None.

    model        by name
    heads        to answer with
    top_k        scores kept a head, best first
    too_long     truncate | error | window
    max_length   tokens of a text
    logits       add each head's raw outputs
    uncertainty  add each head's entropy (nats) and margin
    """

    model: str | None
    heads: Iterable[str] | None
    top_k: int | None
    too_long: TooLong | None
    max_length: int | None
    logits: bool
    uncertainty: bool


class Client:
    """Asks a server. Safe to share between threads; close it, or use it as a context manager.

    base_url         of the server, a proxy's path included
    api_key          as `tonewise key` printed it; never shown
    model            to ask where a call names none; default: the first that the server has
    timeout_seconds  for one call, its retries and waits included; told to the server too

    A server that is busy (429) or not ready (503) is asked up to four times, after as long as it says;
    nothing else is ever asked twice. Every call raises an error of `tonewise.errors`: the one that the
    server's code names; ServiceError where no server answers; DeadlineError where it is too slow;
    InputError for what JSON cannot hold. Raises ConfigError for settings that mean nothing.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8321",
        *,
        api_key: str | None = None,
        model: str | None = None,
        timeout_seconds: float = 30.0,
    ) -> None:
        self.base_url, self.model, self.timeout_seconds = _checked(base_url), model, timeout_seconds
        if not 0 < timeout_seconds <= MOST_SECONDS:
            raise ConfigError(
                f"timeout_seconds is {timeout_seconds}; wanted: above 0 and at most {MOST_SECONDS:,}"
            )
        headers = {"content-type": "application/json"}
        if api_key is not None:
            if not api_key.isascii() or not api_key.isprintable() or " " in api_key or not api_key:
                raise ConfigError("api_key is no key: it is empty, or has spaces or characters beyond ASCII")
            headers["authorization"] = f"Bearer {api_key}"
        self._pool = urllib3.PoolManager(maxsize=CONNECTIONS, headers=headers, retries=False)
        self._closed = False

    def __repr__(self) -> str:
        """Without the key."""
        return f"Client({self.base_url!r}, model={self.model!r}, timeout_seconds={self.timeout_seconds:g})"

    # As huggingface_hub's InferenceClient has them.

    @overload
    def text_classification(
        self,
        text: Text,
        *,
        model: str | None = ...,
        top_k: int | None = ...,
        function_to_apply: Function = ...,
    ) -> list[LabelScore]: ...
    @overload
    def text_classification(
        self,
        text: list[Any],
        *,
        model: str | None = ...,
        top_k: int | None = ...,
        function_to_apply: Function = ...,
    ) -> list[list[LabelScore]]: ...
    def text_classification(
        self,
        text: Texts,
        *,
        model: str | None = None,
        top_k: int | None = None,
        function_to_apply: Function = None,
    ) -> list[LabelScore] | list[list[LabelScore]]:
        """Labels and scores of a model with one head, best first: a list, or one a text for several.

        `top_k` keeps the best; `function_to_apply` takes the place of the model's own.
        """
        several, parameters = _several(text), _given(top_k=top_k, function_to_apply=function_to_apply)
        body = {"inputs": [_as_pipelines(one) for one in several], "parameters": parameters}

        def read(rows: Any) -> list[list[LabelScore]]:
            every = _many(several, rows)
            return [[LabelScore(str(one["label"]), float(one["score"])) for one in row] for row in every]

        found = self._ask("POST", self._task("text-classification", model), body, read)
        return found[0] if _is_one(text) else found

    def feature_extraction(
        self,
        text: Texts,
        *,
        normalize: bool | None = None,
        truncate: bool | None = None,
        model: str | None = None,
    ) -> Floats:
        """float32[N, H] vectors, one row for one text too; see `embed`."""
        return self.embed(text, model=model, normalize=normalize, truncate=truncate)

    def sentence_similarity(
        self, sentence: str, other_sentences: Iterable[str], *, model: str | None = None
    ) -> list[float]:
        """The cosine, from -1 to 1, of one sentence's vector and each of the others'."""
        others = _several(other_sentences)
        body = {"inputs": {"source_sentence": sentence, "sentences": others}}
        path = self._task("sentence-similarity", model)
        return self._ask("POST", path, body, lambda found: [float(one) for one in _many(others, found)])

    def health_check(self) -> bool:
        """Whether a server is there and alive. Asks once, and raises nothing for one that is not."""
        try:
            return self._send("GET", "/health", None, monotonic() + self.timeout_seconds).status == 200
        except ServiceError:
            if self._closed:
                raise
            return False

    def get_endpoint_info(self) -> Record:
        """What the server tells of its first model and of its limits, in TEI's words."""
        found: Record = self._ask("GET", "/info", None, dict)
        return found

    # Our own.

    @overload
    def classify(
        self, texts: Texts, *, on_error: Literal["raise"] = ..., **options: Unpack[ClassifyOptions]
    ) -> list[Record]: ...
    @overload
    def classify(
        self, texts: Texts, *, on_error: Literal["return"], **options: Unpack[ClassifyOptions]
    ) -> list[Record | RowError]: ...
    def classify(
        self,
        texts: Texts,
        *,
        on_error: Literal["raise", "return"] = "raise",
        **options: Unpack[ClassifyOptions],
    ) -> list[Record] | list[Record | RowError]:
        """A record for each text, in their order, as `tonewise classify` writes them; see ClassifyOptions.

        A text that could not be answered raises its RowError; with `on_error='return'` that stands in its
        place, and the others are answered.
        """
        if on_error not in ("raise", "return"):
            raise ConfigError(f"on_error cannot be {on_error!r}; wanted: raise | return")
        several, wanted = _several(texts), {"model": self.model, **_given(**options)}
        if "heads" in wanted:
            wanted["heads"] = _several(wanted["heads"])

        def read(told: Any) -> list[Record | RowError]:
            return [_row(number, one) for number, one in enumerate(_many(several, told["answers"]), 1)]

        found = self._ask("POST", "/classify", {"texts": several, **wanted}, read)
        for one in found:
            if isinstance(one, RowError) and on_error == "raise":
                raise one
        return found

    def embed(
        self,
        texts: Texts,
        *,
        model: str | None = None,
        normalize: bool | None = None,
        truncate: bool | None = None,
        dimensions: int | None = None,
    ) -> Floats:
        """float32[N, H] vectors, normalized as the model says unless told, cut to `dimensions` before that.

        With `truncate=False` a text that is too long is an error. Of no texts: float32[0, 0].
        """
        several = _several(texts)
        options = _given(normalize=normalize, truncate=truncate, dimensions=dimensions)
        inputs = [_as_pipelines(one) for one in several]
        body = {"inputs": inputs, "encoding_format": "base64", **options}

        def read(rows: Any) -> Floats:
            found = [np.frombuffer(b64decode(row, validate=True), "<f4") for row in _many(several, rows)]
            return np.array(found, np.float32).reshape(len(found), found[0].size if found else 0)

        return self._ask("POST", self._task("feature-extraction", model), body, read)

    def models(self) -> list[Record]:
        """The models that are served: what each is, on which terms, and whether it is in memory."""
        return self._ask("GET", "/v1/models", None, lambda told: [dict(one) for one in told["data"]])

    # How long.

    def close(self) -> None:
        """Close its connections; what is asked from then on raises ServiceError. Safe to call twice."""
        self._closed = True
        self._pool.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    # How.

    def _task(self, task: str, model: str | None) -> str:
        name = model or self.model
        return f"/models/{quote(name)}/pipeline/{task}" if name else f"/pipeline/{task}"

    def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None, read: Callable[[Any], Found]
    ) -> Found:
        """What `read` makes of the answer's JSON; asked again of a busy server while time is left."""
        deadline, content = monotonic() + self.timeout_seconds, None if body is None else _bytes(body)
        for tried in range(1, TRIES + 1):
            response = self._send(method, path, content, deadline)
            if response.status not in RETRIED or tried == TRIES:
                break
            told = _retry_after(response)
            pause = PAUSE_SECONDS * 2 ** (tried - 1) if told is None else told
            if monotonic() + pause >= deadline:
                break
            sleep(pause)
        if response.status != 200:
            raise _problem(response)
        try:
            return read(json.loads(response.data))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ServiceError(
                f"{self.base_url} answers otherwise than 'tonewise serve' does; is it one, of this version?"
            ) from None

    def _send(self, method: str, path: str, content: bytes | None, deadline: float) -> Response:
        """Ask once."""
        if self._closed:
            raise ServiceError("the client is closed; make another")
        left = max(deadline - monotonic(), 0.001)
        headers = {**self._pool.headers, "x-timeout-seconds": f"{left:.3f}"}
        try:
            # a redirect is not followed: the key is for this server alone
            return self._pool.request(
                method,
                self.base_url + path,
                body=content,
                headers=headers,
                timeout=urllib3.Timeout(total=left),
                redirect=False,
            )
        except (exceptions.NewConnectionError, exceptions.ConnectTimeoutError) as error:
            raise ServiceError(
                f"no server answers at {self.base_url}: {_reason(error)}; start one with 'tonewise serve', "
                "or give the base_url of one"
            ) from None
        except exceptions.TimeoutError:
            raise DeadlineError(
                f"{self.base_url} did not answer within {self.timeout_seconds:g} s; raise timeout_seconds, "
                "or send fewer texts at once"
            ) from None
        except exceptions.HTTPError as error:
            raise ServiceError(f"the connection to {self.base_url} broke: {_reason(error)}") from None


def _checked(base_url: str) -> str:
    try:
        url = urllib3.util.parse_url(base_url)
    except exceptions.HTTPError:
        raise ConfigError(f"base_url is {base_url!r}; wanted: http://HOST:PORT") from None
    if url.auth is not None:
        raise ConfigError("base_url holds a name or a password; give the key as api_key")
    if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment:
        raise ConfigError(f"base_url is {base_url!r}; wanted: http://HOST:PORT")
    return base_url.rstrip("/")


def _is_one(texts: Texts) -> bool:
    return isinstance(texts, (str, tuple))


def _several(texts: Any) -> list[Any]:
    if isinstance(texts, (bytes, Mapping)) or not isinstance(texts, Iterable):
        raise InputError(f"cannot send {type(texts).__name__}; wanted: a text, or a list of texts")
    return [texts] if _is_one(texts) else list(texts)


def _as_pipelines(text: Any) -> Any:
    """A pair as transformers' pipelines take it, which Hugging Face's routes do as well."""
    return {"text": text[0], "text_pair": text[1]} if isinstance(text, tuple) and len(text) == 2 else text


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _bytes(body: Mapping[str, Any]) -> bytes:
    """As UTF-8, not escaped: the server lets requests in by their bytes."""
    try:
        return json.dumps(body, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:  # UnicodeEncodeError is a ValueError
        what = "half a surrogate pair" if isinstance(error, UnicodeEncodeError) else str(error)
        raise InputError(f"the request cannot be told as JSON: {what}") from None


def _many(asked: list[Any], answers: Any) -> list[Any]:
    """The answers, as many as there were texts. Raises ValueError."""
    if not isinstance(answers, list) or len(answers) != len(asked):
        raise ValueError
    return answers


def _row(number: int, answer: Record) -> Record | RowError:
    error = answer.get("error")
    if error is None:
        return answer
    return RowError(f"text {number}", KINDS.get(error["code"], ServiceError)(error["message"]))


def _problem(response: Response) -> TonewiseError:
    """The error that a reply tells of."""
    code, told = _told(response)
    kind = KINDS.get(code) or KINDS[STATUSES.get(response.status, ServiceError.code)]
    if response.status >= 500 and "x-request-id" in response.headers:
        told += f" (request {response.headers['x-request-id']})"  # by which the server's log has more
    if issubclass(kind, OverloadedError):
        queued = response.headers.get("x-queue-tokens", "")
        after = math.ceil(_retry_after(response) or 1)
        return kind(told, retry_after_seconds=after, queued_tokens=int(queued) if queued.isdecimal() else 0)
    if issubclass(kind, TooLargeError):
        return kind(told, items=response.status != 413)
    return kind(told)


def _told(response: Response) -> tuple[str, str]:
    """Code and words: ours, a borrowed dialect's, which has no code, or none where a proxy answers."""
    try:
        error = json.loads(response.data)["error"]
        if isinstance(error, str):
            return response.headers.get("x-error-code", ""), error
        return str(error["code"]), str(error["message"])
    except (ValueError, TypeError, KeyError):
        return "", f"the server answered {response.status} {response.reason or ''}".rstrip()


def _retry_after(response: Response) -> float | None:
    """Seconds from now, which the header tells as a number or as a date; None where it tells neither."""
    told = response.headers.get("retry-after", "").strip()
    if told.isdecimal():
        return min(float(told), MOST_SECONDS)
    try:
        moment = parsedate_to_datetime(told)
    except ValueError:
        return None
    return max((moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds(), 0.0)


def _reason(error: BaseException) -> str:
    cause = error.__cause__ or error.__context__
    return getattr(cause, "strerror", None) or str(cause or error)
