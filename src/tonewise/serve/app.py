"""The ASGI application: every dialect's routes, what stands beside them, and its beginning and end."""

from collections.abc import AsyncIterator, Awaitable, Callable
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
from tonewise.serve.dialects import DIALECTS, ROUTES, Reply, Route
from tonewise.serve.dialects.base import Asked
from tonewise.serve.dialects.own import OWN
from tonewise.serve.endpoint import Endpoint, Receive, Scope, Send, respond
from tonewise.serve.keys import Keys
from tonewise.serve.logs import Log
from tonewise.serve.openapi import document
from tonewise.serve.page import page_routes
from tonewise.serve.service import Service
from tonewise.serve.telemetry import Telemetry

Told = Callable[[Service], None]


class App:
    """The application. `service` is there from its start-up on."""

    def __init__(self, config: Config, keys: Keys, log: Log | None = None) -> None:
        self.config, self.keys, self.log = config, keys, log or Log()
        self.service: Service | None = None
        self._inner: Starlette | None = None
        self._lifespan = Starlette(lifespan=self._live)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif scope["type"] == "http" and self._inner is not None:
            await self._inner(scope, receive, send)
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
        for ref in config.serve.models or (config.run.model,):
            service.models.add(ref)
        await service.models.open_all()
        telemetry = Telemetry(service)
        self._inner = application(service, telemetry, self.log)
        self.service = service
        return service


def application(service: Service, telemetry: Telemetry, log: Log) -> Starlette:
    """All routes of a service."""

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
    paths = [
        Path(route.path, Endpoint(service, telemetry, log, route), methods=[route.method]) for route in routes
    ]
    origins = service.config.serve.cors_origins
    cors = Middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["GET", "POST"],
        allow_headers=["authorization", "content-type", "x-use-cache", "x-timeout-seconds", "x-request-id"],
        expose_headers=["x-request-id", "x-cache", "x-truncated-texts", "server-timing", "retry-after"],
    )
    return Starlette(
        routes=paths,
        middleware=[cors] if origins else [],
        exception_handlers={HTTPException: _unrouted(service)},
    )


def _unrouted(service: Service) -> Callable[[Request, Any], Awaitable[Response]]:
    async def handler(request: Request, error: HTTPException) -> Response:
        """No such path, or not by this method."""
        if error.status_code == 405:
            allowed = (error.headers or {}).get("Allow", "another")
            told: Exception = RequestError(f"{request.method} is not for this path; it takes {allowed}")
        else:
            told = NotFoundError(f"there is nothing at {request.url.path[:100]}; see /docs")
        reply = OWN.problem(told, service)
        return _Whole(reply, error.status_code, dict(error.headers or {}))

    return handler


class _Whole(Response):
    """A reply as Starlette sends it."""

    def __init__(self, reply: Reply, status: int, headers: dict[str, str]) -> None:
        super().__init__(msgspec.json.encode(reply.content), status, headers, media_type="application/json")


__all__ = ["DIALECTS", "App", "application"]
