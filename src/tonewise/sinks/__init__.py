"""Stage 6 · Predictions → JSONL, CSV, Parquet or a table, whole or called partial."""

import sys
from pathlib import Path
from typing import IO

from tonewise.config import OutputFormat, SinkConfig
from tonewise.errors import OutputError
from tonewise.head import HeadShape
from tonewise.sinks.base import Sink
from tonewise.sinks.errors_file import ErrorsFile
from tonewise.sinks.lines import CHUNK_BYTES, LineSink, csv_encoder, jsonl_encoder
from tonewise.sinks.parquet import ParquetSink
from tonewise.sinks.partial import Device, Direct, PartialFile, Target, open_target
from tonewise.sinks.record import (
    AnswerSchema,
    answer_cells,
    answer_columns,
    columns,
    record,
    row,
)
from tonewise.sinks.table import TableSink
from tonewise.sinks.values import plain, to_json

__all__ = [
    "AnswerSchema",
    "ErrorsFile",
    "HeadShape",
    "Sink",
    "answer_cells",
    "answer_columns",
    "columns",
    "open_sink",
    "output_format_of",
    "plain",
    "record",
    "row",
    "to_json",
]

SUFFIXES: dict[str, OutputFormat] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
}


def open_sink(
    path: Path | None,
    config: SinkConfig | None = None,
    *,
    schema: AnswerSchema,
    stdout: IO[bytes] | None = None,
) -> Sink:
    """Open an output: a file (`.gz` too, for JSONL and CSV), or stdout when `path` is None.

    Stdout is a table on a terminal and JSONL elsewhere, unless `output_format` says otherwise. Raises,
    before the first row, OutputError when the output cannot be written, InputError when a column of the
    input has the name of an answer's, MissingExtraError for Parquet without pyarrow.
    """
    config = config or SinkConfig()
    kind = output_format_of(path, config, stdout)
    if kind in ("csv", "parquet"):
        columns(schema, config.scores, config.uncertainty)
    if kind == "parquet":
        return _parquet(path, schema, config)
    if path is None:
        return _on(Direct("stdout", stdout or sys.stdout.buffer), kind, schema, config, stdout=stdout)
    gz = path.name.lower().endswith(".gz")
    if kind == "table" and gz:
        raise OutputError(f"{path}: a table is not packed; leave .gz off")
    return _on(open_target(path), kind, schema, config, gz=gz)


def output_format_of(path: Path | None, config: SinkConfig, stdout: IO[bytes] | None = None) -> OutputFormat:
    """The format asked for, or told by the name. Raises OutputError when neither tells one."""
    if config.output_format:
        return config.output_format
    if path is None:
        return "table" if (stdout or sys.stdout).isatty() else "jsonl"
    kind = SUFFIXES.get(Path(path.name.lower().removesuffix(".gz")).suffix)
    if kind is None:
        known = " ".join(SUFFIXES)
        raise OutputError(f"{path}: its name tells no format ({known}); name one with --output-format")
    return kind


def _parquet(path: Path | None, schema: AnswerSchema, config: SinkConfig) -> Sink:
    if path is None:
        raise OutputError("Parquet is written to a file; name one with --output")
    if path.name.lower().endswith(".gz"):
        raise OutputError(f"{path}: Parquet is packed already; leave .gz off")
    return ParquetSink(path, schema, config)


def _on(
    target: Target,
    kind: OutputFormat,
    schema: AnswerSchema,
    config: SinkConfig,
    *,
    stdout: IO[bytes] | None = None,
    gz: bool = False,
) -> Sink:
    if kind == "table":
        return _table(target, schema, config, stdout)
    # a stream's reader wants each row as it comes, a file is quicker in chunks
    chunk = CHUNK_BYTES if isinstance(target, PartialFile) else 1
    if kind == "csv":
        encode, header = csv_encoder(schema, config)
        return LineSink(target, encode, header, gz=gz, chunk=chunk)
    return LineSink(target, jsonl_encoder(schema, config), gz=gz, chunk=chunk)


def _table(target: Target, schema: AnswerSchema, config: SinkConfig, stdout: IO[bytes] | None) -> Sink:
    if not isinstance(target, Direct) or isinstance(target, Device):
        return TableSink(target, schema, config, width=100)
    terminal = (stdout or sys.stdout).isatty()
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return TableSink(target, schema, config, colour=terminal, encoding="utf-8" if stdout else encoding)
