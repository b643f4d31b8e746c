"""`audit`: what it shows, writes and refuses."""

import csv
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.doubles import MakeModel
from tests.evaluate.test_audit import rows


@pytest.fixture
def base(model: MakeModel) -> str:
    return str(model(hidden=64, layers=1))


@pytest.fixture
def files(here: Path) -> Path:
    made = [*rows(), rows()[0], {**rows()[1], "label": "sadness"}, {"text": " ", "label": "joy"}]
    (here / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))
    (here / "held.csv").write_text(f"text,label\nnew,joy\n{rows()[5]['text']},joy\n")
    (here / "one.csv").write_text("text,label\n" + "".join(f"happy {i},joy\n" for i in range(9)))
    (here / "two.csv").write_text("text,label\nhappy,joy\nsad,sadness\n")
    (here / "blank.csv").write_text("text,label\n" + '" ",joy\n"",sadness\n' * 9)
    (here / "four.csv").write_text("text,label\n" + "happy,joy\nsad,sadness\nbad,sadness\nlove,joy\n" * 2)
    (here / "ids.csv").write_text("text,label\n" + "".join(f"happy {i},{i}\n" for i in range(99)))
    (here / "folder.csv").mkdir()
    return here


def test_each_kind_has_its_table(cli: Cli, base: str, files: Path) -> None:
    done = cli("audit", "train.jsonl", "--validation", "held.csv", "--base", base, "--rows", 1)
    assert (done.status, done.err) == (0, "")
    lines = done.text.splitlines()
    assert lines[0] == "147 rows, 2 labels"
    assert lines[1].startswith(f"label errors by vectors of {base}, which tell ")
    at = lines.index("rows whose text stands with another label too: 2 (the first 1)")
    assert lines[at + 1].split() == ["where", "the", "other", "label", "text"]
    assert lines[at + 2].split()[:6] == ["train.jsonl", "line", "2", "train.jsonl", "line", "146"]
    at = lines.index("validation rows whose text is among the others: 1")
    assert lines[at + 2].startswith("held.csv line 3  train.jsonl line 6  joy    ")
    at = lines.index("empty texts: 1")
    assert lines[at + 2].split() == ["train.jsonl", "line", "147", "joy"]
    assert max(map(len, lines[2:])) <= 120


def test_json_and_files_hold_the_same_rows(cli: Cli, base: str, files: Path) -> None:
    command = ("audit", "train.jsonl", "--base", base)
    done = cli(*command, "--json", "--rows", 1, "--output", "all.jsonl")
    told = json.loads(done.text)
    assert told["rows"] == 147
    lines = [json.loads(line) for line in Path("all.jsonl").read_text().splitlines()]
    assert len(lines) == sum(told["counts"].values())
    assert len(told["suspects"]) == sum(count > 0 for count in told["counts"].values())
    assert told["suspects"][0] in lines
    assert cli(*command, "-o", "all.csv").status == 0
    with open("all.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["where"] for row in table] == [line["where"] for line in lines]
    assert [row["labels"] for row in table] == [", ".join(line["labels"]) for line in lines]
    assert table[0].keys() == lines[0].keys()


def test_no_rows_leave_the_counts(cli: Cli, base: str, files: Path) -> None:
    done = cli("audit", "train.jsonl", "--base", base, "--rows", 0)
    assert "rows that repeat a text and its label: 1" in done.text.splitlines()
    assert "where" not in done.text


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("one.csv", "fatal: all 9 rows have the same label (joy); two are the least"),
        ("ids.csv", "fatal: 99 different labels in 99 rows: is column 'label' an id or a text?"),
        ("two.csv", "fatal: in 2 rows no label of column 'label' occurs twice; give 2 rows of each or more"),
        ("blank.csv", "fatal: all 18 texts are empty; name the column that holds them with --text-column"),
    ],
)
def test_what_is_fatal_to_training_is_shown(cli: Cli, base: str, files: Path, name: str, told: str) -> None:
    done = cli("audit", name, "--base", base)
    assert done.status == 0
    assert done.text.splitlines()[1].startswith(told)
    why = "see what is fatal, for which `tonewise train` refuses such a set"
    assert f"label errors were not looked for: {why}" in done.text.splitlines()


def test_few_texts_are_looked_over_as_far_as_they_can_be(cli: Cli, base: str, files: Path) -> None:
    done = cli("audit", "four.csv", "--base", base)
    assert (done.status, done.err) == (0, "")
    lines = done.text.splitlines()
    assert lines[:2] == [
        "8 rows, 2 labels",
        "label errors were not looked for: 4 different texts cannot make 5 folds",
    ]
    assert "rows that repeat a text and its label: 4" in lines
    told = json.loads(cli("audit", "four.csv", "--base", base, "--json").text)
    assert (told["agreement"], told["unjudged"]) == (None, "4 different texts cannot make 5 folds")


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (
            ("train.jsonl", "--output", "x.txt"),
            2,
            "tonewise: x.txt: its name tells no format; wanted: a name in",
        ),
        (("gone.csv", "-o", "held.csv/x.csv"), 7, "tonewise: cannot write held.csv/x.csv: "),
        (("gone.csv", "-o", "folder.csv"), 7, "tonewise: cannot write folder.csv: is a directory"),
        (("train.jsonl", "--rows", "-1"), 2, "tonewise: rows is -1; the least is 0"),
        (
            ("train.jsonl", "--label-column", "mood"),
            3,
            "tonewise: train.jsonl: no label column 'mood'; columns",
        ),
        (
            ("train.jsonl", "--labels", "joy,anger"),
            3,
            "tonewise: train.jsonl line 73: label 'sadness' is not",
        ),
        (("gone.csv",), 3, "tonewise: gone.csv: no such file"),
        (("train.jsonl", "--base", "no-such"), 4, "tonewise: no model is called 'no-such'"),
        ((), 2, "tonewise: Missing argument 'FILE…'"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_line(
    cli: Cli, files: Path, arguments: tuple[str, ...], status: int, told: str
) -> None:
    done = cli("audit", *arguments)
    assert (done.status, done.text) == (status, "")
    assert done.err.startswith(told)
    assert done.err.count("\n") == 1
