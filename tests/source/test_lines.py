import pytest

from tonewise.errors import InputError
from tonewise.source import Example

from .reading import good, read, told


def test_each_line_is_a_text_and_a_blank_one_is_an_empty_text() -> None:
    assert told(read("one\n\n  two \r\nthree")) == ["one", "", "  two ", "three"]


def test_a_line_knows_its_number() -> None:
    assert good(read("a\nb\n"))[1] == Example("b", None, 2, (), {}, "stdin line 2")


def test_bad_bytes_are_an_error_of_their_line() -> None:
    assert told(read(b"a\n\xffb\nc\n")) == [
        "a",
        "stdin line 2: not UTF-8 (byte 0xff at position 1 of the line); name the encoding with --encoding",
        "c",
    ]


def test_a_text_column_of_plain_lines_is_an_error() -> None:
    with pytest.raises(InputError, match="plain texts have no columns; drop --text-column 'x'"):
        read("a\n", text_column="x")
