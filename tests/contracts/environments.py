"""An environment for each client: made once, used again while what it was made of is the same."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("TONEWISE_ENVIRONMENTS") or ROOT / ".make" / "environments").absolute()
"""Read at once: tests run without the variables that start so."""
MOST_SECONDS = 600

PYTHON: Mapping[str, tuple[str, ...]] = {
    "hub-0.36": ("huggingface_hub==0.36.*", "numpy"),
    "hub-1": ("huggingface_hub==1.*", "numpy"),
    "hub-2": ("huggingface_hub==2.*", "numpy"),
    "openai": ("openai",),
}
NODE: Mapping[str, tuple[str, ...]] = {"node": ("@huggingface/inference@4",)}


class EnvironmentFailedError(Exception):
    """An environment cannot be made; the message is the last that its installer said."""


def python_of(name: str) -> Path:
    """The interpreter of an environment for Python. Raises EnvironmentFailedError."""
    folder = FOLDER / name
    python = folder / "bin" / "python"
    make = (sys.executable, "-m", "venv", "--without-pip", str(folder))
    install = (sys.executable, "-m", "pip", "--python", str(python), "install", "--no-input", *PYTHON[name])
    _make(folder, [make, install], PYTHON[name])
    return python


def node_of(name: str) -> Path:
    """The folder whose node_modules hold an environment for Node. Raises EnvironmentFailedError."""
    folder = FOLDER / name
    install = ("npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), *NODE[name])
    _make(folder, [install], NODE[name])
    return folder


def _make(folder: Path, commands: Sequence[Sequence[str]], packages: Sequence[str]) -> None:
    stamp, wanted = folder / "installed.json", [*packages, _version(commands[0][0])]
    if stamp.exists() and json.loads(stamp.read_text("utf-8")) == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=MOST_SECONDS)
        if done.returncode:
            raise EnvironmentFailedError(f"{' '.join(command)}: {_last(done.stderr or done.stdout)}")
    stamp.write_text(json.dumps(wanted), "utf-8")  # last: a folder without it is made again


def _version(program: str) -> str:
    """Of what the environment was made with: another one's folder cannot be used again."""
    done = subprocess.run((program, "--version"), capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _last(told: str) -> str:
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    return (lines or ["it ended without a word"])[-1][:300]
