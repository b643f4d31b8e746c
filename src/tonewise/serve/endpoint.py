"""What happens around every request: key, limits, body, deadline, reply, counting; no dialect knows of it."""

import asyncio
import random
import re
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from tonewise.errors import (
    DeadlineError,
    ForbiddenError,
    OverloadedError,
    RequestError,
    SlowRequestError,
    TonewiseError,
    TooLargeError,
    UnavailableError,
)
from tonewise.serve.admission import estimated_tokens
from tonewise.serve.dialects.base import Asked, Reply, Route
from tonewise.serve.logs import Log
from tonewise.serve.service import Call, Service
from tonewise.serve.telemetry import Telemetry

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BODY_SECONDS = 10.0
"""For a whole body to arrive; a sender of a byte a second is not waited for."""
PAIR = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F]")
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
LOOPBACK = ("localhost", "127.0.0.1", "::1", "testserver")
GONE = 499
"""In logs and figures: the caller left before the answer. Nothing is sent."""

_numbers = random.Random()  # noqa: S311  an id is no secret
_encode = msgspec.json.Encoder(enc_hook=str).encode


class _GoneError(Exception):
    """The caller left while the body was read."""


class Endpoint:
    """An ASGI application for one route."""

    def __init__(self, service: Service, telemetry: Telemetry, log: Log, route: Route) -> None:
        self._service, self._telemetry, self._log, self._route = service, telemetry, log, route
        self._decode = msgspec.json.Decoder(route.asks).decode if route.asks is not None else None
        self._shown = route.path.replace(":path", "")
        self._for_loopback = config_is_private(service)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        begun = time.monotonic()
        headers = dict(scope["headers"])
        call = self._call(headers, begun)
        try:
            reply = await self._reply(scope, headers, receive, call)
        except _GoneError:
            self._done(scope, call, GONE)
            return
        except Exception as error:
            reply = self._problem(error, call)
        finally:
            if call.place is not None:
                call.place.leave()
        await respond(send, reply, self._headers(call))
        self._done(scope, call, reply.status)

    def _call(self, headers: Mapping[bytes, bytes], begun: float) -> Call:
        name = request_id(headers.get(b"x-request-id", b"").decode("latin-1"))
        call = Call(name, self._route.path, begun, begun + self._service.config.serve.timeout_seconds)
        call.use_cache = headers.get(b"x-use-cache", b"").lower() not in (b"false", b"0")
        return call

    async def _reply(
        self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, call: Call
    ) -> Reply:
        route, service = self._route, self._service
        check_origin(scope, headers, service, self._for_loopback)
        if route.role is not None:
            call.key = service.keys.of(_text(headers.get(b"authorization")))
            call.key.check(route.role)
        if (asked := headers.get(b"x-timeout-seconds")) is not None:
            call.deadline = min(call.deadline, call.begun + _seconds(asked))
        if route.infers and service.stopping:
            raise UnavailableError("the server is stopping; ask another")
        body = await self._body(headers, receive, call) if self._decode is not None else None
        query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1")))
        path = scope.get("path_params", {})
        asked_for = Asked(service, call, body, path, query)
        if not route.infers:
            return await route.handler(asked_for)
        return await self._watched(asked_for, receive)

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive, call: Call) -> Any:
        """Admitted by its length before it is read, where its length is told; then read and decoded."""
        most, length = self._service.config.serve.max_body_bytes, _length(headers)
        if length is not None:
            if length > most:
                raise TooLargeError(f"the body has {length:,} bytes; {most:,} are the most")
            self._admit(call, length)
        if length == 0 or (length is None and b"transfer-encoding" not in headers):
            return self._decoded(b"")
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind != b"application/json":
            told = kind.decode("latin-1") or "missing"
            raise RequestError(f"content-type is {told}; wanted: application/json")
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await read(receive, most)
        except TimeoutError:
            raise SlowRequestError(f"the body did not arrive within {BODY_SECONDS:g} s") from None
        if length is None:
            self._admit(call, len(body))
        return self._decoded(body)

    def _admit(self, call: Call, length: int) -> None:
        if not self._route.infers:
            return
        service, tokens = self._service, estimated_tokens(length)
        try:
            call.place = service.admission.enter(tokens, call.key.name)
        except OverloadedError as error:
            self._telemetry.refused.labels("queue").inc()
            raise service.scheduler.overloaded(str(error)) from None
        try:
            service.rates.take(call.key, tokens, time.monotonic())
        except OverloadedError:
            self._telemetry.refused.labels("rate").inc()
            raise

    def _decoded(self, body: bytes) -> Any:
        if self._decode is None:
            return None
        if not body and self._route.asks is not None and not self._route.infers:
            return None
        try:
            return self._decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            wrong = "an escape such as \\ud83d stands without its other half" if _half(body) else error
            raise RequestError(f"the body is not what {self._shown} takes: {wrong}") from None
        except RecursionError:
            raise RequestError("the body is nested too deeply") from None

    async def _watched(self, asked: Asked, receive: Receive) -> Reply:
        """The handler's reply, unless the caller leaves first: then the work is dropped."""
        task, gone = asyncio.current_task(), False

        def left(watch: "asyncio.Task[Message]") -> None:
            nonlocal gone
            if not watch.cancelled() and not finished and task is not None:
                gone = True
                task.cancel()

        finished = False
        watch = asyncio.ensure_future(receive())
        watch.add_done_callback(left)
        try:
            return await self._route.handler(asked)
        except asyncio.CancelledError:
            if gone and task is not None:
                task.uncancel()
                raise _GoneError from None
            raise
        finally:
            finished = True
            watch.cancel()

    def _problem(self, error: Exception, call: Call) -> Reply:
        if isinstance(error, msgspec.ValidationError):
            error = RequestError(f"the body is not what {self._shown} takes: {error}")
        if not isinstance(error, TonewiseError):
            lines = "".join(traceback.format_exception(error, limit=-6)[:-1])  # the last may quote a text
            self._log.say("fault", id=call.id, kind=type(error).__name__, trace=lines)
        if type(error) is OverloadedError and call.place is not None:  # let in, but it would be late
            self._service.admission.late(call.key.name)
        if isinstance(error, DeadlineError):
            self._telemetry.refused.labels("deadline").inc()
        return self._route.dialect.problem(error, self._service)

    def _headers(self, call: Call) -> list[tuple[str, str]]:
        told = [("x-request-id", call.id)]
        if self._route.infers:
            told += self._route.dialect.headers(call)
            told += self._service.rates.headers(call.key)
            if call.texts:
                kept = "hit" if call.hits == call.texts else "partial" if call.hits else "miss"
                told.append(("x-cache", kept))
            if call.truncated:
                told.append(("x-truncated-texts", str(call.truncated)))
        return told

    def _done(self, scope: Scope, call: Call, status: int) -> None:
        seconds = time.monotonic() - call.begun
        self._telemetry.request(call, status, seconds)
        if self._route.role is not None or status >= 400:
            self._log.request(call, scope["method"], status, seconds)


