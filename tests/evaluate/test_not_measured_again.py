"""`reproduce` holds no figure against rows that were learned since, or against answers of another head."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.doubles import MakeModel
from tests.evaluate.cards import ACCURACY, TEXTS, card, joined, with_card
from tests.evaluate.conftest import Bundles
from tests.models import LABELS
from tonewise import Classifier, metrics
from tonewise.config import Config, EngineConfig, RunConfig
from tonewise.errors import ConfigError, InputError, ModelError
from tonewise.evaluate.reproduce import HEADLESS, LEARNED, Wanted, reproduce

CONFIG = Config(engine=EngineConfig("onnxruntime", "fp32", threads=1))
STUB = Config(engine=EngineConfig("stub"))
RIGHT = {"type": "accuracy", "name": "Accuracy", "value": ACCURACY}


@pytest.mark.parametrize("split", ["out-of-fold", "Out of fold", "out_of_fold"])
def test_figures_of_rows_that_were_learned_since_are_not_measured(
    model: MakeModel, tmp_path: Path, file: str, split: str
) -> None:
    stated = card([{"type": "accuracy", "name": "Accuracy", "value": 0.529}], split=split)
    folder = with_card(model, tmp_path / "m", stated)
    for data in (file, None):
        with pytest.raises(ModelError) as caught:
            reproduce(folder, data=data, config=CONFIG)
        assert str(caught.value) == f"the card's figures (Accuracy) cannot be measured again: {LEARNED}"


def test_other_figures_are_measured_beside_those_that_cannot_be(
    model: MakeModel, tmp_path: Path, file: str
) -> None:
    learned = card([RIGHT, {"type": "f1", "value": "N/A"}], split="out-of-fold")
    folder = with_card(model, tmp_path / "m", joined(learned, card([RIGHT])))
    found = reproduce(folder, data=file, config=CONFIG)
    assert [(line.within, line.why) for line in found.lines] == [
        *[(None, LEARNED)] * 2,
        (True, None),
    ]
    assert [(part.source, part.rows) for part in found.parts] == [("", 0), (file, len(TEXTS))]
    assert found.reproduced
    with pytest.raises(ModelError, match="cannot be measured again: out-of-fold figures of rows"):
        reproduce(folder, data=file, config=CONFIG, wanted=Wanted(split="out-of-fold"))


def by_stub(folder: Path, head: str) -> list[dict[str, Any]]:
    """Texts with what the stub's head says of them."""
    with Classifier.load(f"{folder}#{head}", config=STUB) as classifier:
        answers = classifier.classify(TEXTS)
    return [{"text": text, "label": answer.label} for text, answer in zip(TEXTS, answers, strict=True)]


def test_a_figure_that_names_no_head_is_held_against_none_of_several(bundles: Bundles) -> None:
    folder = bundles(one={}, other={})
    nameless = card([{"type": "accuracy", "name": "Accuracy", "value": 1.0}])
    (folder / "README.md").write_text(nameless, "utf-8")
    data = by_stub(folder, "one")
    for head, ref in (("one", str(folder)), (None, f"{folder}#one")):
        with pytest.raises(ModelError) as caught:
            reproduce(ref, data=data, config=STUB, head=head)
        assert str(caught.value) == f"the card's figures (Accuracy) cannot be measured again: {HEADLESS}"
    own = card([{"type": "accuracy", "value": 1.0}], head="one")
    (folder / "README.md").write_text(joined(nameless, own), "utf-8")
    found = reproduce(folder, data=data, config=STUB, head="one")
    (part,) = found.parts
    assert [(line.within, line.why) for line in part.lines] == [(None, HEADLESS), (True, None)]


def test_of_a_model_with_one_head_a_figure_may_name_none(bundles: Bundles) -> None:
    folder = bundles(one={})
    (folder / "README.md").write_text(card([{"type": "accuracy", "value": 1.0}]), "utf-8")
    assert reproduce(folder, data=by_stub(folder, "one"), config=STUB).reproduced


@pytest.mark.parametrize("percent", [False, True])
def test_the_calibration_error_is_measured(
    model: MakeModel, tmp_path: Path, rows: list[tuple[str, int]], file: str, percent: bool
) -> None:
    with Classifier.load(model(), config=CONFIG) as classifier:
        answers = classifier.classify(TEXTS)
    gold = [LABELS[place] for _, place in rows]
    sure = np.array([answer.score for answer in answers])
    right = np.array([answer.label == one for answer, one in zip(answers, gold, strict=True)])
    ece = metrics.ece(sure, right)
    assert ece > 0.02
    stated = f"{100 * ece:.2f}%" if percent else ece
    off = {"type": "expected_calibration_error", "value": ece + 0.02}
    folder = with_card(model, tmp_path / "m", card([{"type": "ece", "name": "ECE", "value": stated}, off]))
    one, other = reproduce(folder, data=file, config=CONFIG).lines
    assert one.measured == pytest.approx(ece, abs=1e-5)
    assert (one.definition, one.within, other.within) == ("15 bins of equal mass", True, False)


def test_the_calibration_error_of_several_labels_is_that_of_every_score(
    bundles: Bundles,
) -> None:
    folder = bundles(own={"problem_type": "multi_label_classification"})
    with Classifier.load(folder, config=STUB) as classifier:
        answers = classifier.classify(TEXTS)
    scores = np.array([list(answer.scores.values()) for answer in answers])
    held = np.array([[name in answer.labels for name in LABELS] for answer in answers])
    data = [{"text": text, "labels": list(one.labels)} for text, one in zip(TEXTS, answers, strict=True)]
    (folder / "README.md").write_text(card([{"type": "ece", "value": 0.5}]), "utf-8")
    (line,) = reproduce(folder, data=data, config=STUB).lines
    assert line.measured == pytest.approx(metrics.ece(scores.ravel(), held.ravel()), abs=1e-5)


def test_rows_of_labels_that_the_model_lacks_may_be_skipped(
    model: MakeModel, tmp_path: Path, rows: list[tuple[str, int]]
) -> None:
    folder = with_card(model, tmp_path / "m", card([RIGHT]))
    data = [{"text": text, "label": LABELS[place]} for text, place in rows]
    data.append({"text": "i am", "label": "glad"})
    with pytest.raises(InputError, match=r"'glad' of the data; .* --on-error skip$"):
        reproduce(folder, data=data, config=CONFIG)
    lenient = Config(engine=CONFIG.engine, run=RunConfig(on_error="skip"))
    found = reproduce(folder, data=data, config=lenient)
    (part,) = found.parts
    assert (found.reproduced, part.rows) == (True, len(TEXTS))
    assert part.skipped == (f"text {len(TEXTS) + 1}: head 'label' does not know the label 'glad'",)


def test_a_split_that_is_asked_for_is_not_taken_for_the_one_that_was_learned(
    model: MakeModel, tmp_path: Path, file: str
) -> None:
    folder = with_card(model, tmp_path / "m", card([RIGHT], split="out-of-fold"))
    with pytest.raises(ConfigError, match="it has: acme/feelings, split out-of-fold"):
        reproduce(folder, data=file, config=CONFIG, wanted=Wanted(split="test"))
