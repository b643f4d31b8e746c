"""Every measurement, one after the other; results go to bench/results."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import large, memory, padding, quality, startup, throughput

MEASUREMENTS = {
    "quality": quality,
    "padding": padding,
    "startup": startup,
    "throughput": throughput,
    "memory": memory,
    "large": large,
}


def main() -> None:
    wanted = sys.argv[1:] or list(MEASUREMENTS)
    for name in wanted:
        MEASUREMENTS[name].main()


if __name__ == "__main__":
    main()
