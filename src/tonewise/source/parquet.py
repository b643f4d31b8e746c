"""Parquet through pyarrow, a batch of rows at a time."""

from collections.abc import Iterator
from typing import Any

from tonewise.errors import InputError, MissingExtraError, RowError
from tonewise.source.inputs import Input, why_unreadable
from tonewise.source.stream import BLOCK_BYTES, Meter
from tonewise.source.table import Row, Table, check_columns

BATCH_ROWS = 1024


def open_parquet(source: Input) -> Table:
    """The rows of a Parquet file. Raises InputError when it is not one, MissingExtraError without pyarrow."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("pyarrow", "parquet") from None
    try:
        # not pre_buffer: it would hold a whole row group
        file = pyarrow.parquet.ParquetFile(source.name, buffer_size=BLOCK_BYTES, pre_buffer=False)
    except (OSError, pyarrow.ArrowException) as error:
        # pyarrow tells some damage as an OSError, which then has no number
        if isinstance(error, OSError) and error.errno is not None:
            raise InputError(f"{source.name}: {why_unreadable(error)}") from None
        raise _corrupt(source, error) from None
    columns = tuple(file.schema_arrow.names)
    check_columns(source.name, columns)
    carrier = ParquetCarrier(source, file)
    return Table(source.name, "row", columns, _rows(source, file, carrier), carrier)


class ParquetCarrier:
    """A Parquet file's progress: its bytes are read out of order, so rows stand for them."""

    def __init__(self, source: Input, file: Any) -> None:
        self._source = source
        self._file = file
        self._rows: int = max(1, file.metadata.num_rows)
        self.rows_read = 0

    @property
    def bytes_read(self) -> int:
        """The share of the rows that were read, in bytes of the file."""
        return (self._source.size or 0) * self.rows_read // self._rows

    def sha256(self) -> str:
        """Hex sha256 of the file, which is read once more. Raises InputError when it cannot be."""
        with open(self._source.name, "rb", buffering=0) as file:
            meter = Meter(self._source.name, file)
            block = bytearray(BLOCK_BYTES)
            while meter.readinto(block):
                pass
        return meter.sha256()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _rows(source: Input, file: Any, carrier: ParquetCarrier) -> Iterator[tuple[int, Row | str] | RowError]:
    import pyarrow

    number = 0
    batches = file.iter_batches(batch_size=BATCH_ROWS)
    while True:
        try:
            batch = next(batches, None)
            rows = [] if batch is None else arrow_rows(batch)
        except (pyarrow.ArrowException, OSError) as error:
            raise _corrupt(source, error) from None
        if batch is None:
            return
        for row in rows:
            number += 1
            yield number, row
        carrier.rows_read = number


def arrow_rows(batch: Any) -> list[Row]:
    """A record batch as dicts; times finer than microseconds, which Python has none for, as ISO text."""
    names = batch.schema.names
    columns = [_without_nanoseconds(column).to_pylist() for column in batch.columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _without_nanoseconds(column: Any) -> Any:
    import pyarrow

    if not pyarrow.types.is_timestamp(column.type) or column.type.unit != "ns":
        return column
    try:
        return column.cast(pyarrow.timestamp("us", column.type.tz))
    except pyarrow.ArrowInvalid:
        return column.cast(pyarrow.string())


def _corrupt(source: Input, error: Exception) -> InputError:
    words = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InputError(f"{source.name}: corrupt Parquet ({words})")
