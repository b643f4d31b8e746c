"""An audit finds what was planted: turned labels, repeats, leaks, empty and long texts."""

import builtins
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.doubles import MakeModel
from tonewise import Classifier
from tonewise.config import Config, TokenizerConfig
from tonewise.errors import EngineError, MissingExtraError, RowError
from tonewise.evaluate.audit import BASE, KINDS, Audit, audit
from tonewise.source import Example
from tonewise.source.labelled import Labels, read_labelled

WORDS = {"joy": ("happy", "love", "great"), "sadness": ("sad", "bad", "awful")}
HOW = ("so", "very", "not", "never", "always", "today")
WHAT = ("the film was {} {}", "i am {} {} and", "they are {} {} !", "food and service : {} {} night")
Rows = list[dict[str, Any]]


def rows() -> Rows:
    """144 texts that two words tell apart."""
    return [
        {"text": what.format(how, word), "label": label}
        for label, words in WORDS.items()
        for how, word, what in product(HOW, words, WHAT)
    ]


TURNED = (5, 40, 100)


def turned() -> Rows:
    made = rows()
    for row in TURNED:
        made[row] = {**made[row], "label": "joy" if made[row]["label"] == "sadness" else "sadness"}
    return made


@pytest.fixture(scope="module")
def look(model: MakeModel) -> Callable[..., Audit]:
    base = model(hidden=64, layers=1)

    def run(data: Rows, labels: Labels | None = None, **options: Any) -> Audit:
        return audit(read_labelled(data, labels=labels), **{"base": base, **options})

    return run


def places(found: Audit, kind: Any) -> list[str]:
    return [one.where for one in found.of(kind)]


def test_turned_labels_are_told_and_no_others(look: Callable[..., Audit]) -> None:
    found = look(turned(), base=BASE)
    assert places(found, "label_error")
    assert set(places(found, "label_error")) <= {f"text {row + 1}" for row in TURNED}
    assert all(one.suggested == tuple(WORDS.keys() - set(one.labels)) for one in found.of("label_error"))
    scores = [one.score or 0 for one in found.of("label_error")]
    assert scores == sorted(scores)
    assert found.agreement is not None
    assert found.agreement > 0.9
    clean = look(rows(), base=BASE)
    assert clean.agreement is not None
    assert found.agreement < clean.agreement <= 1


def test_agreement_of_several_labels_counts_those_that_hold(look: Callable[..., Audit]) -> None:
    rare = [{**row, "label": ["rare"] if place % 36 == 0 else []} for place, row in enumerate(rows())]
    found = look(rare).agreement
    assert found is not None
    assert found < 0.5  # though 140 of 144 rows are told as they stand by telling nothing


def test_repeats_are_told_with_the_row_that_they_repeat(look: Callable[..., Audit]) -> None:
    text = rows()[0]["text"]
    more = [
        {"text": text.upper(), "label": "joy"},
        {"text": rows()[1]["text"], "label": "sadness"},
        {"text": f"{text} .", "label": "sadness"},
    ]
    found = look([*rows(), *more])
    assert [(one.where, one.other) for one in found.of("duplicate")] == [("text 145", "text 1")]
    assert [(one.where, one.other) for one in found.of("conflict")] == [
        ("text 2", "text 146"),
        ("text 146", "text 2"),
    ]
    near = [(one.where, one.other) for one in found.of("near_conflict")]
    assert ("text 147", "text 1") in near
    assert [one.labels for one in found.of("near_conflict") if one.where == "text 147"] == [("sadness",)]


def test_leaks_name_the_row_of_validation_and_the_other(look: Callable[..., Audit]) -> None:
    validation = read_labelled(
        [{"text": "new", "label": "joy"}, {"text": f" {rows()[3]['text']}", "label": "joy"}]
    )
    (leak,) = look(rows(), validation=validation).of("leak")
    assert (leak.where, leak.other) == ("text 2", "text 4")
    assert look(rows()).of("leak") == ()


def test_empty_and_long_texts_are_told_and_long_ones_are_no_error(look: Callable[..., Audit]) -> None:
    more = [
        {"text": " ", "label": "joy"},
        {"text": "happy " * 80, "label": "joy"},
        {"text": "sad " * 100, "label": "sadness"},
    ]
    found = look([*rows(), *more], config=Config(tokenizer=TokenizerConfig(too_long="error")))
    assert places(found, "empty") == ["text 145"]
    assert [(one.where, one.score) for one in found.of("long")] == [("text 147", 102), ("text 146", 82)]


