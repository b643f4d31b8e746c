"""The tree of errors is drawn as it is, and each has a code and an exit status of its own."""

import pickle
import re

import pytest

from tonewise import errors
from tonewise.cli.statuses import NOT_REPRODUCED, table
from tonewise.errors import (
    HubError,
    InputError,
    LicenceError,
    MissingExtraError,
    RowError,
    TonewiseError,
    TooLongError,
)


def drawn(kind: type[Exception], prefix: str = "") -> list[tuple[str, str]]:
    """Name and parent of each class below `kind`, in the order of the file."""
    found = []
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            found += [(child.__name__, kind.__name__), *drawn(child)]
    return found


def read_tree() -> list[tuple[str, str, str]]:
    """Name, parent and words of each line of the drawing."""
    lines = str(errors.__doc__).splitlines()
    lines = lines[lines.index("TonewiseError") :]
    above, found = {0: lines[0]}, []
    for line in lines[1:]:
        if match := re.fullmatch(r"([│ ]*[├└]── )(\w+)\s+(.+)", line):
            depth = len(match[1]) // 4
            above[depth] = match[2]
            found.append((match[2], above[depth - 1], match[3]))
    return found


def test_the_tree_in_the_docstring_is_complete_and_exact() -> None:
    assert [(name, parent) for name, parent, _ in read_tree()] == drawn(TonewiseError)


def test_the_tree_says_what_each_class_says() -> None:
    for name, _, words in read_tree():
        told = str(getattr(errors, name).__doc__).splitlines()[0].rstrip(".")
        assert told.lower() == words.lower()


def test_every_exception_of_the_module_is_in_the_tree() -> None:
    kinds = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert kinds == {"TonewiseError", *(name for name, _, _ in read_tree())}


def test_codes_are_unique_and_stable_words() -> None:
    codes = [vars(getattr(errors, name)).get("code") for name, _, _ in read_tree() if name != "RowError"]
    assert None not in codes
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", str(code)) for code in codes)


def test_exit_statuses_tell_the_kinds_apart() -> None:
    own = {
        child.__name__: child.exit_status for child in TonewiseError.__subclasses__() if child is not RowError
    }
    assert len(set(own.values())) == len(own)
    assert LicenceError.exit_status not in own.values()
    assert all(1 < status < 64 for status in own.values())
    assert TooLongError.exit_status == InputError.exit_status


def test_every_exit_status_is_in_the_table() -> None:
    kinds = [getattr(errors, name) for name, _, _ in read_tree()]
    assert {kind.exit_status for kind in kinds} | {0, NOT_REPRODUCED, 130, 143} == set(table())
    assert table()[3] == "a text, a row or a file cannot be used"


def test_a_row_error_speaks_for_its_cause() -> None:
    error = RowError("reviews.csv line 7", TooLongError("600 tokens"))
    assert str(error) == "reviews.csv line 7: 600 tokens"
    assert (error.where, error.reason) == ("reviews.csv line 7", "600 tokens")
    assert (error.code, error.exit_status) == ("too_long", 3)
    assert str(RowError("", InputError("no text"))) == "no text"


def test_a_missing_extra_says_what_to_run() -> None:
    error = MissingExtraError("pyarrow", "parquet")
    assert str(error) == "pyarrow is not installed; run: pip install 'tonewise[parquet]'"
    with pytest.raises(TonewiseError):
        raise error


@pytest.mark.parametrize(
    "error",
    [
        RowError("a.csv line 7", TooLongError("600 tokens")),
        MissingExtraError("pyarrow", "parquet"),
        HubError("gone"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_crosses_to_another_process_unchanged(error: TonewiseError) -> None:
    there = pickle.loads(pickle.dumps(error))
    assert (type(there), str(there), there.code, there.exit_status) == (
        type(error),
        str(error),
        error.code,
        error.exit_status,
    )
