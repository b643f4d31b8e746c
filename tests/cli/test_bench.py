"""`bench`: what is shown and written, and what is refused before anything is measured."""

import json
import os
import sys
from pathlib import Path

import pytest

from tests.benchmark.conftest import MadeUp, made_up
from tests.cli.conftest import Cli
from tests.doubles import MakeModel
from tonewise.benchmark import picture

__all__ = ["made_up"]  # a fixture


@pytest.fixture
def ref(model: MakeModel) -> str:
    return str(model())


def test_a_table_tells_each_row_and_marks_the_fastest(cli: Cli, ref: str, made_up: MadeUp) -> None:
    made_up.speeds = {"stub": [5000.0]}
    made_up.broken = {"torch": "torch is not installed; run: pip install 'tonewise[torch]'"}
    done = cli("bench", ref, "--engines", "onnxruntime,stub,torch", "--precisions", "fp32", "--rounds", "1")
    assert (done.status, done.err) == (0, "")
    lines = done.text.splitlines()
    assert "400 texts: sentences of our own · medians of 1" in lines[0]
    assert f"{ref} · 22.2 tokens a text, 300 at most, 3 of them cut" in lines
    rows = {line.split()[0]: line.split() for line in lines if " fp32 " in line}
    figures = ["4.00", "5.50", "123", "0.50", "310", "2.0%", "100.0%", "0.0000"]
    assert rows["onnxruntime"] == ["onnxruntime", "fp32", "1,000", *figures]
    assert rows["stub"] == ["stub", "fp32", "▸", "5,000", *figures]
    assert f"torch fp32: {made_up.broken['torch']}" in lines


def test_json_is_one_document_and_all_of_stdout(cli: Cli, ref: str, made_up: MadeUp) -> None:
    done = cli("bench", ref, "--engines", "stub", "--rounds", "2", "--threads", "2", "--json")
    assert (done.status, done.err) == (0, "")
    table = json.loads(done.out)
    assert (table["schema"], table["rounds"], table["texts"]["source"]) == (1, 2, "sentences of our own")
    (row,) = table["rows"]
    assert (row["model"], row["engine"], row["precision"], row["threads"]) == (ref, "stub", "fp32", 2)
    assert (row["texts_per_second"], row["labels_agree"], len(row["rounds"])) == (1000, 1, 2)


def test_the_model_is_that_of_the_settings_unless_named(
    cli: Cli, ref: str, made_up: MadeUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TONEWISE_MODEL", ref)
    done = cli("bench", "--engines", "stub", "--json")
    assert [model["ref"] for model in json.loads(done.out)["models"]] == [ref]
    done = cli("bench", ref, "emotion", "--engines", "stub", "--json")
    assert [model["ref"] for model in json.loads(done.out)["models"]] == [ref, "emotion"]


def test_the_texts_of_a_file_are_measured_as_many_as_wanted(
    cli: Cli, ref: str, made_up: MadeUp, here: Path
) -> None:
    (here / "in.csv").write_text("id,review,note\n1,so happy,x\n2,so sad,y\n3,love,z\n")
    command = ("bench", ref, "--engines", "stub", "--json", "--texts", "in.csv", "--text-column", "review")
    texts = json.loads(cli(*command).out)["texts"]
    assert (texts["source"], texts["count"]) == ("in.csv", 3)
    texts = json.loads(cli(*command, "--max-texts", "2").out)["texts"]
    assert (texts["source"], texts["count"]) == ("the first 2 of in.csv", 2)
    texts = json.loads(cli(*command, "--max-texts", "3").out)["texts"]
    assert (texts["source"], texts["count"]) == ("in.csv", 3)


def test_the_output_folder_gets_the_json_and_the_picture(
    cli: Cli, ref: str, made_up: MadeUp, here: Path
) -> None:
    pytest.importorskip("matplotlib")
    done = cli("bench", ref, "--engines", "stub", "--json", "--output", "a/b")
    assert done.status == 0
    assert sorted(path.name for path in Path("a/b").iterdir()) == ["bench.json", "bench.png"]
    assert Path("a/b/bench.json").read_bytes() == done.out
    assert Path("a/b/bench.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_measured_is_an_error_after_the_reasons(cli: Cli, ref: str, made_up: MadeUp) -> None:
    made_up.broken = {"stub": "it has no mind to"}
    done = cli("bench", ref, "--engines", "stub")
    assert "stub fp32: it has no mind to" in done.text
    told = "tonewise: nothing could be measured; each row tells why\n"
    assert (done.status, done.err) == (6, told)


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["--engines", "abacus"], 2, "no engine 'abacus'; there are: openvino, onnxruntime, "),
        (["--precisions", "int4"], 2, "no precision 'int4'; there are: int8, bf16, fp32"),
        (["--rounds", "0"], 2, "rounds is 0; the least is 1"),
        (["--threads", "0"], 2, "threads is 0; the least is 1"),
        (["--texts", "in.txt", "--max-texts", "0"], 2, "max_texts is 0; the least is 1"),
        (["--max-texts", "9"], 2, "--max-texts is about a file; add --texts, or drop it"),
        (["--text-column", "text"], 2, "--text-column is about a file; add --texts, or drop it"),
        (["--input-format", "csv"], 2, "--input-format is about a file; add --texts, or drop it"),
        (["emotoin"], 4, "did you mean emotion"),
        (["--texts", "none.txt"], 3, "none.txt: no such file"),
        (["--texts", "header.csv"], 3, "header.csv: no text to measure with"),
        (["--texts", "bad.jsonl"], 3, "bad.jsonl line 2: column 'text' is null"),
        (["--output", "in.txt"], 7, "cannot write into in.txt: file exists"),
        (["--output", "in.txt/below"], 7, "cannot write into in.txt/below: not a directory"),
    ],
)
def test_what_cannot_be_done_is_one_line_before_anything_is_measured(
    cli: Cli, made_up: MadeUp, here: Path, arguments: list[str], status: int, told: str
) -> None:
    (here / "in.txt").write_text("so happy\n")
    (here / "header.csv").write_text("text\n")
    (here / "bad.jsonl").write_text('{"text": "a"}\n{"text": null}\n')
    done = cli("bench", *arguments)
    assert (done.status, done.out, made_up.asked) == (status, b"", [])
    assert done.err.startswith("tonewise: ")
    assert told in done.err
    assert done.err.count("\n") == 1


def test_a_missing_extra_is_told_before_anything_is_measured(
    cli: Cli, made_up: MadeUp, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture, "find_spec", lambda name: None)
    done = cli("bench", "--output", "out")
    told = "tonewise: matplotlib is not installed; run: pip install 'tonewise[plot]'\n"
    assert (done.status, done.err, made_up.asked) == (8, told, [])
    assert not os.path.exists("out")


def test_progress_is_told_on_a_terminal_alone(
    cli: Cli, ref: str, made_up: MadeUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("bench", ref, "--engines", "stub", "--rounds", "1")
    assert cli(*command).err == ""
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda self: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "round 1 of 1" in cli(*command).err
