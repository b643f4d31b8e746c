"""`evaluate`: figures of a model whose answers are known, heads, labels that do not fit, slices, mistakes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.doubles import MakeModel
from tests.evaluate.conftest import WRONG, Bundles, N, labelled_by, texts
from tests.models import LABELS
from tonewise import Classifier, metrics
from tonewise.config import Config, EngineConfig, HeadConfig, RunConfig, TokenizerConfig
from tonewise.errors import ConfigError, InputError, ModelError, RowError
from tonewise.evaluate import Evaluation, evaluate
from tonewise.metrics import Interval
from tonewise.source import Example
from tonewise.source.labelled import Labelled, Labels, read_labelled

STUB = Config(engine=EngineConfig("stub"))
SKIP = replace(STUB, run=RunConfig(on_error="skip"))


def several(rows: list[tuple[str, ...]], names: tuple[str, ...] = LABELS) -> Labelled:
    some = zip(texts(len(rows)), rows, strict=True)
    examples = [Example(text, None, i, labels) for i, (text, labels) in enumerate(some)]
    return read_labelled(examples, None, Labels(names=names, multi_label=True))


def test_figures_are_those_of_the_answers(stub: Classifier) -> None:
    labelled = labelled_by(stub)
    found = evaluate(stub, labelled, draws=50)
    answers = stub.classify(labelled.texts)
    assert found.figures["accuracy"].value == pytest.approx(1 - WRONG / N)
    assert list(found.figures) == ["accuracy", "macro_f1", "weighted_f1", "auroc", "ece", "brier"]
    for one in found.figures.values():
        assert one.interval.low <= one.interval.high
    interval = found.figures["accuracy"].interval
    assert interval.low < 1 - WRONG / N < interval.high
    assert found.confusion is not None
    assert found.confusion.shape == (3, 4)
    assert found.confusion[:, :3].trace() == N - WRONG
    gold = np.array([LABELS.index(one.labels[0]) for one in labelled.examples])
    np.testing.assert_array_equal(found.confusion.sum(axis=1), np.bincount(gold, minlength=3))
    scores = np.array([[one.scores[label] for label in LABELS] for one in answers])
    brier = ((scores - np.eye(3)[gold]) ** 2).sum(axis=1).mean()
    assert found.figures["brier"].value == pytest.approx(brier, abs=1e-6)
    confidence, right = scores.max(axis=1), scores.argmax(axis=1) == gold
    order = np.argsort(confidence)
    gaps = [abs(confidence[part].mean() - right[part].mean()) for part in np.array_split(order, 15)]
    assert found.figures["ece"].value == pytest.approx(np.mean(gaps), abs=1e-6)  # 60 rows: 15 bins of 4


def test_the_interval_of_ece_alone_is_the_basic_one(
    stub: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    basic = Interval(0.0, 9.0)
    monkeypatch.setattr(metrics, "basic_bootstrap", lambda *_, **__: basic)
    figures = evaluate(stub, labelled_by(stub), draws=5).figures
    assert [name for name, one in figures.items() if one.interval == basic] == ["ece"]


def test_an_evaluation_is_the_same_each_time_and_from_a_ref(stub: Classifier) -> None:
    labelled = labelled_by(stub, columns={"source": ["a"] * N})
    one = evaluate(stub, labelled, draws=20, slices=["source", "length"]).to_json()
    ref = evaluate(stub.bundle.folder, labelled, config=STUB, draws=20, slices=["source", "length"]).to_json()
    assert one["model"].pop("ref") == ref["model"].pop("ref") == str(stub.bundle.folder)
    assert one.pop("made").keys() == ref.pop("made").keys()
    assert one == ref
    assert json.loads(json.dumps(one, allow_nan=False)) == one


def test_labels_of_the_data_may_be_fewer_and_in_another_order(stub: Classifier) -> None:
    labelled = labelled_by(stub)
    anger = [i for i, one in enumerate(labelled.examples) if one.labels != ("anger",)]
    fewer = read_labelled(list(labelled.take(anger).examples), None, Labels(names=("joy", "sadness")))
    found = evaluate(stub, fewer, draws=5)
    right = [
        one.label in row.labels for one, row in zip(stub.classify(fewer.texts), fewer.examples, strict=True)
    ]
    assert found.figures["accuracy"].value == pytest.approx(np.mean(right))
    assert found.labels == LABELS
    assert found.by_label.support[2] == 0
    assert np.isnan(found.auroc[2])
    assert found.to_json()["labels"][2]["auroc"] is None
    assert found.figures["macro_f1"].value == pytest.approx(found.by_label.f1[:2].mean())


def test_a_label_that_the_model_has_not_is_refused_with_both_lists(
    stub: Classifier, model: MakeModel
) -> None:
    labelled = labelled_by(stub)
    wrong = replace(labelled, names=("sadness", "Joy", "anger"))
    told = r"label 'Joy' of the data; it has sadness, joy, anger, and the data sadness, Joy, anger; .*--map"
    with pytest.raises(InputError, match=told):
        evaluate(stub, wrong)
    generic = model(labels=("LABEL_0", "LABEL_1", "LABEL_2"))
    with pytest.raises(InputError, match=r"no names \(LABEL_0, LABEL_1, LABEL_2\).*--map FILE"):
        evaluate(generic, labelled, config=STUB)
    mapping = dict(zip(("LABEL_0", "LABEL_1", "LABEL_2"), LABELS, strict=True))
    found = evaluate(generic, labelled, config=replace(STUB, head=HeadConfig(mapping)), draws=5)
    assert found.labels == LABELS


def test_an_evaluation_tells_its_map(model: MakeModel, tmp_path: Path) -> None:
    generic, names = model(labels=("LABEL_0", "LABEL_1", "LABEL_2")), ("LABEL_0", "LABEL_1", "LABEL_2")
    mapping = dict(zip(names, LABELS, strict=True))
    (tmp_path / "map.json").write_text(json.dumps(mapping))
    with Classifier.load(generic, engine="stub", map=mapping) as classifier:
        labelled = labelled_by(classifier)
    for given, told in (
        (mapping, "a table"),
        (str(tmp_path / "map.json"), str(tmp_path / "map.json")),
        (tmp_path / "map.json", str(tmp_path / "map.json")),
    ):
        table = evaluate(generic, labelled, config=replace(STUB, head=HeadConfig(given)), draws=5).to_json()
        assert (table["model"]["map"], table["model"]["mapping"]) == (told, mapping)
        json.dumps(table, allow_nan=False)
    with Classifier.load(generic, engine="stub") as classifier:
        plain = evaluate(classifier, labelled_by(classifier, 0, labels=names), draws=5)
    assert (plain.model["map"], plain.model["mapping"]) == (None, None)


def test_rows_of_labels_that_the_model_lacks_are_skipped_on_request(
    stub: Classifier, model: MakeModel
) -> None:
    labelled = labelled_by(stub)
    rows = [one if i != 5 else replace(one, labels=("glad",)) for i, one in enumerate(labelled.examples)]
    data = read_labelled(rows, None, Labels(names=(*LABELS, "glad")))
    with pytest.raises(InputError, match=r"'glad' of the data; .* with --map FILE, or leave out .* skip$"):
        evaluate(model(), data, config=STUB)
    found = evaluate(model(), data, config=SKIP, draws=5)
    assert found.skipped == ("row 6: head 'label' does not know the label 'glad'",)
    kept = evaluate(model(), labelled.take([i for i in range(N) if i != 5]), config=STUB, draws=5)
    assert found.figures == kept.figures
    assert found.data["labels"] == [*LABELS, "glad"]
    other = replace(data, names=("a", "b", "c", "glad"))
    with pytest.raises(InputError, match="does not know the label 'a' of the data"):
        evaluate(model(), other, config=SKIP)


def test_a_row_of_several_labels_is_skipped_for_one_that_the_model_lacks(bundles: Bundles) -> None:
    folder = bundles(own={"problem_type": "multi_label_classification"})
    data = several([("joy",), ("joy", "glad"), (), ("glad",)], (*LABELS, "glad"))
    found = evaluate(folder, data, config=SKIP, draws=5)
    assert (len(found.gold), len(found.skipped)) == (2, 2)
    assert found.gold.gold.tolist() == [[False, True, False], [False] * 3]


def test_of_a_head_of_one_label_rows_that_do_not_tell_are_skipped_on_request(bundles: Bundles) -> None:
    folder = bundles(own={"labels": ("toxic",), "problem_type": "multi_label_classification"})
    words = ("yes", "no", "perhaps")
    data = read_labelled([{"text": text, "label": words[i % 3]} for i, text in enumerate(texts(12))])
    found = evaluate(folder, data, config=SKIP, draws=5)
    assert found.gold.gold[:, 0].tolist() == [True, False] * 4
    assert len(found.skipped) == 4


def test_one_head_of_several_is_named(bundles: Bundles, stub: Classifier) -> None:
    folder, labelled = bundles(one={}, other={}), labelled_by(stub)
    with pytest.raises(ConfigError, match="several heads: one, other; name one: REF#HEAD"):
        evaluate(folder, labelled, config=STUB)
    with pytest.raises(ConfigError, match="no head 'third'; it has one, other"):
        evaluate(folder, labelled, config=STUB, head="third")
    found = evaluate(folder, labelled, config=STUB, head="other", draws=5)
    selected = evaluate(f"{folder}#other", labelled, config=STUB, draws=5)
    assert found.model["head"] == selected.model["head"] == "other"
    assert found.figures == selected.figures


def test_a_head_without_labels_is_refused(bundles: Bundles, stub: Classifier) -> None:
    folder = bundles(stars={"labels": ("stars",), "problem_type": "regression"})
    with pytest.raises(ModelError, match="gives a number"):
        evaluate(folder, labelled_by(stub), config=STUB)


def test_several_labels_have_figures_and_thresholds_of_their_own(bundles: Bundles) -> None:
    thresholds = (0.2, 0.5, 0.9)
    folder = bundles(own={"problem_type": "multi_label_classification", "thresholds": thresholds})
    with Classifier.load(folder, engine="stub") as classifier:
        answers = classifier.classify(texts(30))
        rows = [tuple(one.labels) for one in answers]
        perfect = evaluate(classifier, several(rows), draws=20)
        rows[0] = tuple(name for name in LABELS if name not in rows[0])
        flawed = evaluate(classifier, several(rows), draws=20)
    wanted = ["micro_f1", "macro_f1", "weighted_f1", "subset_accuracy", "auroc", "ece", "brier"]
    assert list(perfect.figures) == wanted
    assert [perfect.figures[name].value for name in wanted[:4]] == [1, 1, 1, 1]
    assert flawed.figures["subset_accuracy"].value == pytest.approx(29 / 30)
    assert flawed.figures["micro_f1"].value < 1
    assert (flawed.confusion, flawed.thresholds) == (None, thresholds)
    assert [row["threshold"] for row in flawed.label_rows()] == list(thresholds)
    assert [one.text for one in flawed.worst] == [texts(1)[0]]
    assert perfect.worst == ()
    assert flawed.reliability.count.sum() == 90


def test_several_labels_do_not_fit_a_head_of_one(stub: Classifier) -> None:
    with pytest.raises(
        InputError, match="several labels a text, and the head gives one; wanted: data of one"
    ):
        evaluate(stub, several([("joy", "anger"), ("sadness",)]))


def test_an_abstained_answer_is_a_wrong_one(bundles: Bundles, stub: Classifier) -> None:
    plain, careful = bundles(own={}), bundles(own={"abstain_below": 0.9})
    with Classifier.load(plain, engine="stub") as classifier:
        labelled = labelled_by(classifier, 0)
        unsure = sum(one.score < 0.9 for one in classifier.classify(labelled.texts))
    assert 0 < unsure < N
    found = evaluate(careful, labelled, config=STUB, draws=5)
    assert found.abstained == pytest.approx(unsure / N)
    assert found.figures["accuracy"].value == pytest.approx(1 - unsure / N)
    assert found.confusion is not None
    assert found.confusion[:, 3].sum() == unsure
    assert found.worst == ()
    certain = evaluate(plain, labelled, config=STUB, draws=5)
    assert found.figures["ece"] == certain.figures["ece"]


def test_nobody_was_sure_of_an_abstained_answer(bundles: Bundles) -> None:
    kind = "multi_label_classification"
    plain, careful = (
        bundles(own={"problem_type": kind}),
        bundles(own={"problem_type": kind, "abstain_below": 1}),
    )
    labelled = several([LABELS] * 10)
    found = evaluate(careful, labelled, config=STUB, draws=5)
    assert (found.abstained, found.worst) == (1, ())
    assert evaluate(plain, labelled, config=STUB, draws=5).worst


def test_an_abstained_answer_is_wrong_where_no_label_is_right_too(bundles: Bundles) -> None:
    folder = bundles(own={"problem_type": "multi_label_classification", "abstain_below": 1})
    found = evaluate(folder, several([LABELS, *[()] * 9]), config=STUB, draws=5)
    assert (found.abstained, found.figures["subset_accuracy"].value) == (1, 0)


def one_label(bundles: Bundles, *words: Any, label: str = "toxic") -> Evaluation:
    """Of a head with one label, on texts of which a column tells by these words whether it holds."""
    folder = bundles(own={"labels": (label,), "problem_type": "multi_label_classification"})
    rows = [{"text": text, "label": words[i % len(words)]} for i, text in enumerate(texts(12))]
    return evaluate(folder, read_labelled(rows), config=STUB, draws=5)


@pytest.mark.parametrize("words", [(0, 1), (False, True), ("no", "YES"), ("0", "Toxic")])
def test_a_head_of_one_label_is_told_by_numbers_whether_it_holds(
    bundles: Bundles, words: tuple[Any, Any]
) -> None:
    found = one_label(bundles, *words)
    assert (found.labels, found.multi_label) == (("toxic",), True)
    assert found.gold.gold[:, 0].tolist() == [i % 2 == 1 for i in range(12)]
    assert [one.labels for one in found.gold.examples[:2]] == [(), ("toxic",)]


@pytest.mark.parametrize(
    ("words", "label"), [((0, 2), "toxic"), (("no", "bad"), "toxic"), (("yes", "no"), "no")]
)
def test_what_does_not_tell_whether_a_label_holds_is_refused(
    bundles: Bundles, words: tuple[Any, Any], label: str
) -> None:
    wanted = f"has one label, '{label}', of which '.*' of the data does not tell whether it holds; wanted: "
    with pytest.raises(InputError, match=wanted):
        one_label(bundles, *words, label=label)


def test_slices_tell_parts_apart(stub: Classifier) -> None:
    part = ["first" if i < WRONG else "rest" for i in range(N)]
    stars = [i % 2 + 1 for i in range(N)]
    labelled = labelled_by(
        stub, columns={"part": part, "stars": stars, "chars": [str(100 + i) for i in range(N)]}
    )
    found = evaluate(stub, labelled, slices=["part", "stars", "chars", "length"], draws=20)
    by_name = {(one.column, one.value): one for one in found.slices}
    assert by_name["part", "first"].figures["accuracy"].value == 0
    assert by_name["part", "rest"].figures["accuracy"].value == 1
    assert by_name["part", "rest"].count == N - WRONG
    assert [one.value for one in found.slices if one.column == "stars"] == ["1", "2"]
    assert [one.value for one in found.slices if one.column == "chars"] == [
        *("100 – 114", "115 – 129", "130 – 144", "145 – 159")
    ]
    for column in ("part", "stars", "chars", "length"):
        assert sum(one.count for one in found.slices if one.column == column) == N
    whole = evaluate(stub, labelled.take(range(WRONG, N)), draws=20)
    assert by_name["part", "rest"].figures["macro_f1"].value == whole.figures["macro_f1"].value


def test_a_column_named_length_comes_before_that_in_tokens(stub: Classifier) -> None:
    labelled = labelled_by(stub, columns={"length": ["long", "short"] * (N // 2)})
    found = evaluate(stub, labelled, slices=["length"], draws=5)
    assert [one.value for one in found.slices] == ["long", "short"]


def test_rare_values_are_told_as_one_and_missing_ones_by_name(stub: Classifier) -> None:
    values = ["", None, *(f"v{i // 2}" for i in range(N - 2))]
    found = evaluate(stub, labelled_by(stub, columns={"of": values}), slices=["of"], draws=5)
    assert len(found.slices) == 21
    assert (found.slices[-1].value, found.slices[-1].count) == ("(others)", N - 40)
    assert ("(none)", 2) in {(one.value, one.count) for one in found.slices}


def test_an_unknown_column_is_told_before_anything_is_answered(stub: Classifier) -> None:
    labelled = labelled_by(stub, columns={"part": ["a"] * N})
    stub.close()
    with pytest.raises(
        InputError, match=r"no column 'parts' to slice by; there is part, length \(in tokens\)"
    ):
        evaluate(stub, labelled, slices=["parts"])


def test_the_worst_mistakes_are_the_surest(stub: Classifier) -> None:
    labelled = labelled_by(stub)
    answers = stub.classify(labelled.texts)
    found = evaluate(stub, labelled, worst=5, draws=5).worst
    surest = sorted((one.score for one in answers[:WRONG]), reverse=True)[:5]
    assert [one.score for one in found] == pytest.approx(surest, rel=1e-5)
    for one in found:
        assert one.gold != one.found == (one.label,)
        assert labelled.examples[int(one.id) - 1].text == one.text
        assert one.where == f"row {one.id}"
    assert len(evaluate(stub, labelled, worst=1000, draws=5).worst) == WRONG
    assert evaluate(stub, labelled, worst=0, draws=5).worst == ()


def test_a_text_that_cannot_be_answered_stops_or_is_counted(model: MakeModel, stub: Classifier) -> None:
    labelled = labelled_by(stub)
    broken = replace(labelled.examples[3], text="very " * 500, where="in.csv line 5")
    some = replace(labelled, examples=(*labelled.examples[:3], broken, *labelled.examples[4:]))
    strict = replace(STUB, tokenizer=TokenizerConfig(too_long="error"))
    with pytest.raises(RowError, match=r"in\.csv line 5"):
        evaluate(model(), some, config=strict)
    found = evaluate(model(), some, config=replace(strict, run=RunConfig(on_error="skip")), draws=5)
    assert len(found.gold) == len(found.answers.found) == N - 1
    assert len(found.skipped) == 1
    assert found.skipped[0].startswith("in.csv line 5")
    cut = evaluate(model(), some, config=STUB, draws=5)
    assert cut.truncated == pytest.approx(1 / N)
    with pytest.raises(InputError, match="none of the 1 texts could be answered"):
        evaluate(model(), some.take([3]), config=replace(strict, run=RunConfig(on_error="skip")))


def test_settings_that_mean_nothing_are_refused(stub: Classifier) -> None:
    labelled = labelled_by(stub)
    with pytest.raises(ConfigError, match="draws is 0; the least is 1"):
        evaluate(stub, labelled, draws=0)
    with pytest.raises(ConfigError, match="worst is -1; the least is 0"):
        evaluate(stub, labelled, worst=-1)
    with pytest.raises(ConfigError, match="seed is -1; the least is 0"):
        evaluate(stub, labelled, seed=-1)
    with pytest.raises(ConfigError, match="has its own config"):
        evaluate(stub, labelled, config=STUB)


def test_the_packaged_model_is_as_good_as_its_card_says(data: Path) -> None:
    labelled = read_labelled(data / "emotion" / "validation.tsv")
    found = evaluate("emotion", labelled, draws=100)
    assert found.figures["accuracy"].value >= 0.93
    assert found.figures["auroc"].value >= 0.99
