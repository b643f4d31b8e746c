"""The runner's side of the talk: an environment for each rival, and its process."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from threading import Timer
from typing import Any

from bench.rivals import ENVIRONMENTS, UNWANTED, Rival
from bench.rivals.protocol import Job

ROOT = Path(__file__).parents[2]
MOST_SECONDS_TO_OPEN = 900
MOST_SECONDS = 180
"""A rival that is silent for so long in a pass is given up."""


class RivalError(Exception):
    """A rival that cannot be installed or run; the message is the reason, one line."""


def environment(name: str | None, work: Path) -> Path:
    """The interpreter of an environment, made when it is not there. Raises RivalError."""
    if name is None:
        return Path(sys.executable)
    folder, packages, unwanted = work / "environments" / name, ENVIRONMENTS[name], UNWANTED.get(name, ())
    python, stamp = folder / "bin" / "python", folder / "installed.json"
    if stamp.exists() and json.loads(stamp.read_text()) == [list(packages), list(unwanted)]:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    print(f"installing {' '.join(packages)}", flush=True)
    subprocess.run((sys.executable, "-m", "venv", str(folder)), check=True)
    log, pip = _log(work, f"install {name}"), (str(python), "-m", "pip")
    with log.open("w") as file:
        commands = [(*pip, "install", "--no-input", *packages)]
        if unwanted:
            commands.append((*pip, "uninstall", "--yes", *unwanted))
        for command in commands:
            if subprocess.run(command, stdout=file, stderr=file, check=False).returncode:
                raise RivalError(f"{' '.join(command[2:])}: {_reason(log)}")
    stamp.write_text(json.dumps([packages, unwanted]))
    return python


class Process:
    """A rival that was loaded and waits. Every method raises RivalError when it fails or stays silent."""

    def __init__(self, name: str, rival: Rival, job: Job, work: Path) -> None:
        python = environment(rival.environment, work)
        self.log = _log(work, f"{name} {Path(job.model).name}")
        variables = os.environ | {
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(work / "hf"),
            "XDG_CACHE_HOME": str(work / "cache"),
            "DO_NOT_TRACK": "1",
        }
        program = (str(python), "-m", f"bench.rivals.{rival.program}")
        with self.log.open("w") as file:
            try:
                done = subprocess.run(
                    (*program, "prepare", job.dumps()),
                    env=variables,
                    cwd=ROOT,
                    stdout=file,
                    stderr=file,
                    check=False,
                    timeout=MOST_SECONDS_TO_OPEN,
                )
            except subprocess.TimeoutExpired:
                raise RivalError(f"not prepared within {MOST_SECONDS_TO_OPEN} s") from None
            if done.returncode:
                raise RivalError(_reason(self.log))
            self._process = subprocess.Popen(
                (*program, "serve", job.dumps()),
                env=variables,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                encoding="utf-8",
            )
        try:
            opened = self._read(MOST_SECONDS_TO_OPEN)
        except RivalError:
            self.close()
            raise
        self.chosen, self.versions = opened["chosen"], opened["versions"]

    def ask(self, **request: str) -> dict[str, Any]:
        """Send a request, wait for its answer."""
        line = self._process.stdin
        assert line is not None
        try:
            line.write(json.dumps(request) + "\n")
            line.flush()
        except BrokenPipeError:
            raise RivalError(_reason(self.log)) from None
        return self._read(MOST_SECONDS)

    def close(self) -> None:
        """End it. Safe to call twice."""
        self._process.kill()
        self._process.wait()
        for line in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):  # what was written to a dead one is still on its way
                if line is not None:
                    line.close()

    def _read(self, most_seconds: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        timer = Timer(most_seconds, self._process.kill)
        timer.start()
        try:
            line = self._process.stdout.readline()
        finally:
            silent = not timer.is_alive()
            timer.cancel()
        if not line:
            raise RivalError(f"silent for {most_seconds} s" if silent else _reason(self.log))
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise RivalError(answer["failed"])
        return answer


def _log(work: Path, name: str) -> Path:
    folder = work / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name.replace(' ', '-').replace(',', '')}.log"


def _reason(log: Path) -> str:
    """The last line that says something: pip's ERROR, a traceback's end."""
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line or line.startswith("ERROR")]
    return (errors or lines or ["it ended without a word"])[-1][:300]
