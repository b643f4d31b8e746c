"""One head's set: read from whatever it is in, checked, and split from what it is measured on."""

import hashlib
import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.train.moods import some, tagged, write_tsv
from tonewise.config import Config, RunConfig, SourceConfig
from tonewise.errors import InputError, RowError
from tonewise.source.labelled import Labels, read_labelled
from tonewise.train.task import Task, read_task


def read(data: Any, validation: Any = None, labels: Labels | None = None, **options: Any) -> Task:
    return read_task("label", data, validation, labels or Labels(), Config(), **options)


def test_few_examples_are_measured_out_of_fold_and_a_head_among_others_never() -> None:
    alone, among = read(some(60)), read(some(60), alone=False)
    assert alone.held is None
    assert (alone.split, alone.split_name) == (
        "out-of-fold answers over all of the training rows",
        "out-of-fold",
    )
    assert among.held is not None
    assert (len(among.learn), len(among.held)) == (54, 6)
    assert (among.split, among.split_name) == ("a tenth, by hash of the text", "validation")
    assert not {one.text for one in among.learn.examples} & {one.text for one in among.held.examples}


def test_a_thousand_examples_set_a_tenth_aside() -> None:
    task = read(some(1_000))
    assert (len(task.learn), len(task.held or ())) == (901, 99), "a tenth of each label's"


def test_a_validation_of_its_own_is_called_by_its_file(tmp_path: Path) -> None:
    path = write_tsv(tmp_path / "valid.tsv", some(9, seed=1))
    task = read(some(60), path)
    assert (task.split, len(task.learn), len(task.held or ())) == ("valid.tsv", 60, 9)
    assert read(some(60), some(9, seed=1)).split == "a set of its own"


def test_files_are_told_by_name_hash_and_rows(tmp_path: Path) -> None:
    paths = [write_tsv(tmp_path / "a.tsv", some(20)), write_tsv(tmp_path / "b.tsv", some(40, seed=2))]
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    expected = [("a.tsv", hashes[0], 20), ("b.tsv", hashes[1], 40)]
    for data in (paths, list(map(str, paths)), tuple(paths), str(tmp_path / "*.tsv")):
        assert [(one.name, one.sha256, one.rows) for one in read(data).files] == expected
    both = read(paths[0], paths[1]).files
    assert [(one.name, one.sha256, one.rows) for one in both] == expected
    assert read(some(20)).files == read(read_labelled(paths)).files == ()


def test_what_can_be_read_but_once_has_no_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "\n".join(["text\tlabel", *(f"{one['text']}\t{one['label']}" for one in some(9))])
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(lines.encode())))
    config = Config(source=SourceConfig(input_format="csv", delimiter="\t"))
    task = read_task("label", "-", None, Labels(), config)
    assert len(task.learn) == 9
    assert task.files == ()


def test_validation_has_the_labels_of_training_in_their_order() -> None:
    held = read(some(60), some(9, seed=1)[::-1]).held
    assert held is not None
    assert held.names == ("sadness", "joy", "anger")
    with pytest.raises(RowError, match="label 'fear' is not among"):
        read(some(60), [{"text": "a", "label": "fear"}, {"text": "b", "label": "joy"}])


def test_validation_without_several_labels_in_a_row_is_still_of_several_labels() -> None:
    held = read(tagged(60), [{"text": "a", "label": ["joy"]}, {"text": "b", "label": ["time"]}]).held
    assert held is not None
    assert held.kind == "multi"
    strings = [{"text": f"a {i}", "label": "xy"[i % 2]} for i in range(9)]
    task = read(strings, strings, Labels(multi_label=True))
    assert task.given.kind == task.held.kind == "multi"  # type: ignore[union-attr]


def test_validation_of_several_labels_for_one_is_refused() -> None:
    with pytest.raises(RowError, match="several labels of one text are multi label"):
        read(some(60), tagged(9))
    names = Labels(names=("sadness", "joy", "anger", "time"))
    single, several = (read_labelled(data, None, names) for data in (some(60), tagged(9)))
    with pytest.raises(InputError, match="validation is multi label and the training set single; write both"):
        read(single, several)


def test_a_labelled_validation_with_labels_of_its_own_is_refused() -> None:
    other = read_labelled([{"text": "a", "label": "x"}, {"text": "b", "label": "y"}])
    with pytest.raises(InputError, match=r"validation has the labels .* make them equal"):
        read(some(60), other)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ([{"text": f"{i}", "label": "a"} for i in range(5)], "all 5 rows have the same label"),
        ([{"text": "a", "label": f"{i % 2}"} for i in range(5)], "all 5 texts are the same"),
        ([{"text": f"{i}", "label": f"{i}"} for i in range(500)], "500 different labels in 500 rows"),
        ([], "no row has a text and a label"),
    ],
)
def test_a_set_from_which_nothing_can_be_learned_is_refused(data: Any, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        read(data)
    assert "\n" not in str(caught.value)


def test_a_head_among_others_needs_rows_to_set_aside() -> None:
    with pytest.raises(
        InputError, match="too few texts of each label to set some aside; give --head-validation label=FILE"
    ):
        read(some(6), alone=False)


def test_leaks_are_found_and_nothing_is_stopped() -> None:
    assert "leak" in {one.code for one in read(some(60), some(9)).findings}


def test_rows_that_were_skipped_are_told_with_the_first_reason() -> None:
    config = Config(run=RunConfig(on_error="skip"))
    given = [*some(60), {"text": None, "label": "joy"}, {"text": "a", "label": None}]
    held = [*some(9, seed=1), {"text": "b", "label": "fear"}]
    task = read_task("label", given, held, Labels(), config)
    assert task.skipped == (
        "rows skipped: 2; the first: text 61: column 'text' is null; a text is wanted",
        "validation rows skipped: 1; the first: text 10: label 'fear' is not among sadness, joy, anger",
    )
    assert read(some(60), some(9, seed=1)).skipped == ()


def test_a_training_set_is_judged_before_validation_is_read() -> None:
    one = [{"text": f"{i}", "label": "pos"} for i in range(5)]
    with pytest.raises(InputError, match="all 5 rows have the same label"):
        read(one, some(9))
    ids = [{"text": f"{i}", "label": f"id{i}"} for i in range(50)]
    with pytest.raises(InputError, match="50 different labels in 50 rows"):
        read(ids, [{"text": f"{i}", "label": f"id{i}"} for i in range(50, 60)])
    with pytest.raises(InputError, match=r"^label: all 5 rows have the same label"):
        read(one, some(9), alone=False)
