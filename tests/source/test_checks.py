"""Checks of a labelled set: each thing that can be odd is found, counted and named with its rows."""

from collections.abc import Sequence
from typing import Any

from tonewise.source.checks import Finding, check, same_texts
from tonewise.source.labelled import Labelled, Labels, read_labelled

GOOD = [(f"text {i}", "ab"[i % 2]) for i in range(10)]


def made(rows: Sequence[tuple[str, Any]], **settings: Any) -> Labelled:
    return read_labelled([{"text": text, "label": label} for text, label in rows], labels=Labels(**settings))


def only(rows: Sequence[tuple[str, Any]], **settings: Any) -> Finding:
    (found,) = check(made(rows, **settings))
    return found


def test_a_sound_set_has_no_findings() -> None:
    assert check(made(GOOD), made([("other", "a"), ("another", "b")])) == ()
    assert check(made([("a", ["x", "y"]), ("b", []), ("c", ["y", "x"])])) == ()


def test_empty_texts_are_named() -> None:
    found = only([*GOOD, (" \t", "a"), ("", "a")])
    assert found == Finding("empty_text", "warning", "empty texts: 2", 2, ("text 11", "text 12"))


def test_texts_that_are_all_empty_are_fatal_and_told_as_that() -> None:
    found = check(made([("", "a"), (" \t", "b"), ("", "a"), ("\u00a0", "b")]))
    assert [(one.code, one.severity, one.count) for one in found] == [("empty_text", "fatal", 4)]
    assert found[0].message == "all 4 texts are empty; name the column that holds them with --text-column"
    pairs = [{"text": "", "text_pair": " ", "label": label} for label in "abab"]
    assert [one.code for one in check(read_labelled(pairs))] == ["empty_text"]


def test_one_label_is_fatal() -> None:
    found = only([(f"text {i}", "a") for i in range(12)])
    assert (found.code, found.severity, found.count) == ("one_label", "fatal", 12)
    assert found.message == "all 12 rows have the same label (a); two are the least"
    assert found.rows == tuple(f"text {i}" for i in range(1, 11))
    assert "one_label" in codes([("a", ["x"]), ("b", ["x"])])
    assert "one_label" not in codes([("a", ["x"]), ("b", [])])


def test_the_same_soft_labels_everywhere_are_fatal() -> None:
    rows = [{"text": f"text {i}", "p": 0.5, "q": 0.5} for i in range(3)]
    found = read_labelled(rows, labels=Labels(label_columns=("p", "q")))
    assert "one_label" in [one.code for one in check(found)]


def codes(rows: Sequence[tuple[str, Any]], **settings: Any) -> list[str]:
    return [one.code for one in check(made(rows, **settings))]


def test_the_same_text_everywhere_is_fatal_and_comes_first() -> None:
    found = check(made([("Same  text", "a"), ("same text", "b"), ("same text", "a")]))
    assert (found[0].code, found[0].severity) == ("same_text", "fatal")
    assert found[0].message == "all 3 texts are the same"
    assert {"conflict", "rare_label"} == {one.code for one in found[1:]}


def test_labels_that_all_occur_once_are_fatal() -> None:
    found = check(made([("good", "a"), ("bad", "b")]))
    assert [(one.code, one.severity) for one in found] == [("once_each", "fatal"), ("rare_label", "warning")]
    assert found[0].message == (
        "in 2 rows no label of column 'label' occurs twice; "
        "give 2 rows of each or more, or name another column with --label-column"
    )
    assert (found[0].count, found[0].rows) == (2, ("text 1", "text 2"))
    (fatal, _) = check(made([("good", ["a", "b"]), ("neither", []), ("bad", ["c"])]))
    assert (fatal.code, fatal.rows) == ("once_each", ("text 1", "text 3"))
    assert codes([("good", "a"), ("bad", "b"), ("nice", "a")]) == ["rare_label"]


def test_labels_that_all_occur_once_are_told_by_what_is_behind_it() -> None:
    assert codes([("same", "a"), ("Same", "b")]) == ["same_text", "rare_label", "conflict"]
    assert "once_each" not in codes([("good", ["a", "b"])])


