"""`calibrate`: a temperature that makes scores true, thresholds that fit, all else as it was."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.doubles import MakeModel
from tests.evaluate.cards import with_card
from tests.evaluate.conftest import Bundles, labelled_by
from tests.models import LABELS, WORDS
from tonewise import Classifier
from tonewise.config import Config, EngineConfig, HeadConfig
from tonewise.errors import ConfigError, InputError, ModelError, OutputError
from tonewise.evaluate import calibrate
from tonewise.head import sigmoid
from tonewise.source import Example
from tonewise.source.labelled import Labelled, Labels, read_labelled
from tonewise.store import resolve, verify

STUB = Config(engine=EngineConfig("stub"))
MULTI = "multi_label_classification"


def many(n: int) -> list[str]:
    rng = np.random.default_rng(5)
    return [" ".join(rng.choice(WORDS[5:45], 6)) for _ in range(n)]


def single(folder: Path, n: int, truth: float) -> Labelled:
    """Texts whose labels are drawn as the model's own logits say at the temperature `truth`."""
    some = many(n)
    with Classifier.load(folder, config=STUB) as classifier:
        logits = classifier.logits(some)["own"] / truth
    chances = np.exp(logits - logits.max(axis=1, keepdims=True))
    rng = np.random.default_rng(1)
    gold = [LABELS[rng.choice(3, p=row / row.sum())] for row in chances.astype(np.float64)]
    rows = zip(some, gold, strict=True)
    examples = [Example(text, None, i, (label,)) for i, (text, label) in enumerate(rows)]
    return read_labelled(examples, None, Labels(names=LABELS))


def multi(folder: Path, n: int, truth: float, labels: tuple[str, ...] = LABELS) -> Labelled:
    some = many(n)
    with Classifier.load(folder, config=STUB) as classifier:
        chances = sigmoid(classifier.logits(some)["own"] / np.float32(truth))
    held = np.random.default_rng(1).random(chances.shape) < chances
    held[:, len(labels) :] = False
    gold = [tuple(np.array(LABELS)[row]) for row in held]
    examples = [Example(text, None, i, one) for i, (text, one) in enumerate(zip(some, gold, strict=True))]
    return read_labelled(examples, None, Labels(names=LABELS, multi_label=True))


def test_scores_become_true_and_no_label_changes(bundles: Bundles, tmp_path: Path) -> None:
    folder = bundles(own={"temperature": 0.5, "abstain_below": 0.2})
    labelled = single(folder, 2000, 3.0)
    done = calibrate(folder, labelled, tmp_path / "new", config=STUB, draws=50)
    assert done.new.temperature == pytest.approx(3.0, rel=0.1)
    assert (done.old.temperature, done.old.thresholds, done.new.thresholds) == (0.5, None, None)
    assert (done.fitted + done.held, done.head) == (2000, "own")
    assert abs(done.fitted - done.held) < 20
    assert done.before.ece.value > 0.1
    assert done.after.ece.value < 0.06
    assert done.after.ece.interval.high < done.before.ece.interval.low
    assert done.before.macro_f1 == done.after.macro_f1
    old, new = resolve(folder), resolve(tmp_path / "new")
    assert (new.digest, new.manifest.parent) == (done.digest, old.digest)
    assert new.heads["own"] == replace(old.heads["own"], temperature=done.new.temperature)
    assert {check.state for check in verify(str(new.folder))} == {"ok"}
    with Classifier.load(folder, config=STUB) as one, Classifier.load(new.folder, config=STUB) as other:
        before, after = one.classify(labelled.texts), other.classify(labelled.texts)
    assert [a.label for a in before] == [b.label for b in after]
    assert np.mean([a.score for a in before]) > np.mean([b.score for b in after]) + 0.1


def test_thresholds_follow_where_several_labels_may_hold(bundles: Bundles, tmp_path: Path) -> None:
    folder = bundles(own={"problem_type": MULTI, "thresholds": (0.999, 0.999, 0.77)})
    labelled = multi(folder, 1000, 2.0, LABELS[:2])
    done = calibrate(folder, labelled, tmp_path / "new", config=STUB, draws=20)
    spec = resolve(tmp_path / "new").heads["own"]
    assert spec.temperature == done.new.temperature
    assert spec.thresholds == done.new.thresholds
    assert done.after.macro_f1.value > done.before.macro_f1.value + 0.1
    assert done.new.thresholds is not None
    assert done.new.thresholds[2] == 0.77  # no support: its own stays
    assert max(done.new.thresholds[:2]) < 0.9


def test_all_else_stays(bundles: Bundles, tmp_path: Path) -> None:
    folder = bundles(own={}, other={"temperature": 1.5})
    labelled = single(folder, 40, 1.0)
    calibrate(folder, labelled, tmp_path / "new", config=STUB, head="own", draws=5)
    old, new = resolve(folder).manifest, resolve(tmp_path / "new").manifest
    assert new.heads["other"] == old.heads["other"]
    assert new.heads["own"] != old.heads["own"]
    assert (new.files, new.activation_ranges, new.agreement) == (
        old.files,
        old.activation_ranges,
        old.agreement,
    )


def test_texts_told_apart_without_fault_do_no_harm(bundles: Bundles, tmp_path: Path) -> None:
    folder = bundles(own={})
    with Classifier.load(folder, config=STUB) as classifier:
        labelled = labelled_by(classifier, 0)
    done = calibrate(folder, labelled, tmp_path / "new", config=STUB, draws=5)
    assert done.new.temperature == 0.05
    assert resolve(tmp_path / "new").heads["own"].temperature == 0.05


def test_what_cannot_be_calibrated_is_told_and_leaves_nothing(bundles: Bundles, tmp_path: Path) -> None:
    folder = bundles(own={})
    mapped = bundles(own={"mapping": ("bad", "good", "bad")})
    labelled = single(folder, 30, 1.0)
    new = tmp_path / "new"
    with pytest.raises(InputError, match="19 rows are too few to calibrate on; give at least 20"):
        calibrate(folder, labelled.take(range(19)), new, config=STUB)
    with pytest.raises(InputError, match="does not know the label 'x'"):
        calibrate(folder, replace(labelled, names=("x", *LABELS[1:])), new, config=STUB)
    with pytest.raises(ModelError, match="answers in mapped labels"):
        calibrate(mapped, labelled, new, config=STUB)
    with pytest.raises(OutputError, match="is there already"):
        calibrate(folder, labelled, folder, config=STUB)
    with pytest.raises(ConfigError, match="leave the map out"):
        calibrate(folder, labelled, new, config=replace(STUB, head=HeadConfig({"joy": "good"})))
    assert not new.exists()


def test_a_card_tells_that_its_figures_are_of_other_scores(
    model: MakeModel, bundles: Bundles, tmp_path: Path
) -> None:
    folder = with_card(model, tmp_path / "old", "# A model\n")
    labelled = single(bundles(own={}), 400, 3.0)
    done = calibrate(folder, labelled, tmp_path / "new", config=STUB, draws=20)
    card = (tmp_path / "new" / "README.md").read_text()
    assert card.startswith(f"# A model\n\n## Calibrated again: head {done.head}\n")
    assert f"on 400 rows ({labelled.fingerprint()})" in card
    assert f"ECE {done.before.ece.value:.4f} → {done.after.ece.value:.4f}" in card
    assert {check.state for check in verify(str(tmp_path / "new"))} == {"ok"}
    calibrate(bundles(own={}), labelled, tmp_path / "bare", config=STUB, draws=20)
    assert not (tmp_path / "bare" / "README.md").exists()
