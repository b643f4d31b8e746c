"""`tonewise classify`: what an argument means, each input and output, what is said beside the answers."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.doubles import MakeModel
from tonewise import Classifier
from tonewise.cli.classify import is_file_argument
from tonewise.config import EngineConfig
from tonewise.errors import EngineError

TEXTS = ["i am happy", "so sad", "love the food"]


@pytest.fixture
def ref(model: MakeModel) -> str:
    return str(model())


def records(out: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.decode().splitlines()]


def texts_of(out: bytes) -> list[str]:
    return [one["text"] for one in records(out)]


# What an argument means.


@pytest.mark.parametrize(
    "argument",
    [
        "*.csv",
        "data/x.csv",
        "reviews.csv",
        "a/b",
        "-",
        "x.JSONL",
        "x.csv.gz",
        "x.parquet",
        "data*",
        "part-0?.txt",
        "part?of",
        "[ab].tsv",
        "../x",
        "my reviews.csv",
        "no such folder/x",
    ],
)
def test_what_looks_like_a_file_is_one(argument: str) -> None:
    assert is_file_argument(argument)


@pytest.mark.parametrize(
    "argument",
    [
        "How are you?",
        "why?",
        "what?!",
        "really??",
        "i am happy",
        "happy",
        "",
        " ",
        "2 * 3 = 6",
        "see [1]",
        "5.5",
        "wow!",
        "ok.",
        "why? because",
        "日本語",
        "e.g. this",
        "--",
    ],
)
def test_what_does_not_is_a_text(argument: str) -> None:
    assert not is_file_argument(argument)


def test_text_forces_a_text(cli: Cli, ref: str, here: Path) -> None:
    arguments = ["reviews.csv", "a/b", "-", "*"]
    done = cli("classify", "--text", "--model", ref, "--", *arguments)
    assert (done.status, texts_of(done.out)) == (0, arguments)


def test_files_and_texts_are_not_mixed(cli: Cli, ref: str, here: Path) -> None:
    done = cli("classify", "i am happy", "reviews.csv", "--model", ref)
    assert done.status == 2
    assert "'reviews.csv' looks like a file and 'i am happy' like a text" in done.err
    assert "--text" in done.err


@pytest.mark.parametrize("argument", ["love/hate it is", "*sigh*"])
def test_a_file_that_is_missing_may_have_been_meant_as_a_text(cli: Cli, here: Path, argument: str) -> None:
    done = cli("classify", argument)
    assert (done.status, done.out) == (3, b"")
    assert f"; if '{argument}' is a text, add --text\n" in done.err
    assert "--text" not in cli("classify", "reviews.csv").err


def test_what_an_argument_means_does_not_depend_on_the_files_that_are_there(
    cli: Cli, ref: str, here: Path
) -> None:
    (here / "happy").write_text("so sad\n")
    assert texts_of(cli("classify", "happy", "--model", ref).out) == ["happy"]


# Inputs.


def test_texts_are_answered_as_records(cli: Cli, ref: str, model: MakeModel) -> None:
    done = cli("classify", *TEXTS, "--model", ref)
    assert (done.status, done.err) == (0, "")
    with Classifier.load(model()) as classifier:
        answers, digest = classifier.classify(TEXTS), classifier.bundle.digest
    for i, (one, answer) in enumerate(zip(records(done.out), answers, strict=True)):
        own = one["predictions"]["label"]
        assert own.pop("scores") == pytest.approx(answer.scores, abs=1e-5)
        assert own == {
            "label": answer.label,
            "score": pytest.approx(answer.score, abs=1e-5),
            "abstained": False,
        }
        one.pop("predictions")
        assert one == {
            "id": i + 1,
            "text": TEXTS[i],
            "fields": {},
            "n_tokens": answer.n_tokens,
            "truncated": False,
            "model": {"ref": ref, "digest": digest},
        }


def write_inputs(folder: Path) -> dict[str, str]:
    """The same three texts in every format that needs no extra."""
    quoted = "".join(f'"{text}",{i}\n' for i, text in enumerate(TEXTS))
    contents = {
        "in.csv": f"text,n\n{quoted}",
        "in.tsv": "text\tn\n" + "".join(f"{text}\t{i}\n" for i, text in enumerate(TEXTS)),
        "in.json": json.dumps([{"text": text, "n": i} for i, text in enumerate(TEXTS)]),
        "in.jsonl": "".join(json.dumps({"text": text, "n": i}) + "\n" for i, text in enumerate(TEXTS)),
        "in.txt": "".join(f"{text}\n" for text in TEXTS),
    }
    for name, content in contents.items():
        (folder / name).write_text(content)
    (folder / "in.csv.gz").write_bytes(gzip.compress(contents["in.csv"].encode()))
    return contents


@pytest.mark.parametrize("name", ["in.csv", "in.tsv", "in.json", "in.jsonl", "in.txt", "in.csv.gz"])
def test_every_format_is_read(cli: Cli, ref: str, here: Path, name: str) -> None:
    write_inputs(here)
    done = cli("classify", name, "--model", ref)
    assert (done.status, done.err, texts_of(done.out)) == (0, "", TEXTS)
    fields = [one["fields"] for one in records(done.out)]
    numbers = [[], [0, 1, 2], ["0", "1", "2"]]
    assert [value for field in fields for value in field.values()] in numbers


def test_parquet_is_read_and_written(cli: Cli, ref: str, here: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"text": TEXTS, "n": [0, 1, 2]}), "in.parquet")
    done = cli("classify", "in.parquet", "--model", ref, "--output", "out.parquet")
    assert (done.status, done.out, done.err) == (0, b"", "")
    table = parquet.read_table("out.parquet")
    assert table.column_names == ["text", "n", "label", "label_score"]
    assert table["text"].to_pylist() == TEXTS


def test_several_files_and_globs_are_read_as_one(cli: Cli, ref: str, here: Path) -> None:
    for name, text in (("b.txt", "so sad"), ("a.txt", "i am happy"), ("c.log", "love")):
        (here / name).write_text(f"{text}\n")
    assert texts_of(cli("classify", "*.txt", "--model", ref).out) == ["i am happy", "so sad"]
    done = cli("classify", "b.txt", "a.txt", "--model", ref)
    assert [(one["id"], one["text"]) for one in records(done.out)] == [(1, "so sad"), (2, "i am happy")]


@pytest.mark.parametrize("arguments", [["-"], []])
def test_stdin_is_read(cli: Cli, ref: str, arguments: list[str]) -> None:
    done = cli("classify", *arguments, "--model", ref, stdin=b"i am happy\n\nso sad")
    assert (done.status, texts_of(done.out)) == (0, ["i am happy", "", "so sad"])
    told = cli("classify", *arguments, "--model", ref, "--input-format", "csv", stdin=b"a;text\n1;so sad\n")
    assert (texts_of(told.out), records(told.out)[0]["fields"]) == (["so sad"], {"a": "1"})


def test_the_text_column_is_guessed_where_it_is_obvious(cli: Cli, ref: str, here: Path) -> None:
    (here / "a.csv").write_text("stars,Review\n5,i am happy\n")
    assert texts_of(cli("classify", "a.csv", "--model", ref).out) == ["i am happy"]
    (here / "b.csv").write_text("stars,words\n5,i am happy\n")
    done = cli("classify", "b.csv", "--model", ref)
    told = "tonewise: b.csv: no column 'text'; columns are stars, words (name one with --text-column)\n"
    assert (done.status, done.err) == (3, told)
    assert texts_of(cli("classify", "b.csv", "--text-column", "words", "--model", ref).out) == ["i am happy"]


def test_pairs_are_read_from_two_columns(cli: Cli, model: MakeModel, here: Path) -> None:
    (here / "a.csv").write_text("text,reply\ni am happy,so sad\n")
    done = cli("classify", "a.csv", "--text-pair-column", "reply", "--model", model("bert"))
    (one,) = records(done.out)
    assert (one["text"], one["text_pair"], one["n_tokens"]) == ("i am happy", "so sad", 8)


def test_encoding_delimiter_and_quoting_reach_the_reader(cli: Cli, ref: str, here: Path) -> None:
    (here / "a.csv").write_bytes("text#n\né so sad#1\n".encode("latin-1"))
    done = cli("classify", "a.csv", "--encoding", "latin-1", "--delimiter", "#", "--model", ref)
    assert texts_of(done.out) == ["é so sad"]
    (here / "a.tsv").write_text('text\tn\n"so\tsad"\t1\n')
    assert texts_of(cli("classify", "a.tsv", "--quoting", "--model", ref).out) == ["so\tsad"]


# Outputs.


def test_csv_has_the_inputs_columns_then_the_answers(cli: Cli, ref: str, here: Path) -> None:
    write_inputs(here)
    done = cli("classify", "in.csv", "--model", ref, "--output", "out.csv", "--scores")
    assert (done.status, done.out, done.err) == (0, b"", "")
    rows = list(csv.DictReader(io.StringIO((here / "out.csv").read_text())))
    scores = [f"label_score_{label}" for label in ("sadness", "joy", "anger")]
    assert list(rows[0]) == ["text", "n", "label", "label_score", *scores]
    assert [row["text"] for row in rows] == TEXTS
    for row in rows:
        best = max(scores, key=lambda name: float(row[name]))
        assert best == f"label_score_{row['label']}"
        assert row[best] == row["label_score"]


def test_what_was_written_can_be_read_again(cli: Cli, ref: str, here: Path) -> None:
    write_inputs(here)
    assert cli("classify", "in.csv", "--model", ref, "--output", "out.jsonl").status == 0
    again = cli("classify", "out.jsonl", "--model", ref)
    first = records((here / "out.jsonl").read_bytes())
    assert [one["predictions"] for one in records(again.out)] == [one["predictions"] for one in first]


def test_top_k_keeps_the_best_scores(cli: Cli, ref: str) -> None:
    whole = records(cli("classify", *TEXTS, "--model", ref).out)
    done = cli("classify", *TEXTS, "--model", ref, "--top-k", "2")
    for one, full in zip(records(done.out), whole, strict=True):
        ranked = sorted(full["predictions"]["label"]["scores"].items(), key=lambda item: -item[1])
        assert list(one["predictions"]["label"]["scores"].items()) == ranked[:2]


def test_a_table_is_shown_when_asked_for(cli: Cli, ref: str) -> None:
    done = cli("classify", *TEXTS, "--model", ref, "--output-format", "table")
    assert done.status == 0
    assert "\x1b" not in done.text
    for text in TEXTS:
        assert text in done.text


def test_a_dash_as_output_is_stdout(cli: Cli, ref: str) -> None:
    assert texts_of(cli("classify", "so sad", "--model", ref, "--output", "-").out) == ["so sad"]


def test_an_output_without_a_known_name_needs_a_format(cli: Cli, ref: str, here: Path) -> None:
    done = cli("classify", "so sad", "--model", ref, "--output", "out.xyz")
    assert done.status == 7
    assert "--output-format" in done.err
    assert cli("classify", "so sad", "--model", ref, "-o", "out.xyz", "--output-format", "jsonl").status == 0
    assert texts_of((here / "out.xyz").read_bytes()) == ["so sad"]


def test_an_input_is_never_overwritten(cli: Cli, ref: str, here: Path) -> None:
    before = write_inputs(here)["in.jsonl"]
    (here / "link.jsonl").symlink_to("in.jsonl")
    for output in ("in.jsonl", "./in.jsonl", "link.jsonl"):
        done = cli(
            "classify", "in.txt", "in.jsonl", "--input-format", "lines", "--model", ref, "--output", output
        )
        assert (done.status, done.out) == (2, b"")
        assert f"{Path(output)} is an input too" in done.err
        assert (here / "in.jsonl").read_text() == before


# What is said beside the answers.


def test_cut_texts_are_flagged_and_counted(cli: Cli, ref: str, here: Path) -> None:
    (here / "in.txt").write_text("so sad\ni am happy you are sad\nlove the food you are\n")
    done = cli("classify", "in.txt", "--model", ref, "--max-length", "6")
    assert [(one["n_tokens"], one["truncated"]) for one in records(done.out)] == [
        (4, False),
        (8, True),
        (7, True),
    ]
    assert done.status == 0
    assert done.err.startswith("tonewise: 2 of 3 texts were longer than 6 tokens and were cut")
    assert done.err.count("\n") == 1


def test_a_text_that_is_too_long_may_be_an_error_or_read_in_windows(cli: Cli, ref: str) -> None:
    arguments = ["classify", "so sad", "i am happy you are sad", "--model", ref, "--max-length", "6"]
    done = cli(*arguments, "--too-long", "error")
    assert done.status == 3
    assert done.err.startswith("tonewise: text 2: 8 tokens, where the model takes 6")
    window = cli(*arguments, "--too-long", "window", "--stride", "1", "--window-pooling", "max")
    assert (window.status, window.err) == (0, "")
    assert [(one["n_tokens"], one["truncated"]) for one in records(window.out)] == [(4, False), (8, False)]


def test_engine_precision_and_threads_are_told_in_the_runs_facts(cli: Cli, ref: str, here: Path) -> None:
    options = ["--precision", "int8", "--threads", "1", "--output", "out.jsonl", "--offline"]
    assert cli("classify", "so sad", "--model", ref, *options).status == 0
    facts = json.loads((here / "out.jsonl.run.json").read_text())
    assert facts["engine"] == {"name": "onnxruntime", "precision": "int8"}
    assert (facts["settings"]["engine"]["threads"], facts["settings"]["store"]["offline"]) == (1, True)
    assert cli("classify", "so sad", "--model", ref, "--engine", "reference", "-o", "out.jsonl").status == 0
    assert json.loads((here / "out.jsonl.run.json").read_text())["engine"]["name"] == "reference"


def test_the_packaged_model_is_the_default(cli: Cli) -> None:
    done = cli("classify", "i feel so happy and delighted today")
    (one,) = records(done.out)
    assert one["predictions"]["emotion"]["label"] == "joy"
    assert one["model"]["ref"] == "emotion"


def test_how_to_read_files_is_refused_for_texts(cli: Cli, ref: str) -> None:
    done = cli("classify", "so sad", "--model", ref, "--text-column", "review")
    assert (done.status, done.out) == (2, b"")
    assert done.err.startswith("tonewise: --text-column is about files, but the arguments are texts")


def test_a_setting_about_files_does_not_disturb_texts(cli: Cli, ref: str, here: Path) -> None:
    (here / "tonewise.toml").write_text(f'text_column = "review"\nmodel = "{ref}"\non_error = "skip"\n')
    done = cli("classify", "so sad")
    assert (done.status, done.err) == (0, "")
    assert records(done.out)[0]["model"]["ref"] == ref


def test_a_text_that_is_also_a_files_name_is_pointed_out(cli: Cli, ref: str, here: Path) -> None:
    (here / "notes").write_text("so sad\n")
    done = cli("classify", "notes", "--model", ref)
    assert texts_of(done.out) == ["notes"]
    assert done.err == "tonewise: 'notes' was taken as a text; for the file of that name write ./notes\n"
    assert cli("classify", "notes", "--model", ref, "--text").err == ""


def test_empty_texts_are_answered_and_counted(cli: Cli, ref: str, here: Path) -> None:
    (here / "a.csv").write_text("id,text\n1,\n2,so sad\n3,  \n")
    done = cli("classify", "a.csv", "--model", ref, "--output", "out.csv")
    assert done.err == "tonewise: 2 of 3 texts were empty, and were answered like any other\n"
    assert json.loads((here / "out.csv.run.json").read_text())["rows"]["empty"] == 2


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--stride", "8"], "--stride is about windows; add --too-long window"),
        (["--window-pooling", "max"], "--window-pooling is about windows"),
        (
            ["--tune", "--engine", "stub", "--precision", "fp32"],
            "--tune chooses engine or precision, but",
        ),
        (["--top-k", "2", "--output", "out.csv"], "--top-k keeps scores"),
    ],
)
def test_a_flag_without_effect_is_refused(
    cli: Cli, ref: str, here: Path, flags: list[str], told: str
) -> None:
    done = cli("classify", "so sad", "--model", ref, *flags)
    assert (done.status, done.out) == (2, b"")
    assert done.err.startswith(f"tonewise: {told}")
    assert list(here.iterdir()) == []


def engine_configs(monkeypatch: pytest.MonkeyPatch) -> list[EngineConfig]:
    """The settings with which an engine is chosen from now on; none is opened."""
    asked: list[EngineConfig] = []

    def choose(config: EngineConfig, *told: object) -> None:
        asked.append(config)
        raise EngineError("far enough")

    monkeypatch.setattr("tonewise.classifier.choose", choose)
    return asked


def test_a_large_file_is_worth_measuring_and_a_small_one_is_not(
    cli: Cli, ref: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = engine_configs(monkeypatch)
    (here / "small.jsonl").write_text('{"text": "so sad"}\n' * 100_000)  # 1.9 MB
    (here / "large.jsonl").write_text('{"text": "so sad"}\n' * 110_000)
    for arguments in (["small.jsonl"], ["large.jsonl"], ["small.jsonl", "--tune"], ["so sad"]):
        cli("classify", *arguments, "--model", ref, "--threads", "2")
    assert [(one.engine, one.tune, one.streams) for one in asked] == [
        ("auto", False, 2),
        ("auto", True, 2),
        ("auto", True, 2),
        ("onnxruntime", False, None),
    ]


def test_texts_go_to_the_engine_that_starts_soonest_unless_it_cannot_do_what_is_asked(
    cli: Cli, ref: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = engine_configs(monkeypatch)
    for options in (["--precision", "int8"], ["--precision", "bf16"], ["--device", "cuda"], ["--tune"]):
        cli("classify", "so sad", "--model", ref, *options)
    assert [one.engine for one in asked] == ["onnxruntime", "auto", "auto", "auto"]


@pytest.mark.parametrize(
    ("options", "told"),
    [([], True), (["--precision", "fp32"], False), (["--engine", "reference"], False)],
    ids=["auto", "named", "without int8"],
)
def test_a_long_run_without_int8_is_told_how_to_get_it(
    cli: Cli, ref: str, here: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], told: bool
) -> None:
    monkeypatch.setattr("tonewise.cli.classify.MANY", 3)
    (here / "a.jsonl").write_text('{"text": "so sad"}\n' * 3)
    done = cli("classify", "a.jsonl", "--model", ref, "--output", "out.csv", *options)
    hint = f"{ref} ran in fp32: it has no activation ranges for int8 (tonewise quantize {ref} "
    assert (done.status, done.err.startswith(f"tonewise: {hint}")) == (0, told)
    assert bool(done.err) is told
    (here / "a.jsonl").write_text('{"text": "so sad"}\n' * 2)
    assert cli("classify", "a.jsonl", "--model", ref, "--output", "out.csv", *options).err == ""
