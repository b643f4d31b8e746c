"""`tonewise serve` beside other servers, the same weights in one run: requests of one text and of 32."""

import argparse
import os
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.http_parts import CONNECTIONS, free_port
from bench.measure import data, texts_of, write
from bench.peer import write_float_folder
from bench.rivals.process import RivalError
from bench.rivals.servers import SERVERS, facts, labels, serving_rival
from bench.serve import BODIES, LARGE, ROUNDS, SECONDS, Load, asked, latency, serving
from tonewise import Classifier
from tonewise.store import resolve

OURS = "tonewise"
WORK = Path(tempfile.gettempdir()) / "tonewise-peers"
SIZES = {"one": 1, "32": LARGE}
PATIENCE_SECONDS = 120
SECONDS_OF_32 = 60
"""A slow server has 2,048 texts before it then: in 10 s it would answer each caller once, or none."""
CHECKED = 100
LEAST_ALIKE = 97
Figures = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where a server is asked: its address, the path, and the field of a request that holds the texts."""

    url: str
    path: str
    field: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=WORK, help="environments, weights and logs, kept")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="of requests of one text")
    parser.add_argument("--seconds-of-32", type=int, default=SECONDS_OF_32, help="of requests of 32 texts")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    try:
        figures = measured(options)
    except RivalError as error:
        sys.exit(str(error))
    write("serve_peers", figures)


def measured(options: argparse.Namespace) -> Figures:
    """All servers in turns: what each is, its medians over the rounds, and ours beside the better."""
    work = options.work.resolve()
    texts = texts_of(data() / "emotion" / "validation.tsv")[:BODIES]
    folder, (right, ours) = float_folder(work), library(texts[:CHECKED])
    servers: dict[str, Figures] = {OURS: ours, **{name: facts(name, work) for name in SERVERS}}
    loads: dict[str, dict[str, list[Load]]] = {name: {size: [] for size in SIZES} for name in servers}
    alike: dict[str, list[int]] = {name: [] for name in servers}
    for _ in range(options.rounds):
        for name, by_size in loads.items():
            with opened(name, folder, work) as place:
                for size, many in SIZES.items():
                    alike[name].append(checked(name, place, many, texts[:CHECKED], right))
                    seconds = options.seconds if many == 1 else options.seconds_of_32
                    by_size[size].append(load(name, place, texts, many, seconds))
                    print(f"{name}, {size}: {by_size[size][-1].rate * many:.0f} texts a second", flush=True)
    for name, by_size in loads.items():
        servers[name][f"labels_alike_of_{CHECKED}"] = min(alike[name])
        for size, found in by_size.items():
            servers[name][f"requests_of_{size}"] = summary(found, SIZES[size])
    return {
        "connections": CONNECTIONS,
        "rounds": options.rounds,
        "seconds_of_one": options.seconds,
        "seconds_of_32": options.seconds_of_32,
        "servers": servers,
        **{f"times_the_better_of_{size}": of_the_better(servers, size) for size in SIZES},
        **{
            f"times_the_better_of_{size}_at_least": of_the_better(servers, size, "texts_a_second_at_most")
            for size in SIZES
        },
    }


def float_folder(work: Path) -> Path:
    """The weights that the others open: the packaged model's, as float32."""
    folder = work / "models" / f"emotion-{resolve('emotion').digest[:12]}"
    return folder if folder.is_dir() else write_float_folder(folder)


def library(texts: Sequence[str]) -> tuple[list[str], Figures]:
    """What the library says, to which every server is held; and ours, as the others are told."""
    with Classifier.load("emotion") as classifier:
        engine = classifier.engine
        told = {
            "versions": {name: version(name) for name in ("tonewise", engine.name, "uvicorn")},
            "threads": len(os.sched_getaffinity(0)),
            "engine": engine.name,
            "precision": engine.precision,
        }
        return [str(one.label) for one in classifier.classify(texts)], told


@contextmanager
def opened(name: str, folder: Path, work: Path) -> Iterator[Place]:
    """A server that is ready, ended afterwards."""
    if name == OURS:
        with serving() as (_, url):
            yield Place(url, "/", "inputs")
        return
    with serving_rival(name, folder, free_port(), work) as url:
        yield Place(url, SERVERS[name].path, SERVERS[name].field)


def checked(name: str, place: Place, many: int, texts: Sequence[str], right: Sequence[str]) -> int:
    """How many labels are the library's. A server that is wrong is not timed."""
    found = [label for some in cut(texts, many) for label in labels(place.url, place.path, place.field, some)]
    if len(found) != len(right):
        sys.exit(f"{name}: {len(found)} answers to {len(right)} texts")
    alike = sum(one == other for one, other in zip(found, right, strict=True))
    if alike < LEAST_ALIKE:
        sys.exit(f"{name}, requests of {many}: {alike} labels of {len(right)} are the library's")
    return alike


def load(name: str, place: Place, texts: Sequence[str], many: int, seconds: int) -> Load:
    """One turn of a server under load. An answer that is an error ends the run."""
    bodies = [{place.field: some} for some in cut(texts, many) if len(some) == many]
    found = asked(place.url, bodies, seconds, place.path, PATIENCE_SECONDS)
    if found.refused or not found.count:
        sys.exit(f"{name}, requests of {many}: not answered\n{found.told}")
    return found


def cut(texts: Sequence[str], many: int) -> list[list[str]]:
    """In requests, in the order in which they came; the last may be shorter."""
    return [list(texts[start : start + many]) for start in range(0, len(texts), many)]


def summary(loads: Sequence[Load], many: int) -> Figures:
    """The median of each figure over the rounds; of what got no answer, all.

    What is in hand when the time is over counts for nothing. `at_most` is the rate if all of it had been as
    good as answered: the truth is between the two, and they are far apart where a server is slow.
    """
    failed: Counter[str] = Counter()
    for one in loads:
        failed.update(one.failed)
    return {
        "texts_a_second": round(statistics.median(one.rate for one in loads) * many),
        "texts_a_second_at_most": round(statistics.median(at_most(one) for one in loads) * many),
        "spread": [round(limit(one.rate for one in loads) * many) for limit in (min, max)],
        "p50_milliseconds": statistics.median(latency(one.told, "50%") for one in loads),
        "p99_milliseconds": statistics.median(latency(one.told, "99%") for one in loads),
        "requests_answered": round(statistics.median(one.count for one in loads)),
        "socket_errors": dict(failed),
    }


def at_most(load: Load) -> float:
    """Requests a second, those that were in hand at the end included."""
    return load.rate * (load.count + CONNECTIONS) / load.count


def of_the_better(servers: Mapping[str, Figures], size: str, theirs: str = "texts_a_second") -> float:
    """Our texts a second beside those of the best of the others."""
    rates: dict[str, Figures] = {name: told[f"requests_of_{size}"] for name, told in servers.items()}
    best: float = max(told[theirs] for name, told in rates.items() if name != OURS)
    ours: float = rates[OURS]["texts_a_second"]
    return round(ours / best, 2)


if __name__ == "__main__":
    main()