def test_an_id_column_is_fatal_and_named() -> None:
    found = only([(f"text {i}", i) for i in range(10_000)])
    assert (found.code, found.severity, found.count) == ("many_labels", "fatal", 10_000)
    assert found.message.startswith(
        "10,000 different labels in 10,000 rows: is column 'label' an id or a text?"
    )
    assert codes([(f"text {i}", i // 2) for i in range(60)]) == []
    assert codes([(f"text {i}", i) for i in range(21)]) == ["many_labels"]
    assert codes([(f"text {i}", i) for i in range(20)]) == ["once_each", "rare_label"]
    assert codes([(f"text {i}", i // 3) for i in range(3003)]) == ["many_labels"]


def test_labels_of_which_most_occur_again_are_no_ids() -> None:
    rows = [(f"text {i}", i % 30) for i in range(50)]
    assert codes(rows) == ["rare_label"], "30 labels in 50 rows, and 20 of them twice"
    assert codes([(f"text {i}", i % 40) for i in range(50)]) == ["many_labels"]


def test_names_that_were_given_are_no_ids() -> None:
    rows = [(f"text {i}", str(i)) for i in range(30)]
    assert codes(rows) == ["many_labels"]
    assert codes(rows, names=tuple(str(i) for i in range(30))) == ["once_each", "rare_label"]


def test_several_labels_a_row_are_no_ids_but_may_be_many() -> None:
    tags = [(f"text {i}", [(i + step) % 30 for step in (0, 7, 11)]) for i in range(50)]
    assert codes(tags) == []
    odd = check(made([(f"text {i}", [i, "all"]) for i in range(25)]))
    assert (odd[0].code, odd[0].severity) == ("many_labels", "warning")
    assert odd[0].message == "26 different labels in 25 rows, most of them once: 25"


def test_names_that_no_row_has_are_not_counted_as_labels() -> None:
    names = tuple(map(str, range(2000)))
    assert codes([(f"text {i}", i % 2) for i in range(10)], names=names) == ["rare_label"]


def test_labels_with_one_example_or_none_are_named() -> None:
    found = only([*GOOD, ("more", "c")], names=("a", "b", "c", "d"))
    assert found.message == "labels with fewer than 2 examples: 2 (c, d)"
    assert (found.code, found.count, found.rows) == ("rare_label", 2, ("text 11",))


def test_labels_out_of_balance_are_told() -> None:
    found = only([(f"text {i}", "a") for i in range(103)] + [("b 1", "b"), ("b 2", "b")])
    assert found.message == "labels are out of balance, 52 to 1: 'a' 103 and 'b' 2"
    assert codes([(f"text {i}", "a") for i in range(100)] + [("b 1", "b"), ("b 2", "b")]) == []


def test_labels_that_differ_in_case_or_spaces_are_told() -> None:
    found = only([*GOOD, ("more", "A "), ("and more", "A ")])
    assert (found.code, found.message) == (
        "label_spelling",
        "labels that differ only in case or spaces: 1 ('a' = 'A ')",
    )


def test_repeats_and_conflicts_are_told_apart() -> None:
    found = check(made([*GOOD, ("TEXT 0", "a"), ("text  0", "a"), ("text 3", "a")]))
    assert [(one.code, one.count, one.rows) for one in found] == [
        ("duplicate", 2, ("text 11", "text 12")),
        ("conflict", 2, ("text 4", "text 13")),
    ]
    assert same_texts(made(GOOD)) == []


def test_the_same_labels_in_another_order_are_no_conflict() -> None:
    assert codes([("a", ["x", "y"]), ("a", ["y", "x"]), ("b", ["x"]), ("c", ["y"])]) == ["duplicate"]


def test_validation_texts_among_the_others_are_leaks() -> None:
    (found,) = check(made(GOOD), made([("new", "a"), (" Text 3", "b"), ("text 4", "b")]))
    assert (found.code, found.severity, found.count, found.rows) == (
        "leak",
        "warning",
        2,
        ("text 2", "text 3"),
    )


def test_what_is_fatal_comes_before_what_is_not() -> None:
    found = check(made([("", "a"), ("y", "a"), ("x", "a"), ("x", "a")]))
    assert [one.severity for one in found] == ["fatal", "warning", "warning"]
