"""`tonewise export`: one line of what was written, or one of why not."""

import os
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.doubles import MakeModel, write_bundle
from tonewise.store import HeadSpec


def test_the_line_tells_what_was_written_where_and_how_near_it_is(
    cli: Cli, model: MakeModel, here: Path
) -> None:
    done = cli("export", model(), "--to", "onnx", "--output", "a/out")
    assert (done.status, done.err) == (0, "")
    start = f"{model()} → a/out: onnx in fp32, 6 files, 0.1 MB; read again, at most "
    assert done.text.startswith(start)
    assert done.text.endswith(" from the oracle on 35 rows\n")
    assert done.text.count("\n") == 1
    written = {"README.md", "config.json", "model.onnx", "tokenizer_config.json", "tonewise-export.json"}
    assert set(os.listdir("a/out")) == written | {"vocab.txt"}


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["--to", "onnx"], 2, "Missing option '-o' / '--output'"),
        (["--output", "out"], 2, "Missing option '--to'"),
        (["--to", "pickle", "--output", "out"], 2, "no format 'pickle'; there are: transformers, onnx"),
        (["--to", "jax", "--precision", "int8", "--output", "out"], 2, "jax is not exported in int8"),
        (["--to", "onnx", "--precision", "int8", "--output", "out"], 4, "no activation ranges"),
        (["--to", "onnx", "--output", "full"], 7, "cannot write full: it is not empty; name a new folder"),
        (["--to", "onnx", "--output", "full/mine/out"], 7, "cannot write full/mine/out: not a directory"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(
    cli: Cli, model: MakeModel, here: Path, arguments: list[str], status: int, told: str
) -> None:
    (here / "full").mkdir()
    (here / "full" / "mine").write_text("kept")
    done = cli("export", model(), *arguments)
    assert (done.status, done.out) == (status, b"")
    assert done.err.startswith("tonewise: ")
    assert told in done.err
    assert done.err.count("\n") == 1
    assert sorted(str(path.relative_to(here)) for path in here.rglob("*")) == ["full", "full/mine"]


def test_a_licence_is_accepted_by_name(cli: Cli, model: MakeModel, here: Path) -> None:
    folder = write_bundle(here / "b", model(), {"own": HeadSpec(("a", "b"), "own")}, licence="other")
    command = ("export", folder, "--to", "onnx", "--output", "out")
    assert cli(*command).status == 5
    assert cli(*command, "--accept-licences", "other").status == 0
