"""Plain text: each line is a text, and a blank line is an empty text, so that answers stay in step."""

from collections.abc import Iterator

from tonewise.errors import RowError
from tonewise.source.stream import Stream
from tonewise.source.table import Row, Table


def open_lines(stream: Stream) -> Table:
    """One text a line, without its line end."""
    return Table(stream.name, "line", (), _rows(stream), stream)


def _rows(stream: Stream) -> Iterator[tuple[int, Row | str] | RowError]:
    for number, line in enumerate(stream.lines(), 1):
        if stream.undecodable:
            yield RowError(f"{stream.name} line {number}", stream.undecodable.pop()[1])
        else:
            yield number, line.removesuffix("\n").removesuffix("\r")
