"""Other servers: how each is started on a model's folder, where it is asked, and how it is stopped."""

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.rivals.process import ROOT, RivalError, environment

MOST_SECONDS_TO_OPEN = 300
GRACE_SECONDS = 10
FACTS = """
import json, sys, torch
from importlib.metadata import version
versions = {name: version(name) for name in sys.argv[1:]}
print(json.dumps({"versions": versions, "threads": torch.get_num_threads()}))
"""


@dataclass(frozen=True)
class Server:
    """One way to answer over HTTP.

    environment  that it runs in
    command      in that environment's bin folder; `{folder}` and `{port}` are filled in
    path         that is asked
    field        of a request, that holds the list of texts
    packages     whose versions are told
    """

    environment: str
    command: tuple[str, ...]
    path: str
    field: str
    packages: tuple[str, ...]


SERVERS: Mapping[str, Server] = {
    "infinity_emb": Server(
        "infinity",
        (
            *("infinity_emb", "v2", "--model-id", "{folder}", "--engine", "torch", "--device", "cpu"),
            *("--host", "127.0.0.1", "--port", "{port}", "--log-level", "warning", "--no-model-warmup"),
        ),
        "/classify",
        "input",
        ("infinity-emb", "transformers", "torch", "uvicorn"),
    ),
    "litserve": Server(
        "litserve",
        ("python", "-m", "bench.rivals.servers.litserve_pipeline", "{folder}", "{port}"),
        "/predict",
        "inputs",
        ("litserve", "transformers", "torch", "uvicorn"),
    ),
}
"""Warnings alone are logged: a line a request would cost them time."""


def facts(name: str, work: Path) -> dict[str, Any]:
    """A server's versions and the threads that its torch takes, its environment made when it is not there."""
    server = SERVERS[name]
    python = environment(server.environment, work)
    done = subprocess.run(
        (str(python), "-c", FACTS, *server.packages), capture_output=True, text=True, check=True
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@contextmanager
def serving_rival(name: str, folder: Path, port: int, work: Path) -> Iterator[str]:
    """The address of a server that is ready. Raises RivalError when it does not get there."""
    server = SERVERS[name]
    bin_folder = environment(server.environment, work).parent
    filled = [part.format(folder=folder, port=port) for part in server.command]
    variables = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(work / "hf"),
        "XDG_CACHE_HOME": str(work / "cache"),
        "DO_NOT_TRACK": "1",
        "INFINITY_ANONYMOUS_USAGE_STATS": "0",
    }
    log = work / "logs" / f"serve-{name}.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            (str(bin_folder / filled[0]), *filled[1:]),
            env=variables,
            cwd=ROOT,
            stdout=file,
            stderr=file,
            start_new_session=True,  # so that the processes that it starts end with it
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_for(url, process, log)
        yield url
    finally:
        _end(process)


def labels(url: str, path: str, field: str, texts: Sequence[str]) -> list[str]:
    """The best label of each text, asked for in one request. Raises RivalError when it is refused."""
    body = json.dumps({field: list(texts)}).encode()
    request = urllib.request.Request(url + path, body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=MOST_SECONDS_TO_OPEN) as answer:
            found = json.load(answer)
    except OSError as error:
        raise RivalError(f"{url}{path}: {error}") from None
    rows = found["data"] if isinstance(found, dict) else found
    return [max(row, key=lambda one: one["score"])["label"] for row in rows]


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + MOST_SECONDS_TO_OPEN
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    raise RivalError(f"not ready: {(lines or ['without a word'])[-1][:300]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            continue
