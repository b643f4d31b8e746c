"""Learning beside old heads: they answer as before, and what it cost them is told."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench.retain import answered
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tests.doubles import MakeModel, write_bundle
from tests.models import one_thread, opened
from tests.train.moods import MOODS, QUICK, base_of, some, tagged
from tonewise import Classifier
from tonewise.config import Config, RunConfig
from tonewise.errors import ConfigError, InputError
from tonewise.evaluate.claims import read_claims
from tonewise.head import softmax
from tonewise.source.labelled import Labels, read_labelled
from tonewise.store import HeadSpec
from tonewise.store.writing import write_manifest
from tonewise.train import Plan, Recipe, Terms, prepare, train
from tonewise.train.retain import Kept
from tonewise.train.session import Session
from tonewise.train.task import Task

LEARNS = replace(QUICK, epochs=4, learning_rate=3e-3, batch_size=8)
NEW = [{"text": one["text"], "label": "no" if one["label"] == "joy" else "yes"} for one in some(150, seed=4)]
TEXTS = [one["text"] for one in some(40, seed=5)]


@pytest.fixture(scope="module")
def old(model: MakeModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that tells moods."""
    output = tmp_path_factory.mktemp("old") / "moods"
    recipe = replace(LEARNS, pooling="first", epochs=5)
    options: dict[str, Any] = {
        "base": model("bert", seed=3),
        "recipe": recipe,
        "validation": some(60, seed=1),
    }
    with pytest.MonkeyPatch.context() as patch, one_thread(), threadpool_limits(1):
        patch.setattr("tonewise.train.session.choose_threads", lambda asked: 1)
        train(some(240), output, int8=False, **options)
    return output


def retained(output: Path, old: Path, data: Any = None, **options: Any) -> Any:
    given: dict[str, Any] = {"recipe": LEARNS, "heads": {"other": NEW}, "int8": False} | options
    return train(None, output, retain=(old, data), **given)


def scores_of(folder: Path, head: str, labels: Sequence[str]) -> NDArray[np.float64]:
    with Classifier.load(f"{folder}#{head}", engine="reference") as classifier:
        answers = classifier.classify(TEXTS)
    return np.array([[one.heads[head].scores[label] for label in labels] for one in answers])


def moved(folder: Path, old: Path) -> float:
    """Mean absolute change of the old head's scores."""
    labels = tuple(MOODS)
    return float(np.abs(scores_of(folder, "label", labels) - scores_of(old, "label", labels)).mean())


