"""CSV by RFC 4180 and TSV, quoted or not: records that may span lines, counted in physical lines."""

import csv
from collections.abc import Iterator
from itertools import chain
from typing import Protocol

from tonewise.config import SourceConfig
from tonewise.errors import ConfigError, InputError, RowError
from tonewise.source.stream import Stream
from tonewise.source.table import Row, Table, check_columns

DELIMITERS = (",", ";", "\t", "|")
FIELD_CHARACTERS = 1 << 26  # csv's own limit is 131,072; beyond this one a quote was left open
PLAINER_WORDS = {
    "field larger": f"a field is longer than {FIELD_CHARACTERS:,} characters; is a quote left open?",
    "unexpected end of data": "a quoted field is never closed",
    "' expected after '": "a closing quote is followed by text; a quote inside a field is written twice",
    "new-line character": "a carriage return stands in an unquoted field",
}

Rows = Iterator[tuple[int, Row | str] | RowError]


def open_csv(stream: Stream, config: SourceConfig) -> Table:
    """CSV; blank lines are skipped. Raises InputError when there is no usable header."""
    lines = stream.lines()
    head = []
    for line in lines:
        head.append(line)
        if line.strip():
            break
    delimiter = sniffed("".join(head)) if config.delimiter is None else checked_delimiter(config.delimiter)
    return _open_quoted(stream, chain(head, lines), delimiter)


def open_tsv(stream: Stream, config: SourceConfig) -> Table:
    """TSV, in which a quote is a plain character unless `quoting`. Raises InputError without a header."""
    lines = stream.lines()
    if config.quoting:
        return _open_quoted(stream, lines, "\t")
    columns = tuple(_without_end(next(lines, "")).split("\t"))
    _check_header(stream, columns)
    return Table(stream.name, "line", columns, _plain_rows(stream, lines, columns), stream)


def sniffed(header: str) -> str:
    """The delimiter that cuts a CSV header into most names; a comma where none does."""

    def names(delimiter: str) -> int:
        return max(map(len, csv.reader(header.splitlines(), delimiter=delimiter)), default=0)

    return max(DELIMITERS, key=names)


def checked_delimiter(given: str) -> str:
    """One character, which may be spelt `\\t` or `tab`. Raises ConfigError for any other."""
    delimiter = {"\\t": "\t", "tab": "\t"}.get(given, given)
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise ConfigError(f"delimiter cannot be {given!r}; wanted: one character, such as ';' or '\\t'")
    return delimiter


def _open_quoted(stream: Stream, lines: Iterator[str], delimiter: str) -> Table:
    csv.field_size_limit(max(csv.field_size_limit(), FIELD_CHARACTERS))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        columns = tuple(next(filter(None, reader), ()))
    except csv.Error as error:
        raise InputError(f"{stream.name} line 1: {_plainer(error)}") from None
    _check_header(stream, columns)
    return Table(stream.name, "line", columns, _quoted_rows(stream, reader, columns), stream)


def _check_header(stream: Stream, columns: tuple[str, ...]) -> None:
    if stream.undecodable:
        number, error = stream.undecodable[0]
        raise InputError(f"{stream.name} line {number}: {error}")
    if not any(columns):
        raise InputError(f"{stream.name}: no header line with the names of the columns")
    if any("\0" in name for name in columns):
        raise InputError(
            f"{stream.name}: NUL bytes in the header; is it UTF-16? say so with --encoding utf-16"
        )
    check_columns(stream.name, columns)


class Records(Protocol):
    """What csv.reader gives; its class has no public name."""

    @property
    def line_num(self) -> int:
        """Lines read so far."""
        ...

    def __iter__(self) -> Iterator[list[str]]: ...


def _quoted_rows(stream: Stream, reader: Records, columns: tuple[str, ...]) -> Rows:
    width, undecodable = len(columns), stream.undecodable
    start = reader.line_num + 1
    while True:
        try:
            for row in reader:
                if undecodable:
                    yield _refused_bytes(stream)
                elif len(row) == width:
                    yield start, dict(zip(columns, row, strict=True))
                elif row:
                    yield _ragged(stream.name, start, len(row), width)
                start = reader.line_num + 1
            return
        except csv.Error as error:
            undecodable.clear()
            spanned = f" (lines {start} to {reader.line_num})" if reader.line_num > start else ""
            yield RowError(f"{stream.name} line {start}", InputError(_plainer(error) + spanned))
            start = reader.line_num + 1


def _plain_rows(stream: Stream, lines: Iterator[str], columns: tuple[str, ...]) -> Rows:
    width, undecodable = len(columns), stream.undecodable
    for number, line in enumerate(lines, 2):
        row = _without_end(line).split("\t")
        if undecodable:
            yield _refused_bytes(stream)
        elif len(row) == width:
            yield number, dict(zip(columns, row, strict=True))
        elif row != [""]:
            yield _ragged(stream.name, number, len(row), width)


def _refused_bytes(stream: Stream) -> RowError:
    number, error = stream.undecodable[0]
    stream.undecodable.clear()
    return RowError(f"{stream.name} line {number}", error)


def _ragged(name: str, number: int, found: int, wanted: int) -> RowError:
    fields = "1 field" if found == 1 else f"{found} fields"
    return RowError(f"{name} line {number}", InputError(f"{fields} where the header names {wanted}"))


def _plainer(error: csv.Error) -> str:
    return next((words for start, words in PLAINER_WORDS.items() if start in str(error)), str(error))


def _without_end(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")
