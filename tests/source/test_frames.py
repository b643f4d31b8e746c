import datetime
from typing import Any

import pytest

from tonewise.errors import InputError, RowError
from tonewise.source import examples_of, frame_columns, frame_texts, frame_with, kind_of_frame

from .reading import good

KINDS = ("pandas", "polars", "pyarrow", "datasets")
ROWS = {"id": [7, 8, 9], "review": ["good", "bad", "ünwell"], "reply": ["a", "b", "c"]}


def frame_of(kind: str, columns: dict[str, Any]) -> Any:
    library = pytest.importorskip(kind)
    if kind == "pyarrow":
        return library.table(columns)
    return library.Dataset.from_dict(columns) if kind == "datasets" else library.DataFrame(columns)


def columns_of(frame: Any) -> dict[str, list[Any]]:
    kind = kind_of_frame(frame)
    if kind == "pandas":
        return {str(name): values for name, values in frame.to_dict("list").items()}
    if kind == "polars":
        return dict(frame.to_dict(as_series=False))
    return dict(frame.to_pydict() if kind == "pyarrow" else frame.to_dict())


@pytest.mark.parametrize("kind", KINDS)
def test_texts_of_a_frame_are_read(kind: str) -> None:
    frame = frame_of(kind, ROWS)
    assert kind_of_frame(frame) == kind
    assert frame_columns(frame) == ("id", "review", "reply")
    assert list(frame_texts(frame)) == ROWS["review"]
    assert list(frame_texts(frame, "reply")) == ROWS["reply"]
    assert list(frame_texts(frame, "review", "reply")) == [("good", "a"), ("bad", "b"), ("ünwell", "c")]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_kind_of_frame_comes_back_with_the_answers_after_its_own(kind: str) -> None:
    frame = frame_of(kind, ROWS)
    answered = frame_with(frame, {"mood": ["joy", None, "fear"], "mood_score": [0.5, 0.25, 1.0]})
    assert kind_of_frame(answered) == kind
    assert list(columns_of(answered)) == ["id", "review", "reply", "mood", "mood_score"]
    assert columns_of(answered)["mood_score"] == [0.5, 0.25, 1.0]
    assert columns_of(answered)["mood"][::2] == ["joy", "fear"]
    assert columns_of(frame) == ROWS


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_a_frame_become_examples_with_their_fields(kind: str) -> None:
    first, *_ = good(list(examples_of(frame_of(kind, ROWS))))
    assert (first.text, first.id, first.where) == ("good", 7, "row 1")
    assert dict(first.fields) == {"id": 7, "reply": "a"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_null_is_an_error_of_its_row(kind: str) -> None:
    frame = frame_of(kind, {"text": ["a", None, "c"], "pair": ["a", "b", None]})
    texts = list(frame_texts(frame, "text"))
    assert [str(text) for text in texts] == ["a", "row 2: column 'text' is null; a text is wanted", "c"]
    pairs = list(frame_texts(frame, "text", "pair"))
    assert [isinstance(pair, RowError) for pair in pairs] == [False, True, True]
    assert [isinstance(item, RowError) for item in examples_of(frame, "text")] == [False, True, False]


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_that_is_absent_not_plain_or_taken_is_an_error_at_once(kind: str) -> None:
    frame = frame_of(kind, ROWS)
    with pytest.raises(InputError, match="the frame: no column 'txt'; columns are id, review, reply"):
        frame_texts(frame, "txt")
    with pytest.raises(InputError, match="no column 'text'"):
        frame_texts(frame_of(kind, {"a": ["x"], "b": ["y"]}))
    with pytest.raises(InputError, match="the input has a column 'reply'"):
        frame_with(frame, {"reply": [1, 2, 3]})


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_without_rows_is_read(kind: str) -> None:
    frame = frame_of(kind, {"text": ["a"], "n": [1]})
    empty = frame[:0] if kind in ("pandas", "polars") else frame.slice(0, 0) if kind == "pyarrow" else None
    if empty is not None:
        assert list(frame_texts(empty)) == []
        assert list(columns_of(frame_with(empty, {"mood": []}))) == ["text", "n", "mood"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_is_read_past_its_first_chunk(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tonewise.source.frames.CHUNK_ROWS", 7)
    texts = [str(number) for number in range(100)]
    assert list(frame_texts(frame_of(kind, {"text": texts}))) == texts
    assert [item.text for item in good(list(examples_of(frame_of(kind, {"text": texts}))))] == texts


def test_pandas_keeps_its_index_and_refuses_two_columns_of_one_name() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": ["a", "b"]}, index=[10, 3])
    assert frame_with(frame, {"mood": ["x", "y"]}).loc[3, "mood"] == "y"
    with pytest.raises(InputError, match="two columns are named 'text'"):
        frame_texts(pandas.DataFrame([["a", "b"]], columns=["text", "text"]))


def test_missing_values_of_pandas_are_null() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {"text": pandas.Series(["a", pandas.NA, pandas.NaT, None, float("nan")], dtype=object)}
    )
    assert [isinstance(text, RowError) for text in frame_texts(frame)] == [False, True, True, True, True]


def test_a_lazy_frame_and_a_dict_of_splits_are_errors_that_say_what_to_do() -> None:
    polars, datasets = pytest.importorskip("polars"), pytest.importorskip("datasets")
    with pytest.raises(InputError, match=r"call \.collect\(\)"):
        kind_of_frame(polars.LazyFrame({"text": ["a"]}))
    with pytest.raises(InputError, match="choose one, such as data"):
        kind_of_frame(datasets.DatasetDict())


def test_a_streamed_dataset_is_an_iterable_of_dicts() -> None:
    datasets = pytest.importorskip("datasets")
    stream = datasets.Dataset.from_dict(ROWS).to_iterable_dataset()
    assert kind_of_frame(stream) is None
    assert [item.text for item in good(list(examples_of(stream)))] == ROWS["review"]


def test_a_series_of_texts_is_an_iterable() -> None:
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    assert [item.text for item in good(list(examples_of(pandas.Series(["a", "b"]))))] == ["a", "b"]
    assert [item.text for item in good(list(examples_of(polars.Series(["a", "b"]))))] == ["a", "b"]


def test_dates_of_a_frame_become_fields() -> None:
    frame = frame_of("pyarrow", {"text": ["a"], "day": [datetime.date(2024, 2, 29)]})
    assert dict(good(list(examples_of(frame)))[0].fields) == {"day": datetime.date(2024, 2, 29)}


@pytest.mark.parametrize("thing", [[], "x", None, 5, object()])
def test_what_is_no_frame_is_told_from_one(thing: object) -> None:
    assert kind_of_frame(thing) is None
