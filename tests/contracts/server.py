"""A server in a process of its own, as a user starts it, and the same models in this process."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread, Timer

from tonewise import Classifier, load_config

MOST_SECONDS = 120
ENGINE = "onnxruntime"
"""Told, so that nothing which was measured on this machine chooses another than the tests compare with."""


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[str]:
    """The address of `tonewise serve` with these arguments; `folder` takes its cache and its log."""
    command = (sys.executable, "-m", "tonewise", "serve", *arguments, "--port", "0", "--threads", "1")
    process = subprocess.Popen(
        (*command, "--engine", ENGINE),
        env=bare_environment(folder),
        cwd=folder,  # no tonewise.toml and no lock of the user's
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    with process, (folder / "log.txt").open("wb") as log:
        timer = Timer(MOST_SECONDS, process.kill)
        timer.start()
        first = process.stderr.readline().decode()
        timer.cancel()
        if " on http://" not in first:
            process.kill()
            raise AssertionError(first + process.stderr.read().decode())
        drain = Thread(target=shutil.copyfileobj, args=(process.stderr, log))
        drain.start()  # a pipe that nobody reads would stop the server when it is full
        try:
            yield first.split()[-1]
        finally:
            process.terminate()
            process.wait(MOST_SECONDS)
            drain.join()


def in_process(ref: str, cache: Path) -> Classifier:
    """A model as that server opens it, whatever the user's variables say."""
    flags = {"engine": ENGINE, "threads": 1, "cache_dir": str(cache)}
    return Classifier.load(ref, config=load_config(flags, environment={}))


def bare_environment(folder: Path, **more: str) -> dict[str, str]:
    """The variables that programs need here, none of ours, and a home of their own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TONEWISE_", "HF_", "HUGGING_FACE_", "OPENAI_", "PYTHON", "COV_"))
        and name.lower() not in ("http_proxy", "https_proxy", "all_proxy")
    }
    return kept | {
        "HOME": str(folder),
        "HF_HOME": str(folder / "hf"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "XDG_DATA_HOME": str(folder / "data"),
        **more,
    }
