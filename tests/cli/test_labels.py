"""Label options and labelled files, as all commands about labelled texts take them."""

from pathlib import Path

import click
import pytest

from tonewise.cli.commands.group import label_options, labelled_file_options
from tonewise.cli.labels import labels_of, read_files
from tonewise.config import load_config
from tonewise.errors import ConfigError
from tonewise.source.labelled import Labels


def told(*arguments: str) -> Labels:
    found: list[Labels] = []

    @click.command()
    @label_options
    def command(**options: object) -> None:
        found.append(labels_of(options))

    command.main(list(arguments), standalone_mode=False)
    return found[0]


def test_options_become_labels() -> None:
    assert told() == Labels()
    assert told("--label-column", "a", "--label-separator", ";", "--labels", "x, y,z") == Labels(
        "a", None, ";", ("x", "y", "z")
    )
    assert told("--label-columns", "p,q") == Labels(label_columns=("p", "q"))
    assert told("--multi-label").multi_label is True
    assert told("--single-label").multi_label is False
    with pytest.raises(ConfigError, match="give one of them"):
        told("--label-column", "a", "--label-columns", "p,q")


def test_options_about_files_are_settings() -> None:
    @click.command()
    @labelled_file_options
    def command(**options: object) -> None:
        load_config({name: "1" for name in options if name in ("text_column", "encoding", "delimiter")})
        load_config(options)

    command.main([], standalone_mode=False)


def test_skipped_rows_are_counted_on_stderr(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "a.csv").write_text("text,label\na,x\nb,\nc,y\n")
    found = read_files(["a.csv"], load_config({"on_error": "skip"}), Labels())
    assert found.names == ("x", "y")
    wanted = (
        "tonewise: rows skipped: 1; the first: a.csv line 3: column 'label' is empty; a label is wanted\n"
    )
    assert capsys.readouterr() == ("", wanted)
