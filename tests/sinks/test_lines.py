import csv
import gzip
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tonewise.config import SinkConfig, SourceConfig
from tonewise.errors import InputError, RowError
from tonewise.sinks import open_sink
from tonewise.source import open_source

from .answers import MOOD, example, interrupted, mood

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


def test_jsonl_is_a_record_a_line(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with open_sink(path, schema=MOOD) as sink:
        sink.write(example("ünïcode\u2028", 1, stars=5), mood())
        sink.write(example("two", 2), mood(None))
    data = path.read_bytes()
    assert data.count(b"\n") == 2
    assert "ünïcode\u2028".encode() in data
    assert [json.loads(line)["id"] for line in data.decode().split("\n")[:-1]] == [1, 2]


def test_csv_is_by_rfc_4180_with_plain_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with open_sink(path, schema=MOOD) as sink:
        sink.write(example('say "hi"\r\nyou', 1, id=1, stars=None), mood())
        sink.write(example("a,b", 2, id=True, stars=[1, 2]), mood(None))
    assert path.read_bytes() == (
        b'id,text,stars,mood,mood_score\n1,"say ""hi""\r\nyou",,joy,0.7\ntrue,"a,b","[1, 2]",,0.7\n'
    )


def test_csv_without_rows_is_its_header(tmp_path: Path) -> None:
    with open_sink(tmp_path / "out.csv", schema=MOOD):
        pass
    assert (tmp_path / "out.csv").read_text() == "id,text,stars,mood,mood_score\n"


def test_scores_and_top_k_shape_csv(tmp_path: Path) -> None:
    with open_sink(tmp_path / "out.csv", SinkConfig(scores=True, top_k=1), schema=MOOD) as sink:
        sink.write(example("a", id=1, stars=5), mood())
    header, line = (tmp_path / "out.csv").read_text().splitlines()
    assert header.endswith("mood,mood_score,mood_score_joy,mood_score_fear,mood_score_love")
    assert line == "1,a,5,joy,0.7,0.7,,"


def test_half_a_surrogate_pair_is_an_error_that_names_the_row(tmp_path: Path) -> None:
    for name in ("out.jsonl", "out.csv"):
        with pytest.raises(InputError, match=r"x\.csv line 2: half a surrogate pair"), \
                open_sink(tmp_path / name, schema=MOOD) as sink:  # fmt: skip
            sink.write(example("a", stars="\ud83d"), mood())


@pytest.mark.parametrize("name", ["out.jsonl.gz", "out.csv.gz"])
def test_a_packed_output_is_the_plain_one_packed(tmp_path: Path, name: str) -> None:
    for path in (tmp_path / name, tmp_path / name.removesuffix(".gz")):
        with open_sink(path, schema=MOOD) as sink:
            for number in range(5000):
                sink.write(example("some text", number, id=number), mood())
    packed = (tmp_path / name).read_bytes()
    assert gzip.decompress(packed) == (tmp_path / name.removesuffix(".gz")).read_bytes()
    assert len(packed) < 100_000


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz"])
def test_a_stop_leaves_the_whole_rows_so_far(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    sink = open_sink(path, schema=MOOD)
    with pytest.raises(KeyboardInterrupt):
        interrupted(sink, 3000)
    assert not path.exists()
    assert sink.partial_path == path.with_name(f"{name}.partial")
    data = sink.partial_path.read_bytes()
    lines = (gzip.decompress(data) if name.endswith("gz") else data).decode().split("\n")
    assert [json.loads(line)["id"] for line in lines[:-1]] == list(range(3000))
    assert sink.rows_written == 3000


def test_a_stop_before_the_first_row_leaves_nothing(tmp_path: Path) -> None:
    for name in ("out.jsonl", "out.csv", "out.parquet"):
        sink = open_sink(tmp_path / name, schema=MOOD)
        with pytest.raises(RuntimeError), sink:
            raise RuntimeError
        assert sink.partial_path is None
    assert list(tmp_path.iterdir()) == []


def test_an_older_output_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old")
    with open_sink(path, schema=MOOD) as sink:
        sink.write(example(), mood())
        assert path.read_text() == "old"
    assert json.loads(path.read_text())["text"] == "good"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.jsonl"]


def test_a_stream_gets_each_row_at_once() -> None:
    stdout = io.BytesIO()
    sink = open_sink(None, SinkConfig(output_format="jsonl"), schema=MOOD, stdout=stdout)
    sink.write(example(), mood())
    assert stdout.getvalue().endswith(b"\n")


@given(st.lists(st.tuples(TEXTS, TEXTS | st.none())))
def test_any_text_survives_jsonl_and_csv(rows: list[tuple[str, str | None]]) -> None:
    for kind in ("jsonl", "csv"):
        stdout = io.BytesIO()
        with open_sink(None, SinkConfig(output_format=kind), schema=MOOD, stdout=stdout) as sink:
            for number, (text, stars) in enumerate(rows):
                sink.write(example(text, number, id=number, stars=stars), mood())
        if rows:
            back = SourceConfig(input_format=kind)
            read = list(open_source(["-"], back, stdin=io.BytesIO(stdout.getvalue())))
            assert not [item for item in read if isinstance(item, RowError)]
            empty = "" if kind == "csv" else None
            found = [(item.text, item.fields["stars"]) for item in read if not isinstance(item, RowError)]
            assert found == [(text, empty if stars is None else stars) for text, stars in rows]


@given(TEXTS)
def test_csv_is_read_by_others_as_it_was_written(text: str) -> None:
    stdout = io.BytesIO()
    schema = replace(MOOD, columns=("text",))
    with open_sink(None, SinkConfig(output_format="csv"), schema=schema, stdout=stdout) as sink:
        sink.write(example(text), mood())
    _, row = csv.reader(io.StringIO(stdout.getvalue().decode(), newline=""))
    assert row == [text, "joy", "0.7"]
