"""Whatever is wrong: one short line, the status of its kind, no traceback, and nothing that looks whole."""

import json
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli, Done
from tests.doubles import MakeModel

ROWS = [f"i am happy {i}" for i in range(1, 13)]


@pytest.fixture
def ref(model: MakeModel) -> str:
    return str(model())


def is_one_line(done: Done, status: int, told: str) -> None:
    assert done.status == status, done.err
    assert done.err.startswith("tonewise: ")
    assert told in done.err
    assert done.err.count("\n") == 1
    assert len(done.err) < 500
    assert "Traceback" not in done.err


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def bad_utf8() -> bytes:
    lines = [b"text"] + [row.encode() for row in ROWS]
    lines[6] = b"caf\xe9 so sad"  # line 7
    return b"\n".join(lines) + b"\n"


def broken_json() -> bytes:
    lines = [json.dumps({"text": row}).encode() for row in ROWS]
    lines[8] = b'{"text": "so sad'  # line 9
    return b"\n".join(lines) + b"\n"


def null_texts() -> bytes:
    lines = [json.dumps({"text": row}).encode() for row in ROWS]
    lines[3] = b'{"text": null}'  # line 4
    return b"\n".join(lines) + b"\n"


BAD_ROWS: dict[str, tuple[str, Callable[[], bytes], str, int]] = {
    "bad UTF-8 on line 7": ("in.csv", bad_utf8, "in.csv line 7: not UTF-8 (byte 0xe9", 5),
    "broken JSON on line 9": ("in.jsonl", broken_json, "in.jsonl line 9: broken JSON", 8),
    "a null on line 4": ("in.jsonl", null_texts, "in.jsonl line 4: column 'text' is null", 3),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_bad_row_stops_the_run(cli: Cli, ref: str, here: Path, case: str) -> None:
    name, make, told, before = BAD_ROWS[case]
    Path(name).write_bytes(make())
    done = cli("classify", name, "--model", ref, "--output", "out.jsonl")
    is_one_line(done, 3, told)
    assert f"; the {before} rows before it are in {here / 'out.jsonl.partial'}" in done.err
    assert done.out == b""
    assert sorted(os.listdir()) == sorted([name, "out.jsonl.partial"])
    assert [one["text"] for one in records(Path("out.jsonl.partial"))] == ROWS[:before]


@pytest.mark.parametrize("case", BAD_ROWS)
def test_skipped_a_bad_row_is_kept_beside_the_rest(cli: Cli, ref: str, here: Path, case: str) -> None:
    name, make, told, before = BAD_ROWS[case]
    Path(name).write_bytes(make())
    done = cli("classify", name, "--model", ref, "--output", "out.jsonl", "--on-error", "skip")
    assert (done.status, done.out) == (0, b"")
    assert done.err == "tonewise: 1 rows were skipped: they are in out.jsonl.errors.jsonl\n"
    answered = [one["text"] for one in records(Path("out.jsonl"))]
    assert answered[:before] == ROWS[:before]
    assert answered[before:] == ROWS[-len(answered) + before :]
    assert len(answered) in (11, 12)
    (error,) = records(Path("out.jsonl.errors.jsonl"))
    assert told.startswith(f"{error['where']}: ")
    assert error["code"] == "bad_input"
    assert not Path("out.jsonl.partial").exists()


def test_skipped_without_an_output_they_are_told(cli: Cli, ref: str, here: Path) -> None:
    Path("in.jsonl").write_bytes(broken_json())
    done = cli("classify", "in.jsonl", "--model", ref, "--on-error", "skip")
    assert (done.status, done.out.count(b"\n")) == (0, 11)
    assert done.err.startswith("tonewise: 1 rows were skipped: in.jsonl line 9: broken JSON")


def test_a_bad_row_of_a_pipe_leaves_the_rows_before_it(cli: Cli, ref: str, here: Path) -> None:
    Path("in.jsonl").write_bytes(broken_json())
    done = cli("classify", "in.jsonl", "--model", ref)
    is_one_line(done, 3, "in.jsonl line 9: broken JSON")
    assert [json.loads(line)["text"] for line in done.out.splitlines()] == ROWS[:8]


def write_csv() -> None:
    Path("in.csv").write_text("id,review,stars\n1,so sad,5\n")


def corrupt_parquet() -> None:
    Path("in.parquet").write_bytes(b"PAR1" + b"\0" * 100 + b"PAR1")


INPUTS: dict[str, tuple[Callable[[], object], list[str], str]] = {
    "a wrong column": (
        write_csv,
        ["in.csv", "--text-column", "body"],
        "in.csv: no column 'body'; columns are id, review, stars (name one with --text-column)",
    ),
    "an empty file": (lambda: Path("in.csv").touch(), ["in.csv"], "in.csv: the file is empty"),
    "only a mark": (
        lambda: Path("in.csv").write_bytes(b"\xef\xbb\xbf"),
        ["in.csv"],
        "in.csv: no header line",
    ),
    "a missing file": (lambda: None, ["in.csv"], "in.csv: no such file"),
    "a glob of nothing": (lambda: None, ["*.csv"], "*.csv: no file matches"),
    "a folder": (
        lambda: Path("in").mkdir(),
        ["in/"],
        "in/ is a folder; name the files in it, e.g. 'in/*.csv'",
    ),
    "a folder like a file": (lambda: Path("in.csv").mkdir(), ["in.csv"], "in.csv is a folder"),
    "an unknown format": (
        lambda: Path("in.xyz").write_text("a"),
        ["./in.xyz"],
        "name one with --input-format",
    ),
    "a corrupt Parquet": (corrupt_parquet, ["in.parquet"], "in.parquet: "),
    "text called Parquet": (
        lambda: Path("in.parquet").write_text("a,b\n"),
        ["in.parquet"],
        "in.parquet: corrupt",
    ),
    "text called gzip": (
        lambda: Path("in.csv.gz").write_text("text\na\n"),
        ["in.csv.gz"],
        "broken gzip file",
    ),
    "no JSON at all": (
        lambda: Path("in.jsonl").write_text("a,b\n1,2\n"),
        ["in.jsonl"],
        "no JSON object or string",
    ),
    "half a surrogate": (lambda: None, ["so \udcff"], "text 1: the text holds a lone surrogate"),
}


@pytest.mark.parametrize("case", INPUTS)
@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_an_input_that_cannot_be_used_is_one_line(
    cli: Cli, ref: str, here: Path, case: str, on_error: str
) -> None:
    prepare, arguments, told = INPUTS[case]
    if "parquet" in arguments[0]:
        pytest.importorskip("pyarrow")
    prepare()
    before = sorted(os.listdir())
    done = cli("classify", *arguments, "--model", ref, "--output", "out.jsonl", "--on-error", on_error)
    if case == "half a surrogate" and on_error == "skip":
        assert (done.status, len(records(Path("out.jsonl.errors.jsonl")))) == (0, 1)
        return
    is_one_line(done, 3, told)
    assert done.out == b""
    assert sorted(os.listdir()) == before


# Models.


@pytest.fixture
def own(model: MakeModel, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model(), tmp_path / "model"))


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def garble(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\xff" * 5000)


def configure(**values: Any) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def without_tokenizer(folder: Path) -> None:
    (folder / "vocab.txt").unlink()


def emptied(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def half_a_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": ')


MODELS: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut safetensors": (cut, "model.safetensors is not a whole safetensors file"),
    "garbled safetensors": (garble, "model.safetensors is not a whole safetensors file"),
    "another architecture": (
        configure(model_type="gpt2", architectures=["GPT2ForSequenceClassification"]),
        "model_type 'gpt2' is not supported; supported: ",
    ),
    "another architecture's name": (
        configure(model_type="bert", architectures=["BertForSequenceClassification"]),
        "config.json",
    ),
    "another size": (configure(dim=64), "config.json tells of"),
    "another count of labels": (configure(id2label={"0": "a", "1": "b"}), "has 2 labels but 3 outputs"),
    "a pickle": (
        pickled,
        "no model.safetensors; it has pytorch_model.bin (pickle: can run code when opened)",
    ),
    "no tokenizer": (without_tokenizer, "no tokenizer.json and no vocab.txt"),
    "half a config": (half_a_config, "config.json cannot be read: "),
    "an empty folder": (emptied, "it has no weights at all"),
    "no folder": (shutil.rmtree, "there is no folder"),
}


@pytest.mark.parametrize("case", MODELS)
def test_a_model_that_cannot_be_used_is_one_line(cli: Cli, own: Path, here: Path, case: str) -> None:
    spoil, told = MODELS[case]
    spoil(own)
    before = sorted(os.listdir())
    done = cli("classify", "so sad", "--model", own, "--output", "out.jsonl")
    is_one_line(done, 4, told)
    assert done.out == b""
    assert sorted(os.listdir()) == before


# Outputs.


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("none/out.jsonl", "cannot write none/out.jsonl: there is no folder none"),
        ("file.txt/out.jsonl", "cannot write file.txt/out.jsonl: not a directory"),
        ("folder.jsonl", "cannot write folder.jsonl: it is a folder; name a file in it"),
        (f"{'x' * 300}.jsonl", "file name too long"),
        ("/dev/full", "cannot write /dev/full: the disk is full"),
    ],
)
def test_an_output_that_cannot_be_written_is_one_line(
    cli: Cli, ref: str, here: Path, output: str, told: str
) -> None:
    (here / "file.txt").write_text("so sad\n")
    (here / "folder.jsonl").mkdir()
    before = sorted(os.listdir())
    done = cli("classify", "file.txt", "--model", ref, "--output", output, "--output-format", "jsonl")
    is_one_line(done, 7, told)
    assert done.out == b""
    assert sorted(os.listdir()) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_one_line(cli: Cli, ref: str, here: Path) -> None:
    (here / "kept").mkdir(mode=0o500)
    done = cli("classify", "so sad", "--model", ref, "--output", "kept/out.jsonl")
    is_one_line(done, 7, "cannot write kept/out.jsonl: permission denied")


