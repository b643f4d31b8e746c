"""`compare`: what is shown and written, and what is refused before anything is measured."""

import json
from pathlib import Path

import pytest

from tests.benchmark.conftest import MadeUp, made_up
from tests.cli.conftest import Cli
from tests.doubles import MakeModel
from tonewise import Classifier

__all__ = ["made_up"]  # a fixture
FEELINGS = ("happy", "sad", "angry", "afraid", "good")
TEXTS = [f"{who} {what}" for who in ("i am", "they are not") for what in FEELINGS]


@pytest.fixture
def refs(model: MakeModel, here: Path) -> list[str]:
    """Two models, and `in.tsv` with what the first answers."""
    first, second = model("bert", seed=5), model("bert", seed=6)
    with Classifier.load(first, engine="reference") as classifier:
        rows = zip(TEXTS * 4, classifier.classify(TEXTS * 4), strict=True)
        lines = [f"{text}\t{answer.label}" for text, answer in rows]
    (here / "in.tsv").write_text("\n".join(["text\tmood", *lines]) + "\n")
    return [str(first), str(second)]


COMMAND = ("in.tsv", "--label-column", "mood", "--engine", "reference", "--rounds", "1", "--draws", "50")


def test_tables_tell_quality_cost_and_terms(cli: Cli, refs: list[str], made_up: MadeUp) -> None:
    done = cli("compare", *refs, *COMMAND, "--price", "3.6")
    assert (done.status, done.err) == (0, "")
    assert done.text.startswith("40 texts, ")
    assert "in.tsv · " in done.text.splitlines()[0]
    assert "beside the best" in done.text
    assert "100.0 to 100.0" in done.text
    assert "cost/million" in done.text
    assert "0.278" in done.text  # hours at 1,000 texts a second
    assert f"{refs[1]}: licence not stated" in done.text
    assert "McNemar" in done.text


def test_json_is_one_document_and_all_of_stdout(cli: Cli, refs: list[str], made_up: MadeUp) -> None:
    done = cli("compare", refs[1], *refs, *COMMAND, "--json", "--seed", "4")
    assert (done.status, done.err) == (0, "")
    table = json.loads(done.out)
    assert [row["ref"] for row in table["rows"]] == [refs[1], *refs]
    assert (table["best"], table["seed"], table["timed"]) == (1, 4, 40)
    assert table["rows"][0] | {"than_best": 0} == table["rows"][2] | {"than_best": 0}
    assert list(table["data"]["files"]) == ["in.tsv"]


def test_the_output_folder_gets_the_json_and_the_page(cli: Cli, refs: list[str], made_up: MadeUp) -> None:
    pytest.importorskip("matplotlib")
    done = cli("compare", *refs, *COMMAND, "--json", "--output", "a/b")
    assert done.status == 0
    assert Path("a/b/comparison.json").read_bytes() == done.out
    assert "<svg" in Path("a/b/compare.html").read_text("utf-8")


def test_a_folder_that_holds_the_report_of_something_else_is_refused(
    cli: Cli, refs: list[str], made_up: MadeUp
) -> None:
    pytest.importorskip("matplotlib")
    for _ in range(2):  # the same again replaces it
        assert cli("compare", *refs, *COMMAND, "--output", "a").status == 0
    before = Path("a/compare.html").read_bytes()
    Path("other.tsv").write_bytes(Path("in.tsv").read_bytes())
    made_up.asked.clear()
    for arguments in ((*refs[::-1], *COMMAND), (*refs, "other.tsv", *COMMAND[1:])):
        done = cli("compare", *arguments, "--output", "a")
        assert (done.status, done.out, made_up.asked) == (7, b"", [])
        assert "a holds comparison.json of another model or other data; name another folder" in done.err
    assert Path("a/compare.html").read_bytes() == before


def test_labels_are_mapped_for_the_models_that_are_named(
    cli: Cli, refs: list[str], made_up: MadeUp, model: MakeModel
) -> None:
    other = str(model("bert", seed=5, labels=("A", "B", "C")))
    Path("map.json").write_text('{"A": "sadness", "B": "joy", "C": "anger"}')
    done = cli("compare", refs[0], other, *COMMAND, "--json")
    assert done.status == 3
    assert f"--map {other}=FILE" in done.err
    done = cli("compare", refs[0], other, *COMMAND, "--json", "--map", f"{other}=map.json")
    assert [row["accuracy"]["value"] for row in json.loads(done.out)["rows"]] == [1, 1]


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["emotion", "in.tsv"], 2, "name two models or more, and a labelled file last: REF REF… DATA"),
        (["a", "b", "in.tsv", "--map", "c=x"], 2, "begins with none of the models (a, b); write REF=FILE"),
        (["a", "b", "none.tsv"], 3, "none.tsv: no such file"),
        (["a", "b", "in.tsv", "--label-column", "label"], 3, "in.tsv: no label column 'label'"),
        (["a", "emotion", "in.tsv", "--label-column", "mood"], 4, "no model is called 'a'"),
        (["a", "b", "in.tsv", "--rounds", "0"], 2, "rounds is 0; the least is 1"),
        (["a", "b", "in.tsv", "--label-column", "mood", "--seed", "-1"], 2, "seed is -1; the least is 0"),
        (["a", "b", "in.tsv", "--price", "-1"], 2, "price is -1.0; wanted: a number from 0 on"),
        (["a", "b", "in.tsv", "--output", "in.tsv"], 7, "cannot write into in.tsv: file exists"),
    ],
)
def test_what_cannot_be_done_is_one_line_before_speed_is_measured(
    cli: Cli, refs: list[str], made_up: MadeUp, arguments: list[str], status: int, told: str
) -> None:
    done = cli("compare", *arguments)
    assert (done.status, done.out, made_up.asked) == (status, b"", [])
    assert done.err.startswith("tonewise: ")
    assert told in done.err
    assert done.err.count("\n") == 1


def test_draws_under_one_are_refused(cli: Cli, refs: list[str], made_up: MadeUp) -> None:
    done = cli("compare", *refs, *COMMAND[:-1], "0")
    assert (done.status, made_up.asked) == (2, [])
    assert "draws is 0; the least is 1" in done.err
