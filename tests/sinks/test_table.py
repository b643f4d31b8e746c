import io
from pathlib import Path

import pytest

from tonewise.config import SinkConfig
from tonewise.head import HeadPrediction, Prediction
from tonewise.sinks import AnswerSchema, HeadShape, open_sink
from tonewise.sinks.partial import Direct
from tonewise.sinks.table import TableSink

from .answers import LABELS, MOOD, example, mood


def shown(
    *rows: tuple[str, Prediction], width: int = 80, schema: AnswerSchema = MOOD, **settings: int
) -> list[str]:
    stdout = io.BytesIO()
    with TableSink(Direct("stdout", stdout), schema, SinkConfig(**settings), width=width) as sink:  # type: ignore[arg-type]
        for number, (text, prediction) in enumerate(rows, 1):
            sink.write(example(text, number), prediction)
    return stdout.getvalue().decode().splitlines()


def test_a_row_is_a_line_with_a_bar_for_its_score() -> None:
    assert shown(("good", mood("joy", 0.5, 0.25, 0.25)), ("bad", mood("fear", 0.0, 1.0, 0.0)), width=60) == [
        "id      text                          mood  score",
        "1       good                          joy   0.50 ████",
        "2       bad                           fear  1.00 ████████",
    ]


def test_a_long_text_is_shortened_to_the_width() -> None:
    *_, line = shown(("word " * 500, mood()), width=60)
    assert "…" in line
    assert len(line) <= 60


def test_what_could_move_the_cursor_is_left_out() -> None:
    *_, line = shown(("a\x1b[31mred\nb\u202ec\t[bold]d", mood()))
    assert "a [31mred b c [bold]d" in line


def test_columns_keep_their_width_through_all_chunks() -> None:
    lines = shown(*(("some text", mood()) for _ in range(120)), width=60)
    assert len(lines) == 121
    assert len({line.index("joy") for line in lines[1:]}) == 1


def test_several_labels_an_abstention_and_a_number_are_shown() -> None:
    topics = HeadPrediction(None, 0.9, {"a": 0.9, "b": 0.6}, ("a", "b"))
    stars = HeadPrediction(None, 3.25, {"stars": 3.25})
    schema = AnswerSchema(
        {"topics": HeadShape(("a", "b"), True), "mood": HeadShape(LABELS), "stars": HeadShape(("stars",))}
    )
    *_, line = shown(
        ("x", Prediction({"topics": topics, "stars": stars, **mood(None).heads}, 3)), schema=schema, width=120
    )
    assert "a, b" in line
    assert "—" in line
    assert line.endswith("3.25")


def test_top_k_shows_the_best_labels() -> None:
    *_, line = shown(("x", mood()), top_k=2, width=100)
    assert "joy 0.70  fear 0.20" in line


def test_uncertainty_has_two_columns() -> None:
    header, line = shown(("x", mood()), uncertainty=True, width=100)
    assert header.split()[-2:] == ["entropy", "margin"]
    assert line.split()[-2:] == ["0.80", "0.50"]


def test_a_table_without_rows_is_its_header() -> None:
    assert shown() == ["id      text                                              mood  score"]


def test_a_table_can_go_to_a_file(tmp_path: Path) -> None:
    with open_sink(tmp_path / "out.txt", SinkConfig(output_format="table"), schema=MOOD) as sink:
        sink.write(example(), mood())
        assert sink.partial_path
    assert "good" in (tmp_path / "out.txt").read_text()


def test_a_terminal_of_another_encoding_shows_what_it_can() -> None:
    stdout = io.BytesIO()
    with TableSink(Direct("stdout", stdout), MOOD, SinkConfig(), width=60, encoding="ascii") as sink:
        sink.write(example("é"), mood())
    assert b"?" in stdout.getvalue()


def test_slow_rows_are_shown_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tonewise.sinks.table.CHUNK_SECONDS", -1)
    stdout = io.BytesIO()
    sink = TableSink(Direct("stdout", stdout), MOOD, SinkConfig(), width=60)
    sink.write(example("first"), mood())
    assert b"first" in stdout.getvalue()
