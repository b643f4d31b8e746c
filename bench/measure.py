"""What every measurement shares: commands timed from outside, the real texts, results on disk."""

import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tonewise

RESULTS = Path(__file__).with_name("results")
TONEWISE = (sys.executable, "-m", "tonewise")


@dataclass(frozen=True)
class Run:
    """One finished command: wall seconds, and the most memory it held in MB."""

    seconds: float
    peak_mb: float


def data() -> Path:
    """The folder of the real sets. Exits when TONEWISE_DATA does not name it."""
    folder = os.environ.get("TONEWISE_DATA")
    if not folder:
        sys.exit("set TONEWISE_DATA to the folder of the real sets")
    return Path(folder)


def run(command: Sequence[str], **variables: str) -> Run:
    """Run a command to its end and measure it. Exits when it fails."""
    started = time.perf_counter()
    process = subprocess.Popen(command, env=os.environ | variables, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)}: exit status {process.returncode}")
    return Run(time.perf_counter() - started, usage.ru_maxrss / 1024)


def median_seconds(command: Sequence[str], times: int) -> float:
    """The median of several runs, after one that is not counted."""
    run(command)
    return statistics.median(run(command).seconds for _ in range(times))


def texts_of(path: Path) -> list[str]:
    """The `text` column of an unquoted TSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return [row["text"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]


def timed(action: Callable[[], object]) -> float:
    """Seconds that an action takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def write(name: str, figures: dict[str, Any]) -> None:
    """Keep and print the figures of one measurement, with what they were taken on."""
    RESULTS.mkdir(exist_ok=True)
    facts = {
        "date": datetime.now(UTC).date().isoformat(),
        "tonewise": tonewise.__version__,
        "python": platform.python_version(),
        "processors": len(os.sched_getaffinity(0)),
        "figures": figures,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(facts, indent=2) + "\n")
    print(f"{name}: {json.dumps(figures, indent=2)}", flush=True)
