"""A hub on 127.0.0.1: the file routes that huggingface_hub speaks, and the ways in which they fail."""

import hashlib
import json
import threading
from collections import defaultdict, deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import numpy as np
from safetensors.numpy import save

Fault = Literal["wrong", "short", "drop", "missing", "html"] | int


def tiny_model(licence: str | None = "mit", **config: Any) -> dict[str, bytes]:
    """The files of a classifier too small to answer anything: real formats, no meaning."""
    network = {
        "model_type": "distilbert",
        "architectures": ["DistilBertForSequenceClassification"],
        "id2label": {"0": "low", "1": "high"},
    } | config
    card = f"---\nlicense: {licence}\nlanguage: en\n---\n# Mood\n" if licence else "# Mood\n"
    return {
        "config.json": json.dumps(network).encode(),
        "model.safetensors": save({"classifier.weight": np.arange(4000, dtype=np.float32)}),
        "tokenizer.json": b'{"model": {"type": "WordPiece"}}',
        "README.md": card.encode(),
    }


@dataclass
class Model:
    """One repository at one commit. Files in `lfs` live behind a redirect and are named by sha256."""

    files: dict[str, bytes]
    commit: str = "a" * 40
    lfs: tuple[str, ...] = ("model.safetensors", "pytorch_model.bin")
    token: str | None = None
    gated: bool = False
    info: dict[str, Any] = field(default_factory=dict)
    branches: dict[str, "Model"] = field(default_factory=dict)

    def siblings(self) -> list[dict[str, Any]]:
        rows = []
        for name, data in self.files.items():
            row: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": blob_id(data)}
            if name in self.lfs:
                row["lfs"] = {"sha256": sha256(data), "size": len(data), "pointerSize": 134}
            rows.append(row)
        return rows


