"""Few examples: the way that answers rows it did not learn from better is taken, the same each time."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.doubles import MakeModel
from tests.train.moods import QUICK, some
from tonewise.config import Config
from tonewise.metrics import macro_f1, one_hot
from tonewise.source.labelled import Labelled, read_labelled
from tonewise.train import Plan, Recipe, prepare
from tonewise.train.base import Base
from tonewise.train.checkpoint import Checkpoints
from tonewise.train.loop import Stage, fit
from tonewise.train.parts import Part, Target
from tonewise.train.session import Session
from tonewise.train.small import Chosen, begin_from_frozen, cross_validate, parts_of
from tonewise.train.task import Task


@pytest.fixture
def session(model: MakeModel, tmp_path: Path) -> Session:
    return prepare(Plan(some(60), tmp_path / "out", base=model("bert", seed=3)))


def chosen(session: Session, recipe: Recipe, stage: Stage | None = None) -> Chosen:
    (task,) = session.tasks
    part = Part(session.rows["label"], {"label": Target(task.learn.kind, task.learn.targets)})
    settled = session.settled(replace(recipe, pooling="mean"))
    frozen = replace(settled, freeze_encoder=True)
    make = (lambda: session.make(settled), lambda: session.make(frozen))
    found, _ = cross_validate(task.learn, part, "label", settled, make, stage or Stage())
    return found


LEARNS = replace(QUICK, epochs=6, learning_rate=3e-3, batch_size=8)


def test_a_fine_tuned_encoder_that_answers_better_is_taken(session: Session) -> None:
    found = chosen(session, LEARNS)
    assert found.tuned
    assert found.scores["tuned"] > found.scores["frozen"]
    gold = session.tasks[0].learn.gold
    assert macro_f1(gold, one_hot(found.logits.argmax(axis=1), 3)) == found.scores["tuned"]


def test_a_frozen_encoder_is_taken_where_learning_does_not_help(session: Session) -> None:
    found = chosen(session, replace(QUICK, learning_rate=1e-12))
    assert not found.tuned
    gold = session.tasks[0].learn.gold
    assert macro_f1(gold, one_hot(found.logits.argmax(axis=1), 3)) == found.scores["frozen"]


def test_a_frozen_encoder_that_is_asked_for_has_no_rival(session: Session) -> None:
    found = chosen(session, Recipe(freeze_encoder=True, precision="fp32"))
    assert found.scores.keys() == {"frozen"}


def test_the_choice_is_the_same_each_time(session: Session) -> None:
    first, second = (chosen(session, LEARNS) for _ in range(2))
    assert first.scores == second.scores
    assert first.logits.tobytes() == second.logits.tobytes()


def test_no_row_is_learned_before_it_is_answered(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    learned: list[set[tuple[int, ...]]] = []

    def watched(learner: Any, parts: list[Part], *rest: Any) -> Any:
        learned.append({tuple(row.input_ids) for row in parts[0].rows})
        return fit(learner, parts, *rest)

    monkeypatch.setattr("tonewise.train.small.fit", watched)
    chosen(session, QUICK)
    folds = parts_of(session.tasks[0].learn)
    assert len(learned) == len(folds) == 5
    for rows, held in zip(learned, folds, strict=True):
        assert not rows & {tuple(session.rows["label"][i].input_ids) for i in held}


def test_folds_that_are_done_are_not_done_again(session: Session, tmp_path: Path) -> None:
    whole = chosen(session, QUICK)

    class Stopped(Exception):  # noqa: N818
        pass

    stages: list[str] = []

    def stop(moment: Any) -> None:
        stages.append(moment.stage)
        if moment.stage == "fold-3":
            raise Stopped

    with pytest.raises(Stopped):
        chosen(session, QUICK, Stage("fit", Checkpoints(tmp_path / "c", {"a": "b"}, resume=False), stop))
    again: list[str] = []
    stage = Stage(
        "fit",
        Checkpoints(tmp_path / "c", {"a": "b"}, resume=True),
        lambda moment: again.append(moment.stage),
    )
    found = chosen(session, QUICK, stage)
    assert set(again) == {"fold-3", "fold-4", "fold-5"}
    assert found.logits.tobytes() == whole.logits.tobytes()
    assert found.scores == whole.scores


@pytest.mark.parametrize(("texts", "count"), [("ab", 2), ("aAbB", 2), ("abc", 3), ("abcdefg", 5)])
def test_there_are_no_more_folds_than_different_texts(texts: str, count: int) -> None:
    rows = [{"text": text, "label": "x" if text in "ab" else "y"} for text in texts]
    assert len(parts_of(read_labelled(rows))) == count


def test_pairs_with_one_first_text_are_different_texts() -> None:
    rows = [{"text": ("q", f"answer {i}"), "label": "xy"[i % 2]} for i in range(6)]
    examples = read_labelled(
        [{"a": "q", "b": one["text"][1], "label": one["label"]} for one in rows],
        replace(Config().source, text_column="a", text_pair_column="b"),
    )
    assert len(parts_of(examples)) == 5


def test_a_linear_head_begins_as_the_regression_on_frozen_states(session: Session) -> None:
    settled = session.settled(replace(QUICK, pooling="mean"))
    learner = session.make(settled)
    part = Part(session.rows["label"], {"label": Target("single", session.tasks[0].learn.targets)})
    before = learner.head("label").tensors()["output.weight"].copy()
    begin_from_frozen(learner, "label", part)
    logits = learner.logits(part.rows)["label"]
    right = np.mean(logits.argmax(axis=1) == session.tasks[0].learn.ids)
    assert right > 0.7
    assert not np.array_equal(before, learner.head("label").tensors()["output.weight"])


def test_a_head_with_a_layer_of_its_own_or_one_that_imitates_begins_as_it_is(
    model: MakeModel, session: Session
) -> None:
    learned: Labelled = session.tasks[0].learn
    task = Task("label", learned, learned, learned, "", (), ())
    dense = Session([task], Base.open(model(), Config(), None), None, "cpu", print)
    settled = dense.settled(replace(QUICK, pooling="first"))
    learner = dense.make(settled)
    before = learner.state()["heads"]
    part = Part(dense.rows["label"], {"label": Target("single", learned.targets)})
    begin_from_frozen(learner, "label", part)
    assert all(np.array_equal(before[name], one) for name, one in learner.state()["heads"].items())
    linear = session.make(session.settled(replace(QUICK, pooling="mean")))
    before = linear.state()["heads"]
    imitated = Part(session.rows["label"], {"label": Target("logits", learned.targets)})
    begin_from_frozen(linear, "label", imitated)
    assert all(np.array_equal(before[name], one) for name, one in linear.state()["heads"].items())