def test_a_disk_that_fills_up_leaves_whole_rows_under_another_name(spawn: Cli, ref: str, here: Path) -> None:
    Path("in.txt").write_text("".join(f"i am happy {i}\n" for i in range(5000)))

    def small_files_only() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))

    arguments = ["classify", "in.txt", "--model", ref, "--engine", "stub", "--output", "out.jsonl"]
    done = spawn(*arguments, preexec_fn=small_files_only)
    is_one_line(done, 7, "cannot write out.jsonl: file too large; the ")
    assert sorted(os.listdir()) == ["in.txt", "out.jsonl.partial"]
    left = records(Path("out.jsonl.partial"))
    assert [one["id"] for one in left] == list(range(1, len(left) + 1))
    assert f"the {len(left)} rows before it are in {here / 'out.jsonl.partial'}" in done.err
    assert 500 < len(left) < 5000


@pytest.mark.parametrize("output", ["out.csv", "out.parquet"])
def test_a_clash_of_names_is_an_error_before_the_first_row(
    cli: Cli, ref: str, here: Path, output: str
) -> None:
    pytest.importorskip("pyarrow")
    Path("in.csv").write_text("text,label\nso sad,x\n")
    done = cli("classify", "in.csv", "--model", ref, "--output", output)
    is_one_line(done, 3, "the input has a column 'label', the answer's own; rename it in the input")
    assert os.listdir() == ["in.csv"]


def test_a_missing_extra_says_what_to_install(
    cli: Cli, ref: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    Path("in.parquet").write_bytes(b"PAR1")
    is_one_line(cli("classify", "in.parquet", "--model", ref), 8, "run: pip install 'tonewise[parquet]'")
    is_one_line(
        cli("classify", "a", "--model", ref, "-o", "out.parquet"), 8, "pip install 'tonewise[parquet]'"
    )
    assert os.listdir() == ["in.parquet"]
