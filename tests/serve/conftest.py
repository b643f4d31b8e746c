"""A server in a thread of the test, on a port of its own, with a small model; and a caller for it."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import urllib3
import uvloop

from tests.doubles import MakeModel
from tonewise.config import load_config
from tonewise.serve.app import App
from tonewise.serve.keys import Keys
from tonewise.serve.logs import Log
from tonewise.serve.server import run
from tonewise.serve.service import Service

MOST_SECONDS = 60


class Running:
    """A server that answers. `lines` are those of its log; `failed` is what it ended with."""

    def __init__(self, keys: Keys | None = None, **settings: Any) -> None:
        self.lines: list[dict[str, Any]] = []
        log = Log(lambda line: self.lines.append(json.loads(line)))
        self.app = App(load_config(settings, environment={}), keys or Keys({}), log)
        self.failed: BaseException | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.pool = urllib3.PoolManager(retries=False, timeout=MOST_SECONDS, maxsize=32)
        self._begun = threading.Event()
        self._stop: Callable[[], None] = lambda: None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._begun.wait(MOST_SECONDS)

    @property
    def service(self) -> Service:
        assert self.app.service is not None
        return self.app.service

    def ask(self, path: str, body: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        """POST a body as JSON, or GET where there is none: status, answer, headers."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        method = "GET" if body is None else "POST"
        sent = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if sent is not None:
            named.setdefault("content-type", "application/json")
        found = self.pool.request(method, self.url + path, body=sent, headers=named)
        kind = found.headers.get("content-type", "")
        answer = json.loads(found.data) if kind.startswith("application/json") else found.data
        return found.status, answer, {name.lower(): value for name, value in found.headers.items()}

    def on_loop(self, call: Callable[[], Any]) -> Any:
        """Call something where the service lives."""
        done: list[Any] = []
        ready = threading.Event()

        def do() -> None:
            done.append(call())
            ready.set()

        assert self._loop is not None
        self._loop.call_soon_threadsafe(do)
        assert ready.wait(MOST_SECONDS)
        return done[0]

    def stop(self) -> None:
        """End it as a signal would."""
        if self._loop is not None and self._thread.is_alive():
            with suppress(RuntimeError):  # it has just ended by itself
                self._loop.call_soon_threadsafe(self._stop)

    def join(self) -> None:
        self._thread.join(MOST_SECONDS)
        assert not self._thread.is_alive()

    def close(self) -> None:
        self.pool.clear()
        self.stop()
        self.join()

    def _run(self) -> None:
        def begun(stop: Callable[[], None]) -> None:
            self._stop = stop
            self._loop = asyncio.get_running_loop()
            self._begun.set()

        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(run(self.app, self._listener, begun=begun))
        except BaseException as failure:
            self.failed = failure
        finally:
            self._begun.set()
            self._listener.close()


@contextmanager
def serving(keys: Keys | None = None, **settings: Any) -> Iterator[Running]:
    """A server for as long as the block lasts."""
    running = Running(keys, **settings)
    try:
        if running.failed is not None:
            raise running.failed
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def server(model: MakeModel) -> Iterator[Running]:
    """A small model under the name `moods`."""
    with serving(models=(f"moods={model()}/",), streams=2) as running:
        yield running
