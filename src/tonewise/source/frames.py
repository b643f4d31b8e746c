"""Frames of pandas, polars, Arrow and datasets, used through their own methods alone."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tonewise.errors import InputError, RowError
from tonewise.source.parquet import arrow_rows
from tonewise.source.table import check_clash, check_columns, choose_columns, text_or_fault

KINDS = {
    ("pandas", "DataFrame"): "pandas",
    ("polars", "DataFrame"): "polars",
    ("polars", "LazyFrame"): "lazy",
    ("pyarrow", "Table"): "pyarrow",
    ("datasets", "Dataset"): "datasets",
    ("datasets", "DatasetDict"): "splits",
}
CHUNK_ROWS = 4096


def kind_of_frame(data: object) -> str | None:
    """`pandas`, `polars`, `pyarrow` or `datasets`; None for what is no frame.

    Raises InputError for a lazy polars frame and for a dataset whose split is not chosen.
    """
    for kind in type(data).__mro__:
        found = KINDS.get((kind.__module__.partition(".")[0], kind.__name__))
        if found == "lazy":
            raise InputError("a LazyFrame has no rows yet; call .collect() on it")
        if found == "splits":
            raise InputError("a DatasetDict holds several splits; choose one, such as data['train']")
        if found:
            return found
    return None


def frame_columns(frame: Any) -> tuple[str, ...]:
    """Names of the columns in order. Raises InputError when two are the same."""
    names = frame.column_names if kind_of_frame(frame) in ("pyarrow", "datasets") else frame.columns
    columns = tuple(map(str, names))
    check_columns("the frame", columns)
    return columns


def frame_texts(
    frame: Any, text_column: str | None = None, text_pair_column: str | None = None
) -> Iterator[str | tuple[str, str] | RowError]:
    """The texts of a frame, or its pairs; a null is a RowError in its row's place.

    Raises InputError at once, before the first text, when the column is absent or not plain.
    """
    chosen = choose_columns("the frame", frame_columns(frame), text_column, text_pair_column)
    texts = _values(frame, str(chosen.text))
    if chosen.text_pair is None:
        return (_checked(number, value, str(chosen.text)) for number, value in enumerate(texts, 1))
    pairs = zip(texts, _values(frame, chosen.text_pair), strict=True)
    names = (str(chosen.text), chosen.text_pair)
    return (_pair(number, values, names) for number, values in enumerate(pairs, 1))


def frame_with(frame: Any, columns: Mapping[str, Sequence[Any]]) -> Any:
    """A frame of the same kind with the answer's columns after its own; the given one is not changed.

    Raises InputError when a name is taken.
    """
    check_clash(frame_columns(frame), list(columns))
    kind = kind_of_frame(frame)
    if kind == "pandas":
        return frame.assign(**{name: list(values) for name, values in columns.items()})
    if kind == "polars":
        return frame.hstack(type(frame)({name: list(values) for name, values in columns.items()}))
    for name, values in columns.items():
        if kind == "pyarrow":
            frame = frame.append_column(name, [list(values)])
        else:
            frame = frame.add_column(name, list(values))
    return frame


def frame_rows(frame: Any) -> Iterator[dict[str, Any]]:
    """Each row by its columns' names, as Python values."""
    columns = frame_columns(frame)
    if kind_of_frame(frame) == "pyarrow":
        for batch in frame.to_batches(max_chunksize=CHUNK_ROWS):
            yield from arrow_rows(batch)
        return
    for row in zip(*(_values(frame, name) for name in columns), strict=True):
        yield dict(zip(columns, row, strict=True))


def _values(frame: Any, name: str) -> Iterator[Any]:
    """One column as Python values, a chunk at a time, so that a large frame is not held twice."""
    kind = kind_of_frame(frame)
    for start in range(0, len(frame), CHUNK_ROWS):
        if kind == "pandas":
            position = frame_columns(frame).index(name)
            yield from frame.iloc[start : start + CHUNK_ROWS, position].tolist()
        elif kind == "polars":
            yield from frame.get_column(name).slice(start, CHUNK_ROWS).to_list()
        elif kind == "pyarrow":
            yield from frame.column(name).slice(start, CHUNK_ROWS).to_pylist()
        else:  # with_format: Python values, whatever format the user had set
            part = frame.select_columns([name]).with_format(None)[start : start + CHUNK_ROWS]
            yield from part[name]


def _checked(number: int, value: Any, column: str) -> str | RowError:
    text = text_or_fault(value, f"column '{column}'")
    return RowError(f"row {number}", text) if isinstance(text, InputError) else text


def _pair(number: int, values: tuple[Any, Any], columns: tuple[str, str]) -> tuple[str, str] | RowError:
    first, second = (_checked(number, *one) for one in zip(values, columns, strict=True))
    if isinstance(first, RowError):
        return first
    return second if isinstance(second, RowError) else (first, second)
