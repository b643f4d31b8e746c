import json
from pathlib import Path

import pytest

from tonewise.errors import InputError, OutputError, RowError, TooLongError
from tonewise.sinks import ErrorsFile
from tonewise.source import Example


def test_skipped_rows_are_recorded_with_place_code_and_reason(tmp_path: Path) -> None:
    with ErrorsFile(tmp_path / "out.jsonl") as errors:
        errors.write(RowError("a.csv line 7", InputError("column 'text' is null")))
        errors.write(
            RowError("a.csv line 9", TooLongError("600 tokens")), Example("so long", id="x9", fields={"n": 1})
        )
        assert errors.partial_path == tmp_path / "out.jsonl.errors.jsonl.partial"
    lines = (tmp_path / "out.jsonl.errors.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"where": "a.csv line 7", "code": "bad_input", "reason": "column 'text' is null"},
        {
            "where": "a.csv line 9",
            "code": "too_long",
            "reason": "600 tokens",
            "id": "x9",
            "text": "so long",
            "fields": {"n": 1},
        },
    ]
    assert errors.rows_written == 2
    assert len(list(tmp_path.iterdir())) == 1


def test_without_errors_there_is_no_file_not_even_an_old_one(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl.errors.jsonl").write_text("old")
    with ErrorsFile(tmp_path / "out.jsonl"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_stop_leaves_the_errors_so_far(tmp_path: Path) -> None:
    errors = ErrorsFile(tmp_path / "out.csv")
    errors.write(RowError("a", InputError("b \ud83d")))
    errors.stop()
    assert errors.partial_path
    assert json.loads(errors.partial_path.read_text())["where"] == "a"
    assert not errors.path.exists()


def test_an_unwritable_place_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="there is no folder"):
        ErrorsFile(tmp_path / "no" / "out.csv").write(RowError("a", InputError("b")))
