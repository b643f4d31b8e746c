"""`calibrate`: a temperature that makes scores true, thresholds that fit, all else as it was."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.doubles import MakeModel
from tests.evaluate.cards import card, joined, with_card
from tests.evaluate.conftest import Bundles, labelled_by
from tests.models import LABELS, WORDS
from tonewise import Classifier, metrics
from tonewise.config import Config, EngineConfig, HeadConfig, RunConfig, TokenizerConfig
from tonewise.errors import ConfigError, EngineError, InputError, ModelError, OutputError, RowError
from tonewise.evaluate import calibrate
from tonewise.evaluate.claims import read_claims
from tonewise.evaluate.stale_figures import without_figures
from tonewise.head import sigmoid
from tonewise.source import Example
from tonewise.source.labelled import Labelled, Labels, read_labelled
from tonewise.store import resolve, verify
from tonewise.store.writing import pinned_files, write_manifest

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


def test_the_interval_of_ece_alone_is_the_basic_one(
    bundles: Bundles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    basic = metrics.Interval(0.0, 9.0)
    monkeypatch.setattr(metrics, "basic_bootstrap", lambda *_, **__: basic)
    folder = bundles(own={})
    done = calibrate(folder, single(folder, 40, 1.0), tmp_path / "new", config=STUB, draws=5)
    assert done.before.ece.interval == done.after.ece.interval == basic
    assert done.after.macro_f1.interval != basic


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
    with pytest.raises(
        InputError, match=r"does not know the label 'x'.*; write the model's labels in the data"
    ):
        calibrate(folder, replace(labelled, names=("x", *LABELS[1:])), new, config=STUB)
    with pytest.raises(ModelError, match="answers in mapped labels"):
        calibrate(mapped, labelled, new, config=STUB)
    with pytest.raises(OutputError, match="is there already"):
        calibrate(folder, labelled, folder, config=STUB)
    with pytest.raises(ConfigError, match="leave the map out"):
        calibrate(folder, labelled, new, config=replace(STUB, head=HeadConfig({"joy": "good"})))
    with pytest.raises(ConfigError, match=r"cannot fit too_long=window: .*; choose truncate or error"):
        calibrate(folder, labelled, new, config=replace(STUB, tokenizer=TokenizerConfig(too_long="window")))
    assert not new.exists()


def test_a_card_tells_that_its_figures_are_of_other_scores(
    model: MakeModel, bundles: Bundles, tmp_path: Path
) -> None:
    folder = with_card(model, tmp_path / "old", "# A model\n")
    labelled = single(bundles(own={}), 400, 3.0)
    done = calibrate(folder, labelled, tmp_path / "new", config=STUB, draws=20)
    text = (tmp_path / "new" / "README.md").read_text()
    assert text.startswith(f"# A model\n\n## Calibrated again: head {done.head}\n")
    assert f"on 400 rows ({labelled.fingerprint()})" in text
    assert f"ECE {done.before.ece.value:.4f} → {done.after.ece.value:.4f}" in text
    assert {check.state for check in verify(str(tmp_path / "new"))} == {"ok"}
    calibrate(bundles(own={}), labelled, tmp_path / "bare", config=STUB, draws=20)
    assert not (tmp_path / "bare" / "README.md").exists()


RESULTS = card([{"type": "accuracy", "value": 0.9}], head="own")
FRONT = "---\n# ours\nlanguage: no\n"


def calibrated_card(folder: Path, to: Path, text: str | bytes, **options: Any) -> bytes:
    """What becomes of a card in a bundle that is calibrated."""
    (folder / "README.md").write_bytes(text.encode() if isinstance(text, str) else text)
    found = replace(resolve(folder).manifest, files=pinned_files(folder))
    write_manifest(folder, found)
    calibrate(folder, single(folder, 40, 1.0), to, config=STUB, draws=5, head="own", **options)
    return (to / "README.md").read_bytes()


def test_a_card_loses_the_figures_of_old_scores_and_nothing_else(bundles: Bundles, tmp_path: Path) -> None:
    index = RESULTS.removeprefix("---\nlicense: mit\n").removesuffix("---\n# A model\n")
    text = f"{FRONT}{index}tags: [a] # told\n---\n# A model\n"
    found = calibrated_card(bundles(own={}), tmp_path / "new", text).decode()
    assert found.startswith(f"{FRONT}tags: [a] # told\n---\n# A model\n\n## Calibrated again: head own\n")
    assert found.endswith(
        "was measured before. The figures of it that the front matter stated are left out.\n"
    )
    bare = calibrated_card(bundles(own={}), tmp_path / "bare", f"{FRONT}---\n# A model\n").decode()
    assert bare.endswith("What stands above was measured before.\n")


def test_figures_of_other_heads_stay(bundles: Bundles, tmp_path: Path) -> None:
    other = card([{"type": "accuracy", "value": 0.8}], head="other")
    folder = bundles(own={}, other={})
    calibrated_card(folder, tmp_path / "new", joined(RESULTS, other))
    (claim,) = read_claims(tmp_path / "new" / "README.md", "m")
    assert (claim.head, claim.value) == ("other", 0.8)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("---\nmodel-index: [{results: [{}]}]\na: 1\n---\n", "---\na: 1\n---\n"),
        ("---\na: 1\nmodel-index:\n- name: m\n---\n", "---\na: 1\n---\n"),
        ("---\na: &x [1]\nmodel-index: [*x]\n---\n", None),
        ("---\na: [\nmodel-index: []\n---\n", None),
        ("---\n- model-index\n---\n", None),
        ("---\nmodel-index: 7\n---\n", None),
        ("---\na: 1\n", None),
        ("# A model\n", None),
    ],
)
def test_a_front_matter_loses_its_figures_or_stays_as_it_is(text: str, wanted: str | None) -> None:
    assert without_figures(text, None) == (text if wanted is None else wanted)
    assert without_figures(text, "gone") == text


TRAINED = """---
license: mit
---

