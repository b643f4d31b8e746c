import datetime
import decimal
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tonewise.config import SinkConfig
from tonewise.errors import InputError, MissingExtraError, OutputError
from tonewise.sinks import AnswerSchema, HeadShape, Sink, open_sink

from .answers import LABELS, MOOD, example, interrupted, mood

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

ONE = AnswerSchema({"mood": HeadShape(LABELS)}, {}, ("text", "x"), "text")


def written(path: Path, *values: Any, schema: AnswerSchema = ONE) -> Any:
    with open_sink(path, schema=schema) as sink:
        for number, value in enumerate(values):
            sink.write(example(str(number), number, x=value), mood())
    with parquet.ParquetFile(path) as file:
        return file.read()


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tonewise.sinks.parquet.GROUP_ROWS", 2)


def test_a_file_has_the_inputs_columns_then_the_answers(tmp_path: Path) -> None:
    config = SinkConfig(scores=True)
    with open_sink(tmp_path / "out.parquet", config, schema=MOOD) as sink:
        sink.write(example("a", 1, id=1, stars=5), mood())
        sink.write(example("b", 2, id=2), mood(None))
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table.to_pydict() == {
        "id": [1, 2],
        "text": ["a", "b"],
        "stars": [5, None],
        "mood": ["joy", None],
        "mood_score": [0.7, 0.7],
        "mood_score_joy": [0.7, 0.7],
        "mood_score_fear": [0.2, 0.2],
        "mood_score_love": [0.1, 0.1],
    }
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.parquet"]


def test_without_rows_the_columns_are_there(tmp_path: Path) -> None:
    table = written(tmp_path / "out.parquet")
    assert (table.num_rows, table.column_names) == (0, ["text", "x", "mood", "mood_score"])


def test_row_groups_are_bounded(tmp_path: Path, small_groups: None) -> None:
    written(tmp_path / "out.parquet", *range(7))
    file = parquet.ParquetFile(tmp_path / "out.parquet")
    assert [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)] == [2, 2, 2, 1]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([1, 2, 2.5, None], "double", [1.0, 2.0, 2.5, None]),
        ([None, None, 3, 4], "int64", [None, None, 3, 4]),
        ([1, 2, "three", 4], "string", ["1", "2", "three", "4"]),
        ([2**60 + 1, 1, 0.5, 1], "string", [str(2**60 + 1), "1", "0.5", "1"]),
        ([1, 2, 2**70, 1], "string", ["1", "2", str(2**70), "1"]),
        ([True, False, 3, 4], "string", ["true", "false", "3", "4"]),
        ([{"a": 1}, None, {"b": "x"}, None], None, [{"a": 1, "b": None}, None, {"a": None, "b": "x"}, None]),
        ([[1], [], [], [None]], None, [[1], [], [], [None]]),
        ([[1], [2], ["a"], 5], "string", ["[1]", "[2]", '["a"]', "5"]),
        ([1, "a", 2, "b"], "string", ["1", "a", "2", "b"]),
        ([None, None, None, None], "string", [None] * 4),
        (["a", "b", None, 1], "string", ["a", "b", None, "1"]),
        ([datetime.date(2024, 2, 29), None, "x", None], "string", ["2024-02-29", None, "x", None]),
        ([1.5, float("inf"), 3, 4], "double", [1.5, float("inf"), 3.0, 4.0]),
    ],
)
def test_a_type_widens_until_it_holds_every_value(
    tmp_path: Path, small_groups: None, values: list[Any], kind: str | None, expected: list[Any]
) -> None:
    table = written(tmp_path / "out.parquet", *values)
    assert table.column("x").to_pylist() == expected
    assert kind is None or str(table.schema.field("x").type) == kind
    assert table.column("text").to_pylist() == ["0", "1", "2", "3"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.parquet"]


def test_decimals_keep_every_digit(tmp_path: Path, small_groups: None) -> None:
    values = [decimal.Decimal("1.5"), decimal.Decimal("22.25"), decimal.Decimal("333.125")]
    assert written(tmp_path / "out.parquet", *values).column("x").to_pylist() == values


def test_types_widen_more_than_once(tmp_path: Path, small_groups: None) -> None:
    table = written(tmp_path / "out.parquet", None, None, 1, 2, 2.5, 3, "four", 5)
    assert table.column("x").to_pylist() == [None, None, "1.0", "2.0", "2.5", "3.0", "four", "5"]


def test_a_stop_leaves_a_file_that_can_be_read(tmp_path: Path, small_groups: None) -> None:
    sink = open_sink(tmp_path / "out.parquet", schema=MOOD)
    with pytest.raises(KeyboardInterrupt):
        interrupted(sink, 5)
    assert not (tmp_path / "out.parquet").exists()
    assert sink.rows_written == 5
    assert sink.partial_path
    assert parquet.ParquetFile(sink.partial_path).read().column("stars").to_pylist() == [0, 1, 2, 3, 4]


def failing_rewrite(sink: Sink) -> None:
    for number in range(4):
        sink.write(example("a", number, x=number), mood())
    for _ in range(2):
        sink.write(example("a", 9, x="text"), mood())


def test_a_rewrite_that_fails_leaves_what_was_written(
    tmp_path: Path, small_groups: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OutputError("the disk is full")

    sink = open_sink(tmp_path / "out.parquet", schema=ONE)
    monkeypatch.setattr("tonewise.sinks.parquet.PartialFile.become", fail)
    with pytest.raises(OutputError), sink:
        failing_rewrite(sink)
    assert sink.rows_written == 4
    assert sink.partial_path
    assert parquet.ParquetFile(sink.partial_path).metadata.num_rows == 4
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.parquet.partial"]


def test_a_field_that_the_first_row_had_not_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="column 'new' was not in the first row"), \
            open_sink(tmp_path / "out.parquet", schema=ONE) as sink:  # fmt: skip
        sink.write(example("a", new=1), mood())


def test_half_a_surrogate_pair_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="half a surrogate pair"):
        written(tmp_path / "out.parquet", "\ud83d")


def test_without_pyarrow_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tonewise\[parquet\]'"):
        open_sink(tmp_path / "out.parquet", schema=ONE)
    assert list(tmp_path.iterdir()) == []


def test_a_clash_of_names_is_an_error_before_anything_is_created(tmp_path: Path) -> None:
    schema = AnswerSchema({"mood": HeadShape(LABELS)}, {}, ("text", "mood"), "text")
    for name in ("out.parquet", "out.csv"):
        with pytest.raises(InputError, match="the input has a column 'mood'"):
            open_sink(tmp_path / name, schema=schema)
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_any_text_survives_parquet(texts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = written(Path(folder) / "out.parquet", *texts)
        assert table.column("x").to_pylist() == texts