def test_an_error_names_the_row_of_the_file(
    look: Callable[..., Audit], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Classifier, texts: Any) -> Any:
        raise RowError("text 3", EngineError("no"))

    made = [
        Example(row["text"], None, i, (row["label"],), where=f"a.csv line {i + 2}")
        for i, row in enumerate(rows())
    ]
    for name in ("embed", "encode"):
        monkeypatch.setattr(Classifier, name, fails)
        with pytest.raises(RowError, match=r"^a\.csv line 4: no$"):
            look(made)


def test_where_nothing_can_be_learnt_the_rest_is_still_told(look: Callable[..., Audit]) -> None:
    found = look([{"text": text, "label": "joy"} for text in ("a", "a", "i", "you", "love", "joy")])
    assert found.agreement is None
    assert found.unjudged == "see what is fatal, for which `tonewise train` refuses such a set"
    assert [(one.code, one.severity) for one in found.findings] == [("one_label", "fatal")]
    assert [one.kind for one in found.suspects] == ["duplicate"]


def test_of_too_few_texts_the_rest_is_still_told(look: Callable[..., Audit]) -> None:
    pairs = [*zip("abcd", "xyxy", strict=True), ("A", "x"), ("b", "x"), ("", "z")]
    found = look([{"text": text, "label": label} for text, label in pairs[:-1]])
    assert (found.agreement, found.unjudged) == (None, "4 different texts cannot make 5 folds")
    assert [one.kind for one in found.suspects] == ["conflict", "conflict", "duplicate"]
    assert found.to_json()["unjudged"] == found.unjudged
    more = look([{"text": text, "label": label} for text, label in pairs])
    assert (more.agreement is None, more.unjudged) == (False, None)
    assert [one.code for one in more.findings] == ["rare_label"]


def test_texts_that_are_all_empty_are_a_finding_of_the_set(look: Callable[..., Audit]) -> None:
    found = look([{"text": " ", "label": label} for label in "xyxy"])
    assert [(one.code, one.severity) for one in found.findings] == [("empty_text", "fatal")]
    assert len(found.of("empty")) == 4
    (told,) = look([*rows(), {"text": " ", "label": "joy"}]).of("empty")
    assert told.where == "text 145"
    assert look([*rows(), {"text": " ", "label": "joy"}]).findings == ()


def test_the_same_set_gives_the_same_audit(look: Callable[..., Audit]) -> None:
    assert look(turned()) == look(turned())


def test_json_has_counts_of_all_and_rows_of_some(look: Callable[..., Audit]) -> None:
    found = look([*rows(), rows()[0], rows()[0]])
    told = found.to_json(1)
    assert told["counts"] == {kind: len(found.of(kind)) for kind in KINDS}
    assert told["counts"]["duplicate"] == 2
    assert [one["where"] for one in told["suspects"] if one["kind"] == "duplicate"] == ["text 145"]
    assert len(found.to_json()["suspects"]) == len(found.suspects)
    assert told["digest"].startswith("sha256:")


@pytest.mark.parametrize(("module", "named"), [("cleanlab", "cleanlab"), ("sklearn", "scikit-learn")])
def test_a_missing_extra_is_named(
    module: str, named: str, look: Callable[..., Audit], monkeypatch: pytest.MonkeyPatch
) -> None:
    importing = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == module:
            raise ImportError(name)
        return importing(name, *rest, **more)

    monkeypatch.delitem(sys.modules, "tonewise.evaluate.label_errors", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        MissingExtraError, match=rf"{named} is not installed; run: pip install 'tonewise\[audit\]'"
    ):
        look(rows())


@pytest.mark.slow
def test_most_of_what_is_turned_in_a_real_set_is_found(data: Path) -> None:
    known = read_labelled(data / "sms-spam" / "train.tsv").take(range(1000))
    names = known.names
    made: Rows = [{"text": one.text, "label": one.labels[0]} for one in known.examples]
    chosen = range(0, 1000, 33)
    for row in chosen:
        made[row]["label"] = names[1 - names.index(made[row]["label"])]
    found = audit(read_labelled(made))
    first = {one.where for one in found.of("label_error")[: len(chosen)]}
    assert len(first & {f"text {row + 1}" for row in chosen}) >= 0.6 * len(chosen)