# {title}

## Use

```sh
tonewise classify --model "./{path}" "a text"
```

Not "./{path}-9", and {path} was measured.
"""


@pytest.mark.parametrize(
    ("old", "title", "new", "renamed"),
    [
        ("mood", "mood", "mood-2", "mood-2"),
        ("my_mood", "my_mood", "_mood_", r"\_mood\_"),
        ("_a b & c*", r"\_a b &amp; c\*", "x<y", r"x\<y"),
    ],
)
def test_a_card_of_the_old_folders_name_gets_the_new_ones(
    bundles: Bundles, tmp_path: Path, old: str, title: str, new: str, renamed: str
) -> None:
    folder = bundles(own={}).rename(tmp_path / old)
    (tmp_path / "to").mkdir()
    text = TRAINED.format(title=title, path=old)
    found = calibrated_card(folder, tmp_path / "to" / new, text).decode()
    wanted = TRAINED.format(title=renamed, path=old).replace(f'"./{old}" ', f'"./{new}" ')
    assert found.startswith(wanted.rstrip())
    third = tmp_path / "third"
    calibrate(tmp_path / "to" / new, single(folder, 40, 1.0), third, config=STUB, draws=5)
    again = (third / "README.md").read_text()
    assert again.startswith(wanted.replace(renamed, "third", 1).replace(f'"./{new}" ', '"./third" ').rstrip())


@pytest.mark.parametrize("title", ["Moods of texts", "own 2", "own`"])
def test_a_card_of_another_name_keeps_it(bundles: Bundles, tmp_path: Path, title: str) -> None:
    folder = bundles(own={}).rename(tmp_path / "own")
    text = TRAINED.format(title=title, path="own")
    assert calibrated_card(folder, tmp_path / "new", text).decode().startswith(text.rstrip())
    (tmp_path / "in").mkdir()
    untitled = bundles(own={}).rename(tmp_path / "in" / "own")
    bare = calibrated_card(untitled, tmp_path / "bare", "No title\n\n## own\n").decode()
    assert bare.startswith("No title\n\n## own\n")


def test_a_card_in_another_encoding_keeps_its_bytes(bundles: Bundles, tmp_path: Path) -> None:
    found = calibrated_card(bundles(own={}), tmp_path / "new", "# Ein Mod\xe8ll\n".encode("latin-1"))
    assert found.startswith(b"# Ein Mod\xe8ll\n\n## Calibrated again: head own\n")


def broken(labelled: Labelled, *rows: int) -> Labelled:
    """These rows of a file are too long."""
    examples = [replace(one, where=f"in.csv line {i + 2}") for i, one in enumerate(labelled.examples)]
    for row in rows:
        examples[row] = replace(examples[row], text="very " * 500)
    return replace(labelled, examples=tuple(examples))


def test_a_text_that_cannot_be_answered_stops_by_its_place_or_is_skipped(
    bundles: Bundles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["tonewise.evaluate.calibrate"], "PART", 16)
    folder = bundles(own={})
    labelled = broken(single(folder, 40, 1.0), 17, 35)
    strict = replace(STUB, tokenizer=TokenizerConfig(too_long="error"))
    with pytest.raises(RowError, match=r"^in\.csv line 19: 502 tokens"):
        calibrate(folder, labelled, tmp_path / "stop", config=strict, draws=5)
    lenient = replace(strict, run=RunConfig(on_error="skip"))
    done = calibrate(folder, labelled, tmp_path / "skip", config=lenient, draws=5)
    assert (done.fitted + done.held, len(done.skipped)) == (38, 2)
    assert [one.partition(":")[0] for one in done.skipped] == ["in.csv line 19", "in.csv line 37"]
    kept = labelled.take([i for i in range(40) if i not in (17, 35)])
    again = calibrate(folder, kept, tmp_path / "kept", config=strict, draws=5).new
    assert again.temperature == pytest.approx(
        done.new.temperature, rel=1e-6
    )  # products round by their company
    assert again.thresholds == done.new.thresholds
    few = labelled.take(range(16, 36))
    with pytest.raises(
        InputError, match=r"18 rows are too few .* at least 20; 2 were skipped, the first: in.csv"
    ):
        calibrate(folder, few, tmp_path / "few", config=lenient)
    with pytest.raises(InputError, match="0 rows are too few"):
        calibrate(folder, broken(few, *range(20)), tmp_path / "few", config=lenient)


def test_what_the_engine_cannot_answer_is_skipped_too(
    bundles: Bundles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = bundles(own={})
    labelled = broken(single(folder, 40, 1.0))
    spoilt = set(labelled.texts[5:40:20])
    logits = Classifier.logits

    def fails(self: Classifier, texts: Any) -> Any:
        for i, text in enumerate(texts):
            if text in spoilt:
                raise RowError(f"text {i + 1}", EngineError("no"))
        return logits(self, texts)

    monkeypatch.setattr(Classifier, "logits", fails)
    with pytest.raises(RowError, match=r"^in\.csv line 7: no$"):
        calibrate(folder, labelled, tmp_path / "stop", config=STUB, draws=5)
    lenient = replace(STUB, run=RunConfig(on_error="skip"))
    done = calibrate(folder, labelled, tmp_path / "skip", config=lenient, draws=5)
    assert done.skipped == ("in.csv line 7: no", "in.csv line 27: no")
