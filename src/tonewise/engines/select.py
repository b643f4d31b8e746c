"""What `auto` picks: the engine, the precision and the threads."""

import os
from typing import Literal

from tonewise.errors import ConfigError
from tonewise.store import Bundle

ENGINES = ("onnxruntime", "reference", "stub")


def choose_engine(wanted: str) -> str:
    """The name of an engine that exists. Raises ConfigError for another."""
    if wanted == "auto":
        return "onnxruntime"
    if wanted not in ENGINES:
        raise ConfigError(f"no engine '{wanted}'; there are: auto, {', '.join(ENGINES)}")
    return wanted


def choose_precision(wanted: Literal["auto", "int8", "fp32"], bundle: Bundle) -> Literal["int8", "fp32"]:
    """int8 on its own only where the bundle brings the activation ranges that were checked for it."""
    if wanted == "auto":
        return "int8" if bundle.manifest.activation_ranges else "fp32"
    return wanted


def choose_threads(wanted: int | None) -> int:
    """The threads asked for, else the processors that this process may use."""
    if wanted:
        return wanted
    affinity = getattr(os, "sched_getaffinity", None)  # Linux has it
    return len(affinity(0)) if affinity else os.cpu_count() or 1
