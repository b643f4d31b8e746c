"""What a dialect is: routes with their schemas, and how an error is told in its words."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec

from tonewise.errors import OverloadedError, RowError, TonewiseError, TooLargeError, UnavailableError
from tonewise.serve.keys import Role
from tonewise.serve.service import Call, Service

STATUSES: dict[str, int] = {
    "bad_request": 400,
    "slow_request": 408,
    "bad_input": 400,
    "too_long": 400,
    "bad_model": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "licence_refused": 403,
    "not_found": 404,
    "too_large": 413,
    "overloaded": 429,
    "rate_limited": 429,
    "unavailable": 503,
    "deadline": 504,
}
"""Of the errors' codes, as most dialects have them; each says where it differs."""
UNKNOWN = "internal error; the server's log has more under this request's id"

# What the document says beyond a type. The handlers check it, and name what is wrong in the dialect's words.


def stated(**schema: Any) -> msgspec.Meta:
    """Words of JSON Schema for the document alone; a body is decoded without them."""
    return msgspec.Meta(extra_json_schema=schema)


FromOne = Annotated[int | None, stated(minimum=1)]
AtTheEnd = Annotated[str | None, stated(pattern="^([Rr][Ii][Gg][Hh][Tt])?$")]
"""`truncation_direction`: texts are cut at their end here."""
NoPrompt = Annotated[str | None, stated(enum=[None])]
"""`prompt_name`: the models here have no prompts."""
TextsOrIds = Annotated[
    str | list[str | int | list[int]],
    stated(
        minItems=1,
        oneOf=[
            {"type": "string"},
            {"type": "array", "items": {"type": "integer"}},
            {"type": "array", "items": {"type": ["string", "array"], "minItems": 1}},
        ],
    ),
]
"""One text, the ids of one, or many of both; ids and texts are not mixed."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a handler is given.

    body   decoded into the route's schema; None where the route takes none
    path   the parts of the path that the route names
    query  the first value of each parameter
    """

    service: Service
    call: Call
    body: Any
    path: Mapping[str, str]
    query: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: `content` is told as JSON, unless it is bytes."""

    content: Any
    status: int = 200
    media_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


Handler = Callable[[Asked], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one family of clients is spoken to.

    statuses  of each error's code; what is not named is 500
    body      of an error: its code, its status and its words
    headers   beside every answer, of what the call took
    """

    name: str
    statuses: Mapping[str, int]
    body: Callable[[str, int, str], Any]
    headers: Callable[[Call], list[tuple[str, str]]] = field(default=lambda call: [])

    def problem(self, error: BaseException, service: Service) -> Reply:
        """The reply that tells of an error; one that was not raised on purpose keeps its words to itself."""
        code = error.code if isinstance(error, TonewiseError) else "error"
        status = self.statuses.get(code, 500)
        cause = error.cause if isinstance(error, RowError) else error
        if isinstance(cause, TooLargeError) and cause.items:
            status = service.config.serve.too_many_status
        headers = [("x-error-code", code)]
        if isinstance(error, UnavailableError):
            headers.append(("retry-after", "1"))
        if isinstance(error, OverloadedError):
            headers.append(("retry-after", str(error.retry_after_seconds)))
            headers.append(("x-queue-tokens", str(error.queued_tokens)))
        if status == 401:
            headers.append(("www-authenticate", "Bearer"))
        told = str(error) if isinstance(error, TonewiseError) else UNKNOWN
        return Reply(self.body(code, status, told), status, headers=tuple(headers))


@dataclass(frozen=True, slots=True)
class Route:
    """One path and method.

    asks      schema of the body; None where there is none
    answers   schema of the answer, for the document, or several; None where it is not JSON
    role      that a key must have; None where no key is asked for
    infers    it runs a model: admission, rate limits and a deadline apply
    document  shown in the OpenAPI document
    """

    method: str
    path: str
    dialect: Dialect
    handler: Handler
    told: str
    asks: Any = None
    answers: Any = None
    role: Role | None = "infer"
    infers: bool = False
    document: bool = True