class Hub:
    """The server, its models, its faults and what it was asked."""

    def __init__(self) -> None:
        self.models: dict[str, Model] = {}
        self.moved: dict[str, str] = {}
        self.faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self.requests: list[tuple[str, str, str | None]] = []
        handler = type("Handler", (Handler,), {"hub": self})
        # Two origins, as in the wild: the files of `lfs` are behind a redirect to another host.
        self.servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler) for _ in range(2)]
        self.url, self.cdn = (f"http://127.0.0.1:{server.server_port}" for server in self.servers)
        self.threads = [
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
            for server in self.servers
        ]
        for server, thread in zip(self.servers, self.threads, strict=True):
            server.daemon_threads = True
            thread.start()

    def close(self) -> None:
        for server, thread in zip(self.servers, self.threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join()

    def add(self, repo: str, model: Model) -> Model:
        self.models[repo] = model
        return model

    def fail(self, where: str, *faults: Fault) -> None:
        """The next GETs of a file, or requests to `api`, fail like this, one after the other."""
        self.faults[where].extend(faults)

    def asked(self, method: str, part: str) -> list[str | None]:
        """The Range headers of the requests whose path holds `part`."""
        return [span for verb, path, span in self.requests if verb == method and part in path]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Answers for `hub`, which a subclass names."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def end_headers(self) -> None:
        self.send_header("Connection", "close")
        super().end_headers()

    def do_HEAD(self) -> None:
        self.route()

    def do_GET(self) -> None:
        self.route()

    def route(self) -> None:
        self.close_connection = True
        path = unquote(urlsplit(self.path).path).strip("/")
        self.hub.requests.append((self.command, path, self.headers.get("Range")))
        parts = path.split("/")
        if parts[:2] == ["api", "models"]:
            self.api("/".join(parts[2:4]), parts[5] if parts[4:5] == ["revision"] else None)
        elif parts[:2] == ["api", "datasets"]:  # a revision may have slashes: refs/convert/parquet
            revision = "/".join(parts[5:]) if parts[4:5] == ["revision"] else None
            self.api("/".join(["datasets", *parts[2:4]]), revision)
        elif parts[0] == "datasets" and parts[3:4] == ["resolve"]:
            self.resolve("/".join(parts[:3]), parts[4], "/".join(parts[5:]))
        elif parts[:2] == ["cdn", "datasets"]:
            self.cdn("/".join(parts[1:4]), "/".join(parts[4:]))
        elif parts[2:3] == ["resolve"]:
            self.resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        elif parts[0] == "cdn":
            self.cdn("/".join(parts[1:3]), "/".join(parts[3:]))
        else:
            self.answer(404, {"X-Error-Code": "RepoNotFound"})

    def api(self, repo: str, revision: str | None) -> None:
        if self.moved(repo) or self.failed("api"):
            return
        model = self.model(repo, revision)
        if model is None:
            return
        info = {"id": repo, "sha": model.commit, "siblings": model.siblings()} | model.info
        self.answer(200, {"Content-Type": "application/json"}, json.dumps(info).encode())

    def resolve(self, repo: str, revision: str, name: str) -> None:
        if self.moved(repo):
            return
        model = self.model(repo, revision)
        if model is None:
            return
        data = model.files.get(name)
        if data is None:
            self.answer(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": model.commit})
        elif name in model.lfs:
            headers = {"X-Repo-Commit": model.commit, "X-Linked-ETag": f'"{sha256(data)}"'}
            headers |= {"X-Linked-Size": str(len(data)), "Location": f"{self.hub.cdn}/cdn/{repo}/{name}"}
            self.answer(302, headers)
        elif self.command == "GET":
            self.send(name, data, {"X-Repo-Commit": model.commit, "ETag": f'"{blob_id(data)}"'})
        else:
            self.answer(200, {"X-Repo-Commit": model.commit, "ETag": f'"{blob_id(data)}"'}, data)

    def cdn(self, repo: str, name: str) -> None:
        own = self.hub.models[repo]
        files = own.files | {key: data for one in own.branches.values() for key, data in one.files.items()}
        self.send(name, files[name], {"ETag": '"behind-the-cdn"'})

    def model(self, repo: str, revision: str | None) -> Model | None:
        """The model asked for, or None when the refusal is already on its way."""
        model = self.hub.models.get(repo)
        for name, other in model.branches.items() if model else ():
            model = other if revision in (name, other.commit) else model
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if model is None:
            self.answer(401, {"X-Error-Message": "Invalid username or password."})
        elif model.gated:
            self.answer(403, {"X-Error-Code": "GatedRepo"})
        elif model.token and token != model.token:
            message = "Invalid credentials in Authorization header" if token else "Who are you?"
            self.answer(401, {"X-Error-Message": message})
        elif revision not in (None, "main", model.commit, *self.hub.models[repo].branches):
            self.answer(404, {"X-Error-Code": "RevisionNotFound"})
        else:
            return model
        return None

    def moved(self, repo: str) -> bool:
        """A renamed repository: a relative redirect, as the hub gives it."""
        if new := self.hub.moved.get(repo):
            self.answer(307, {"Location": self.path.replace(repo, new, 1)})
        return new is not None

    def failed(self, where: str) -> bool:
        if not self.hub.faults[where]:
            return False
        fault = self.hub.faults[where].popleft()
        if fault == "html":
            self.answer(200, {"Content-Type": "text/html"}, b"<html>Sign in to the airport Wi-Fi</html>")
        elif isinstance(fault, int):
            self.answer(fault, {})
        else:
            self.answer(404, {"X-Error-Code": "EntryNotFound"})
        return True

    def send(self, name: str, data: bytes, headers: dict[str, str]) -> None:
        """A file's bytes, from where `Range` says, through whatever fault is next."""
        fault = self.hub.faults[name][0] if self.hub.faults[name] else None
        if fault == "missing" or isinstance(fault, int):
            self.failed(name)
            return
        start = int((self.headers.get("Range") or "bytes=0-")[len("bytes=") : -1])
        body, status = data[start:], 206 if start else 200
        if fault is not None:
            self.hub.faults[name].popleft()
        if fault == "wrong":
            body = bytes(255 - byte for byte in body)
        if fault == "short":
            body = body[: len(body) // 2]
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if fault == "drop" else body)

    def answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
