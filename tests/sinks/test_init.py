import io
from pathlib import Path

import pytest

from tonewise.config import OutputFormat, SinkConfig
from tonewise.errors import OutputError
from tonewise.sinks import open_sink, output_format_of

from .answers import MOOD


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.jsonl", "jsonl"),
        ("A.NDJSON.gz", "jsonl"),
        ("a.csv", "csv"),
        ("a.csv.gz", "csv"),
        ("a.parquet", "parquet"),
    ],
)
def test_a_name_tells_the_format(name: str, kind: str) -> None:
    assert output_format_of(Path(name), SinkConfig()) == kind


@pytest.mark.parametrize("name", ["a.txt", "a", "a.json", "a.gz"])
def test_a_name_that_tells_none_is_an_error(name: str) -> None:
    with pytest.raises(OutputError, match=r"its name tells no format .* --output-format"):
        open_sink(Path(name), schema=MOOD)


def test_a_format_that_was_asked_for_goes_before_the_name(tmp_path: Path) -> None:
    with open_sink(tmp_path / "out.txt", SinkConfig(output_format="csv"), schema=MOOD):
        pass
    assert (tmp_path / "out.txt").read_text().startswith("id,text")


@pytest.mark.parametrize(("terminal", "kind"), [(True, "table"), (False, "jsonl")])
def test_stdout_is_a_table_on_a_terminal_and_jsonl_in_a_pipe(terminal: bool, kind: OutputFormat) -> None:
    class Stdout(io.BytesIO):
        def isatty(self) -> bool:
            return terminal

    assert output_format_of(None, SinkConfig(), Stdout()) == kind
    with open_sink(None, schema=MOOD, stdout=Stdout()):
        pass


def test_parquet_needs_a_file_and_no_packing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="Parquet is written to a file"):
        open_sink(None, SinkConfig(output_format="parquet"), schema=MOOD)
    with pytest.raises(OutputError, match="Parquet is packed already"):
        open_sink(tmp_path / "a.parquet.gz", schema=MOOD)
    with pytest.raises(OutputError, match="a table is not packed"):
        open_sink(tmp_path / "a.txt.gz", SinkConfig(output_format="table"), schema=MOOD)
