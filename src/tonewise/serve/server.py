"""The process: a socket, a loop, signals, and a protocol that lets nobody dawdle over headers."""

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tonewise.config import Config
from tonewise.errors import ConfigError, EngineError
from tonewise.serve.app import App
from tonewise.serve.endpoint import LOOPBACK
from tonewise.serve.keys import read_keys
from tonewise.serve.logs import Log
from tonewise.serve.service import Service

HEADER_SECONDS = 10.0
"""For the first byte of a connection's first request to the last of its headers."""
MOST_HEADER_BYTES = 32_768
MOST_HEADERS = 100
KEEP_ALIVE_SECONDS = 75
"""Longer than proxies keep theirs (nginx: 60), so that they never meet a closed connection."""

Tell = Callable[[str], None]


class _Joined:
    """A transport whose writes of one turn of the loop are one: head and body of an answer in one packet."""

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._parts:
            whole = b"".join(self._parts)
            self._parts.clear()
            if not self._transport.is_closing():  # the caller was cut off in this very turn
                self._transport.write(whole)


class Protocol(HttpToolsProtocol):
    """uvicorn's, with limits to headers: how many, how long, how slow."""

    def connection_made(self, transport: Any) -> None:
        """A connection that never sends a request is closed."""
        super().connection_made(_Joined(transport, self.loop))  # type: ignore[arg-type]
        self._header_bytes = 0
        self._late: asyncio.TimerHandle | None = None
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._arrived()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._header_bytes = 0
        if self._late is None:
            self._expect()

    def on_url(self, url: bytes) -> None:
        """A part of the path."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._count(len(name) + len(value))
        if len(self.headers) >= MOST_HEADERS:
            raise ValueError("too many headers")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """All of them are here."""
        self._arrived()
        super().on_headers_complete()

    def _expect(self) -> None:
        self._late = self.loop.call_later(HEADER_SECONDS, self._give_up)

    def _arrived(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        self._late = None
        if not self.transport.is_closing():
            self.transport.close()

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > MOST_HEADER_BYTES:
            raise ValueError("the headers are too long")  # the parser's error becomes a 400


class _Server(uvicorn.Server):
    """uvicorn's, with signals that end it in order: SIGTERM finishes what is in hand and exits 0."""

    def __init__(self, config: uvicorn.Config, stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._stopping = stopping

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Both signals stop it; a second one stops it at once. Only a main thread is sent any."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        for one in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(one, self.stop)
        try:
            yield
        finally:
            for one in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(one)

    def stop(self) -> None:
        """Accept nothing new and finish what is in hand; asked again, finish nothing."""
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True
        self._stopping()


def serve(config: Config, tell: Tell = lambda line: None, log: Log | None = None) -> None:
    """Serve until a signal comes. `tell` is given lines for a person.

    Raises ConfigError for an address that cannot be listened on, or that others reach while there are no
    keys; what opening the models raises; EngineError when the engine hung twice.
    """
    keys = read_keys(config.serve.keys)
    host = config.serve.host
    if host not in LOOPBACK and not len(keys) and not config.serve.without_keys:
        raise ConfigError(
            f"{host} can be reached by others, and there are no keys: make one with "
            "'tonewise key NAME --keys FILE' and serve with --keys FILE, or say --without-keys"
        )
    listener = _listener(host, config.serve.port)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(App(config, keys, log), listener, tell))
    finally:
        listener.close()


async def run(
    app: App,
    listener: socket.socket,
    tell: Tell = lambda line: None,
    begun: Callable[[Callable[[], None]], None] = lambda stop: None,
) -> None:
    """Serve on a socket that listens already, on the running loop.

    `begun` is handed what ends it, to be called on this loop. Raises as `serve` does.
    """
    service = await app.start()
    try:
        await _run(app, service, listener, tell, begun)
    finally:
        service.close()
    if service.broken.done():
        raise EngineError(f"{service.broken.result()}; start again")


async def _run(
    app: App,
    service: Service,
    listener: socket.socket,
    tell: Tell,
    begun: Callable[[Callable[[], None]], None],
) -> None:
    def stopping() -> None:
        service.stopping = True

    serve = app.config.serve
    server = _Server(
        uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(1, round(serve.grace_seconds)),
        ),
        stopping,
    )

    def broke(found: "asyncio.Future[str]") -> None:
        if not found.cancelled():
            app.log.say("broken", why=found.result())
            server.should_exit = server.force_exit = True

    service.broken.add_done_callback(broke)
    where = f"http://{_shown(listener)}"
    names = ", ".join(model.name for model in service.models)
    tell(f"serving {names} on {where}")
    app.log.say("started", address=where, models=[model.ref for model in service.models])
    begun(server.stop)
    try:
        await server.serve(sockets=[listener])
    finally:
        app.log.say("stopped")


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"cannot listen on {host}:{port}: {why}; choose another with --port") from None


def _shown(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
