"""What each HTTP part costs a request, in processor time of the server alone: the choice of decision 11."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.measure import write
from bench.rivals.http_apps import PARTS
from bench.rivals.process import environment

SECONDS = 6
CONNECTIONS = 64
ROUNDS = 2
SCRIPT = """wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.body = '{"inputs": "i feel wonderful today", "parameters": {}}'
"""


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m bench.http_parts DIR  (where the environment is, or is made)")
    python = environment("http", Path(sys.argv[1]))
    found: dict[str, list[dict[str, float]]] = {part: [] for part in PARTS}
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT)
        script.flush()
        for _ in range(ROUNDS):
            for part in PARTS:
                found[part].append(measured(part, python, script.name))
    best = {
        part: min(rounds, key=lambda one: one["processor_milliseconds_a_request"])
        for part, rounds in found.items()
    }
    write("http_parts", {"connections": CONNECTIONS, "seconds": SECONDS, "parts": best})


def measured(part: str, python: Path, script: str) -> dict[str, Any]:
    """Requests a second, and the server's processor time a request."""
    port = free_port()
    program = Path(__file__).parent / "rivals" / "http_apps.py"
    server = subprocess.Popen((str(python), str(program), part, str(port)))
    try:
        wait_for(port)
        before = processor_seconds(server.pid)
        done = subprocess.run(
            (
                "wrk",
                "-t1",
                f"-c{CONNECTIONS}",
                f"-d{SECONDS}s",
                "-s",
                script,
                f"http://127.0.0.1:{port}/models/a/b",
            ),
            capture_output=True,
            text=True,
            check=True,
        )
        spent = processor_seconds(server.pid) - before
    finally:
        server.kill()
        server.wait()
    lines = done.stdout.splitlines()
    if failed := [line for line in lines if "Non-2xx" in line or "Socket errors" in line]:
        sys.exit(f"{part}: {failed[0].strip()}")
    count = next(int(line.split()[0]) for line in lines if "requests in" in line)
    return {
        "requests_a_second": round(count / SECONDS),
        "processor_milliseconds_a_request": round(spent / count * 1000, 4),
    }


def free_port() -> int:
    """One that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    """Until somebody listens."""
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.05)
    sys.exit("the server does not listen")


def processor_seconds(pid: int, thread: int | None = None) -> float:
    """User and system time of a process so far, or of one of its threads; its main thread has its number."""
    place = f"/proc/{pid}/stat" if thread is None else f"/proc/{pid}/task/{thread}/stat"
    fields = Path(place).read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
