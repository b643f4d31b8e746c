"""On a terminal a table and a bar, in a pipe silence; signals end a run and name what is left."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, Popen
from tests.doubles import MakeModel


@pytest.fixture
def ref(model: MakeModel) -> str:
    return str(model())


@pytest.fixture
def many(here: Path) -> Path:
    path = here / "many.txt"
    path.write_text("".join(f"i am happy {i}\n" for i in range(100_000)))
    return path


def read_terminal(process: subprocess.Popen[bytes], terminal: int) -> str:
    """All that the process shows until it ends."""
    shown = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        ready, _, _ = select.select([terminal], [], [], 0.1)
        try:
            block = os.read(terminal, 65536) if ready else b""
        except OSError:  # Linux tells so that the other side is closed
            break
        shown += block
        if not block and process.poll() is not None:
            break
    process.wait(10)
    os.close(terminal)
    return shown.decode()


def test_a_terminal_shows_a_table(start: Popen, ref: str) -> None:
    ours, theirs = pty.openpty()
    process = start("classify", "i am happy", "so sad", "--model", ref, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = read_terminal(process, ours)
    assert process.returncode == 0
    assert "i am happy" in shown
    assert "so sad" in shown
    assert "label" in shown
    assert "{" not in shown
    assert "\x1b[" in shown, "a terminal has colours"


def test_a_terminal_shows_progress_while_a_file_is_written(start: Popen, ref: str, here: Path) -> None:
    (here / "in.txt").write_text("".join(f"i am happy {i}\n" for i in range(10_000)))
    ours, theirs = pty.openpty()
    arguments = ["classify", "in.txt", "--model", ref, "--engine", "stub", "--output", "out.jsonl"]
    process = start(*arguments, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = read_terminal(process, ours)
    assert process.returncode == 0
    assert " texts, " in shown
    assert "/s" in shown
    assert "%" in shown
    last = shown.rstrip().splitlines()[-1]
    assert "tonewise: 10,000 texts in " in last
    assert last.endswith("→ out.jsonl")


def test_a_pipe_is_silent(spawn: Cli, ref: str, here: Path) -> None:
    (here / "in.txt").write_text("i am happy\n" * 500)
    done = spawn("classify", "in.txt", "--model", ref, "--engine", "stub", "--output", "out.jsonl")
    assert (done.status, done.out, done.err) == (0, b"", "")
    done = spawn("classify", "in.txt", "--model", ref, "--engine", "stub")
    assert (done.status, done.out.count(b"\n"), done.err) == (0, 500, "")


def test_without_anything_to_classify_a_terminal_is_told_so() -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tonewise", "classify"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    os.close(theirs)
    out, err = process.communicate(timeout=30)
    os.close(ours)
    assert (process.returncode, out) == (2, b"")
    assert err.decode().startswith("tonewise: nothing to classify: give a text, a file, or - for stdin")


@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_leaves_the_rows_so_far_and_names_them(
    start: Popen, ref: str, many: Path, number: signal.Signals, status: int, word: str
) -> None:
    process = start("classify", many, "--model", ref, "--engine", "stub", "--output", "out.jsonl")
    partial = many.with_name("out.jsonl.partial")
    deadline = time.monotonic() + 30
    while not (partial.exists() and partial.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    left = [json.loads(line)["id"] for line in partial.read_text().splitlines()]
    assert left == list(range(1, len(left) + 1))
    assert 0 < len(left) < 100_000
    assert err.decode() == f"tonewise: {word}; the {len(left)} rows before it are in {partial}\n"
    assert (process.returncode, out) == (status, b"")
    assert sorted(os.listdir()) == ["many.txt", "out.jsonl.partial"]
