"""`evaluate`: tables, JSON and a page; and what it refuses in one line."""

import hashlib
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.doubles import MakeModel
from tests.evaluate.conftest import WRONG, N, gold_of, texts
from tests.models import LABELS
from tonewise import Classifier
from tonewise.benchmark import picture

STUB = ("--engine", "stub")


@pytest.fixture
def ref(model: MakeModel) -> str:
    return str(model())


@pytest.fixture
def files(here: Path, ref: str) -> Path:
    """`in.csv`, on which the stub errs WRONG times."""
    some = texts()
    with Classifier.load(ref, engine="stub") as classifier:
        gold = gold_of(classifier.classify(some))
    rows = [
        f"{text},{label},{'web' if i % 2 else 'mail'}\n"
        for i, (text, label) in enumerate(zip(some, gold, strict=True))
    ]
    (here / "in.csv").write_text("text,label,source\n" + "".join(rows))
    (here / "half.csv").write_text("text,label,source\n" + "".join(rows[:30]))
    (here / "other.csv").write_text("text,label\nso happy,glad\nso sad,sadness\n")
    (here / "null.csv").write_text("text,label\nso happy,joy\nso sad,\n")
    (here / "none.csv").write_text("text,stars\nso happy,5\n")
    (here / "two.csv").write_text('text,label\nso happy,"joy,anger"\nso sad,sadness\n')
    (here / "file").write_text("x")
    return here


def test_tables_tell_the_figures(cli: Cli, ref: str, files: Path) -> None:
    done = cli("evaluate", ref, "in.csv", *STUB, "--slice", "source", "--slice", "length", "--worst", "3")
    assert (done.status, done.err) == (0, "")
    lines = done.text.splitlines()
    assert f"{N} texts, 3 labels · stub in fp32" in lines[1]
    (accuracy,) = [line for line in lines if line.startswith("accuracy ")]
    assert "80.00%" in accuracy
    for told in ("macro F1", "AUROC, macro", "ECE", "Brier", "support", *LABELS, "source  web", "length  "):
        assert told in done.text
    assert sum("in.csv line" in line for line in lines) == 3
    assert max(map(len, lines)) <= 120
    assert "1,000 bootstrap samples" in lines[-1]


def test_json_holds_what_the_tables_do_and_the_file_it_is_of(cli: Cli, ref: str, files: Path) -> None:
    command = ("evaluate", ref, "in.csv", *STUB, "--draws", "20", "--json")
    told = json.loads(cli(*command).out)
    assert told["figures"]["accuracy"]["value"] == pytest.approx(1 - WRONG / N)
    digest = hashlib.sha256((files / "in.csv").read_bytes()).hexdigest()
    assert told["data"]["files"] == {"in.csv": digest}
    assert (told["model"]["engine"], told["model"]["precision"], told["made"]["draws"]) == (
        "stub",
        "fp32",
        20,
    )
    other = json.loads(cli(*command, "--seed", "1").out)
    assert other["figures"]["accuracy"]["interval"] != told["figures"]["accuracy"]["interval"]


def test_several_files_and_stdin_are_one_set(cli: Cli, ref: str, files: Path) -> None:
    (files / "rest.csv").write_text("text,label,source\n" + "".join(_lines(files / "in.csv")[31:]))
    both = json.loads(cli("evaluate", ref, "half.csv", "rest.csv", *STUB, "--draws", "5", "--json").out)
    assert set(both["data"]["files"]) == {"half.csv", "rest.csv"}
    whole = (files / "in.csv").read_bytes()
    command = ("evaluate", ref, "-", "--input-format", "csv", *STUB, "--draws", "5", "--json")
    piped = json.loads(cli(*command, stdin=whole).out)
    assert piped["data"]["files"] == {}
    assert piped["figures"] == both["figures"]
    assert piped["data"]["fingerprint"] == both["data"]["fingerprint"]


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines(keepends=True)


def test_a_folder_gets_the_page_and_the_json(cli: Cli, ref: str, files: Path) -> None:
    pytest.importorskip("matplotlib")
    done = cli("evaluate", ref, "in.csv", *STUB, "--draws", "5", "--json", "--output", "new/out")
    assert done.status == 0
    out = files / "new" / "out"
    assert sorted(path.name for path in out.iterdir()) == ["evaluation.json", "report.html"]
    assert (out / "evaluation.json").read_bytes() == done.out
    assert (out / "report.html").read_text("utf-8").startswith("<!doctype html>")


