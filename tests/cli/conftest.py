"""The command line, called in this process and in one of its own."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tonewise.cli import run


@dataclass(frozen=True)
class Done:
    """What a command left."""

    status: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()


Cli = Callable[..., Done]


@pytest.fixture
def cli(capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """`cli("classify", "a text", stdin=b"…")`, in this process."""

    def call(*arguments: str | Path, stdin: bytes = b"") -> Done:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsysbinary.readouterr()
        status = run([str(one) for one in arguments])
        out, err = capsysbinary.readouterr()
        return Done(status, out, err.decode())

    return call


Popen = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Popen:
    """Start `python -m tonewise …`; what it prints is read from its pipes."""

    def begin(*arguments: str | Path, **options: Any) -> subprocess.Popen[bytes]:
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        environment = {**os.environ, "COLUMNS": "100", "PYTHONDEVMODE": ""}
        command = [sys.executable, "-m", "tonewise", *map(str, arguments)]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, **pipes)

    return begin


@pytest.fixture
def spawn(start: Popen) -> Cli:
    """Run `python -m tonewise …` to its end."""

    def call(*arguments: str | Path, **options: Any) -> Done:
        process = start(*arguments, **options)
        out, err = process.communicate(timeout=60)
        return Done(process.returncode, out or b"", (err or b"").decode())

    return call
