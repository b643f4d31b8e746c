"""Parquet through pyarrow: bounded row groups, and types that widen when later rows need it."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tonewise.config import SinkConfig
from tonewise.errors import MissingExtraError, OutputError
from tonewise.head import Prediction
from tonewise.sinks.base import Sink
from tonewise.sinks.partial import PartialFile, open_target
from tonewise.sinks.record import AnswerSchema, answer_columns, columns, row
from tonewise.sinks.values import cell
from tonewise.source import Example
from tonewise.store.files import reason

GROUP_ROWS = 16_384
GROUP_CHARACTERS = 1 << 25


class ParquetSink(Sink):
    """Types come from the first row group. A later value that does not fit widens its column.

    int becomes float where that loses nothing, structs gain fields; whatever cannot be joined becomes text.
    What is written already is then rewritten, group by group.
    """

    def __init__(self, path: Path, schema: AnswerSchema, config: SinkConfig) -> None:
        """Create the unfinished file. Raises InputError for a clash, OutputError, MissingExtraError."""
        try:
            import pyarrow.parquet
        except ImportError:
            raise MissingExtraError("pyarrow", "parquet") from None
        self._arrow = pyarrow
        self._schema = schema
        self._config = config
        self._names = columns(schema, config.scores, config.uncertainty)
        self._types = _fixed_types(schema, config)
        target = open_target(path)
        if not isinstance(target, PartialFile):
            target.abandon()
            raise OutputError(f"cannot write {path}: Parquet is written to a plain file")
        self._file = target
        self._writer: Any = None
        self._pending: list[list[Any]] = []
        self._characters = 0
        self._rows_out = 0
        self._ended = False

    @property
    def partial_path(self) -> Path | None:
        """The unfinished file, while there is one."""
        return self._file.partial_path

    def write(self, example: Example, prediction: Prediction) -> None:
        """Add one row. Raises OutputError."""
        how = self._config
        self._pending.append(row(example, prediction, self._schema, how.scores, how.top_k, how.uncertainty))
        self._characters += len(example.text)
        self.rows_written += 1
        if len(self._pending) >= GROUP_ROWS or self._characters >= GROUP_CHARACTERS:
            self._flush()

    def close(self) -> None:
        """Write the rest and the footer, and make the output whole. Raises OutputError."""
        self._flush()
        self._end()
        self._file.finish()

    def stop(self) -> None:
        """Leave the rows so far in the unfinished file, with a footer, so that it can be read."""
        try:
            with suppress(OutputError):
                self._flush()
            self._end()
        except OutputError:  # without its footer nothing of the file can be read
            self._rows_out = 0
        self.rows_written = self._rows_out
        if self.rows_written:
            self._file.abandon()
        else:
            self._file.discard()

    def _flush(self) -> None:
        """Write the pending rows as a row group; widen first what does not hold them."""
        rows, self._pending, self._characters = self._pending, [], 0
        if not rows:
            return
        cells = dict(zip(self._names, zip(*rows, strict=True), strict=True))
        types = {name: self._joined(name, values) for name, values in cells.items()}
        if self._writer is not None and types != self._types:
            types = self._rewritten(types)
        self._types = types
        self._writer = self._writer or self._open(self._file, types)
        self._add(self._writer, cells, types)
        self._rows_out += len(rows)

    def _joined(self, name: str, values: Sequence[Any]) -> Any:
        """The narrowest type that holds these values and those already written; null while there are none."""
        known = self._types[name]
        if known == self._arrow.string():
            return known
        try:
            found = self._arrow.array(values).type
            schemas = [self._arrow.schema([(name, kind)]) for kind in (known, found)]
            joined = self._arrow.unify_schemas(schemas, promote_options="permissive").field(0).type
            self._arrow.array(values, joined)
        except (self._arrow.ArrowException, OverflowError, UnicodeEncodeError):
            return self._arrow.string()
        return joined

    def _add(self, writer: Any, cells: Mapping[str, Sequence[Any]], types: Mapping[str, Any]) -> None:
        arrays = [self._array(values, types[name]) for name, values in cells.items()]
        try:
            writer.write_table(self._arrow.table(arrays, schema=writer.schema))
        except (OSError, self._arrow.ArrowException) as error:
            writer.is_open = False  # half a row group is in the file: no footer can mend it
            raise self._failure(error) from None

    def _failure(self, error: Exception) -> OutputError:
        words = reason(error) if isinstance(error, OSError) else str(error)
        return OutputError(f"cannot write {self._file.path}: {words}")

    def _array(self, values: Sequence[Any], kind: Any) -> Any:
        if kind != self._arrow.string() and kind != self._arrow.null():
            return self._arrow.array(values, kind)
        try:
            return self._arrow.array([cell(value) for value in values], self._arrow.string())
        except UnicodeEncodeError:
            message = "half a surrogate pair cannot be written as UTF-8"
            raise OutputError(f"cannot write {self._file.path}: {message}") from None

    def _open(self, file: PartialFile, types: Mapping[str, Any]) -> Any:
        text = self._arrow.string()  # a column without a value has no type of its own
        fields = [(name, text if kind == self._arrow.null() else kind) for name, kind in types.items()]
        # by its path: Arrow then writes without Python, so that no Ctrl-C can fall into a row group
        path, schema = str(file.partial_path), self._arrow.schema(fields)
        return self._arrow.parquet.ParquetWriter(path, schema, compression="zstd")

    def _end(self) -> None:
        """Write the footer, once. A file without rows gets one too, with its columns."""
        if self._ended:
            return
        writer = self._writer or self._open(self._file, self._types)
        self._writer, self._ended = None, True
        if not writer.is_open:
            raise OutputError(f"cannot write {self._file.path}: a row group is broken")
        try:
            writer.close()
        except (OSError, self._arrow.ArrowException) as error:
            raise self._failure(error) from None
        finally:
            writer.is_open = False  # or its destructor would try again
        self._file.keep()

    def _rewritten(self, types: dict[str, Any]) -> dict[str, Any]:
        """Copy what is written into these types; a column that they would change becomes text."""
        self._end()
        while lossy := self._copy(types):
            types = {**types, lossy: self._arrow.string()}
        self._ended = False
        return types

    def _copy(self, types: Mapping[str, Any]) -> str | None:
        """Swap the unfinished file for a copy in `types`, or name the column that these would change."""
        path = self._file.partial_path
        fresh = PartialFile(Path(str(path)))
        writer = self._open(fresh, types)
        try:
            with self._arrow.parquet.ParquetFile(path) as old:
                for batch in old.iter_batches(GROUP_ROWS):
                    cells = {name: batch.column(name).to_pylist() for name in self._names}
                    for name, values in cells.items():
                        if not self._holds(values, types[name]):
                            writer.is_open = False
                            fresh.discard()
                            return name
                    self._add(writer, cells, types)
            self._file.become(fresh)
            self._writer = writer
        except BaseException:
            writer.is_open = False
            fresh.discard()
            raise
        return None

    def _holds(self, values: Sequence[Any], kind: Any) -> bool:
        if kind in (self._arrow.string(), self._arrow.null()):
            return True
        try:
            self._arrow.array(values, kind)
        except (self._arrow.ArrowException, OverflowError):
            return False
        return True


def _fixed_types(schema: AnswerSchema, config: SinkConfig) -> dict[str, Any]:
    """Texts and labels are strings and scores are floats, whatever the first rows hold; the rest is open."""
    import pyarrow

    types = dict.fromkeys(columns(schema, config.scores, config.uncertainty), pyarrow.null())
    for name in answer_columns(schema, config.scores, config.uncertainty):
        types[name] = pyarrow.float64()
    texts = (schema.text_column or "text", schema.text_pair_column)
    for name in (*schema.heads, *filter(None, texts)):
        types[name] = pyarrow.string()
    return types
