"""What every format's reader hands on: columns and rows, and how a row becomes an Example."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tonewise.errors import InputError, RowError
from tonewise.source.example import Example

OBVIOUS_TEXT_COLUMNS = frozenset(
    ("text", "sentence", "content", "review", "message", "comment", "body", "tweet", "document", "utterance")
)
ABSENT = object()

Row = dict[str, Any]


class Carrier(Protocol):
    """Where a table's bytes come from."""

    @property
    def bytes_read(self) -> int:
        """Bytes that have passed, for a progress bar."""
        ...

    def sha256(self) -> str:
        """Hex sha256 of the whole file, once it was read to its end."""
        ...

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        ...


@dataclass(frozen=True, slots=True)
class Table:
    """One opened input.

    columns  in order; () where each row is a bare text
    rows     (number, row) in the unit that a person counts in: a line, an item, a row
    """

    name: str
    unit: str
    columns: tuple[str, ...]
    rows: Iterator[tuple[int, Row | str] | RowError]
    carrier: Carrier


@dataclass(frozen=True, slots=True)
class TextColumns:
    """Where the text is; `text` is None where each row is a bare text."""

    text: str | None = None
    text_pair: str | None = None


def choose_columns(
    where: str, columns: Sequence[str], text: str | None, text_pair: str | None
) -> TextColumns:
    """The named columns, or the one obvious text column.

    Raises InputError when a named column is absent, and when none or several could be meant.
    """
    if not columns:
        if text or text_pair:
            raise InputError(
                f"{where}: plain texts have no columns; drop --text-column '{text or text_pair}'"
            )
        return TextColumns()
    chosen = _obvious(where, columns) if text is None else text
    for name in (chosen, text_pair):
        if name is not None and name not in columns:
            raise no_column(where, name, columns)
    if chosen == text_pair:
        raise InputError(f"{where}: column '{chosen}' cannot be both the text and its pair")
    return TextColumns(chosen, text_pair)


def _obvious(where: str, columns: Sequence[str]) -> str:
    candidates = [name for name in columns if name.lower() in OBVIOUS_TEXT_COLUMNS]
    if len(candidates) == 1:
        return candidates[0]
    if len(columns) == 1:
        return columns[0]
    if candidates:
        raise InputError(f"{where}: the text may be in {listed(candidates)}; name one with --text-column")
    raise no_column(where, "text", columns)


def no_column(where: str, name: str, columns: Sequence[str]) -> InputError:
    """The error for a column that is not there."""
    prefix = f"{where}: " if where else ""
    return InputError(
        f"{prefix}no column '{name}'; columns are {listed(columns)} (name one with --text-column)"
    )


def listed(columns: Sequence[str], most: int = 20) -> str:
    """Column names on one short line, whatever they hold."""
    names = [" ".join((name if len(name) <= 40 else f"{name[:39]}…").split()) for name in columns[:most]]
    return ", ".join(names) + (f" and {len(columns) - most} more" if len(columns) > most else "")


def check_clash(columns: Sequence[str], added: Sequence[str]) -> None:
    """Raise InputError when an answer would take the name of an input column, or two the same name."""
    for position, name in enumerate(added):
        if name in columns:
            raise InputError(f"the input has a column '{name}', the answer's own; rename it in the input")
        if name in added[:position]:
            raise InputError(f"two answers would be written to the column '{name}'; leave one head out")


def check_columns(where: str, columns: Sequence[str]) -> None:
    """Raise InputError when a name stands twice: one of the two would be lost."""
    for position, name in enumerate(columns):
        if name in columns[:position]:
            raise InputError(f"{where}: two columns are named '{name}'; rename one")


def example_of(row: Row | str, number: int, where: str, chosen: TextColumns) -> Example | RowError:
    """Stage 1's last step; `row` is taken over. `number` is the id of a row that has none of its own."""
    if isinstance(row, str):
        return Example(row, None, number, (), {}, where)
    text = row.pop(chosen.text, ABSENT)  # type: ignore[arg-type]  # a table of dicts has a text column
    if type(text) is not str:
        return _faulty(where, str(chosen.text), text, row)
    pair = None
    if chosen.text_pair is not None:
        pair = row.pop(chosen.text_pair, ABSENT)
        if type(pair) is not str:
            return _faulty(where, chosen.text_pair, pair, {str(chosen.text): text, **row})
    own = row.get("id")
    identity = own if isinstance(own, str) or type(own) is int else number
    return Example(text, pair, identity, (), row, where)


def _faulty(where: str, column: str, value: Any, others: Row) -> RowError:
    if value is ABSENT:
        return RowError(where, no_column("", column, list(others)))
    fault = text_or_fault(value, f"column '{column}'")
    return RowError(
        where, fault if isinstance(fault, InputError) else InputError(f"column '{column}' is no text")
    )


def text_or_fault(value: Any, what: str) -> str | InputError:
    """A value as the text that it is, or the error that says why it is none; `what` names it."""
    if isinstance(value, str):
        text = str(value)  # numpy's strings, and other subclasses, become plain ones
        return text if text.isascii() or not has_surrogates(text) else half_a_pair(what)
    if is_missing(value):
        return InputError(f"{what} is null; a text is wanted")
    if isinstance(value, (bool, int, float)):
        return InputError(f"{what} is a number ({value!r}); a text is wanted")
    return InputError(f"{what} is of type {type(value).__name__}; a text is wanted")


def is_missing(value: Any) -> bool:
    """Whether a value stands for none: None, NaN, pandas' NA and NaT."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and math.isnan(value)


def has_surrogates(text: str) -> bool:
    """Whether a string holds half a surrogate pair, which no encoding can carry."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def half_a_pair(what: str) -> InputError:
    """The error for such a string."""
    return InputError(f"{what} holds half a surrogate pair (such as \\ud83d alone), which is no text")
