"""`calibrate`: three lines at the end, a bundle that classifies, and what it refuses in one."""

import re
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.doubles import MakeModel
from tests.evaluate.conftest import gold_of, texts
from tonewise import Classifier
from tonewise.store import resolve

STUB = ("--engine", "stub")


@pytest.fixture
def ref(model: MakeModel) -> str:
    return str(model())


@pytest.fixture
def files(here: Path, ref: str) -> Path:
    some = texts()
    with Classifier.load(ref, engine="stub") as classifier:
        gold = gold_of(classifier.classify(some))
    rows = [f"{text},{label}\n" for text, label in zip(some, gold, strict=True)]
    (here / "in.csv").write_text("text,label\n" + "".join(rows))
    (here / "few.csv").write_text("text,label\n" + "".join(rows[:19]))
    (here / "other.csv").write_text("text,label\n" + "so happy,glad\nso sad,sadness\n" * 10)
    (here / "full").mkdir()
    (here / "full" / "file").write_text("x")
    return here


def test_three_lines_tell_where_it_is_and_what_it_brought(cli: Cli, ref: str, files: Path) -> None:
    done = cli("calibrate", ref, "in.csv", *STUB, "--output", "out")
    assert (done.status, done.err) == (0, "")
    where, refitted, measured = done.text.splitlines()
    bundle = resolve(Path("out"))
    assert where == f"out  {bundle.digest}"
    assert refitted == f"label: temperature 1 → {bundle.heads['label'].temperature:.4g}"
    figure = r"\d+\.\d\d% \(\d+\.\d – \d+\.\d\)"
    halves = r"fitted on (\d+) texts and measured on (\d+) others; what is written is fitted on all 60"
    found = re.fullmatch(rf"ECE {figure} → {figure}, macro F1 {figure} → {figure}: {halves}", measured)
    assert found
    assert int(found[1]) + int(found[2]) == 60
    assert cli("verify", "./out").status == 0
    assert cli("classify", "so happy", "--model", "./out").status == 0


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["in.csv", "-o", "full"], 7, "full is there already; name a folder that is not"),
        (["missing.csv", "-o", "full"], 7, "full is there already"),
        (["missing.csv", "-o", "out"], 3, "missing.csv: no such file"),
        (["few.csv", "-o", "out"], 3, "19 rows are too few to calibrate on; give at least 20"),
        (["other.csv", "-o", "out"], 3, "does not know the label 'glad' of the data"),
        (["in.csv", "-o", "out", "--head", "x"], 2, "no head 'x'; it has label"),
        (["in.csv", "-o", "out", "--label-column", "x"], 3, "no label column 'x'"),
        (["in.csv", "-o", "out", "--too-long", "window"], 2, "calibrate cannot fit too_long=window"),
        (["in.csv"], 2, "Missing option '-o' / '--output'"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(
    cli: Cli, ref: str, files: Path, arguments: list[str], status: int, told: str
) -> None:
    before = sorted(files.iterdir())
    done = cli("calibrate", ref, *arguments, *STUB)
    assert (done.status, done.out) == (status, b"")
    assert done.err.startswith("tonewise: ")
    assert told in done.err
    assert done.err.count("\n") == 1
    assert sorted(files.iterdir()) == before


def test_rows_that_were_skipped_are_told(cli: Cli, ref: str, files: Path) -> None:
    with (files / "in.csv").open("a") as file:
        file.write(f"{'very ' * 500},joy\n")
    done = cli(
        *("calibrate", ref, "in.csv", *STUB, "-o", "out"), *("--too-long", "error", "--on-error", "skip")
    )
    assert (done.status, done.err) == (0, "")
    assert done.text.splitlines()[3].startswith("1 row was skipped; the first: in.csv line 62: 502 tokens")


def test_the_help_does_not_offer_windows(cli: Cli) -> None:
    assert "truncate | error; what is fitted does not hold for windows" in " ".join(
        cli("calibrate", "--help").text.split()
    )