def request_id(given: str) -> str:
    """The caller's own where it is a plain word, else one that is made."""
    return given if REQUEST_ID.fullmatch(given) else f"{_numbers.getrandbits(64):016x}"


def _half(body: bytes) -> bool:
    """Whether an escape in it is one half of a surrogate pair: msgspec calls such a body truncated."""
    return SURROGATE.search(PAIR.sub(b"", body.replace(rb"\\", b""))) is not None


async def read(receive: Receive, most: int) -> bytes:
    """A whole body. Raises TooLargeError as soon as it is too long, _GoneError when the caller leaves."""
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
        if len(body) > most:
            raise TooLargeError(f"the body has {len(body):,} bytes; {most:,} are the most")
        return body
    parts, size = [], 0
    while True:
        if message["type"] == "http.disconnect":
            raise _GoneError
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
        if size > most:
            raise TooLargeError(f"the body has more than {most:,} bytes, which are the most")
        if not message.get("more_body", False):
            return b"".join(parts)
        message = await receive()


async def respond(send: Send, reply: Reply, headers: list[tuple[str, str]]) -> None:
    """Send a reply whole."""
    content = reply.content if isinstance(reply.content, bytes) else _encode(reply.content)
    every = [
        ("content-type", reply.media_type),
        ("content-length", str(len(content))),
        ("x-content-type-options", "nosniff"),
        *headers,
        *reply.headers,
    ]
    raw = [(name.encode("latin-1"), _printable(value)) for name, value in every]
    with suppress(OSError):  # the caller has left
        await send({"type": "http.response.start", "status": reply.status, "headers": raw})
        await send({"type": "http.response.body", "body": content})


def config_is_private(service: Service) -> bool:
    """Whether only this machine is meant to ask: no keys, on the loopback."""
    return not len(service.keys) and service.config.serve.host in LOOPBACK


def check_origin(scope: Scope, headers: Mapping[bytes, bytes], service: Service, private: bool) -> None:
    """Refuse pages of other origins, which a browser on this machine may have open.

    A server without keys trusts whoever reaches it; a page reaches the loopback through its reader's
    browser, also under a name of its own that it points there. Raises ForbiddenError.
    """
    host = (_text(headers.get(b"host")) or "").lower()
    if private and host and (urlsplit(f"//{host}").hostname or "") not in LOOPBACK:
        raise ForbiddenError(f"the host is '{host}'; a server without keys answers to localhost alone")
    origin = _text(headers.get(b"origin"))
    allowed = service.config.serve.cors_origins
    if origin is None or scope["method"] == "GET" or "*" in allowed or origin in allowed:
        return
    if urlsplit(origin).netloc.lower() != host:
        raise ForbiddenError(f"pages of {origin} may not ask; allow them with --cors-origins")


def _length(headers: Mapping[bytes, bytes]) -> int | None:
    told = headers.get(b"content-length")
    if told is None:
        return None
    try:
        return max(int(told), 0)
    except ValueError:
        raise RequestError("content-length is no number") from None


def _seconds(told: bytes) -> float:
    try:
        seconds = float(told)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise RequestError("x-timeout-seconds is no number above 0")
    return seconds


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def _printable(value: str) -> bytes:
    return value.encode("latin-1", "replace").replace(b"\r", b" ").replace(b"\n", b" ")
