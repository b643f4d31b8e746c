"""Labelled sets: whatever they are written in, the same texts, names and targets; and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import polars
import pyarrow
import pyarrow.parquet
import pytest

from tonewise.config import SourceConfig
from tonewise.errors import ConfigError, InputError, RowError, TonewiseError
from tonewise.source import Example
from tonewise.source.labelled import Labelled, Labels, read_labelled

TEXTS = ["so happy", "so sad", "happy again", "angry"]
LABELS = ["joy", "sadness", "joy", "anger"]
COLUMNS = {"id": [7, 8, 9, 10], "text": TEXTS, "label": LABELS}
ROWS = [dict(zip(COLUMNS, row, strict=True)) for row in zip(*COLUMNS.values(), strict=True)]
MULTI = [{"text": "a", "label": ["x", "y"]}, {"text": "b", "label": []}, {"text": "c", "label": ["y"]}]


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def csv(rows: list[dict[str, Any]], mark: str) -> str:
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    return "".join(mark.join(map(str, line)) + "\n" for line in lines)


def files(folder: Path) -> dict[str, Path]:
    (folder / "a.csv").write_text(csv(ROWS, ","))
    (folder / "a.tsv").write_text(csv(ROWS, "\t"))
    (folder / "a.json").write_text(json.dumps(ROWS))
    write(folder / "a.jsonl", ROWS)
    pyarrow.parquet.write_table(pyarrow.table(COLUMNS), folder / "a.parquet")
    return {path.suffix: path for path in folder.iterdir()}


FRAMES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "pandas": pandas.DataFrame,
    "polars": polars.DataFrame,
    "pyarrow": pyarrow.table,
    "dicts": lambda columns: [
        dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
    ],
    "generator": lambda columns: iter(
        [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    ),
}


def assert_whole(found: Labelled) -> None:
    assert found.texts == TEXTS
    assert found.names == ("joy", "sadness", "anger")
    assert found.kind == "single"
    assert found.ids.tolist() == [0, 1, 0, 2]
    assert found.targets.dtype == np.float32
    assert found.targets.tolist() == found.gold.astype(float).tolist() == np.eye(3)[[0, 1, 0, 2]].tolist()
    assert [one.labels for one in found.examples] == [(label,) for label in LABELS]
    assert [one.id for one in found.examples] == [7, 8, 9, 10] or found.examples[0].id == "7"
    assert [list(one.fields) for one in found.examples] == [["id"]] * 4


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".json", ".jsonl", ".parquet"])
def test_a_file_of_any_format_gives_the_same_set(tmp_path: Path, suffix: str) -> None:
    path = files(tmp_path)[suffix]
    for given in (path, str(path), [path]):
        found = read_labelled(given)
        assert_whole(found)
        assert found.column == "label"
        assert found.fingerprint() == read_labelled(ROWS).fingerprint()


@pytest.mark.parametrize("kind", FRAMES)
def test_a_frame_of_any_kind_gives_the_same_set(kind: str) -> None:
    assert_whole(read_labelled(FRAMES[kind](COLUMNS)))


def test_several_files_are_one_set(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.jsonl", ROWS[:1]), write(tmp_path / "b.jsonl", ROWS[1:])
    assert_whole(read_labelled([first, second]))


def test_examples_keep_the_labels_they_have() -> None:
    some = [Example(text, labels=(label,)) for text, label in zip(TEXTS, LABELS, strict=True)]
    found = read_labelled(some)
    assert (found.kind, found.ids.tolist()) == ("single", [0, 1, 0, 2])
    several = read_labelled([*some, Example("both", labels=("joy", "anger"))])
    assert (several.kind, several.gold[-1].tolist()) == ("multi", [True, False, True])
    with pytest.raises(RowError, match="is a list"):
        read_labelled([*some, Example("none")], labels=Labels(multi_label=False))


def test_a_class_label_gives_its_names_in_its_order() -> None:
    datasets = pytest.importorskip("datasets")
    names = datasets.ClassLabel(names=["no", "yes", "never seen"])
    frame = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]})
    found = read_labelled(frame.cast_column("label", names))
    assert (found.names, found.ids.tolist()) == (("no", "yes", "never seen"), [1, 0])
    unlabelled = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, -1]})
    with pytest.raises(RowError, match="row 2: column 'label' is null"):
        read_labelled(unlabelled.cast_column("label", names))
    lists = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [[1, 0], []]})
    several = read_labelled(lists.cast_column("label", datasets.Sequence(names)))
    assert (several.kind, several.gold.tolist()) == ("multi", [[True, True, False], [False] * 3])


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([1, 0, 1], ("1", "0")),
        ([1.0, 0.0, 1.0], ("1", "0")),
        ([True, False, True], ("true", "false")),
        (list(np.array([1, 0])), ("1", "0")),
        (list(np.array([True, False])), ("true", "false")),
        ([" joy", "joy"], (" joy", "joy")),
        (["none", "null"], ("none", "null")),
    ],
)
def test_a_label_is_its_own_text(values: list[Any], names: tuple[str, ...]) -> None:
    rows = [{"text": "a", "label": value} for value in values]
    assert read_labelled(rows).names == names


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "column 'label' is null; a label is wanted"),
        (float("nan"), "column 'label' is null"),
        (pandas.NA, "column 'label' is null"),
        (np.float64("nan"), "column 'label' is null"),
        ("NaN", "column 'label' is 'NaN'"),
        ("", "column 'label' is empty"),
        ("  ", "column 'label' is empty"),
        (0.5, "column 'label' is 0.5; a label is a name or a whole number"),
        (float("inf"), "column 'label' is inf"),
        ({"a": 1}, "column 'label' is of type dict"),
        ("\ud800", "half a surrogate pair"),
    ],
)
def test_what_is_no_label_names_its_row(value: Any, told: str) -> None:
    rows = [*ROWS, {"id": 1, "text": "a", "label": value}]
    with pytest.raises(RowError, match=told) as caught:
        read_labelled(rows)
    assert caught.value.where == "text 5"
    found = read_labelled(rows, on_error="skip")
    assert_whole(found)
    assert [str(one) for one in found.skipped] == [str(caught.value)]


def test_a_bad_row_of_a_file_is_named_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", [*ROWS, {"id": 1, "text": "a"}])
    with pytest.raises(RowError, match=r"r\.jsonl line 5: no column 'label'"):
        read_labelled(path)
    (tmp_path / "r.csv").write_text("text,label\na,b\nc,\n")
    with pytest.raises(RowError, match=r"r\.csv line 3: column 'label' is empty"):
        read_labelled(tmp_path / "r.csv")


@pytest.mark.parametrize("name", ["label", "Labels", "CATEGORY", "class", "intent", "emotion", "sentiment"])
def test_the_obvious_column_is_found(name: str) -> None:
    found = read_labelled([{"text": "a", name: "x", "other": 1}, {"text": "b", name: "y", "other": 2}])
    assert (found.names, found.column) == (("x", "y"), name)


@pytest.mark.parametrize(
    ("columns", "labels", "told"),
    [
        (
            ("text", "a", "b"),
            Labels(),
            r"r\.csv: no label column 'label'; columns beside the text are a, b \(",
        ),
        (
            ("text", "label", "class"),
            Labels(),
            r"r\.csv: the label may be in label, class; name one with --l",
        ),
        (
            ("text", "a"),
            Labels("b"),
            r"r\.csv: no label column 'b'; columns beside the text are a \(name one",
        ),
        (("text", "a"), Labels("text"), r"r\.csv: no label column 'text'; columns beside the text are a"),
        (("text",), Labels(), r"r\.csv: no label column 'label'; there is no column but the text"),
        (("text", "a"), Labels(label_columns=("a", "b")), r"r\.csv: no label column 'b'"),
    ],
)
def test_a_column_that_is_not_there_is_told(
    tmp_path: Path, columns: tuple[str, ...], labels: Labels, told: str
) -> None:
    (tmp_path / "r.csv").write_text(csv([dict.fromkeys(columns, 1)], ","))
    with pytest.raises(InputError, match=told):
        read_labelled(tmp_path / "r.csv", labels=labels)


def test_lists_and_separators_are_multi_label() -> None:
    found = read_labelled(MULTI)
    assert (found.kind, found.names) == ("multi", ("x", "y"))
    assert found.gold.tolist() == [[True, True], [False, False], [False, True]]
    joined = [{"text": row["text"], "label": "; ".join(row["label"])} for row in MULTI]
    cut = read_labelled(joined, labels=Labels(separator=";"))
    assert cut.fingerprint() == found.fingerprint()
    arrays = [{**row, "label": np.array(row["label"], object)} for row in MULTI]
    assert read_labelled(arrays).fingerprint() == found.fingerprint()
    with pytest.raises(ConfigError, match="has no one label"):
        _ = found.ids


def test_without_a_separator_a_comma_is_a_part_of_the_name() -> None:
    found = read_labelled([{"text": "a", "label": "x,y"}, {"text": "b", "label": "z"}])
    assert (found.kind, found.names) == ("single", ("x,y", "z"))


def test_multi_label_may_be_told() -> None:
    found = read_labelled(
        [{"text": "a", "label": "x"}, {"text": "b", "label": ""}], labels=Labels(multi_label=True)
    )
    assert (found.kind, found.gold.tolist()) == ("multi", [[True], [False]])
    with pytest.raises(RowError, match="text 1: column 'label' is a list"):
        read_labelled(MULTI, labels=Labels(multi_label=False))
    with pytest.raises(RowError, match="text 2: column 'label' is null"):
        read_labelled([MULTI[0], {"text": "b", "label": None}])


SOFT = Labels(label_columns=("p", "q"))


def test_a_column_per_label_is_soft() -> None:
    rows = [{"text": "a", "p": 0.25, "q": "0.75", "r": 1}, {"text": "b", "p": 1, "q": 0, "r": 2}]
    found = read_labelled(rows, labels=SOFT)
    assert (found.kind, found.names, found.targets.tolist()) == ("soft", ("p", "q"), [[0.25, 0.75], [1, 0]])
    assert (found.ids.tolist(), found.gold.tolist()) == ([1, 0], [[False, True], [True, False]])
    assert [(one.labels, dict(one.fields)) for one in found.examples] == [
        (("q",), {"r": 1}),
        (("p",), {"r": 2}),
    ]
    turned = read_labelled(rows, labels=Labels(label_columns=("p", "q"), names=("q", "p")))
    assert turned.targets.tolist() == found.targets[:, ::-1].tolist()


def test_shares_may_miss_one_by_a_thousandth_and_are_made_to_sum_to_it() -> None:
    found = read_labelled([{"text": "a", "p": 0.3334, "q": 0.6659}], labels=SOFT)
    assert found.targets.sum() == pytest.approx(1, abs=1e-7)


@pytest.mark.parametrize(
    ("p", "q", "told"),
    [
        (0.5, 0.4, "soft labels sum to 0.9; wanted: 1"),
        (1.5, -0.5, "column 'q' is -0.5; a soft label is at least 0"),
        (None, 1, "column 'p' is empty"),
        ("", 1, "column 'p' is empty"),
        ("much", 1, "column 'p' is 'much'; a number is wanted"),
        ("inf", 1, "column 'p' is inf"),
    ],
)
def test_shares_that_are_none_name_their_row(p: Any, q: Any, told: str) -> None:
    with pytest.raises(RowError, match=f"text 2: {told}"):
        read_labelled([{"text": "a", "p": 1, "q": 0}, {"text": "b", "p": p, "q": q}], labels=SOFT)


def test_names_keep_the_order_that_is_given() -> None:
    found = read_labelled(ROWS, labels=Labels(names=("anger", "joy", "sadness", "fear")))
    assert (found.names, found.ids.tolist()) == (("anger", "joy", "sadness", "fear"), [1, 2, 1, 0])
    with pytest.raises(RowError, match="text 4: label 'anger' is not among joy, sadness"):
        read_labelled(ROWS, labels=Labels(names=("joy", "sadness")))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"label_column": "a", "label_columns": ("b", "c")}, "give one of them"),
        ({"label_columns": ("b",)}, "two columns or more"),
        ({"label_columns": ("b", "b", "c")}, "two columns or more"),
        ({"label_columns": ("b", "c"), "separator": ","}, "of one label each"),
        ({"label_columns": ("b", "c"), "multi_label": True}, "of one label each"),
        (
            {"label_columns": ("b", "c"), "names": ("b", "d")},
            "labels are b, d, but the label columns are b, c",
        ),
        ({"separator": ",", "multi_label": False}, "is for multi label"),
        ({"separator": ""}, "is empty"),
        ({"names": ("a", "a")}, "each needs a name of its own"),
        ({"names": ("a", " ")}, "each needs a name of its own"),
        ({"names": ("a",)}, "two are the least"),
        ({"names": ()}, "labels are none; two are the least"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Labels(**settings)


@pytest.mark.parametrize("data", [[], [{"text": 1, "label": "a"}], ["missing.csv"], [("a", "b")], "a.txt", 3])
def test_what_holds_no_labelled_text_is_refused(data: Any, here: Path) -> None:
    with pytest.raises(TonewiseError):
        read_labelled(data)
    (here / "a.txt").write_text("plain\n")
    with pytest.raises(InputError):
        read_labelled(data, on_error="skip")


def test_bad_texts_are_skipped_as_told_before_the_first_good_one() -> None:
    found = read_labelled([{"text": None, "label": "a"}, *ROWS], on_error="skip")
    assert found.texts == TEXTS
    assert str(found.skipped[0]) == "text 1: column 'text' is null; a text is wanted"


def test_rows_are_taken_in_the_order_asked() -> None:
    found = read_labelled(ROWS)
    assert found.take([3, 0]).texts == ["angry", "so happy"]
    assert found.take(np.array([True, False, False, True])).texts == ["so happy", "angry"]
    assert found.take([3]).names == found.names
    assert len(found.take([])) == 0


def test_pairs_are_texts_too() -> None:
    config = SourceConfig(text_column="a", text_pair_column="b")
    found = read_labelled([{"a": "x", "b": "y", "label": 1}, {"a": "x", "b": "z", "label": 2}], config)
    assert found.texts == [("x", "y"), ("x", "z")]


def test_a_fingerprint_tells_texts_names_and_targets() -> None:
    known = read_labelled(ROWS).fingerprint()
    other = [{**ROWS[0], "text": "so happy "}, *ROWS[1:]]
    swapped = [{**ROWS[0], "label": "anger"}, *ROWS[1:]]
    ordered = Labels(names=("sadness", "joy", "anger"))
    found = {read_labelled(other).fingerprint(), read_labelled(swapped).fingerprint()}
    assert len({known, *found, read_labelled(ROWS, labels=ordered).fingerprint()}) == 4


def test_an_id_column_is_refused_before_its_table_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [{"text": f"text {i}", "label": i} for i in range(20_000)]
    with pytest.raises(InputError, match="20,000 different labels in 20,000 rows: is column 'label' an id"):
        read_labelled(ids)
    monkeypatch.setattr("tonewise.source.labelled.MOST_CELLS", 100)
    with pytest.raises(InputError, match="30 different labels in 30 rows"):
        read_labelled(ids[:30])
    assert len(read_labelled(ids[:30], labels=Labels(names=tuple(map(str, range(30)))))) == 30
    assert len(read_labelled([{**one, "label": [one["label"]]} for one in ids[:30]])) == 30
    assert len(read_labelled(ids[:10] * 30)) == 300


def test_names_that_were_given_are_known_as_such() -> None:
    assert not read_labelled(ROWS).named
    given = read_labelled(ROWS, labels=Labels(names=("sadness", "joy", "anger")))
    assert given.named
    assert given.take([0, 1]).named


def test_texts_may_do_without_labels() -> None:
    bare = [{"text": text} for text in TEXTS]
    for data in (bare, iter(bare), iter(TEXTS), pandas.DataFrame(bare)):
        found = read_labelled(data, or_texts=True)
        assert (found.texts, found.names, found.kind) == (TEXTS, (), "multi")
        assert found.targets.shape == (4, 0)
    assert read_labelled(ROWS, or_texts=True).names == ("joy", "sadness", "anger")
    other = Labels(label_column="mood")
    assert read_labelled(ROWS, labels=other, or_texts=True).names == ("joy", "sadness", "anger")
    assert read_labelled(bare, labels=other, or_texts=True).names == ()
    with pytest.raises(InputError, match="no label column 'mood'"):
        read_labelled(ROWS, labels=other)
    with pytest.raises(InputError, match="the label may be in"):
        read_labelled([{"text": "a", "label": "x", "class": "y"}], or_texts=True)
