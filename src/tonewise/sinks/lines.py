"""JSONL and CSV: a row is a line (or, quoted, a few), written in chunks of whole rows."""

import csv
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tonewise.config import SinkConfig
from tonewise.errors import InputError, OutputError
from tonewise.head import Prediction
from tonewise.sinks.base import Sink
from tonewise.sinks.partial import Target
from tonewise.sinks.record import AnswerSchema, columns, record, row
from tonewise.sinks.values import cell, to_json
from tonewise.source import Example

CHUNK_BYTES = 1 << 18
AS_IT_IS = (str, int)  # what csv.writer writes as `cell` would

Encode = Callable[[Example, Prediction], bytes]


class LineSink(Sink):
    """Collects rows to chunks; of a .gz each chunk is a gzip member, so that a stop leaves whole ones."""

    def __init__(
        self,
        target: Target,
        encode: Encode,
        header: bytes = b"",
        *,
        gz: bool = False,
        chunk: int = CHUNK_BYTES,
    ) -> None:
        self._target = target
        self._encode = encode
        self._gz = gz
        self._chunk = chunk
        self._pending = [header] if header else []
        self._size = len(header)
        self._rows_pending = 0
        self._rows_out = 0

    @property
    def partial_path(self) -> Path | None:
        """The unfinished file, while there is one."""
        return self._target.partial_path

    def write(self, example: Example, prediction: Prediction) -> None:
        """Add one row. Raises OutputError, and BrokenPipeError when the reader of stdout has left."""
        try:
            line = self._encode(example, prediction)
        except UnicodeEncodeError:
            raise InputError(f"{example.where}: half a surrogate pair cannot be written as UTF-8") from None
        self._pending.append(line)
        self._size += len(line)
        self._rows_pending += 1
        self.rows_written += 1
        if self._size >= self._chunk:
            self._flush()

    def close(self) -> None:
        """Write the rest and make the output whole. Raises OutputError."""
        self._flush()
        self._target.finish()

    def stop(self) -> None:
        """Leave the rows so far in the unfinished file."""
        try:
            if self._rows_pending:
                self._flush()
        except (OutputError, BrokenPipeError):
            pass
        finally:
            self.rows_written = self._rows_out
            self._target.abandon()

    def _flush(self) -> None:
        data, rows = b"".join(self._pending), self._rows_pending
        # emptied first, so that a stop in between writes no row twice
        self._pending, self._rows_pending, self._size = [], 0, 0
        self._target.write(gzip.compress(data, 6, mtime=0) if self._gz else data)
        self._rows_out += rows


def jsonl_encoder(schema: AnswerSchema, config: SinkConfig) -> Encode:
    """A record a line."""
    model, top_k, uncertainty = schema.model, config.top_k, config.uncertainty
    return lambda example, prediction: (
        f"{to_json(record(example, prediction, model, top_k, uncertainty))}\n".encode()
    )


def csv_encoder(schema: AnswerSchema, config: SinkConfig) -> tuple[Encode, bytes]:
    """A flat row a line, by RFC 4180 with \\n line ends; and the header. Raises InputError for a clash."""
    line = _CsvLine()

    def encode(example: Example, prediction: Prediction) -> bytes:
        cells = row(example, prediction, schema, config.scores, config.top_k, config.uncertainty)
        return line.of([value if type(value) in AS_IT_IS else cell(value) for value in cells])

    return encode, line.of(list(columns(schema, config.scores, config.uncertainty)))


class _CsvLine:
    """csv.writer, one line at a time."""

    def __init__(self) -> None:
        # with \r\n as its line end the writer quotes both characters; older Pythons leave a lone \r bare
        self._writer = csv.writer(self, lineterminator="\r\n")
        self._line = ""

    def write(self, line: str) -> None:
        """Take the line that csv.writer made."""
        self._line = line

    def of(self, cells: list[Any]) -> bytes:
        """The cells as one line."""
        self._writer.writerow(cells)
        return f"{self._line[:-2]}\n".encode()
