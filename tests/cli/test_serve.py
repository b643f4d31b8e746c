"""`tonewise serve` and `tonewise key`: where it listens, what it refuses, how it ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
import urllib3

from tests.doubles import MakeModel
from tonewise.cli import run

MOST_SECONDS = 60


@contextmanager
def started(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command as a process, and the address that it tells of."""
    command = (sys.executable, "-m", "tonewise", "serve", *arguments, "--port", "0")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            line = process.stderr.readline()
            match = re.fullmatch(r"tonewise: serving (.+) on (http://\S+)\n", line)
            assert match, line + process.stderr.read()
            drain = threading.Thread(target=process.stderr.read, daemon=True)
            drain.start()
            yield process, match[2]
            process.wait(MOST_SECONDS)
            drain.join(MOST_SECONDS)
        finally:
            process.kill()


def test_sigterm_under_load_loses_no_request_and_ends_with_0(model: MakeModel) -> None:
    pool = urllib3.PoolManager(retries=False, timeout=MOST_SECONDS, maxsize=8)
    found: list[int | str] = []
    with started(f"moods={model()}/") as (process, url):
        going = threading.Event()

        def ask() -> None:
            while True:
                try:
                    answer = pool.request("POST", f"{url}/classify", json={"texts": ["so sad"] * 8})
                except urllib3.exceptions.HTTPError as error:
                    found.append(type(error).__name__)
                    return
                found.append(answer.status)
                if len(found) > 50:
                    going.set()

        callers = [threading.Thread(target=ask) for _ in range(4)]
        for caller in callers:
            caller.start()
        assert going.wait(MOST_SECONDS)
        process.send_signal(signal.SIGTERM)
        for caller in callers:
            caller.join(MOST_SECONDS)
    assert process.returncode == 0
    # A connection may be refused or found closed between two requests; none is cut with one in flight.
    assert set(found) <= {200, 503, "NewConnectionError", "ProtocolError", "MaxRetryError"}
    assert found.count(200) > 50


def test_a_port_that_is_taken_is_one_line(model: MakeModel, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(["serve", f"{model()}/", "--port", str(port)]) == 2
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in capsys.readouterr().err


def test_others_are_not_let_in_without_a_key(model: MakeModel, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", f"{model()}/", "--host", "0.0.0.0", "--port", "0"]) == 2
    told = capsys.readouterr().err
    assert "0.0.0.0 can be reached by others, and there are no keys" in told
    assert "--without-keys" in told


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("nowhere/",), 4, "there is no folder nowhere"),
        (("a=emotion", "a=emotion"), 4, "two models are called 'a'"),
        (("--max-texts", "0"), 2, "max_texts is 0; the least is 1"),
        (("--keys", "none.toml"), 2, "none.toml: the keys cannot be read"),
        (("--port", "70000"), 2, "port is 70000"),
    ],
)
def test_what_cannot_be_served_is_told_before_it_listens(
    arguments: tuple[str, ...], status: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["serve", *arguments, *([] if "--port" in arguments else ["--port", "0"])]) == status
    assert told in capsys.readouterr().err


def test_a_key_is_shown_once_and_kept_as_a_hash(
    model: MakeModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keys.toml"
    assert run(["key", "app", "--keys", str(path), "--requests-per-minute", "600"]) == 0
    secret = capsys.readouterr().out.strip()
    assert run(["key", "boss", "--keys", str(path), "--admin"]) == 0
    table = tomllib.loads(path.read_text())
    assert table["app"] == {
        "sha256": sha256(secret.encode()).hexdigest(),
        "roles": ["infer"],
        "requests_per_minute": 600,
    }
    assert table["boss"]["roles"] == ["infer", "admin"]
    assert secret not in path.read_text()
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert run(["key", "app", "--keys", str(path)]) == 2
    assert "there is a key 'app' already" in capsys.readouterr().err
    pool = urllib3.PoolManager(retries=False)
    with started(f"moods={model()}/", "--keys", str(path)) as (process, url):
        body = json.dumps({"texts": "love"}).encode()
        headers = {"content-type": "application/json", "authorization": f"Bearer {secret}"}
        assert pool.request("POST", f"{url}/classify", body=body, headers=headers).status == 200
        assert pool.request("POST", f"{url}/classify", json={"texts": "love"}).status == 401
        process.send_signal(signal.SIGINT)
    assert process.returncode == 0
