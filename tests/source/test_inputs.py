import os

import pytest

from tonewise.errors import ConfigError, InputError
from tonewise.source import format_of, open_source

from .conftest import Open, Put
from .reading import read


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.csv", "csv"),
        ("A.TSV.GZ", "tsv"),
        ("x.ndjson", "jsonl"),
        ("a.b.parquet", "parquet"),
        ("a.txt", "lines"),
    ],
)
def test_a_name_tells_the_format_packed_or_not(name: str, kind: str) -> None:
    assert format_of(name) == kind


@pytest.mark.parametrize("name", ["a.doc", "csv", "a.gz", "reviews", ""])
def test_another_name_tells_none(name: str) -> None:
    assert format_of(name) is None


def test_a_missing_file_is_an_error_at_once(put: Put, open_one: Open) -> None:
    put("a.csv", "text\nx\n")
    with pytest.raises(InputError, match=r"^gone\.csv: no such file$"):
        open_one("a.csv", "gone.csv")


def test_a_folder_is_an_error_that_says_how_to_name_its_files(put: Put, open_one: Open) -> None:
    os.mkdir(put("a.csv", "text\n").with_name("folder.csv"))
    with pytest.raises(InputError, match=r"folder\.csv is a folder; name the files in it"):
        open_one("folder.csv")


@pytest.mark.parametrize("name", ["e.csv", "e.tsv", "e.json", "e.jsonl", "e.parquet", "e.txt"])
def test_an_empty_file_is_an_error(put: Put, name: str, open_one: Open) -> None:
    put(name, b"")
    with pytest.raises(InputError, match="empty"):
        open_one(name)


def test_empty_stdin_is_an_error() -> None:
    with pytest.raises(InputError, match="stdin is empty"):
        read(b"")


def test_a_glob_is_expanded_and_sorted_and_skips_folders(put: Put, open_one: Open) -> None:
    put("b.csv", "text\nb\n")
    put("a.csv", "text\na\n")
    os.mkdir("c.csv")
    assert [str(path) for path in open_one("*.csv").paths] == ["a.csv", "b.csv"]


def test_a_glob_that_matches_nothing_is_an_error(put: Put, open_one: Open) -> None:
    put("a.csv", "text\n")
    with pytest.raises(InputError, match=r"\*\.tsv: no file matches"):
        open_one("*.tsv")


def test_a_file_whose_name_looks_like_a_glob_is_that_file(put: Put, open_one: Open) -> None:
    put("a[1].csv", "text\nx\n")
    assert len(list(open_one("a[1].csv"))) == 1


def test_a_name_without_a_format_is_an_error_unless_the_format_is_given(put: Put, open_one: Open) -> None:
    put("reviews.log", "one\ntwo\n")
    with pytest.raises(InputError, match=r"reviews\.log: its name tells no format .* --input-format"):
        open_one("reviews.log")
    assert len(list(open_one("reviews.log", input_format="lines"))) == 2


def test_no_input_at_all_is_an_error() -> None:
    with pytest.raises(InputError, match="no input"):
        open_source([])


def test_stdin_twice_is_an_error() -> None:
    with pytest.raises(InputError, match="twice"):
        open_source(["-", "-"])


def test_parquet_cannot_come_from_stdin_or_packed(put: Put, open_one: Open) -> None:
    with pytest.raises(InputError, match="stdin: Parquet"):
        read(b"PAR1", input_format="parquet")
    put("a.parquet.gz", b"x")
    with pytest.raises(InputError, match="Parquet is read from its end"):
        open_one("a.parquet.gz")


def test_a_delimiter_that_no_input_can_follow_is_an_error(put: Put, open_one: Open) -> None:
    put("a.tsv", "text\nx\n")
    with pytest.raises(ConfigError, match=r"delimiter is for CSV; a\.tsv is read as tsv"):
        open_one("a.tsv", delimiter=";")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_an_error(put: Put, open_one: Open) -> None:
    put("a.csv", "text\n").chmod(0)
    with pytest.raises(InputError, match=r"a\.csv: permission denied"):
        open_one("a.csv")
