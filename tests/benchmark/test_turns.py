"""Processes that measure: what they are told, and how their ends are read."""

import io
import json
from pathlib import Path

import pytest

from tests.doubles import MakeModel
from tonewise.benchmark.turns import LONGEST_REASON, Combination, Turns, _why_it_ended
from tonewise.config import Config
from tonewise.engines import choose_threads
from tonewise.errors import EngineError


@pytest.fixture
def turns(tmp_path: Path) -> Turns:
    return Turns(Config(), ["so happy"], tmp_path, 0.01)


def test_an_error_is_told_as_the_room_told_it(turns: Turns, model: MakeModel) -> None:
    found = turns.prepare(Combination(str(model()), "reference", "int8"))
    assert found.error is not None
    assert found.error.startswith("the reference engine has no int8; ")


def test_a_process_that_breaks_is_an_error_with_its_last_words(turns: Turns, model: MakeModel) -> None:
    with pytest.raises(EngineError, match=r"^its process ended with status 1: KeyError: 'nonsense'$"):
        turns._run("nonsense", Combination(str(model()), "stub", "fp32"), 1)


def test_a_process_finds_modules_where_this_one_does_and_not_in_the_working_folder(
    turns: Turns, model: MakeModel, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "numpy.py").write_text("raise SystemExit('the wrong numpy')")
    extra = here / "extra"
    extra.mkdir()
    (extra / "sitecustomize.py").write_text("print('a word on stdout')")
    monkeypatch.syspath_prepend(str(extra))
    found = turns.prepare(Combination(str(model()), "stub", "fp32"))
    assert found.error is None
    assert len(found.answered["answers"]) == 1
    assert found.first_start_seconds > 0.05


def test_the_task_has_the_settings_and_the_streams(turns: Turns, tmp_path: Path, model: MakeModel) -> None:
    turns.prepare(Combination(str(model()), "stub", "fp32"))
    task = json.loads((tmp_path / "task.json").read_text())
    engine = task["config"]["engine"]
    assert (engine["engine"], engine["precision"], engine["streams"]) == ("stub", "fp32", turns.streams)
    assert turns.streams == turns.threads == choose_threads(None)


def test_the_end_of_a_process_is_told_in_one_short_line() -> None:
    assert _why_it_ended(-9, io.BytesIO()) == "its process ended with signal 9 (out of memory?)"
    assert _why_it_ended(-11, io.BytesIO(b"a\nb \xff\n\n")) == "its process ended with signal 11: b \ufffd"
    told = _why_it_ended(1, io.BytesIO(b"x" * 1000))
    assert (len(told), told[-1]) == (LONGEST_REASON, "…")
