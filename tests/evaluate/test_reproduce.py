"""A right figure, a slightly wrong and a plainly wrong one are told apart, and what may explain the gap."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from tests.doubles import MakeModel
from tests.evaluate.cards import COMMIT, TEXTS, answered, card, with_card, write_rows
from tests.models import LABELS, WORDS, changed
from tests.store.hub_server import Hub, Model
from tonewise import Classifier
from tonewise.config import Config, EngineConfig
from tonewise.errors import ConfigError, InputError, ModelError
from tonewise.evaluate.reproduce import OnData, Reproduction, Wanted, reproduce

CONFIG = Config(engine=EngineConfig("onnxruntime", "fp32", threads=1))
WRONG = 10
ACCURACY = 1 - WRONG / len(TEXTS)


@pytest.fixture(scope="module")
def rows(model: MakeModel) -> list[tuple[str, int]]:
    return answered(model(), WRONG)


@pytest.fixture(scope="module")
def file(rows: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl", rows))


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


def test_what_is_not_measured_is_told_and_is_no_success_alone(
    model: MakeModel, tmp_path: Path, file: str
) -> None:
    other = {"type": "matthews_correlation", "name": "MCC", "value": 0.9}
    found = of_card(model, tmp_path / "a", file, card([other, {"type": "accuracy", "value": ACCURACY}]))
    assert [line.within for line in found.lines] == [None, True]
    with pytest.raises(ModelError, match=r"none of the card's figures \(MCC\) is one that is measured here"):
        of_card(model, tmp_path / "b", file, card([other]))


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
