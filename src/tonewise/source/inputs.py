"""Which files are meant: globs expanded, formats told from names, nothing opened yet."""

import errno
import glob
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tonewise.config import InputFormat, SourceConfig
from tonewise.errors import ConfigError, InputError

SUFFIXES: dict[str, InputFormat] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".txt": "lines",
}


@dataclass(frozen=True, slots=True)
class Input:
    """One file or stream to read.

    path  None for stdin
    size  in bytes; None for stdin and pipes, which are read once
    """

    name: str
    path: Path | None
    format: InputFormat
    gz: bool = False
    size: int | None = None


def format_of(name: str | Path) -> InputFormat | None:
    """The format that a file's name tells (`reviews.csv.gz` → csv), or None."""
    return SUFFIXES.get(Path(str(name).lower().removesuffix(".gz")).suffix)


def find_inputs(inputs: Sequence[str | Path], config: SourceConfig) -> list[Input]:
    """Expand globs and look at every file, before any is read.

    Raises InputError for a missing file, a folder, an empty file, a glob that matches nothing or a name
    that tells no format; ConfigError for a setting that no input can follow.
    """
    found: list[Input] = []
    for given in map(str, inputs):
        found += [_stdin(config)] if given == "-" else [_file(name, config) for name in _expand(given)]
    if not found:
        raise InputError("no input; name a file, or - for stdin")
    if sum(one.path is None for one in found) > 1:
        raise InputError("stdin (-) is named twice; it can be read once")
    if config.delimiter is not None and all(one.format != "csv" for one in found):
        raise ConfigError(f"delimiter is for CSV; {found[0].name} is read as {found[0].format}")
    return found


def _expand(given: str) -> list[str]:
    if not glob.has_magic(given) or os.path.lexists(given):
        return [given]
    names = sorted(name for name in glob.glob(given, recursive=True) if not os.path.isdir(name))
    if not names:
        raise InputError(f"{given}: no file matches")
    return names


def _stdin(config: SourceConfig) -> Input:
    if config.input_format == "parquet":
        raise InputError("stdin: Parquet is read from its end, so it needs a file; save it first")
    return Input("stdin", None, config.input_format or "lines")


def _file(name: str, config: SourceConfig) -> Input:
    try:
        status = os.stat(name)
    except OSError as error:
        raise InputError(f"{name}: {why_unreadable(error)}") from None
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{name} is a folder; name the files in it, e.g. '{name.rstrip('/')}/*.csv'")
    kind = config.input_format or format_of(name)
    if kind is None:
        known = " ".join(SUFFIXES)
        raise InputError(f"{name}: its name tells no format ({known}); name one with --input-format")
    regular = stat.S_ISREG(status.st_mode)
    if regular and status.st_size == 0:
        raise InputError(f"{name}: the file is empty")
    gz = name.lower().endswith(".gz")
    if kind == "parquet" and (gz or not regular):
        raise InputError(f"{name}: Parquet is read from its end; unpack it into a file first")
    return Input(name, Path(name), kind, gz, status.st_size if regular else None)


def why_unreadable(error: OSError) -> str:
    """An OSError in a few words, without its path and number."""
    if error.errno == errno.ENOENT:
        return "no such file"
    return (error.strerror or str(error)).lower()