def test_an_old_head_answers_much_nearer_to_before_than_it_would(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = retained(tmp_path / "kept", old)
    assert set(bundle.heads) == {"other", "label"}
    assert bundle.manifest.parent == opened(old).digest
    was, now = opened(old).heads["label"], bundle.heads["label"]
    assert (now.labels, now.temperature) == (was.labels, was.temperature)
    with monkeypatch.context() as patch:
        patch.setattr(Kept, "targets_on", lambda self, task: {})
        retained(tmp_path / "forgot", old)
    kept, forgot = moved(tmp_path / "kept", old), moved(tmp_path / "forgot", old)
    assert kept < 0.05
    assert kept < forgot / 4
    with Classifier.load(f"{tmp_path}/kept#other", engine="reference") as classifier:
        answers = classifier.classify([one["text"] for one in NEW])
    assert np.mean([a.label == one["label"] for a, one in zip(answers, NEW, strict=True)]) > 0.8


def test_old_data_is_imitated_on_and_tells_before_and_after(old: Path, tmp_path: Path) -> None:
    retained(tmp_path / "out", old, some(100, seed=7))
    card = (tmp_path / "out" / "README.md").read_text()
    rows = [line for line in card.splitlines() if line.startswith("| label | accuracy |")]
    assert len(rows) == 1
    assert rows[0].endswith("| 9 |"), "rows that were set aside"
    assert moved(tmp_path / "out", old) < 0.05


def test_without_old_texts_the_new_ones_tell_how_many_answers_stayed(old: Path, tmp_path: Path) -> None:
    told: list[str] = []
    bundle = retained(tmp_path / "out", old, tell=told.append)
    (line,) = [one for one in told if one.startswith("label, kept: labels as before 1.0000 → ")]
    held = len(NEW) // 10
    assert abs(int(line.rpartition("(")[2].removesuffix(" rows)")) - held) <= 3
    card = (tmp_path / "out" / "README.md").read_text()
    assert "**label** one of 3 labels" in card
    assert {one.head for one in read_claims(bundle.folder / "README.md", "out")} == {"other"}


def test_old_texts_without_the_heads_labels_tell_how_many_answers_stayed(old: Path, tmp_path: Path) -> None:
    retained(
        tmp_path / "out", old, [{**one, "label": "x" if i % 2 else "y"} for i, one in enumerate(some(60))]
    )
    assert "labels as before" in (tmp_path / "out" / "README.md").read_text()


def test_a_name_that_is_taken_is_refused(old: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the old model has a head 'label' too"):
        retained(tmp_path / "out", old, heads={"label": NEW})
    bundle = train(
        NEW, tmp_path / "named", retain=(old, None), recipe=QUICK, int8=False, terms=Terms(data_name="other")
    )
    assert set(bundle.heads) == {"other", "label"}


def test_a_model_without_heads_or_with_numbers_has_nothing_to_keep(model: MakeModel, tmp_path: Path) -> None:
    number = HeadSpec(("stars",), "own", "regression")
    stars = write_bundle(tmp_path / "stars", model(), {"stars": number})
    with pytest.raises(ConfigError, match="its head 'stars' gives a number"):
        Kept.of(base_of(stars), ["other"], None)
    none = write_bundle(tmp_path / "none", model(), {})
    with pytest.raises(ConfigError, match="it has no head to keep"):
        Kept.of(base_of(none), ["other"], None)


def test_old_data_that_is_too_little_is_refused(old: Path) -> None:
    with pytest.raises(InputError, match="too few texts to set some aside"):
        Kept.of(base_of(old), ["other"], read_labelled(some(6)))


def test_what_users_set_of_an_old_head_is_kept(old: Path, tmp_path: Path) -> None:
    shutil.copytree(old, tmp_path / "set")
    bundle = opened(old)
    spec = replace(bundle.heads["label"], abstain_below=0.6, mapping=("bad", "good", "bad"), temperature=1.5)
    write_manifest(tmp_path / "set", replace(bundle.manifest, heads={"label": spec}))
    found = retained(tmp_path / "out", tmp_path / "set", recipe=replace(QUICK, epochs=1)).heads["label"]
    for name in ("abstain_below", "mapping", "temperature", "thresholds", "labels"):
        assert getattr(found, name) == getattr(spec, name)


def test_heads_of_several_labels_and_of_one_are_imitated_label_by_label(
    model: MakeModel, tmp_path: Path
) -> None:
    heads = {
        "tags": HeadSpec(("a", "b"), "tags", "multi_label_classification", thresholds=(0.5, 0.5)),
        "spam": HeadSpec(("spam",), "spam"),
    }
    folder = write_bundle(tmp_path / "old", model(), heads)
    base = base_of(folder)
    kept = Kept.of(base, ["other"], read_labelled(tagged(60)))
    labelled = read_labelled(some(20))
    session = Session([Task("other", labelled, labelled, labelled, "", (), ())], base, kept, "cpu", print)
    learner = session.make(session.settled(QUICK))
    kept.imitate(learner, session.rows, {})
    assert {name: one.kind for name, one in kept.targets_on("other").items()} == {
        "tags": "multi_logits",
        "spam": "multi_logits",
    }
    assert [len(part) for part in kept.parts()] == [len(kept.learn)]
    told = kept.report(learner)
    assert sorted((one.head, one.figure, one.before, one.after) for one in told) == [
        ("spam", "labels as before", 1.0, 1.0),
        ("tags", "labels as before", 1.0, 1.0),
    ]


OTHER_WORDS = [
    {"text": f"{word} food never always {i}", "label": "joy"} for i, word in enumerate(("good", "bad"))
]


def test_the_bench_reads_words_with_an_old_head_that_the_new_one_never_met(old: Path, tmp_path: Path) -> None:
    recipe = replace(QUICK, learning_rate=1e-12)
    new = [{"text": "happy day", "label": "yes"}, {"text": "sad night", "label": "no"}]
    session = prepare(Plan(new * 2, tmp_path / "out", base=old, validation=new, recipe=recipe))
    texts = read_labelled(OTHER_WORDS, None, Labels(names=tuple(MOODS)))
    logits = answered(session, session.run(session.settled(recipe)), "label", texts)
    with Classifier.load(old, engine="reference") as classifier:
        spec = classifier.bundle.heads["label"]
        scores = [one.heads["label"].scores for one in classifier.classify(list(texts.texts))]
    found = [[one[label] for label in spec.labels] for one in scores]
    np.testing.assert_allclose(softmax(logits / np.float32(spec.temperature)), found, atol=1e-4)


def test_old_texts_need_no_label(old: Path, tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("".join(f"{one['text']}\n" for one in some(60, seed=7)))
    for data in (str(tmp_path / "old.txt"), [{"text": one["text"]} for one in some(60, seed=7)]):
        session = prepare(Plan(None, tmp_path / "out", heads={"other": NEW}, retain=(old, data)))
        assert session.kept is not None
        assert (len(session.kept.learn), len(session.kept.held), session.kept.gold) == (54, 6, None)
    recipe = replace(QUICK, learning_rate=1e-12)
    retained(tmp_path / "out", old, str(tmp_path / "old.txt"), recipe=recipe)
    assert (
        "| label | labels as before | 100.0% | 100.0% | 6 |" in (tmp_path / "out" / "README.md").read_text()
    )


def test_old_data_is_read_as_the_new_data_is(old: Path, tmp_path: Path) -> None:
    told: list[str] = []
    texts = some(60, seed=7)
    named = [{"text": one["text"], "mood": one["label"], "class": "x"} for one in texts]
    new = [{"text": one["text"], "mood": one["label"]} for one in NEW]
    options: dict[str, Any] = {
        "labels": Labels(label_column="mood", names=("yes", "no")),
        "config": Config(run=RunConfig(on_error="skip")),
        "tell": told.append,
    }
    broken = {"text": None, "mood": "joy", "class": "x"}
    for data in ([*named, broken], texts, read_labelled(texts)):
        plan = Plan(None, tmp_path / "out", heads={"other": new}, retain=(old, data), **options)
        kept = prepare(plan).kept
        assert kept is not None
        assert kept.gold is not None
        assert (kept.gold[0], set(kept.gold[1].names)) == ("label", set(MOODS))
    assert "old rows skipped: 1; the first: text 61: column 'text' is null; a text is wanted" in told


def test_a_run_that_keeps_heads_goes_on_to_the_same_weights(old: Path, tmp_path: Path) -> None:
    class Stopped(Exception):  # noqa: N818
        pass

    recipe = Recipe(epochs=2, precision="fp32")
    retained(tmp_path / "whole", old, some(60, seed=7), recipe=recipe)

    def stop(moment: Any) -> None:
        if moment.epoch == 2:
            raise Stopped

    with pytest.raises(Stopped):
        retained(tmp_path / "out", old, some(60, seed=7), recipe=recipe, watch=stop)
    retained(tmp_path / "out", old, some(60, seed=7), recipe=recipe, resume=True)
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "out"))
    assert first == second
