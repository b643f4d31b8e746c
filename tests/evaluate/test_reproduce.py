"""A right figure, a slightly wrong and a plainly wrong one are told apart, and what may explain the gap."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from tests.doubles import MakeModel, write_bundle
from tests.evaluate.cards import ACCURACY, COMMIT, TEXTS, answered, card, joined, with_card
from tests.models import LABELS, WORDS, changed
from tests.store.hub_server import Hub, Model
from tonewise import Classifier
from tonewise.config import Config, EngineConfig, RunConfig, TokenizerConfig
from tonewise.errors import ConfigError, InputError, ModelError
from tonewise.evaluate.answers import Answers
from tonewise.evaluate.claims import Claim, DataName
from tonewise.evaluate.definitions import definitions
from tonewise.evaluate.reproduce import OnData, Reproduction, Wanted, reproduce
from tonewise.source import Example
from tonewise.source.labelled import Labelled
from tonewise.store import HeadSpec

CONFIG = Config(engine=EngineConfig("onnxruntime", "fp32", threads=1))


def of_card(model: MakeModel, to: Path, data: Any, text: str, **more: Any) -> Reproduction:
    return reproduce(with_card(model, to, text), data=data, config=CONFIG, **more)


def checks(part: OnData) -> dict[str, bool]:
    return {check.name: check.suspect for check in part.checks}


@pytest.mark.parametrize(
    ("stated", "points", "within"),
    [
        (ACCURACY, 0.0, True),
        (100 * ACCURACY, 0.0, True),
        (ACCURACY + 0.005, -0.5, True),
        (ACCURACY - 0.01, 1.0, True),
        (ACCURACY + 0.02, -2.0, False),
        (0.5, 45.0, False),
    ],
)
def test_a_stated_figure_is_within_or_it_is_not(
    model: MakeModel, tmp_path: Path, file: str, stated: float, points: float, within: bool
) -> None:
    found = of_card(model, tmp_path / "m", file, card([{"type": "accuracy", "value": round(stated, 6)}]))
    (line,) = found.lines
    assert line.measured == pytest.approx(ACCURACY)
    assert line.points == pytest.approx(points, abs=1e-6)
    assert (line.within, found.reproduced) == (within, within)


def test_one_figure_outside_is_enough_and_the_tolerance_is_a_setting(
    model: MakeModel, tmp_path: Path, file: str
) -> None:
    metrics = [{"type": "accuracy", "value": ACCURACY}, {"type": "accuracy", "value": ACCURACY + 0.02}]
    assert not of_card(model, tmp_path / "a", file, card(metrics)).reproduced
    assert of_card(model, tmp_path / "b", file, card(metrics), tolerance=2.0).reproduced
    with pytest.raises(ConfigError, match="tolerance is -1; wanted: points from 0 to 100"):
        of_card(model, tmp_path / "c", file, card(metrics), tolerance=-1)


def test_figures_of_another_head_are_left_out(model: MakeModel, tmp_path: Path, file: str) -> None:
    (own,) = Classifier.load(model(), config=CONFIG).bundle.heads
    metrics = [{"type": "accuracy", "value": 0.5}]
    other, same = (card(metrics, head=name) for name in ("another", own))
    assert of_card(model, tmp_path / "same", file, same).lines
    with pytest.raises(ModelError, match=f"its card states no figure of the head {own}"):
        of_card(model, tmp_path / "other", file, other)


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
def test_each_average_is_what_scikit_learn_has(
    model: MakeModel, tmp_path: Path, rows: list[tuple[str, int]], file: str, average: str
) -> None:
    right = np.array([place for _, place in answered(model(), 0)])
    wanted = f1_score([place for _, place in rows], right, average=average)
    named = card([{"type": "f1", "name": f"F1 {average}", "value": float(wanted)}])
    (line,) = of_card(model, tmp_path / "m", file, named).lines
    assert line.measured == pytest.approx(wanted)
    assert line.definition == average


def test_a_macro_mean_may_be_over_the_labels_with_support(model: MakeModel, tmp_path: Path) -> None:
    own = answered(model(), 0)
    third = next(row for row in own if row[1] == 2)
    some = [row for row in own if row[1] != 2]
    data = [{"text": text, "label": place} for text, place in [*some, (third[0], 0)]]
    gold, found = [row["label"] for row in data], [*(place for _, place in some), 2]
    occurring = float(f1_score(gold, found, average="macro"))
    supported = float(f1_score(gold, found, average="macro", labels=[0, 1]))
    assert occurring + 0.1 < supported
    for value, name in ((occurring, "labels that occur"), (supported, "labels with support")):
        stated = card([{"type": "f1", "name": "Macro F1", "value": value, "args": {"average": "macro"}}])
        (line,) = of_card(model, tmp_path / name, data, stated).lines
        assert (line.definition, line.within) == (f"macro, {name}", True)
        assert line.points == pytest.approx(0)
    (line,) = of_card(model, tmp_path / "m", data, card([{"type": "f1_macro", "value": 0.01}])).lines
    assert (line.definition, line.within) == ("macro, labels that occur", False)


@pytest.mark.parametrize("metric", ["f1", "precision", "recall"])
def test_macro_means_of_several_labels_are_over_all_of_them_as_scikit_learn_has_them(metric: str) -> None:
    gold = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0]], bool)
    found = np.array([[1, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0]], bool)
    labelled = Labelled(tuple(Example("") for _ in gold), tuple("abcd"), gold.astype(np.float32), "multi")
    answers = Answers(
        found.astype(np.float32), found, np.zeros(3, bool), np.ones(3, np.int64), np.zeros(3, bool)
    )
    claim = Claim("", metric, "macro", 0.5, 1, DataName("x"))
    wanted = {
        "macro, all labels": None,
        "macro, labels with support": [0, 1],
        "macro, labels that occur": [0, 1, 2],
    }
    score = {"f1": f1_score, "precision": precision_score, "recall": recall_score}[metric]
    assert definitions(labelled, answers, claim, multi_label=True) == pytest.approx(
        {
            name: score(gold, found, average="macro", labels=some, zero_division=0)
            for name, some in wanted.items()
        }
    )
    assert list(definitions(labelled, answers, claim, multi_label=True)) == list(wanted)
    silent = replace(answers, found=np.zeros_like(found))
    empty = replace(labelled, targets=np.zeros_like(labelled.targets))
    assert definitions(empty, silent, replace(claim, metric="auc"), multi_label=True) == {}


def test_a_figure_with_several_meanings_says_which_one_fits(
    model: MakeModel, tmp_path: Path, file: str
) -> None:
    (micro,) = of_card(model, tmp_path / "a", file, card([{"type": "f1", "value": ACCURACY}])).lines
    assert micro.within
    (none,) = of_card(model, tmp_path / "b", file, card([{"type": "f1", "value": 0.01}])).lines
    assert (none.within, none.definition) == (False, "macro")


def test_the_f1_of_two_labels_is_that_of_the_second(tmp_path: Path, model: MakeModel) -> None:
    folder = model(labels=("NEG", "POS"))
    changed(folder, tmp_path / "m")
    data = [{"text": text, "label": i % 2} for i, text in enumerate(TEXTS)]
    (tmp_path / "m" / "README.md").write_text(card([{"type": "f1", "value": 0.123}]))
    (line,) = reproduce(tmp_path / "m", data=data, config=CONFIG).lines
    assert line.definition == "of POS"


def test_figures_of_several_labels_a_text(model: MakeModel, tmp_path: Path) -> None:
    changed(model(), tmp_path / "m", config={"problem_type": "multi_label_classification"})
    with Classifier.load(tmp_path / "m", config=CONFIG) as classifier:
        found = [list(one.labels or ()) for one in classifier.classify(TEXTS)]
    data = [{"text": text, "labels": held} for text, held in zip(TEXTS, found, strict=True)]
    data[0]["labels"] = [] if found[0] else ["joy"]
    metrics = [{"type": "accuracy", "value": 1 - 1 / len(TEXTS)}, {"type": "f1_micro", "value": 0.997}]
    (tmp_path / "m" / "README.md").write_text(card(metrics))
    rows, micro = reproduce(tmp_path / "m", data=data, config=CONFIG, tolerance=0.5).lines
    assert rows.points == pytest.approx(0)
    assert (micro.definition, micro.within) == ("micro", True)
    assert micro.measured is not None
    assert micro.measured < 1


def test_labels_are_names_in_any_case_or_numbers(
    model: MakeModel, tmp_path: Path, rows: list[tuple[str, int]]
) -> None:
    text = card([{"type": "accuracy", "value": ACCURACY}])
    upper = [{"text": text, "label": LABELS[place].upper()} for text, place in rows]
    assert of_card(model, tmp_path / "a", upper, text).reproduced
    with pytest.raises(InputError, match="does not know the label '9' of the data"):
        of_card(model, tmp_path / "b", [{"text": "i am", "label": 9}], text)


def test_another_order_of_the_labels_is_told(model: MakeModel, tmp_path: Path) -> None:
    own = answered(model(), 0)
    turned = [{"text": text, "label": (place + 1) % len(LABELS)} for text, place in own]
    text = card([{"type": "accuracy", "value": ACCURACY}])
    found = of_card(model, tmp_path / "m", turned, text)
    (order,) = [one for one in found.parts[0].checks if one.name == "label order"]
    assert (found.reproduced, order.suspect) == (False, True)
    assert order.told.startswith("accuracy 0.0% would be 100.0% with sadness → joy")


def test_nothing_is_suspected_where_nothing_is_wrong(model: MakeModel, tmp_path: Path, file: str) -> None:
    found = of_card(model, tmp_path / "m", file, card([{"type": "accuracy", "value": 0.95}]))
    assert checks(found.parts[0]) == {
        "vocabulary": False,
        "case": False,
        "unknown tokens": False,
        "precision": False,
        "label order": False,
        "split": False,
        "length": False,
    }


def test_another_split_precision_and_length_are_suspected(
    model: MakeModel, tmp_path: Path, rows: list[tuple[str, int]]
) -> None:
    long = [{"text": "i am so happy " * 40, "label": 0}, *({"text": text, "label": i} for text, i in rows)]
    text = card([{"type": "accuracy", "value": 0.94736842}])
    found = of_card(model, tmp_path / "a", long, text).parts[0]
    assert (checks(found)["split"], checks(found)["length"]) == (True, False)
    few = of_card(
        model, tmp_path / "b", long[:50], card([{"type": "accuracy", "value": 1}], args={"rows": 9})
    )
    assert (checks(few.parts[0])["split"], checks(few.parts[0])["length"]) == (True, True)


def test_a_tokenizer_of_another_model_is_suspected(model: MakeModel, tmp_path: Path, file: str) -> None:
    folder = with_card(model, tmp_path / "m", card([{"type": "accuracy", "value": 0.95}]))
    (folder / "vocab.txt").write_text("\n".join([*WORDS[:5], *(f"x{i}" for i in range(len(WORDS) - 5))]))
    found = reproduce(folder, data=file, config=CONFIG).parts[0]
    assert checks(found)["unknown tokens"]
    assert not checks(found)["vocabulary"]
    (folder / "vocab.txt").write_text("\n".join(WORDS[:20]))
    assert checks(reproduce(folder, data=file, config=CONFIG).parts[0])["vocabulary"]
    (folder / "vocab.txt").write_text("\n".join([*WORDS[:40], *(word.upper() for word in WORDS[40:])]))
    assert checks(reproduce(folder, data=file, config=CONFIG).parts[0])["case"]


def test_more_digits_than_float32_has_are_of_no_other_split(
    model: MakeModel, tmp_path: Path, file: str
) -> None:
    for value, suspect in ((float(np.float32(ACCURACY)), False), (0.9471234567, True)):
        stated = card([{"type": "accuracy", "value": value}])
        found = of_card(model, tmp_path / str(value), file, stated).parts[0]
        assert checks(found)["split"] is suspect


def test_what_is_not_measured_is_told_and_is_no_success_alone(
    model: MakeModel, tmp_path: Path, file: str
) -> None:
    other = {"type": "matthews_correlation", "name": "MCC", "value": 0.9}
    found = of_card(model, tmp_path / "a", file, card([other, {"type": "accuracy", "value": ACCURACY}]))
    assert [line.within for line in found.lines] == [None, True]
    with pytest.raises(ModelError, match=r"none of the card's figures \(MCC\) is one that is measured here"):
        of_card(model, tmp_path / "b", file, card([other]))


def two_sets(second: dict[str, Any], **dataset: Any) -> str:
    """A card with accuracy on one split, and another figure on another."""
    return joined(card([{"type": "accuracy", "value": ACCURACY}]), card([second], split="x", **dataset))


@pytest.mark.parametrize("value", [0.9, None, "N/A"])
def test_data_of_which_nothing_is_measured_is_not_read_and_costs_no_result(
    model: MakeModel, tmp_path: Path, file: str, value: Any
) -> None:
    text = two_sets({"type": "matthews_correlation", "name": "MCC", "value": value})
    found = of_card(model, tmp_path / "m", file, text)
    assert [line.within for line in found.lines] == [True, None]
    assert [(part.source, part.rows) for part in found.parts] == [(file, len(TEXTS)), ("", 0)]
    assert (
        json.loads(json.dumps(found.to_json(), allow_nan=False))["parts"][1]["lines"][0]["measured"] is None
    )
    alone = Wanted(split="x")
    with pytest.raises(ModelError, match=r"none of the card's figures \(MCC\) is one that is measured here"):
        of_card(model, tmp_path / "none", None, text, wanted=alone)


def test_what_is_no_number_counts_only_where_it_is_wanted(
    model: MakeModel, tmp_path: Path, file: str
) -> None:
    broken = [{"type": "f1", "name": "F1", "value": None}]
    heads = joined(card([{"type": "accuracy", "value": ACCURACY}]), card(broken, head="another"))
    assert of_card(model, tmp_path / "heads", file, heads).reproduced
    assert of_card(model, tmp_path / "a", file, two_sets(broken[0]), wanted=Wanted(split="test")).reproduced
    with pytest.raises(ModelError, match="'F1' of its card is 'None'; a number is wanted"):
        of_card(model, tmp_path / "b", file, two_sets(broken[0]), wanted=Wanted(split="x"))


def test_the_config_of_the_data_can_be_named(model: MakeModel, tmp_path: Path, file: str) -> None:
    text = two_sets({"type": "accuracy", "value": 0.1}, config="plain")
    told = r"name one \(--dataset, --dataset-config, --split\)"
    with pytest.raises(ConfigError, match=told):
        of_card(model, tmp_path / "a", file, text)
    found = of_card(model, tmp_path / "b", file, text, wanted=Wanted(split="test", config="sst2"))
    assert (found.parts[0].data.config, found.reproduced) == ("sst2", True)
    plain = of_card(model, tmp_path / "c", file, text, wanted=Wanted(split="x", config="plain"))
    assert (plain.parts[0].data.config, plain.reproduced) == ("plain", False)
    with pytest.raises(ConfigError, match="the card states no figure of that data"):
        of_card(model, tmp_path / "d", file, text, wanted=Wanted(split="x", config="sst2"))


def test_rows_that_were_skipped_are_told(
    model: MakeModel, tmp_path: Path, rows: list[tuple[str, int]]
) -> None:
    data = [*({"text": text, "label": i} for text, i in rows), {"text": "a", "label": None}]
    data.append({"text": "very " * 500, "label": 0})
    config = replace(CONFIG, run=RunConfig(on_error="skip"), tokenizer=TokenizerConfig(too_long="error"))
    folder = with_card(model, tmp_path / "m", card([{"type": "accuracy", "value": ACCURACY}]))
    (part,) = reproduce(folder, data=data, config=config).parts
    assert (part.rows, len(part.skipped)) == (len(TEXTS), 2)
    assert [one.partition(":")[0] for one in part.skipped] == [f"text {len(TEXTS) + i}" for i in (1, 2)]


def toxic(model: MakeModel, to: Path) -> tuple[Path, list[bool]]:
    """A model of one label, and of which texts it says so: of some, and by far not of the others."""
    spec = HeadSpec(("toxic",), "own", "multi_label_classification")
    first = write_bundle(to.with_name("first"), model(), {"own": spec})
    with Classifier.load(first, config=CONFIG) as classifier:
        scores = [one.score for one in classifier.classify(TEXTS)]
    _, low, high = max((high - low, low, high) for low, high in pairwise(sorted(scores)[20:-20]))
    folder = write_bundle(to, model(), {"own": replace(spec, thresholds=((low + high) / 2,))})
    (folder / "README.md").write_text(card([{"type": "accuracy", "value": 1.0}]))
    return folder, [score > low for score in scores]


@pytest.mark.parametrize("words", [(0, 1), ("no", "yes")])
def test_a_model_of_one_label_is_told_by_numbers_whether_it_holds(
    model: MakeModel, tmp_path: Path, words: tuple[Any, Any]
) -> None:
    folder, held = toxic(model, tmp_path / "m")
    data = [{"text": text, "label": words[holds]} for text, holds in zip(TEXTS, held, strict=True)]
    assert reproduce(folder, data=data, config=CONFIG, tolerance=0).reproduced
    data[0]["label"] = "non-toxic"
    with pytest.raises(InputError, match="of which 'non-toxic' of the data does not tell whether it holds"):
        reproduce(folder, data=data, config=CONFIG)


def test_which_data_is_meant_must_be_told_where_the_card_has_several(
    model: MakeModel, tmp_path: Path, file: str
) -> None:
    one, two = (
        card([{"type": "accuracy", "value": 0.95}]),
        card([{"type": "accuracy", "value": 0.1}], split="x"),
    )
    both = one.replace("---\n# A", two.partition("model-index:\n")[2].replace("---\n# A", "---\n# A"))
    with pytest.raises(
        ConfigError, match=r"of several data: acme/feelings, split test; acme/feelings, split x"
    ):
        of_card(model, tmp_path / "a", file, both)
    assert of_card(model, tmp_path / "b", file, both, wanted=Wanted(split="test")).reproduced
    with pytest.raises(ConfigError, match="the card states no figure of that data; it has: acme/feelings"):
        of_card(model, tmp_path / "c", file, both, wanted=Wanted(dataset="glue"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    from huggingface_hub import constants

    server = Hub()
    for name, value in (("HF_ENDPOINT", server.url), ("HF_HOME", tmp_path / "hf"), ("NO_PROXY", "127.0.0.1")):
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.chdir(tmp_path)
    yield server
    server.close()


def test_data_that_the_card_names_is_fetched_by_its_commit(
    model: MakeModel, tmp_path: Path, rows: list[tuple[str, int]], hub: Hub
) -> None:
    datasets = pytest.importorskip("datasets")
    turned = LABELS[::-1]  # the set numbers its labels in an order of its own
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=list(turned))}
    )
    table = {"text": [text for text, _ in rows], "label": [len(LABELS) - 1 - place for _, place in rows]}
    datasets.Dataset.from_dict(table, features=features).to_parquet(tmp_path / "x.parquet")
    name = "data/test-00000-of-00001.parquet"
    hub.add("datasets/acme/feelings", Model({name: (tmp_path / "x.parquet").read_bytes()}, COMMIT))
    text = card([{"type": "accuracy", "value": ACCURACY}], revision=COMMIT)
    found = of_card(model, tmp_path / "m", None, text)
    assert found.reproduced
    assert found.parts[0].source == f"acme/feelings@{COMMIT}"
    assert "data" not in checks(found.parts[0])


def hub_set(hub: Hub, to: Path, table: Mapping[str, object], **names: list[str]) -> None:
    """A data set of the hub whose columns have these classes."""
    datasets = pytest.importorskip("datasets")
    features = {"text": datasets.Value("string")}
    features |= {name: datasets.ClassLabel(names=some) for name, some in names.items()}
    made = datasets.Dataset.from_dict(table, features=datasets.Features(features))
    made.to_parquet(to)
    file = {"data/test-00000-of-00001.parquet": to.read_bytes()}
    hub.add("datasets/acme/feelings", Model(file, COMMIT))


def test_names_are_those_of_the_label_column_whatever_stands_before_it(
    model: MakeModel, tmp_path: Path, rows: list[tuple[str, int]], hub: Hub
) -> None:
    texts, places = [text for text, _ in rows], [place for _, place in rows]
    table = {"text": texts, "scenario": [0] * len(rows), "intent": [len(LABELS) - 1 - one for one in places]}
    hub_set(hub, tmp_path / "x.parquet", table, scenario=list(LABELS), intent=list(LABELS[::-1]))
    found = of_card(model, tmp_path / "m", None, card([{"type": "accuracy", "value": ACCURACY}]))
    assert found.reproduced


def test_numbers_whose_names_are_not_the_models_are_suspected(
    model: MakeModel, tmp_path: Path, rows: list[tuple[str, int]], hub: Hub
) -> None:
    table = {"text": [text for text, _ in rows], "label": [place for _, place in rows]}
    hub_set(hub, tmp_path / "x.parquet", table, label=["sad", "glad", "angry"])
    found = of_card(model, tmp_path / "m", None, card([{"type": "accuracy", "value": ACCURACY}]))
    first = found.parts[0].checks[0]
    assert (found.reproduced, first.name, first.suspect) == (True, "label order", True)
    assert first.told == "numbers were taken in the model's order; the data's names are sad, glad, angry"


@pytest.mark.parametrize("names", [["toxic", "non-toxic"], ["bad", "good"]])
def test_the_names_of_numbers_tell_whether_the_only_label_holds(
    model: MakeModel, tmp_path: Path, hub: Hub, names: list[str]
) -> None:
    folder, held = toxic(model, tmp_path / "m")
    turned = names[0] == "toxic"
    table = {"text": TEXTS, "label": [int(one != turned) for one in held]}
    hub_set(hub, tmp_path / "x.parquet", table, label=names)
    found = reproduce(folder, config=CONFIG, tolerance=0)
    assert found.reproduced
    doubts = [one.told for one in found.parts[0].checks if one.name == "label order"]
    told = "numbers were taken to say whether 'toxic' holds; the data's names are bad, good"
    assert doubts == ([] if turned else [told])


def test_data_that_cannot_be_had_is_named_with_the_way_to_give_it(
    model: MakeModel, tmp_path: Path, hub: Hub
) -> None:
    text = card([{"type": "accuracy", "value": 0.9}], revision=COMMIT, config="plain")
    told = (
        r"wanted: acme/feelings, config plain, split test, revision cccccccccccc, as a file with --data FILE "
        r"\(columns: the text, and its label \(sadness, joy, anger\), or their numbers\); .* no such data set"
    )
    with pytest.raises(InputError, match=told):
        of_card(model, tmp_path / "a", None, text)
    with pytest.raises(InputError, match="the card does not say which split; name it with --split"):
        of_card(model, tmp_path / "b", None, card([{"type": "accuracy", "value": 0.9}], split=None))
