"""A server that answers what it is told to: busy, slow or strange; for tests of clients."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any


@dataclass
class Reply:
    """What the stub answers; `hold` keeps it back for two seconds at most, `drop` hangs up."""

    status: int = 200
    body: Any = field(default_factory=lambda: {"data": []})
    headers: Mapping[str, str] = field(default_factory=dict)
    hold: Event | None = None
    drop: bool = False


class Stub(ThreadingHTTPServer):
    """Answers with one reply after the other, then with the last one again; keeps what it was asked."""

    daemon_threads = True

    def __init__(self, *replies: Reply) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies, self.asked, self.callers = list(replies), list[tuple[str, Any]](), set[Any]()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def header(self, name: str) -> list[str]:
        return [headers[name] for _, headers in self.asked]


class Handler(BaseHTTPRequestHandler):
    server: Stub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.asked.append((self.path, self.headers))
        self.server.callers.add(self.client_address)
        reply = self.server.replies.pop(0) if len(self.server.replies) > 1 else self.server.replies[0]
        if reply.hold is not None:
            reply.hold.wait(2)
        if reply.drop:
            self.close_connection = True
            return
        content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        with suppress(OSError):  # a caller that gave up
            self.send_response(reply.status)
            for name, value in {**reply.headers, "content-length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

    do_POST = do_GET  # noqa: N815  as http.server looks for it

    def log_message(self, *told: Any) -> None:
        pass


@contextmanager
def stub(*replies: Reply) -> Iterator[Stub]:
    with Stub(*replies) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
