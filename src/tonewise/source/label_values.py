"""What a cell of a label column says: a label, several, a share; or why it says none."""

import math
from collections.abc import Iterable
from typing import Any

from tonewise.errors import InputError
from tonewise.source.table import half_a_pair, has_surrogates, is_missing

OBVIOUS_LABEL_COLUMNS = frozenset(
    (
        *("label", "labels", "category", "categories", "class", "intent", "topic", "target"),
        *("emotion", "emotions", "sentiment"),
    )
)
NOT_A_NUMBER = ("nan", "NaN")
"""How a table program writes an empty cell; no class is called so."""


def is_list(value: Any) -> bool:
    """Whether a cell holds several values: a list, a tuple, a set or an array."""
    if isinstance(value, (list, tuple, set, frozenset)):
        return True
    return hasattr(value, "tolist") and getattr(value, "ndim", 0) == 1


def one_label(value: Any, what: str) -> str | InputError:  # noqa: PLR0911  # a kind of value a line
    """A label's name, verbatim: 1 → "1", 1.0 → "1", True → "true"; `what` names it in the error."""
    value = _plain(value)
    if is_missing(value) or value in NOT_A_NUMBER:
        told = f"{value!r}" if isinstance(value, str) else "null"
        return InputError(f"{what} is {told}; a label is wanted")
    if isinstance(value, str):
        return _checked(str(value), what)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        if value == value // 1:
            return str(int(value))
        return InputError(f"{what} is {value!r}; a label is a name or a whole number")
    if is_list(value):
        return InputError(f"{what} is a list; several labels of one text are multi label (--multi-label)")
    return InputError(f"{what} is of type {type(value).__name__}; a label is wanted")


def _checked(name: str, what: str) -> str | InputError:
    if not name.strip():
        return InputError(f"{what} is empty; a label is wanted")
    return half_a_pair(what) if has_surrogates(name) else name


def several_labels(value: Any, separator: str | None, what: str) -> tuple[str, ...] | InputError:
    """The names in a list, or between separators, each once; () where none holds."""
    if is_list(value):
        parts: Iterable[Any] = sorted(value) if isinstance(value, (set, frozenset)) else value
    elif isinstance(value, str):
        cut = [value] if separator is None else [part.strip() for part in value.split(separator)]
        parts = [part for part in cut if part.strip()]
    else:
        parts = [value]
    names = []
    for part in parts:
        name = one_label(part, what)
        if isinstance(name, InputError):
            return name
        names.append(name)
    return tuple(dict.fromkeys(names))


def share(value: Any, what: str) -> float | InputError:
    """A soft label: a number of at least 0, or its text."""
    value = _plain(value)
    if is_missing(value) or value in ("", *NOT_A_NUMBER):
        return InputError(f"{what} is empty; a number is wanted")
    try:
        found = float(value)
    except (TypeError, ValueError):
        return InputError(f"{what} is {str(value)[:40]!r}; a number is wanted")
    if not math.isfinite(found) or found < 0:
        return InputError(f"{what} is {found:g}; a soft label is at least 0")
    return found


def _plain(value: Any) -> Any:
    """The Python value of a numpy scalar."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value
