"""What Python hands over: texts, pairs, Examples, dicts and data frames, as a stream of Examples."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from tonewise.errors import InputError, RowError
from tonewise.source.example import Example
from tonewise.source.frames import frame_columns, frame_rows, kind_of_frame
from tonewise.source.table import TextColumns, choose_columns, example_of, text_or_fault

PAIR = 2


def examples_of(
    data: Iterable[Any], text_column: str | None = None, text_pair_column: str | None = None
) -> Iterator[Example | RowError]:
    """Read texts, (text, text_pair) tuples, Examples or dicts, mixed or not, or the rows of a data frame.

    The columns are for frames and dicts. An Example is handed on as it is, save that one without an id or
    a place gets its number. An item that is no text is a RowError in its place (`text 3`). Raises
    InputError at once for a frame without a plain text column and for what is no collection of texts.
    """
    if kind_of_frame(data):
        chosen = choose_columns("the frame", frame_columns(data), text_column, text_pair_column)
        rows = enumerate(frame_rows(data), 1)
        return (_of_row(row, number, f"row {number}", chosen) for number, row in rows)
    if isinstance(data, (str, bytes, Mapping)) or not isinstance(data, Iterable):
        raise InputError(f"wanted texts in a list, an iterable or a data frame, not a {type(data).__name__}")
    return _of_items(data, text_column, text_pair_column)


def _of_items(
    data: Iterable[Any], text_column: str | None, text_pair_column: str | None
) -> Iterator[Example | RowError]:
    chosen: TextColumns | None = None
    for number, item in enumerate(data, 1):
        where = f"text {number}"
        if isinstance(item, Mapping):
            if chosen is None:  # the first dict tells the columns of all
                chosen = choose_columns(where, list(item), text_column, text_pair_column)
            yield _of_row(dict(item), number, where, chosen)
        else:
            yield _of_item(item, number, where)


def _of_row(row: dict[str, Any], number: int, where: str, chosen: TextColumns) -> Example | RowError:
    for name in (chosen.text, chosen.text_pair):
        if name in row:
            text = text_or_fault(row[name], f"column '{name}'")
            if isinstance(text, InputError):
                return RowError(where, text)
            row[name] = text
    return example_of(row, number, where, chosen)


def _of_item(item: Any, number: int, where: str) -> Example | RowError:
    if isinstance(item, Example):
        text = text_or_fault(item.text, "the text")
        if isinstance(text, InputError):
            return RowError(item.where or where, text)
        return replace(item, id=item.id or number, where=item.where or where)
    pair = None
    if isinstance(item, tuple) and len(item) == PAIR:
        item, pair = item
        pair = text_or_fault(pair, "the pair's second text")
        if isinstance(pair, InputError):
            return RowError(where, pair)
    text = text_or_fault(item, "the text")
    return (
        RowError(where, text) if isinstance(text, InputError) else Example(text, pair, number, (), {}, where)
    )
