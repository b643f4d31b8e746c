"""Many inputs read as one: the same columns, rows numbered through, one hash each."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tonewise.config import SourceConfig
from tonewise.errors import InputError, RowError
from tonewise.source.delimited import open_csv, open_tsv
from tonewise.source.example import Example
from tonewise.source.inputs import Input, find_inputs
from tonewise.source.jsontext import open_json, open_jsonl
from tonewise.source.lines import open_lines
from tonewise.source.parquet import open_parquet
from tonewise.source.stream import Stream, checked_encoding, open_stream
from tonewise.source.table import Carrier, Table, choose_columns, example_of, listed


class Source:
    """The rows of all inputs, once; a row that cannot be used comes as a RowError in its place.

    columns           the input's columns in order; () for plain lines and bare strings
    text_column       where the text is; None where rows are bare texts
    text_pair_column  where the second text of a pair is, if anywhere
    paths             the files in reading order; `-` for stdin
    bytes_total       of all files, for a progress bar; None when an input is a pipe
    """

    def __init__(self, inputs: Sequence[Input], config: SourceConfig, stdin: IO[bytes] | None) -> None:
        """Open every input far enough to know its columns. Raises InputError when one cannot be used."""
        self._inputs = tuple(inputs)
        self._config = config
        self._stdin = stdin
        self._opened: dict[int, Table] = {}
        self._carrier: Carrier | None = None
        self._bytes_done = 0
        self._sha256: dict[str, str] = {}
        try:
            self.columns = self._agreed_columns()
            where = self._inputs[0].name
            self._chosen = choose_columns(where, self.columns, config.text_column, config.text_pair_column)
        except BaseException:
            self.close()
            raise
        self.text_column = self._chosen.text
        self.text_pair_column = self._chosen.text_pair
        self.paths = tuple(one.path or Path("-") for one in self._inputs)
        sizes = [one.size for one in self._inputs if one.size is not None]
        self.bytes_total = sum(sizes) if len(sizes) == len(self._inputs) else None
        self._examples = self._read()

    def __iter__(self) -> Iterator[Example | RowError]:
        """Go on reading. Raises InputError where an input breaks off so that nothing after it can be read."""
        return self._examples

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()

    @property
    def bytes_read(self) -> int:
        """Bytes that have passed so far, of packed files the packed ones."""
        return self._bytes_done + (self._carrier.bytes_read if self._carrier else 0)

    def sha256(self) -> dict[str, str]:
        """Hex sha256 of each input that was read to its end, by its name."""
        return dict(self._sha256)

    def close(self) -> None:
        """Close what is open; stdin is left to its owner. Safe to call twice."""
        for table in self._opened.values():
            table.carrier.close()
        self._opened.clear()

    def _agreed_columns(self) -> tuple[str, ...]:
        first: Table | None = None
        for position, one in enumerate(self._inputs):
            table = self._opened[position] = self._open(one)
            first = first or table
            _check_same(first, table)
            if position > 0 and one.size is not None:  # pipes are read once, so they stay open
                self._opened.pop(position).carrier.close()
        return first.columns if first else ()

    def _open(self, one: Input) -> Table:
        if one.format == "parquet":
            return open_parquet(one)
        stream = open_stream(one, self._config, self._stdin or sys.stdin.buffer)
        try:
            return _table(one, stream, self._config)
        except BaseException:
            stream.close()
            raise

    def _read(self) -> Iterator[Example | RowError]:
        row_number, chosen = 0, self._chosen
        for position, one in enumerate(self._inputs):
            table = self._opened.get(position) or self._open(one)
            self._opened[position], self._carrier = table, table.carrier
            prefix = f"{table.name} {table.unit}"
            for item in table.rows:
                row_number += 1
                if isinstance(item, RowError):
                    yield item
                else:
                    yield example_of(item[1], row_number, f"{prefix} {item[0]}", chosen)
            self._sha256[one.name] = table.carrier.sha256()
            self._bytes_done += table.carrier.bytes_read
            self._carrier = None
            table.carrier.close()
            del self._opened[position]


def open_source(
    inputs: Sequence[str | Path], config: SourceConfig | None = None, stdin: IO[bytes] | None = None
) -> Source:
    """Find and open inputs: files, globs, `-` for stdin.

    Raises InputError, before any row is read, for a file that is missing, empty, a folder or of no known
    format, for columns that differ between files and for a text column that is not plain; ConfigError for
    a setting that no input can follow; MissingExtraError for Parquet without pyarrow.
    """
    config = config or SourceConfig()
    checked_encoding(config.encoding)
    return Source(find_inputs(inputs, config), config, stdin)


def _table(one: Input, stream: Stream, config: SourceConfig) -> Table:
    if one.format == "csv":
        return open_csv(stream, config)
    if one.format == "tsv":
        return open_tsv(stream, config)
    readers = {"json": open_json, "jsonl": open_jsonl, "lines": open_lines}
    return readers[one.format](stream)


def _check_same(first: Table, other: Table) -> None:
    missing = [name for name in first.columns if name not in other.columns]
    extra = [name for name in other.columns if name not in first.columns]
    told = [f"lacks {listed(missing)}"] * bool(missing) + [f"adds {listed(extra)}"] * bool(extra)
    if told:
        raise InputError(f"{other.name}: other columns than {first.name}: {' and '.join(told)}")
