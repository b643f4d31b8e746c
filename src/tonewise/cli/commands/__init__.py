"""The commands and their options; each opens its room only when it runs."""

from tonewise.cli.commands import (
    audit,
    calibrate,
    classify,
    compare,
    engines,
    evaluate,
    mapping,
    models,
    reproduce,
    serve,
    train,
)
from tonewise.cli.commands.group import tonewise

__all__ = [
    "audit",
    "calibrate",
    "classify",
    "compare",
    "engines",
    "evaluate",
    "mapping",
    "models",
    "reproduce",
    "serve",
    "tonewise",
    "train",
]
