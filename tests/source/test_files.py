import io
import json

import pytest

from tonewise.config import SourceConfig
from tonewise.errors import InputError, RowError
from tonewise.source import open_source

from .conftest import Open, Put
from .reading import good, told


def test_files_are_read_one_after_the_other_and_rows_numbered_through(put: Put, open_one: Open) -> None:
    put("a.csv", "text,n\na,1\nb,2\n")
    put("b.tsv", "n\ttext\n3\tc\n")
    put("c.jsonl", json.dumps({"text": "d", "n": 4}))
    items = good(list(open_one("a.csv", "b.tsv", "c.jsonl")))
    assert [(item.id, item.text, item.where) for item in items] == [
        (1, "a", "a.csv line 2"),
        (2, "b", "a.csv line 3"),
        (3, "c", "b.tsv line 2"),
        (4, "d", "c.jsonl line 1"),
    ]


def test_files_of_other_columns_are_an_error_before_any_row(put: Put, open_one: Open) -> None:
    put("a.csv", "text,n,m\na,1,2\n")
    put("b.csv", "text,n,k\na,1,2\n")
    with pytest.raises(InputError, match=r"^b\.csv: other columns than a\.csv: lacks m and adds k$"):
        open_one("a.csv", "b.csv")
    put("c.txt", "text\n")
    with pytest.raises(InputError, match=r"c\.txt: other columns than a\.csv: lacks text, n, m"):
        open_one("a.csv", "c.txt")


def test_a_source_tells_its_columns_and_size(put: Put, open_one: Open) -> None:
    put("a.csv", "id,review,stars\n1,x,5\n")
    put("b.csv", "id,review,stars\n2,y,4\n")
    source = open_one("a.csv", "b.csv")
    assert source.columns == ("id", "review", "stars")
    assert (source.text_column, source.text_pair_column) == ("review", None)
    assert [str(path) for path in source.paths] == ["a.csv", "b.csv"]
    assert source.bytes_total == 44
    assert len(list(source)) == 2
    assert source.bytes_read == 44
    assert set(source.sha256()) == {"a.csv", "b.csv"}


def test_plain_lines_have_no_columns(put: Put, open_one: Open) -> None:
    put("a.txt", "x\n")
    source = open_one("a.txt")
    assert (source.columns, source.text_column) == ((), None)


def test_the_keys_of_the_first_object_are_the_columns(put: Put, open_one: Open) -> None:
    put("a.jsonl", '{"text": "a", "n": 1}\n{"text": "b", "m": 2}\n')
    source = open_one("a.jsonl")
    assert source.columns == ("text", "n")
    assert dict(good(list(source))[1].fields) == {"m": 2}


def test_stdin_may_stand_among_files(put: Put) -> None:
    put("a.csv", "text\na\n")
    config = SourceConfig(input_format="csv")
    with open_source(["a.csv", "-", "a.csv"], config, stdin=io.BytesIO(b"text\nb\n")) as source:
        assert told(list(source)) == ["a", "b", "a"]


def test_a_skipped_row_keeps_its_number(put: Put, open_one: Open) -> None:
    put("a.csv", "text,n\na,1\nb\nc,1\n")
    items = list(open_one("a.csv"))
    assert [item.id for item in items if not isinstance(item, RowError)] == [1, 3]


def test_an_error_that_ends_a_file_comes_after_the_rows_before_it(put: Put, open_one: Open) -> None:
    put("a.json", '["a", "b", oops]')
    rows = iter(open_one("a.json"))
    assert told([next(rows), next(rows)]) == ["a", "b"]
    with pytest.raises(InputError, match=r"a\.json item 3: broken JSON"):
        next(rows)


def test_memory_does_not_grow_with_the_file(put: Put, open_one: Open) -> None:
    import tracemalloc

    peaks = []
    for rows in (2_000, 20_000):
        put("a.csv", "text,n\n" + "some words of a text,1\n" * rows)
        put("a.json", json.dumps([{"text": "some words of a text", "n": 1}] * rows))
        tracemalloc.start()
        for name in ("a.csv", "a.json"):
            assert sum(1 for _ in open_one(name)) == rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 3_000_000
