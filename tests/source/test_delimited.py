import csv
import io
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tonewise.errors import ConfigError, InputError
from tonewise.source import Example

from .conftest import Open, Put
from .reading import good, read, told

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


def places(items: list[object]) -> list[str]:
    return [getattr(item, "where", "") for item in items]


def test_other_columns_become_fields_and_id_the_id() -> None:
    (example,) = good(read("id,text,stars\n a7,good,5\n", input_format="csv"))
    assert example == Example("good", None, " a7", (), {"id": " a7", "stars": "5"}, "stdin line 2")


def test_a_quoted_newline_does_not_shift_the_line_numbers() -> None:
    items = read('text,n\n"a\nb\r\nc",1\nd,2\n', input_format="csv")
    assert told(items) == ["a\nb\r\nc", "d"]
    assert places(list(items)) == ["stdin line 2", "stdin line 5"]


def test_a_doubled_quote_is_a_quote_and_an_inner_one_stays() -> None:
    assert told(read('text,n\n"say ""hi""",1\nit"s,2\n', input_format="csv")) == ['say "hi"', 'it"s']


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_the_header_shows_the_delimiter(mark: str) -> None:
    assert told(
        read(f"id{mark}text\n1{mark}a, b; c\n".replace("a, b; c", '"a, b; c"'), input_format="csv")
    ) == ["a, b; c"]


def test_a_delimiter_within_quotes_shows_nothing() -> None:
    assert told(read('"a,b,c";text\n1;x\n', input_format="csv")) == ["x"]


@pytest.mark.parametrize(("given", "mark"), [("\\t", "\t"), ("tab", "\t"), (":", ":")])
def test_a_delimiter_can_be_named(given: str, mark: str) -> None:
    assert told(read(f"text{mark}n,m\na{mark}1\n", input_format="csv", delimiter=given)) == ["a"]


@pytest.mark.parametrize("given", ["", "::", '"', "\n"])
def test_a_delimiter_of_another_length_is_an_error(given: str) -> None:
    with pytest.raises(ConfigError, match="delimiter cannot be"):
        read("text\nx\n", input_format="csv", delimiter=given)


def test_ragged_rows_are_errors_that_name_both_counts_and_the_rest_is_read() -> None:
    assert told(read("text,n\na\nb,1\nc,1,2\n\nd,2\n", input_format="csv")) == [
        "stdin line 2: 1 field where the header names 2",
        "b",
        "stdin line 4: 3 fields where the header names 2",
        "d",
    ]


def test_bad_bytes_are_an_error_in_their_row_and_the_rest_is_read() -> None:
    assert told(read(b'text,n\nfine,1\n"two\nlines \xff",2\nafter,3\n', input_format="csv")) == [
        "fine",
        "stdin line 4: not UTF-8 (byte 0xff at position 7 of the line); name the encoding with --encoding",
        "after",
    ]


def test_bad_utf_8_on_line_7_names_line_7(put: Put, open_one: Open) -> None:
    rows = b"".join(b"%d,row\n" % number for number in range(2, 7))
    put("reviews.csv", b"id,text\n" + rows + b"7,caf\xe9\n8,fine\n")
    *_, bad, last = list(open_one("reviews.csv"))
    assert told([bad, last]) == [
        "reviews.csv line 7: not UTF-8 (byte 0xe9 at position 6 of the line);"
        " name the encoding with --encoding",
        "fine",
    ]
    assert isinstance(last, Example)
    assert last.where == "reviews.csv line 8"


def test_a_bad_byte_in_the_header_is_an_error_at_once() -> None:
    with pytest.raises(InputError, match="stdin line 1: not UTF-8"):
        read(b"t\xffxt,n\na,1\n", input_format="csv")


def test_text_after_a_closing_quote_is_an_error_of_its_row() -> None:
    assert told(read('text,n\n"a" b,1\nc,2\n', input_format="csv")) == [
        "stdin line 2: a closing quote is followed by text; a quote inside a field is written twice",
        "c",
    ]


def test_an_open_quote_is_an_error_that_names_the_line_where_it_opened() -> None:
    assert told(read('text,n\na,1\n"b,2\nc,3\n', input_format="csv")) == [
        "a",
        "stdin line 3: a quoted field is never closed (lines 3 to 4)",
    ]


def test_a_bare_carriage_return_is_an_error_of_its_row() -> None:
    assert told(read("text,n\na\rb,1\nc,2\n", input_format="csv")) == [
        "stdin line 2: a carriage return stands in an unquoted field",
        "c",
    ]


def test_a_field_longer_than_the_limit_of_csv_is_read() -> None:
    assert len(told(read(f"text,n\n{'x' * 200_000},1\n", input_format="csv"))[0]) == 200_000


def test_an_open_quote_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tonewise.source.delimited.FIELD_CHARACTERS", 1000)
    before = csv.field_size_limit(1000)
    try:
        items = told(read('text,n\n"a\n' + "b,1\n" * 1000, input_format="csv"))
    finally:
        csv.field_size_limit(before)
    assert "is a quote left open?" in items[0]
    assert items[-1] == "b"


def test_a_nul_is_a_character_of_a_text() -> None:
    assert told(read("text,n\na\0b,1\n", input_format="csv")) == ["a\0b"]


@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_a_header_without_rows_is_no_error(kind: str) -> None:
    assert read("text\n", input_format=kind) == []


@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_no_header_is_an_error(kind: str) -> None:
    with pytest.raises(InputError, match="no header line"):
        read("\n\n", input_format=kind)


def test_two_columns_of_one_name_are_an_error() -> None:
    with pytest.raises(InputError, match="two columns are named 'n'"):
        read("text,n,n\na,1,2\n", input_format="csv")


def test_a_quote_in_tsv_is_a_plain_character() -> None:
    assert told(read('text\tn\n"a\t1\n', input_format="tsv")) == ['"a']


def test_tsv_can_be_quoted() -> None:
    assert told(read('text\tn\n"a\nb"\t1\n', input_format="tsv", quoting=True)) == ["a\nb"]


def test_tsv_rows_that_cannot_be_used_are_errors() -> None:
    assert told(read(b"text\tn\na\nb\xff\t1\n\nc\t2\r\n", input_format="tsv")) == [
        "stdin line 2: 1 field where the header names 2",
        "stdin line 3: not UTF-8 (byte 0xff at position 2 of the line); name the encoding with --encoding",
        "c",
    ]


def test_a_blank_line_in_tsv_of_one_column_is_an_empty_text() -> None:
    assert told(read("text\na\n\nb\n", input_format="tsv")) == ["a", "", "b"]


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1))
def test_any_text_survives_csv(rows: list[tuple[str, str]]) -> None:
    file = io.StringIO(newline="")
    writer = csv.writer(file, quoting=csv.QUOTE_ALL)
    writer.writerow(("text", "other"))
    writer.writerows(rows)
    examples = good(read(file.getvalue(), input_format="csv"))
    assert [(example.text, example.fields["other"]) for example in examples] == rows


@given(st.binary())
def test_no_bytes_whatever_break_the_reader(data: bytes) -> None:
    for kind in ("csv", "tsv", "jsonl", "json", "lines"):
        for encoding in ("utf-8", "utf-16", "shift_jis"):
            with suppress(InputError):
                read(b"text,n\n" + data, input_format=kind, encoding=encoding)
