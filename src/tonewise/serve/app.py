"""The ASGI application: every dialect's routes, what stands beside them, and its beginning and end."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Path

from tonewise.config import Config
from tonewise.engines import choose_threads
from tonewise.errors import NotFoundError, RequestError
from tonewise.serve.dialects import ROUTES, Reply, Route
from tonewise.serve.dialects.base import Asked
from tonewise.serve.dialects.own import OWN
from tonewise.serve.endpoint import Endpoint, Receive, Scope, Send, request_id, respond
from tonewise.serve.keys import Keys
from tonewise.serve.logs import Log
from tonewise.serve.openapi import document
from tonewise.serve.page import page_routes
from tonewise.serve.service import Service
from tonewise.serve.telemetry import Telemetry

EXPOSED = (
    *("x-request-id", "x-cache", "x-truncated-texts", "server-timing"),
    *("x-error-code", "retry-after", "x-queue-tokens", "ratelimit", "ratelimit-policy"),
)
"""Headers that pages of other origins may read."""


class App:
    """The application. `service` is there from its start-up on."""

    def __init__(self, config: Config, keys: Keys, log: Log | None = None) -> None:
        self.config, self.keys, self.log = config, keys, log or Log()
        self.service: Service | None = None
        self._inner: Starlette | None = None
        self._plain: dict[tuple[str, str], Endpoint] = {}
        self._lifespan = Starlette(lifespan=self._live)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif scope["type"] == "http" and self._inner is not None:
            found = self._plain.get((scope["method"], scope["path"]))
            await (found or self._inner)(scope, receive, send)
        elif scope["type"] == "http":
            await respond(send, Reply({"error": "starting"}, 503), [])

    @asynccontextmanager
    async def _live(self, _: Starlette) -> AsyncIterator[None]:
        service = await self.start()
        try:
            yield
        finally:
            service.close()

    async def start(self) -> Service:
        """Open the models, on the running loop. Raises what opening them raises."""
        config = self.config
        workers = config.engine.streams or choose_threads(config.engine.threads)
        service = Service(config, self.keys, workers)
        try:
            for ref in config.serve.models or (config.run.model,):
                service.models.add(ref)
            await service.models.open_all()
            self._open(service)
        except BaseException:
            service.close()
            raise
        self.service = service
        return service

    def _open(self, service: Service) -> None:
        telemetry = Telemetry(service)
        endpoints = {
            (route.method, route.path): Endpoint(service, telemetry, self.log, route)
            for route in routes_of(telemetry)
        }
        self._inner = application(endpoints, service, self.log)
        if not self.config.serve.cors_origins:  # nothing to be done around an endpoint whose path is plain
            self._plain = {place: one for place, one in endpoints.items() if "{" not in place[1]}


def routes_of(telemetry: Telemetry) -> tuple[Route, ...]:
    """All routes of all dialects."""

    async def metrics(_: Asked) -> Reply:
        return Reply(telemetry.page(), media_type=telemetry.media_type)

    async def openapi(_: Asked) -> Reply:
        return Reply(described)

    own = (
        Route("GET", "/metrics", OWN, metrics, "Figures for Prometheus."),
        Route("GET", "/openapi.json", OWN, openapi, "This document.", role=None),
    )
    routes = (*own, *page_routes(OWN), *ROUTES)
    described = document([route for route in routes if route.document])
    return routes


class _ByMethod:
    """The endpoints of one path, so that a refusal names all of its methods."""

    def __init__(self, endpoints: Mapping[str, Endpoint]) -> None:
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer by the method; HEAD is asked of whatever answers GET."""
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        await self._endpoints[method](scope, receive, send)


def application(endpoints: Mapping[tuple[str, str], Endpoint], service: Service, log: Log) -> Starlette:
    """Finds the endpoint of a path that has parts, and says of other paths that there is nothing."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for (method, path), endpoint in endpoints.items():
        by_path.setdefault(path, {})[method] = endpoint
    paths = [Path(path, _ByMethod(of), methods=list(of)) for path, of in by_path.items()]
    origins = service.config.serve.cors_origins
    cors = Middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["GET", "POST"],
        allow_headers=["authorization", "content-type", "x-use-cache", "x-timeout-seconds", "x-request-id"],
        expose_headers=EXPOSED,
    )
    return Starlette(
        routes=paths,
        middleware=[cors] if origins else [],
        exception_handlers={HTTPException: _unrouted(service, log)},
    )


def _unrouted(service: Service, log: Log) -> Callable[[Request, Any], Awaitable[Response]]:
    async def handler(request: Request, error: HTTPException) -> Response:
        """No such path, or not by this method."""
        if error.status_code == 405:
            allowed = (error.headers or {}).get("Allow", "another")
            told: Exception = RequestError(f"{request.method} is not for this path; it takes {allowed}")
        else:
            told = NotFoundError(f"there is nothing at {request.url.path[:100]}; see /docs")
        call_id = request_id(request.headers.get("x-request-id", ""))
        log.say("unrouted", id=call_id, method=request.method, status=error.status_code)
        reply = OWN.problem(told, service)
        headers = {**(error.headers or {}), **dict(reply.headers), "x-request-id": call_id}
        content = msgspec.json.encode(reply.content)
        return Response(content, error.status_code, headers, media_type=reply.media_type)

    return handler