def test_a_folder_that_holds_the_report_of_something_else_is_refused(
    cli: Cli, ref: str, model: MakeModel, files: Path
) -> None:
    pytest.importorskip("matplotlib")
    command = ("evaluate", ref, "in.csv", *STUB, "--draws", "5", "-o", "out")
    assert cli(*command).status == 0
    assert cli(*command, "--worst", "1", "--head", "label").status == 0
    before = {path.name: path.read_bytes() for path in (files / "out").iterdir()}
    other = model("distilbert", seed=2)
    piped = ("evaluate", ref, "-", "--input-format", "csv", *STUB, "-o", "out")
    for done in (
        cli("evaluate", other, "in.csv", *STUB, "-o", "out"),
        cli("evaluate", ref, "half.csv", *STUB, "-o", "out"),
        cli("evaluate", ref, "in.csv", "half.csv", *STUB, "-o", "out"),
        cli(*piped, stdin=(files / "in.csv").read_bytes()),
    ):
        told = "out holds evaluation.json of another model or other data; name another folder"
        assert (done.status, done.out, done.err) == (7, b"", f"tonewise: {told}\n")
    assert {path.name: path.read_bytes() for path in (files / "out").iterdir()} == before


@pytest.mark.parametrize("held", ["", "[]", '{"model": 7}', "{" * 9])
def test_a_report_that_nobody_can_tell_the_model_of_stays(cli: Cli, ref: str, files: Path, held: str) -> None:
    pytest.importorskip("matplotlib")
    (files / "out").mkdir()
    (files / "out" / ("evaluation.json" if held else "report.html")).write_text(held)
    (files / "out" / "notes.txt").write_text("mine")
    command = ("evaluate", ref, "in.csv", *STUB, "--draws", "5", "-o", "out")
    assert cli(*command).status == 7
    (files / "out" / ("evaluation.json" if held else "report.html")).unlink()
    assert cli(*command).status == 0
    assert (files / "out" / "notes.txt").read_text() == "mine"


def test_without_matplotlib_the_page_is_refused_before_anything_runs(
    cli: Cli, ref: str, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture, "find_spec", lambda name: None)
    done = cli("evaluate", ref, "missing.csv", "-o", "out")
    assert (done.status, done.err) == (
        8,
        "tonewise: matplotlib is not installed; run: pip install 'tonewise[plot]'\n",
    )
    assert not (files / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["missing.csv"], 3, "missing.csv: no such file"),
        (["none.csv"], 3, "none.csv: no label column 'label'; columns beside the text are stars"),
        (["in.csv", "--label-column", "x"], 3, "in.csv: no label column 'x'"),
        (["null.csv"], 3, "null.csv line 3: "),
        (["other.csv"], 3, "does not know the label 'glad' of the data; it has sadness, joy, anger, and"),
        (["two.csv", "--label-separator", ","], 3, "several labels a text, and the head gives one"),
        (["in.csv", "--slice", "sources"], 3, "no column 'sources' to slice by; there is source, length"),
        (["in.csv", "--head", "x"], 2, "no head 'x'; it has label"),
        (["in.csv", "--draws", "0"], 2, "draws is 0; the least is 1"),
        (["in.csv", "--worst", "-1"], 2, "worst is -1; the least is 0"),
        (["in.csv", "--seed", "-1"], 2, "seed is -1; the least is 0"),
        (["in.csv", "--map", "missing.json"], None, "missing.json"),
        (["in.csv", "-o", "file/out"], 7, "cannot write into file/out"),
        (["in.csv", "--precision", "int7"], 2, "precision cannot be 'int7'"),
        ([], 2, "Missing argument 'DATA…'"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    cli: Cli, ref: str, files: Path, arguments: list[str], status: int | None, told: str
) -> None:
    done = cli("evaluate", ref, *arguments, *STUB)
    assert done.status == status or (status is None and done.status > 0)
    assert done.out == b""
    assert done.err.startswith("tonewise: ")
    assert told in done.err
    assert done.err.count("\n") == 1


def test_rows_that_cannot_be_used_may_be_skipped(cli: Cli, ref: str, files: Path) -> None:
    done = cli("evaluate", ref, "null.csv", *STUB, "--on-error", "skip", "--draws", "5")
    assert done.status == 0
    assert "1 row was skipped; the first: null.csv line 3" in done.text
    done = cli("evaluate", ref, "other.csv", *STUB, "--on-error", "skip", "--draws", "5")
    assert done.status == 0
    assert (
        "1 row was skipped; the first: other.csv line 2: head 'label' does not know the label 'glad'"
        in done.text
    )


def test_json_tells_the_map(cli: Cli, ref: str, files: Path) -> None:
    mapping = {"sadness": "low", "joy": "glad", "anger": "low"}
    (files / "map.json").write_text(json.dumps(mapping))
    (files / "mapped.csv").write_text("text,label\nso happy,glad\nso sad,low\n")
    done = cli("evaluate", ref, "mapped.csv", *STUB, "--map", "map.json", "--draws", "5", "--json")
    model = json.loads(done.text)["model"]
    assert (model["map"], model["mapping"]) == ("map.json", mapping)
