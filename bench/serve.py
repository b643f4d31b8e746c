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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.http_parts import CONNECTIONS, processor_seconds
from bench.measure import TONEWISE, data, texts_of, write
from tonewise import Classifier

SECONDS = 10
BODIES = 1_000
LARGE = 32
IDLE = 300
ROUNDS = 3
PAUSE_SECONDS = 0.01
"""Between texts, so that whoever is asked is idle."""

BULK = """
import json, sys, time
from tonewise import Classifier
texts = json.load(sys.stdin)
with Classifier.load("emotion", streams=int(sys.argv[1])) as classifier:
    classifier.classify(texts)
    encodings = classifier.encode(texts)
    begun = time.perf_counter()
    classifier.classify(texts)
    seconds = time.perf_counter() - begun
    spent = time.process_time()
    classifier.infer(encodings)
    engine = time.process_time() - spent
    print(json.dumps({"texts_a_second": len(texts) / seconds, "engine_seconds_a_text": engine / len(texts)}))
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
    bulk = in_bulk(texts)
    with serving() as (process, url):
        idle, alone = one_at_a_time(url, texts[:IDLE])
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


def in_bulk(texts: Sequence[str]) -> Any:
    """What a program of the library does with all of them at once."""
    done = subprocess.run(
        (sys.executable, "-c", BULK, "2"),
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


def one_at_a_time(url: str, texts: Sequence[str]) -> tuple[float, float]:
    """Median seconds of a text, of the idle server and of the library in this process, asked in turns.

    Over a bare socket: a client's own work, 1.5 ms of urllib3's here, is not the server's latency.
    """
    place, served, own = urlsplit(url), [], []
    with (
        socket.create_connection((place.hostname, place.port)) as line,
        Classifier.load("emotion", streams=2) as classifier,
    ):
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        classifier.warm()
        for text in texts:
            body = json.dumps({"inputs": text}).encode()
            head = f"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n"
            request = f"{head}content-type: application/json\r\n\r\n".encode() + body
            begun = time.perf_counter()
            line.sendall(request)
            answer = line.recv(65_536)
            served.append(time.perf_counter() - begun)
            if not answer.startswith(b"HTTP/1.1 200") or not answer.endswith(b"]]"):
                sys.exit(f"not a whole answer: {answer!r}")
            time.sleep(PAUSE_SECONDS)
            begun = time.perf_counter()
            classifier.classify(text)
            own.append(time.perf_counter() - begun)
            time.sleep(PAUSE_SECONDS)
    return statistics.median(served), statistics.median(own)


def loaded(pid: int, url: str, bodies: Sequence[Any], seconds: int) -> dict[str, float]:
    """wrk's requests a second and latencies, and the server's processor seconds a request.

    `loop` is the part of the thread that does all but batches: HTTP, tokenizing, queueing, replies.
    """
    before, loop = processor_seconds(pid), processor_seconds(pid, pid)
    found = asked(url, bodies, seconds)
    spent, loop = processor_seconds(pid) - before, processor_seconds(pid, pid) - loop
    if found.refused or found.failed:
        sys.exit(found.told)
    return {
        "rate": found.rate,
        "processor": spent / found.count,
        "loop": loop / found.count,
        "p50": latency(found.told, "50%"),
        "p99": latency(found.told, "99%"),
    }


@dataclass(frozen=True)
class Load:
    """What came of a load.

    told     by wrk, all of it
    count    of the answers
    rate     of them, a second
    refused  answers that were not 2xx
    failed   requests without an answer in time: connect, read, write, timeout
    """

    told: str
    count: int
    rate: float
    refused: int
    failed: Mapping[str, int]


def asked(url: str, bodies: Sequence[Any], seconds: int, path: str = "/", timeout: int = 30) -> Load:
    """Ask with wrk, over all its connections, one body after the other."""
    with tempfile.TemporaryDirectory() as scratch:
        script = Path(scratch) / "bodies.lua"
        texts = ",\n".join(lua(json.dumps(body)) for body in bodies)
        script.write_text(
            f"local bodies = {{{texts}}}\nlocal at = 0\n"
            "local headers = {['content-type'] = 'application/json'}\n"
            "request = function() at = at % #bodies + 1\n"
            f"  return wrk.format('POST', '{path}', headers, bodies[at]) end\n"
        )
        load = ("-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", f"{timeout}s")
        done = subprocess.run(
            ("wrk", *load, "--latency", "-s", script, url), capture_output=True, text=True, check=True
        )
    return told_by(done.stdout)


def told_by(told: str) -> Load:
    """What wrk printed, read."""
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", told)
    failed = re.search(r"Socket errors: (.*)", told)
    counts = re.findall(r"(\w+) (\d+)", failed[1]) if failed else ()
    return Load(
        told,
        int(re.search(r"(\d+) requests in", told)[1]),  # type: ignore[index]
        float(re.search(r"Requests/sec:\s+([\d.]+)", told)[1]),  # type: ignore[index]
        int(refused[1]) if refused else 0,
        {name: int(count) for name, count in counts},
    )


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
