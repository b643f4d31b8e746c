import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tonewise.errors import InputError
from tonewise.source import Example

from .conftest import Open, Put
from .reading import good, read, told

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
RECORD = {
    "id": 7,
    "text": "good",
    "fields": {"stars": 5},
    "predictions": {"emotion": {"label": "joy"}},
    "n_tokens": 3,
    "truncated": False,
    "model": {"ref": "emotion", "digest": "x"},
}


def test_an_object_a_line_keeps_its_other_values() -> None:
    (example,) = good(read('{"id": 3, "text": "a", "tags": ["x", null]}\n', input_format="jsonl"))
    assert example == Example("a", None, 3, (), {"id": 3, "tags": ["x", None]}, "stdin line 1")


def test_a_string_a_line_is_a_text() -> None:
    assert told(read('"a"\n"b\\nc"', input_format="jsonl")) == ["a", "b\nc"]


def test_blank_lines_are_skipped_and_counted_as_lines() -> None:
    items = good(read('\n{"text": "a"}\n \n{"text": "b"}\n', input_format="jsonl"))
    assert [(item.where, item.id) for item in items] == [("stdin line 2", 1), ("stdin line 4", 2)]


def test_broken_json_on_line_9_names_line_9_and_the_rest_is_read(put: Put, open_one: Open) -> None:
    lines = [json.dumps({"text": str(number)}) for number in range(1, 11)]
    lines[8] = '{"text": "nine"'
    put("reviews.jsonl", "\n".join(lines))
    items = list(open_one("reviews.jsonl"))
    assert told(items)[8:] == [
        "reviews.jsonl line 9: broken JSON (expecting ',' delimiter at column 16)",
        "10",
    ]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (
            b'{"text": "\xff"}',
            "not UTF-8 (byte 0xff at position 11 of the line); name the encoding with --encoding",
        ),
        (b"5", "a number where an object is wanted"),
        (b"[1]", "an array where an object is wanted"),
        (b'"bare"', "a string where an object is wanted"),
        (b"null", "null where an object is wanted"),
        (b'{"text": null}', "column 'text' is null; a text is wanted"),
        (b'{"text": NaN}', "column 'text' is null; a text is wanted"),
        (b'{"text": 5}', "column 'text' is a number (5); a text is wanted"),
        (b'{"text": true}', "column 'text' is a number (True); a text is wanted"),
        (b'{"text": ["a"]}', "column 'text' is of type list; a text is wanted"),
        (b'{"n": 1, "review": "x"}', "no column 'text'; columns are n, review (name one with --text-column)"),
        (
            b'{"text": "\\ud83d"}',
            "the row holds half a surrogate pair (such as \\ud83d alone), which is no text",
        ),
        (b"[" * 100_000, "broken JSON (nested too deeply)"),
    ],
)
def test_a_line_that_cannot_be_used_is_an_error_of_its_own(line: bytes, why: str) -> None:
    data = b'{"text": "a"}\n' + line + b'\n{"text": "b"}\n'
    assert told(read(data, input_format="jsonl")) == ["a", f"stdin line 2: {why}", "b"]


def test_a_pair_of_surrogate_escapes_is_a_character() -> None:
    assert told(read('{"text": "\\ud83d\\ude00"}', input_format="jsonl")) == ["😀"]


def test_a_broken_first_line_leaves_the_columns_to_the_next() -> None:
    items = read('{"text"\n{"text": "a", "n": 1}\n', input_format="jsonl")
    assert told(items)[0].startswith("stdin line 1: broken JSON")
    assert told(items)[1] == "a"


def test_a_file_that_is_no_json_lines_at_all_is_an_error() -> None:
    with pytest.raises(InputError, match="stdin: no JSON object or string in 1000 lines; stdin line 1:"):
        read("hello\n" * 5000, input_format="jsonl")
    with pytest.raises(InputError, match="a number where an object or a string is wanted"):
        read("1\n2\n", input_format="jsonl")


def test_an_array_of_objects_or_strings_is_read() -> None:
    (first, second) = good(
        read('\n [ {"text": "a", "n": 1} , {"text": "b", "n": 2} ]\n', input_format="json")
    )
    assert (first.text, second.where, second.id) == ("a", "stdin item 2", 2)
    assert told(read('["a", "b"]', input_format="json")) == ["a", "b"]
    assert read("[]", input_format="json") == []


def test_an_array_is_read_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tonewise.source.jsontext.BLOCK_BYTES", 3)
    rows = [{"text": "é" * number, "n": 10**number} for number in range(12)]
    for indent in (None, 2):
        items = good(read(json.dumps(rows, indent=indent, ensure_ascii=False), input_format="json"))
        assert [{"text": item.text, **item.fields} for item in items] == rows


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"data": []}', "one object, wanted an array of objects or strings; for one on each line use"),
        (b"5", "no array, wanted"),
        (b'["a", "b"', "item 2: broken JSON"),
        (b'["a" "b"]', "item 1: broken JSON"),
        (b'["a", ]', r"item 2: broken JSON \(Expecting value\)"),
        (b'["a"] x', r"broken JSON \(more follows after the array's end\)"),
        (b'["a\xff"]', r"not UTF-8 \(byte 0xff\); name the encoding"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_another_shape_is_an_error(data: bytes, why: str) -> None:
    with pytest.raises(InputError, match=why):
        read(data, input_format="json")


def test_an_item_that_cannot_be_used_is_an_error_of_its_own() -> None:
    assert told(read('[{"text": "a"}, 5, {"text": "\\ud83d"}, {"text": "b"}]', input_format="json")) == [
        "a",
        "stdin item 2: a number where an object is wanted",
        "stdin item 3: the row holds half a surrogate pair (such as \\ud83d alone), which is no text",
        "b",
    ]


def test_our_own_records_are_read_as_the_rows_they_were_made_of() -> None:
    (example,) = good(read(json.dumps(RECORD), input_format="jsonl"))
    assert (example.text, example.id, dict(example.fields)) == ("good", 7, {"id": 7, "stars": 5})


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1), st.booleans())
def test_any_text_survives_json(rows: list[tuple[str, str]], escaped: bool) -> None:
    values = [json.dumps({"text": text, "other": other}, ensure_ascii=escaped) for text, other in rows]
    for kind, data in (("jsonl", "\n".join(values)), ("json", f"[{','.join(values)}]")):
        items = good(read(data, input_format=kind))
        assert [(item.text, item.fields["other"]) for item in items] == rows
