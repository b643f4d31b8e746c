"""The server beside the library, in one run: requests of one text and of 32, and what an idle one takes."""

import argparse
import json
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.http_parts import CONNECTIONS, processor_seconds
from bench.measure import TONEWISE, data, texts_of, write

SECONDS = 10
BODIES = 1_000
LARGE = 32
IDLE = 300
ROUNDS = 3

BULK = """
import json, sys, time
from tonewise import Classifier
texts = json.load(sys.stdin)
with Classifier.load("emotion", streams=int(sys.argv[1])) as classifier:
    classifier.classify(texts)
    encodings = classifier.encode(texts)
    begun, spent = time.perf_counter(), time.process_time()
    classifier.classify(texts)
    seconds = time.perf_counter() - begun
    spent = time.process_time()
    classifier.infer(encodings)
    engine = time.process_time() - spent
    print(json.dumps({"texts_a_second": len(texts) / seconds, "engine_seconds_a_text": engine / len(texts)}))
"""
ALONE = """
import json, statistics, sys, time
from tonewise import Classifier
texts = json.load(sys.stdin)
with Classifier.load("emotion", streams=int(sys.argv[1])) as classifier:
    classifier.warm()
    times = []
    for text in texts:
        begun = time.perf_counter()
        classifier.classify(text)
        times.append(time.perf_counter() - begun)
        time.sleep(0.01)
    print(json.dumps(statistics.median(times)))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    texts = texts_of(data() / "emotion" / "validation.tsv")[:BODIES]
    rounds = [measured(texts, options.seconds) for _ in range(options.rounds)]
    figures = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
    write("serve", {"connections": CONNECTIONS, "rounds": len(rounds), **figures})


def measured(texts: Sequence[str], seconds: int) -> dict[str, float]:
    """One round: the library, then the server."""
    bulk, alone = ours(BULK, texts), ours(ALONE, texts[:IDLE])
    with serving() as (process, url):
        idle = statistics.median(one_at_a_time(url, texts[:IDLE]))
        single = loaded(process.pid, url, [{"inputs": text} for text in texts], seconds)
        bodies = [{"inputs": list(texts[i : i + LARGE])} for i in range(0, len(texts) - LARGE, LARGE)]
        large = loaded(process.pid, url, bodies, seconds)
    outside = single["processor"] - bulk["engine_seconds_a_text"]
    return {
        "library_texts_a_second": round(bulk["texts_a_second"]),
        "requests_of_one_a_second": round(single["rate"]),
        "share_of_one": round(single["rate"] / bulk["texts_a_second"], 3),
        "texts_a_second_in_requests_of_32": round(large["rate"] * LARGE),
        "share_of_32": round(large["rate"] * LARGE / bulk["texts_a_second"], 3),
        "p50_milliseconds": single["p50"],
        "p99_milliseconds": single["p99"],
        "processor_milliseconds_beyond_the_engine_in_bulk": round(outside * 1000, 3),
        "processor_milliseconds_of_the_loop": round(single["loop"] * 1000, 3),
        "idle_milliseconds": round(idle * 1000, 2),
        "library_milliseconds": round(alone * 1000, 2),
    }


def ours(program: str, texts: Sequence[str]) -> Any:
    """What a program of the library tells."""
    done = subprocess.run(
        (sys.executable, "-c", program, "2"),
        input=json.dumps(list(texts)),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server on a free port, without its cache; its log is read and dropped."""
    command = (*TONEWISE, "serve", *(arguments or ("emotion",)), "--port", "0", "--cache-bytes", "0")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        match = re.search(r"http://\S+", line)
        if match is None:
            sys.exit(line)
        threading.Thread(target=process.stderr.read, daemon=True).start()
        try:
            yield process, match[0]
        finally:
            process.send_signal(signal.SIGTERM)


def one_at_a_time(url: str, texts: Sequence[str]) -> list[float]:
    """Seconds of each request, asked with a pause, so that the server is idle.

    Over a bare socket: a client's own work, 1.5 ms of urllib3's here, is not the server's latency.
    """
    place, found = urlsplit(url), []
    with socket.create_connection((place.hostname, place.port)) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for text in texts:
            body = json.dumps({"inputs": text}).encode()
            head = f"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n"
            request = f"{head}content-type: application/json\r\n\r\n".encode() + body
            begun = time.perf_counter()
            line.sendall(request)
            answer = line.recv(65_536)
            found.append(time.perf_counter() - begun)
            if not answer.startswith(b"HTTP/1.1 200") or not answer.endswith(b"]]"):
                sys.exit(f"not a whole answer: {answer!r}")
            time.sleep(0.01)
    return found


def loaded(pid: int, url: str, bodies: Sequence[Any], seconds: int) -> dict[str, float]:
    """wrk's requests a second and latencies, and the server's processor seconds a request.

    `loop` is the part of the thread that does all but batches: HTTP, tokenizing, queueing, replies.
    """
    with tempfile.TemporaryDirectory() as scratch:
        script = Path(scratch) / "bodies.lua"
        told = ",\n".join(lua(json.dumps(body)) for body in bodies)
        script.write_text(
            f"local bodies = {{{told}}}\nlocal at = 0\n"
            "local headers = {['content-type'] = 'application/json'}\n"
            "request = function() at = at % #bodies + 1\n"
            "  return wrk.format('POST', '/', headers, bodies[at]) end\n"
        )
        before, loop = processor_seconds(pid), processor_seconds(pid, pid)
        done = subprocess.run(
            (
                "wrk",
                "-t1",
                f"-c{CONNECTIONS}",
                f"-d{seconds}s",
                "--latency",
                "--timeout",
                "30s",
                "-s",
                script,
                url,
            ),
            capture_output=True,
            text=True,
            check=True,
        )
        spent, loop = processor_seconds(pid) - before, processor_seconds(pid, pid) - loop
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        sys.exit(done.stdout)
    count = int(re.search(r"(\d+) requests in", done.stdout)[1])  # type: ignore[index]
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)[1])  # type: ignore[index]
    return {
        "rate": rate,
        "processor": spent / count,
        "loop": loop / count,
        "p50": latency(done.stdout, "50%"),
        "p99": latency(done.stdout, "99%"),
    }


def latency(told: str, which: str) -> float:
    """Milliseconds of a percentile, as wrk prints it."""
    found = re.search(rf"^\s+{which}\s+([\d.]+)(us|ms|s)\s*$", told, re.M)
    if found is None:
        sys.exit(told)
    value, unit = found.groups()
    return round(float(value) * {"us": 0.001, "ms": 1, "s": 1000}[unit], 2)


def lua(text: str) -> str:
    """A string as Lua writes it, whatever it holds."""
    level = "="
    while f"]{level}]" in text:
        level += "="
    return f"[{level}[{text}]{level}]"


if __name__ == "__main__":
    main()
