"""`quantize`: which texts it reads, what it tells at the end, and what it refuses in one line."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.doubles import MakeModel
from tests.test_quantize import INT8, TEXTS
from tonewise.cli.texts import read_texts
from tonewise.config import Config, SourceConfig
from tonewise.quantize import Quantized
from tonewise.quantize import quantize as quantize_texts
from tonewise.store import resolve


@pytest.fixture
def ref(model: MakeModel) -> str:
    return str(model())


@pytest.fixture
def files(here: Path) -> Path:
    (here / "in.txt").write_text("".join(f"{text}\n" for text in TEXTS))
    (here / "in.csv").write_text("id,a,b\n" + "".join(f'{i},so happy,"{t}"\n' for i, t in enumerate(TEXTS)))
    (here / "few.txt").write_text("so happy\n" * 19)
    (here / "bad.jsonl").write_text('{"text": "a"}\n{"text": null}\n')
    half = "".join(f'{{"text": "{text}"}}\n' for text in TEXTS)
    (here / "half.jsonl").write_text(half + '{"text": "\\ud800"}\n')
    (here / "full").mkdir()
    (here / "full" / "file").write_text("x")
    return here


def test_two_lines_tell_where_it_is_and_how_well_int8_agrees(cli: Cli, ref: str, files: Path) -> None:
    done = cli("quantize", ref, "--texts", "in.txt", "--target", "0", "--output", "out")
    assert (done.status, done.err) == (0, "")
    where, told = done.text.splitlines()
    bundle = resolve(Path("out"))
    assert where == f"out  {bundle.digest}"
    share = r"\d+\.\d\d% \(Δscore \d\.\d{4}\)"
    engines = ", ".join(f"{name} {share}" for name in INT8)
    texts = "of 30 texts; ranges of 30 others; layers in higher precision: none"
    assert re.fullmatch(rf"labels as in fp32: {engines} {texts}", told)
    for name in INT8:
        assert f"{name} {bundle.manifest.agreement[name]:.2%} " in told


def test_the_bundle_classifies_and_verifies(cli: Cli, ref: str, files: Path) -> None:
    assert cli("quantize", ref, "--texts", "in.txt", "--target", "0", "-o", "./out").status == 0
    assert cli("verify", "./out").status == 0
    assert cli("classify", "so happy", "--model", "./out", "--precision", "int8").status == 0


def test_columns_name_the_texts_and_the_pairs(cli: Cli, model: MakeModel, files: Path) -> None:
    command = ("quantize", model("bert"), "--texts", "in.csv", "--target", "0", "--text-column", "b")
    assert cli(*command, "-o", "single").status == 0
    assert cli(*command, "--text-pair-column", "a", "-o", "pairs").status == 0
    quantize_texts(model("bert"), TEXTS, Path("wanted"), target=0)
    single, pairs, wanted = (resolve(Path(name)).digest for name in ("single", "pairs", "wanted"))
    assert single == wanted != pairs


def test_the_format_is_the_one_that_is_told(cli: Cli, ref: str, files: Path) -> None:
    (files / "in.csv").rename("in.data")
    command = ("quantize", ref, "--texts", "in.data", "--target", "0", "-o", "out")
    assert cli(*command, "--input-format", "csv", "--text-column", "b").status == 0
    assert cli("quantize", ref, "--texts", "in.data", "--input-format", "jsonl", "-o", "new").status == 3


def test_what_is_left_out_is_named(cli: Cli, ref: str, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def made_up(ref: str, texts: Sequence[str], output: Path, **settings: object) -> Quantized:
        assert settings["target"] == 0.9
        assert isinstance(settings["config"], Config)
        return Quantized(output, "sha256:0", {}, 5, 6, ("layer.0.up", "layer.3.down"))

    monkeypatch.setattr("tonewise.cli.quantize.run", made_up)
    done = cli("quantize", ref, "--texts", "in.txt", "--target", "0.9", "-o", "out")
    assert done.text.endswith("; layers in higher precision: layer.0.up, layer.3.down\n")


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["--texts", "in.txt", "--target", "0.5", "-o", "full"], 7, "full is there already; name a folder"),
        (["--texts", "in.txt", "--target", "0.5", "-o", "in.txt"], 7, "in.txt is there already"),
        (["--texts", "in.txt", "-o", "in.txt/out"], 7, "cannot write in.txt/out: not a directory"),
        (["--texts", "few.txt", "-o", "out"], 3, "19 texts are too few to fit ranges on; give at least 20"),
        (["--texts", "none.txt", "-o", "out"], 3, "none.txt: no such file"),
        (["--texts", "bad.jsonl", "-o", "out"], 3, "bad.jsonl line 2: column 'text' is null"),
        (["--texts", "half.jsonl", "-o", "out"], 3, "half.jsonl line 61: "),
        (["--texts", "in.csv", "-o", "out", "--text-column", "c"], 3, "in.csv: no column 'c'"),
        (
            ["--texts", "in.txt", "-o", "out", "--target", "2"],
            2,
            "target is 2.0; wanted: a share from 0 to 1",
        ),
        (["--texts", "in.txt", "-o", "out", "--target", "much"], 2, "'much' is not a valid float"),
        (["--texts", "in.txt"], 2, "Missing option '-o' / '--output'"),
        (["-o", "out"], 2, "Missing option '--texts'"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(
    cli: Cli, ref: str, files: Path, arguments: list[str], status: int, told: str
) -> None:
    before = sorted(files.iterdir())
    done = cli("quantize", ref, *arguments)
    assert (done.status, done.out) == (status, b""), done.err
    assert done.err.startswith("tonewise: ")
    assert told in done.err
    assert done.err.count("\n") == 1
    assert sorted(files.iterdir()) == before


def test_a_name_that_is_no_model_is_told(cli: Cli, files: Path) -> None:
    done = cli("quantize", "emotoin", "--texts", "in.txt", "-o", "out")
    assert (done.status, "did you mean emotion" in done.err) == (4, True)


def test_progress_is_told_on_a_terminal_alone(
    cli: Cli, ref: str, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("quantize", ref, "--texts", "in.txt", "--target", "0", "-o")
    assert cli(*command, "one").err == ""
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda self: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "answering 30 texts in int8" in cli(*command, "two").err


def test_a_file_is_read_as_far_as_wanted(files: Path) -> None:
    assert read_texts("in.txt", SourceConfig(), 60) == (TEXTS, True)
    assert read_texts("in.txt", SourceConfig(), 59) == (TEXTS[:59], False)
    found, is_all = read_texts("in.csv", SourceConfig(text_column="a", text_pair_column="b"))
    assert (found, is_all) == ([("so happy", text) for text in TEXTS], True)
