"""Two servers, one of them with keys, what the library answers in this process, and clients that are run."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.server import bare_environment, in_process, serving
from tonewise.head import softmax

PROGRAMS = Path(__file__).parent / "programs"
MOST_SECONDS = 180
TEXT = "i am happy"
TEXTS = ["they left me all alone", "how dare you", "ça alors 🙂", "i did not see that coming at all"]
LONG = "so very sad " * 400

Run = Callable[..., Any]


@dataclass(frozen=True)
class Servers:
    """Addresses of two: one that everyone may ask, one that wants a key, and that key."""

    open: str
    closed: str
    key: str


@dataclass(frozen=True)
class Answers:
    """What the library says in this process, of TEXT and of each of TEXTS.

    scores, uncalibrated  of TEXT, best first; with the bundle's temperature, and the softmax without it
    first                 scores of the first of TEXTS
    similarity            cosines of TEXT and each of TEXTS
    """

    scores: list[tuple[str, float]]
    uncalibrated: list[tuple[str, float]]
    first: list[tuple[str, float]]
    vector: list[float]
    vectors: list[list[float]]
    similarity: list[float]


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("open")
    locked = tmp_path_factory.mktemp("closed")
    make_key = (sys.executable, "-m", "tonewise", "key", "contract", "--keys", "keys.toml")
    made = subprocess.run(
        make_key, env=bare_environment(locked), cwd=locked, capture_output=True, text=True, check=True
    )
    with (
        serving(folder, "emotion", "base") as open_one,
        serving(locked, "emotion", "--keys", "keys.toml") as closed_one,
    ):
        yield Servers(open_one, closed_one, made.stdout.strip())


@pytest.fixture(scope="session")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    cache = tmp_path_factory.mktemp("cache")
    with in_process("emotion", cache) as emotion, in_process("base", cache) as base:
        scores, first = (_ordered(answer.scores) for answer in emotion.classify([TEXT, TEXTS[0]]))
        (logits,) = emotion.logits([TEXT])["emotion"]
        uncalibrated = _ordered(dict(zip(emotion.heads["emotion"].labels, softmax(logits), strict=True)))
        one, *others = base.embed([TEXT, *TEXTS])
    vectors, similarity = [row.tolist() for row in others], [float(one @ row) for row in others]
    return Answers(scores, uncalibrated, first, one.tolist(), vectors, similarity)


def _ordered(scores: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(scores.items(), key=lambda item: -item[1])


@pytest.fixture(scope="session")
def run(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`run(command, program, cwd=…, offline=…)`: what a client's program prints."""
    home = tmp_path_factory.mktemp("home")
    task = {"open": servers.open, "closed": servers.closed, "key": servers.key}
    told = json.dumps({**task, "text": TEXT, "texts": TEXTS, "long": LONG})

    def go(command: Sequence[str], program: str, cwd: Path = home, *, offline: bool = False) -> Any:
        hub = {"HF_HUB_OFFLINE": "1"} if offline else {}
        done = subprocess.run(
            [*command, str(PROGRAMS / program), told],
            env=bare_environment(home, DO_NOT_TRACK="1", NO_COLOR="1", **hub),
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=MOST_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return go
