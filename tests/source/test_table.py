import pytest

from tonewise.errors import InputError, RowError
from tonewise.source import check_clash
from tonewise.source.table import TextColumns, choose_columns, example_of, listed

from .reading import read


@pytest.mark.parametrize("name", ["text", "Sentence", "CONTENT", "review", "tweet", "utterance"])
def test_the_one_obvious_column_is_the_text(name: str) -> None:
    assert choose_columns("x", ["id", name, "stars"], None, None) == TextColumns(name)


def test_an_only_column_is_the_text_whatever_its_name() -> None:
    assert choose_columns("x", ["whatever"], None, None) == TextColumns("whatever")


def test_no_obvious_column_is_an_error_that_lists_the_columns() -> None:
    expected = r"^reviews\.csv: no column 'text'; columns are id, opinion \(name one with --text-column\)$"
    with pytest.raises(InputError, match=expected):
        choose_columns("reviews.csv", ["id", "opinion"], None, None)


def test_two_obvious_columns_are_an_error() -> None:
    with pytest.raises(InputError, match="the text may be in review, body; name one with --text-column"):
        choose_columns("x", ["review", "body", "n"], None, None)
    assert choose_columns("x", ["review", "body"], "body", None) == TextColumns("body")


def test_a_named_column_that_is_not_there_is_an_error() -> None:
    with pytest.raises(InputError, match="no column 'txt'; columns are text, n"):
        choose_columns("x", ["text", "n"], "txt", None)
    with pytest.raises(InputError, match="no column 'other'; columns are text, n"):
        choose_columns("x", ["text", "n"], None, "other")


def test_a_column_cannot_be_its_own_pair() -> None:
    with pytest.raises(InputError, match="both"):
        choose_columns("x", ["text", "n"], None, "text")


def test_a_pair_is_read_from_the_named_column() -> None:
    (item,) = read("text,reply,n\na,b,1\n", input_format="csv", text_pair_column="reply")
    assert not isinstance(item, RowError)
    assert (item.text, item.text_pair, dict(item.fields)) == ("a", "b", {"n": "1"})


def test_a_null_pair_is_an_error_of_its_row() -> None:
    item = example_of({"text": "a", "b": None}, 1, "x line 2", TextColumns("text", "b"))
    assert str(item) == "x line 2: column 'b' is null; a text is wanted"
    item = example_of({"text": "a"}, 1, "x line 2", TextColumns("text", "b"))
    assert str(item) == "x line 2: no column 'b'; columns are text (name one with --text-column)"


@pytest.mark.parametrize(("own", "expected"), [("x", "x"), (0, 0), (None, 5), (1.5, 5), (True, 5)])
def test_an_id_is_a_string_or_a_whole_number_or_else_the_rows_number(own: object, expected: object) -> None:
    item = example_of({"id": own, "text": "a"}, 5, "x", TextColumns("text"))
    assert not isinstance(item, RowError)
    assert item.id == expected
    assert item.fields == {"id": own}


def test_many_or_long_column_names_are_cut() -> None:
    assert listed(["a", "b\nc" * 40]) == "a, " + "b cb cb cb cb cb cb cb cb cb cb cb cb c…"
    assert listed([str(number) for number in range(30)]).endswith("18, 19 and 10 more")


def test_a_clash_of_names_is_an_error_that_names_it() -> None:
    check_clash(["text"], ["label", "label_score"])
    with pytest.raises(InputError, match="the input has a column 'label'"):
        check_clash(["text", "label"], ["label", "label_score"])
    with pytest.raises(InputError, match="two answers would be written to the column 'a_score'"):
        check_clash(["text"], ["a", "a_score", "a_score", "a_score_score"])
