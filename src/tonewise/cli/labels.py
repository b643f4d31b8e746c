"""Labelled files as a command names them: its options as `Labels`, its file read whole."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tonewise.config import Config
from tonewise.source.labelled import Labelled, Labels, read_labelled


def labels_of(options: dict[str, Any]) -> Labels:
    """What the label options of a command say; they are taken out, so that what is left are settings.

    Raises ConfigError where they contradict each other.
    """
    return Labels(
        options.pop("label_column", None),
        _names(options.pop("label_columns", None)),
        options.pop("label_separator", None),
        _names(options.pop("labels", None)),
        options.pop("multi_label", None),
    )


def read_files(files: Sequence[str | Path], config: Config, labels: Labels) -> Labelled:
    """The files as one set; rows that were skipped are told on stderr. Raises as `read_labelled` does."""
    found = read_labelled(files, config.source, labels, on_error=config.run.on_error)
    if found.skipped:
        first = found.skipped[0]
        print(f"tonewise: rows skipped: {len(found.skipped):,}; the first: {first}", file=sys.stderr)
    return found


def _names(joined: str | None) -> tuple[str, ...] | None:
    """Names joined by commas."""
    if joined is None:
        return None
    return tuple(name.strip() for name in joined.split(",") if name.strip())
