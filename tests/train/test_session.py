"""A training prepared once: fitted as often as asked, the same each time, measured on rows set apart."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.doubles import MakeModel, write_bundle
from tests.models import changed
from tests.train.moods import MOODS, QUICK, base_of, some
from tonewise.config import Config, EngineConfig
from tonewise.errors import ConfigError, EngineError
from tonewise.head import softmax
from tonewise.store import HeadSpec
from tonewise.train import Plan, Recipe, prepare
from tonewise.train.loop import Fit, fit
from tonewise.train.session import Session, stated

FROZEN = Recipe(freeze_encoder=True, precision="fp32")
HELD = some(60, seed=1)


@pytest.fixture
def base(model: MakeModel) -> Path:
    return model("bert", seed=3)


def session_of(base: Path, data: Any = None, **options: Any) -> Session:
    return prepare(Plan(some(60) if data is None else data, Path("out"), base=base, **options))


def test_texts_are_read_once_for_all_recipes(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_of(base, validation=HELD)
    monkeypatch.setattr("tonewise.train.base.Base.rows", None)
    for recipe in (QUICK, FROZEN, replace(QUICK, pooling="mean")):
        fitted = session.run(session.settled(recipe))
        assert fitted.outcomes["label"].rows == 60
        assert fitted.metric == fitted.outcomes["label"].metric


def test_a_fit_leaves_nothing_behind_for_the_next(base: Path) -> None:
    session = session_of(base, validation=HELD)
    recipe = session.settled(QUICK)
    first = session.run(recipe)
    session.run(session.settled(replace(QUICK, learning_rate=1e-2, seed=5)))
    again = session.run(recipe)
    for name, tensors in first.learner.state().items():
        assert all(torch.equal(one, again.learner.state()[name][key]) for key, one in tensors.items())
    assert first.outcomes["label"].figures == again.outcomes["label"].figures


def test_a_seed_draws_another_head(base: Path) -> None:
    session = session_of(base, [{**one, "label": one["label"].upper()} for one in some(150)])
    one, same, other = (
        session.make(session.settled(replace(QUICK, seed=seed))).head("label").tensors()["output.weight"]
        for seed in (0, 0, 1)
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_what_is_open_is_told_by_the_data_and_the_base(base: Path, tmp_path: Path) -> None:
    others = [{**one, "label": one["label"].upper()} for one in some(180)]
    few, many = session_of(base, others[:147]), session_of(base, others[:150])
    assert (few.settled(Recipe()).pooling, many.settled(Recipe()).pooling) == ("mean", "first")
    assert session_of(base).settled(Recipe()).pooling == "first", "the base's own head goes on"
    assert many.settled(FROZEN).pooling == session_of(base).settled(FROZEN).pooling == "mean"
    folder = write_bundle(
        tmp_path / "cls",
        base,
        {"x": HeadSpec(("a", "b"), "x")},
        embedding={"pooling": "first", "normalize": True},
    )
    assert session_of(folder).settled(Recipe()).pooling == "first"
    asked = Recipe(epochs=3, learning_rate=0.5, batch_size=7, pooling="mean")
    assert many.settled(asked) == asked
    assert (few.settled(Recipe()).batch_size, few.settled(Recipe()).epochs) == (16, 10)


@pytest.mark.parametrize("way", ["few", "validation"])
@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_the_head_on_a_frozen_encoder_reads_the_state_that_it_was_fitted_on(
    base: Path, pooling: Any, way: str
) -> None:
    session = session_of(base, validation=HELD if way == "validation" else None)
    fitted = session.run(session.settled(replace(FROZEN, pooling=pooling)))
    assert fitted.frozen
    assert not fitted.fit.history
    rows = session.rows["label"]
    head = fitted.learner.head("label")
    assert (head.form.dense, head.form.pooling) == (False, pooling)
    tensors, states = head.tensors(), fitted.learner.states(rows, pooling)
    expected = states @ tensors["output.weight"].T + tensors["output.bias"]
    np.testing.assert_allclose(fitted.learner.logits(rows)["label"], expected, atol=1e-4)
    right = np.mean(expected.argmax(axis=1) == session.tasks[0].learn.ids)
    assert right > 0.6


def test_figures_are_of_the_rows_that_were_held_out(base: Path) -> None:
    session = session_of(base, validation=HELD)
    fitted = session.run(session.settled(QUICK))
    logits = fitted.learner.logits(session.held_rows["label"])["label"]
    held = session.tasks[0].held
    assert held is not None
    accuracy = next(one.value for one in fitted.outcomes["label"].figures if one.name == "Accuracy")
    assert accuracy == pytest.approx(np.mean(softmax(logits).argmax(axis=1) == held.ids))


def test_each_heads_figures_are_its_own(base: Path) -> None:
    shuffled = [{**one, "label": list(MOODS)[i // 3 % 3]} for i, one in enumerate(HELD)]
    heads = {"right": (some(150), HELD), "noise": (some(150), shuffled)}
    session = prepare(Plan(None, Path("out"), heads=heads, base=base))
    fitted = session.run(session.settled(replace(QUICK, epochs=5, learning_rate=3e-3, batch_size=8)))
    assert fitted.outcomes["right"].metric > fitted.outcomes["noise"].metric + 0.2
    both = [fitted.outcomes[name].metric for name in heads]
    assert fitted.metric == pytest.approx(np.mean(both))


def test_another_recipe_set_or_base_is_another_run_and_the_same_one_the_same(
    base: Path, model: MakeModel
) -> None:
    session = session_of(base)
    recipe = session.settled(QUICK)
    first = session.identity(recipe)
    assert first == session_of(base).identity(recipe)
    assert all(type(value) is str for value in first.values()), "another class cannot be read again"

    def differing(other: dict[str, str]) -> set[str]:
        return {name for name in first if first[name] != other[name]}

    assert differing(session.identity(replace(recipe, dropout=0.3))) == {"dropout"}
    assert differing(session_of(base, some(60, seed=9)).identity(recipe)) == {"data"}
    assert differing(session_of(base, validation=HELD).identity(recipe)) == {"data"}
    assert differing(session_of(model()).identity(recipe)) == {"base"}


def test_torch_has_its_threads_back(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr("tonewise.train.session.choose_threads", lambda asked: 2)
    session = session_of(base)
    monkeypatch.setattr(session, "_few", lambda *rest: seen.append(torch.get_num_threads()))
    session.run(session.settled(FROZEN))
    assert (seen, torch.get_num_threads()) == ([2], 1)


def test_a_device_that_is_not_there_is_told(base: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(EngineError, match="sees no cuda device"):
        session_of(base, config=Config(engine=EngineConfig(device="cuda")))


def test_a_fit_is_stated_with_all_that_chose_it(base: Path) -> None:
    session = session_of(base)
    found = stated(session.run(session.settled(QUICK)))
    assert found["recipe"]["learning_rate"] == QUICK.learning_rate
    assert set(found["candidates"]) == {"frozen", "tuned"}
    assert found["frozen"] == (found["candidates"]["tuned"] <= found["candidates"]["frozen"])


def test_a_head_is_announced_once_however_often_it_is_made(base: Path, tmp_path: Path) -> None:
    told: list[str] = []
    session = session_of(changed(base, tmp_path / "base"), validation=HELD, tell=told.append)
    for seed in range(3):
        session.make(session.settled(replace(QUICK, seed=seed)))
    assert len(told) == 1
    assert "goes on from the head 'label'" in told[0]
    assert base_of(base).bundle.heads["label"].labels == tuple(MOODS)


def test_more_frozen_layers_than_there_are_is_refused(base: Path) -> None:
    session = session_of(base)
    layers = session.base.spec.layers
    assert session.settled(Recipe(frozen_layers=layers)).frozen_layers == layers
    with pytest.raises(ConfigError, match=rf"frozen_layers is 99, and .* has {layers} layers"):
        session.settled(Recipe(frozen_layers=99))


@pytest.mark.parametrize("way", ["few", "validation"])
def test_class_weights_count_for_a_head_on_a_frozen_encoder(base: Path, way: str) -> None:
    rare = [one for i, one in enumerate(some(90)) if one["label"] != "anger" or i < 12]
    session = session_of(base, rare, validation=HELD if way == "validation" else None)
    fits = [session.run(session.settled(replace(FROZEN, class_weights=power))) for power in (0.0, 2.0)]
    anger = session.tasks[0].learn.names.index("anger")
    logits = [fitted.learner.logits(session.rows["label"])["label"] for fitted in fits]
    counts = [int((one.argmax(axis=1) == anger).sum()) for one in logits]
    assert counts[0] < counts[1], "a rare label is answered more often where it counts for more"


@pytest.mark.parametrize(("rate", "kept"), [(1e-12, "frozen"), (3e-3, "tuned")])
def test_which_of_the_two_was_kept_is_told(base: Path, rate: float, kept: str) -> None:
    told: list[str] = []
    session = session_of(base, tell=told.append)
    recipe = replace(QUICK, learning_rate=rate, epochs=6, batch_size=8, pooling="mean")
    fitted = session.run(session.settled(recipe))
    assert fitted.frozen == (kept == "frozen")
    (line,) = [one for one in told if one.startswith("out of fold, macro F1: frozen ")]
    assert line.endswith(f"; kept: {kept}")


@pytest.mark.parametrize(("rate", "kept"), [(1e-12, "frozen"), (3e-3, "tuned")])
def test_very_few_examples_are_guarded_on_validation_too(base: Path, rate: float, kept: str) -> None:
    told: list[str] = []
    learn, held = ([{**one, "label": one["label"].upper()} for one in some(60, seed=seed)] for seed in (0, 1))
    session = session_of(base, learn, validation=held, tell=told.append)
    recipe = replace(QUICK, learning_rate=rate, epochs=6, batch_size=8, pooling="mean")
    fitted = session.run(session.settled(recipe))
    assert fitted.frozen == (kept == "frozen")
    assert fitted.metric == max(fitted.scores.values())
    (line,) = [one for one in told if one.startswith("on validation, macro F1: frozen ")]
    assert line.endswith(f"; kept: {kept}")


def test_a_hundred_examples_with_validation_are_tuned_as_asked(base: Path) -> None:
    session = session_of(base, some(100), validation=HELD)
    fitted = session.run(session.settled(replace(QUICK, learning_rate=1e-12)))
    assert (fitted.frozen, fitted.scores) == (False, {})


def test_the_seconds_of_few_examples_are_those_of_all_folds(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ten_seconds(*rest: Any) -> Fit:
        return replace(fit(*rest), seconds=10.0)

    monkeypatch.setattr("tonewise.train.small.fit", ten_seconds)
    session = session_of(base)
    assert session.run(session.settled(QUICK)).fit.seconds >= 50
