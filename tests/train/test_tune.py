"""A study: the defaults first, repeatable, resumed without a repeat, and the best of it published."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from tests.doubles import MakeModel
from tests.models import opened
from tests.train.moods import QUICK, everything, some, weights_bytes
from tonewise.errors import ConfigError, EngineError, OutputError
from tonewise.source.labelled import read_labelled
from tonewise.train import Plan, Recipe, train
from tonewise.train import tune as room
from tonewise.train.facts import Trial, Tuning
from tonewise.train.loop import Epoch, Fit, Moment, Stage
from tonewise.train.pictures import tuning_history
from tonewise.train.session import Fitted, Session
from tonewise.train.tune import SEARCHED, tune

SMALL = Recipe(epochs=2, pooling="mean", precision="fp32", dropout=0.1)
Tried = list[Recipe]


@pytest.fixture(autouse=True)
def one_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tonewise.train.session.choose_threads", lambda threads: 1)


@pytest.fixture
def base(model: MakeModel) -> Path:
    return model("bert", seed=3)


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> Tried:
    """Every recipe that was trained by, in turn."""
    found: Tried = []
    run = Session.run

    def counted(self: Session, recipe: Recipe, stage: Stage | None = None) -> Fitted:
        found.append(recipe)
        return run(self, recipe, stage)

    monkeypatch.setattr(Session, "run", counted)
    return found


@pytest.fixture
def unpublished(monkeypatch: pytest.MonkeyPatch) -> list[Tuning]:
    """What studies came to, in place of the bundles."""
    found: list[Tuning] = []

    def kept(plan: Plan, session: Session, recipe: Recipe, tuning: Tuning) -> None:
        found.append(tuning)

    monkeypatch.setattr(room, "fit_and_publish", kept)
    return found


def plan(output: Path, base: Path, **options: Any) -> Plan:
    given: dict[str, Any] = {"validation": some(45, seed=1), "recipe": SMALL, "int8": False} | options
    return Plan(some(60), output, base=base, **given)


def study_of(folder: Path) -> Any:
    return json.loads((folder / "tuning.json").read_text())


def without_time(folder: Path) -> list[dict[str, Any]]:
    return [{**one, "seconds": 0} for one in study_of(folder)["trials"]]


def test_the_defaults_are_tried_first_and_the_best_is_published(
    base: Path, tmp_path: Path, tried: Tried
) -> None:
    told: list[str] = []
    done = tune(plan(tmp_path / "out", base, tell=told.append), 4)
    usual = SMALL.settled(60, "mean")
    assert tried[0] == usual
    assert len(tried) == 5
    study = study_of(tmp_path / "out")
    metrics = [one["metric"] for one in study["trials"]]
    assert study["best"] == metrics.index(max(metrics))
    assert done.fitted.recipe == tried[-1] == tried[study["best"]]
    assert done.fitted.metric == max(metrics) >= metrics[0], "what is published is what was tried"
    assert json.loads((tmp_path / "out" / "training.json").read_text())["recipe"] == tried[-1].stated()
    assert {"tuning.json", "tuning.png"} <= done.bundle.manifest.files.keys()
    assert everything(tmp_path) == sorted(
        ["out", *(f"out/{name}" for name in everything(tmp_path / "out"))]
    ), "no study is left beside it"
    card = (tmp_path / "out" / "README.md").read_text()
    assert "The recipe is the best of 4 that were tried in " in card
    assert "![The study: macro F1 of each trial](tuning.png)" in card
    assert "The same rows chose the recipe, the best epoch and the temperature" in card
    lines = [line.partition(":")[0] for line in told if line.startswith("trial ")]
    assert lines == [f"trial {number} of 4" for number in (1, 2, 3, 4)]
    assert told[-1].startswith(f"tuned: the best of 4 trials is number {study['best'] + 1}, macro F1 ")


def test_a_trial_is_the_training_it_stands_for(base: Path, tmp_path: Path) -> None:
    """Trials share a session: none may leave anything behind in it."""
    tune(plan(tmp_path / "tuned", base), 3)
    best = Recipe(**json.loads((tmp_path / "tuned" / "training.json").read_text())["recipe"])
    alone = train(
        some(60), tmp_path / "alone", base=base, recipe=best, int8=False, validation=some(45, seed=1)
    )
    assert alone.heads == opened(tmp_path / "tuned").heads
    assert weights_bytes(tmp_path / "alone") == weights_bytes(tmp_path / "tuned")


def test_a_study_is_the_same_each_time_and_another_with_another_seed(
    base: Path, tmp_path: Path, unpublished: list[Tuning]
) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        recipe = Recipe(**{**SMALL.stated(), "seed": seed, "epochs": 1})
        tune(plan(tmp_path / name, base, recipe=recipe), 3)
    found = [[(one.knobs, one.metric) for one in study.trials] for study in unpublished]
    assert found[0] == found[1]
    knobs = [[knobs for knobs, _ in study] for study in found]
    assert knobs[0][0] == knobs[2][0], "the defaults are the defaults"
    assert knobs[0][1:] != knobs[2][1:]


class Stop(KeyboardInterrupt):
    pass


def test_an_interrupted_study_goes_on_to_the_same_end(base: Path, tmp_path: Path, tried: Tried) -> None:
    whole = tmp_path / "whole"
    tune(plan(whole, base), 4)
    tried.clear()

    def stop_in_the_third(moment: Moment) -> None:
        if moment.stage.startswith("trial 3"):
            raise Stop

    output, kept = tmp_path / "out", tmp_path / "out.study.db"
    with pytest.raises(Stop):
        tune(plan(output, base, watch=stop_in_the_third), 4)
    assert kept.exists()
    assert not output.exists()
    with pytest.raises(OutputError, match=r"out\.study\.db holds a study already; --resume continues it"):
        tune(plan(output, base), 4)
    assert len(tried) == 3
    tune(plan(output, base, resume=True), 4)
    assert len(tried) == 3 + 2 + 1, "two trials that were left, and the best"
    assert without_time(output) == without_time(whole)
    assert weights_bytes(output) == weights_bytes(whole)
    assert not kept.exists()


def test_a_study_that_is_interrupted_in_its_first_trial_still_tries_the_defaults(
    base: Path, tmp_path: Path, tried: Tried
) -> None:
    tune(plan(tmp_path / "whole", base), 3)
    tried.clear()

    def stop(moment: Moment) -> None:
        raise Stop

    with pytest.raises(Stop):
        tune(plan(tmp_path / "out", base, watch=stop), 3)
    tune(plan(tmp_path / "out", base, resume=True), 3)
    assert tried[0] == tried[1] == SMALL.settled(60, "mean")
    assert without_time(tmp_path / "out") == without_time(tmp_path / "whole")


def test_a_study_goes_on_in_the_precision_that_it_began_in(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unpublished: list[Tuning]
) -> None:
    used: list[bool] = []
    run = Session.run

    def watched(self: Session, recipe: Recipe, stage: Stage | None = None) -> Fitted:
        used.append(self.bf16(recipe))
        return run(self, recipe, stage)

    def stop_in_the_second(moment: Moment) -> None:
        if moment.stage.startswith("trial 2"):
            raise Stop

    monkeypatch.setattr(Session, "run", watched)
    monkeypatch.setattr("tonewise.train.session.wants_bf16", lambda *rest: True)
    recipe = replace(SMALL, precision="auto")
    with pytest.raises(Stop):
        tune(plan(tmp_path / "out", base, recipe=recipe, watch=stop_in_the_second), 2)
    monkeypatch.setattr("tonewise.train.session.wants_bf16", lambda *rest: False)
    tune(plan(tmp_path / "out", base, recipe=recipe, resume=True), 2)
    assert used == [True, True, True]


def test_a_study_of_another_run_is_refused(base: Path, tmp_path: Path) -> None:
    kept = tmp_path / "mine.db"
    tune(plan(tmp_path / "one", base), 1, kept)
    again: dict[str, Any] = {"resume": True}
    with pytest.raises(OutputError, match=r"mine\.db holds another study: data was .*; remove the file"):
        tune(plan(tmp_path / "two", base, validation=some(45, seed=2), **again), 2, kept)
    with pytest.raises(OutputError, match=r"study: search of layer_decay was 0\.7 to 1 and is None"):
        tune(plan(tmp_path / "two", base, **again), 2, kept, fixed=["layer_decay"])
    assert not (tmp_path / "two").exists()
    tune(plan(tmp_path / "two", base, **again), 2, kept)
    assert len(study_of(tmp_path / "two")["trials"]) == 2
    assert kept.exists(), "a study that was named is kept"


@pytest.mark.parametrize("content", [b"text\tlabel\n" * 99, b""])
def test_a_file_that_is_no_study(base: Path, tmp_path: Path, content: bytes) -> None:
    place = tmp_path / "moods.tsv"
    place.write_bytes(content)
    with pytest.raises(
        OutputError, match=r"moods\.tsv holds a study already; --resume continues it, or remove it"
    ):
        tune(plan(tmp_path / "out", base), 1, place)
    assert place.read_bytes() == content
    if content:
        with pytest.raises(OutputError, match=r"cannot use .*moods\.tsv: .*file is not a database"):
            tune(plan(tmp_path / "out", base, resume=True), 1, place)
        assert place.read_bytes() == content


def test_a_study_that_cannot_be_written(base: Path, tmp_path: Path) -> None:
    place = tmp_path / "other.db"
    with sqlite3.connect(place) as other:
        other.execute("create table studies (mine text)")
    other.close()
    with pytest.raises(OutputError, match=r"cannot (use|write) .*other\.db: "):
        tune(plan(tmp_path / "out", base, resume=True), 1, place)
    with pytest.raises(OutputError, match=r"cannot use .*: file exists"):
        tune(plan(tmp_path / "out", base), 1, place / "study.db")
    assert not (tmp_path / "out").exists()


def test_what_the_user_gave_is_not_searched(base: Path, tmp_path: Path, tried: Tried) -> None:
    recipe = Recipe(**{**SMALL.stated(), "learning_rate": 2e-3, "label_smoothing": 0.1})
    fixed = ("frozen_layers", "layer_decay", "seed")
    tune(plan(tmp_path / "out", base, recipe=recipe), 4, fixed=fixed)
    assert {tuple(one["knobs"]) for one in study_of(tmp_path / "out")["trials"]} == {("batch_size",)}
    same = {(one.learning_rate, one.label_smoothing, one.frozen_layers, one.epochs) for one in tried}
    assert same == {(2e-3, 0.1, 0, 2)}
    assert len({one.batch_size for one in tried}) > 1
    with pytest.raises(ConfigError, match="all that --tune searches is given"):
        tune(plan(tmp_path / "other", base), 2, fixed=SEARCHED)


def test_trials_that_end_early_are_counted_and_never_the_best(
    base: Path, tmp_path: Path, tried: Tried, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, told = Session.run, list[str]()

    def failing(self: Session, recipe: Recipe, stage: Stage | None = None) -> Fitted:
        if len(tried) == 1:
            tried.append(recipe)
            raise EngineError("the loss is no number any more in epoch 1")
        return run(self, recipe, stage)

    monkeypatch.setattr(Session, "run", failing)
    monkeypatch.setattr(optuna.Trial, "should_prune", lambda self: self.number == 2)
    tune(plan(tmp_path / "out", base, tell=told.append), 4)
    study = study_of(tmp_path / "out")
    assert [one["end"] for one in study["trials"]] == ["finished", "diverged", "stopped", "finished"]
    assert [one["metric"] is None for one in study["trials"]] == [False, True, True, False]
    assert study["best"] in (0, 3)
    assert "; 1 stopped early, 1 diverged, " in told[-1]
    assert "(1 stopped, 1 diverged early)" in (tmp_path / "out" / "README.md").read_text()


def test_a_trial_behind_the_median_is_stopped_after_its_first_epoch(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unpublished: list[Tuning]
) -> None:
    asked: list[int] = []

    def made_up(self: Session, recipe: Recipe, stage: Stage | None = None) -> Any:
        asked.append(0)
        good = len(asked) <= 4
        for epoch in range(1, 5):
            asked[-1] = epoch
            assert stage is not None
            stage.on_epoch(Epoch(epoch, 1.0, {"label": 0.9 if good else 0.1}, 1.0))
        return type("Made", (), {"metric": 0.9, "fit": Fit(), "recipe": recipe})

    monkeypatch.setattr(Session, "run", made_up)
    tune(plan(tmp_path / "out", base, recipe=Recipe(epochs=4, pooling="mean", precision="fp32")), 6)
    assert asked == [4, 4, 4, 4, 2, 2]
    (study,) = unpublished
    assert (study.count("finished"), study.count("stopped"), study.best) == (4, 2, 0)


def test_when_every_trial_diverges_it_says_so(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: Session, recipe: Recipe, stage: Stage | None = None) -> Fitted:
        raise EngineError("the loss is no number any more in epoch 1")

    monkeypatch.setattr(Session, "run", failing)
    with pytest.raises(EngineError, match="none of 2 trials learned anything"):
        tune(plan(tmp_path / "out", base), 2)
    assert not (tmp_path / "out").exists()


def test_few_examples_are_tuned_by_what_they_give_out_of_fold(base: Path, tmp_path: Path) -> None:
    stages: set[str] = set()
    recipe = Recipe(**{**SMALL.stated(), "epochs": 1})
    given = plan(
        tmp_path / "out", base, validation=None, recipe=recipe, watch=lambda moment: stages.add(moment.stage)
    )
    done = tune(given, 2, fixed=["batch_size"])
    assert {f"trial {n} of 2, fold-{fold}" for n in (1, 2) for fold in (1, 5)} <= stages
    study = study_of(tmp_path / "out")
    assert done.fitted.metric == study["trials"][study["best"]]["metric"]


@pytest.mark.parametrize(
    ("recipe", "trials", "told"),
    [
        (QUICK, 0, "the number of trials is 0; the least is 1"),
        (Recipe(freeze_encoder=True), 2, "a frozen encoder leaves nothing to tune"),
    ],
)
def test_what_cannot_be_tuned(base: Path, tmp_path: Path, recipe: Recipe, trials: int, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        tune(plan(tmp_path / "out", base, recipe=recipe), trials)
    assert everything(tmp_path) == []


def test_an_unfinished_run_is_seen_before_the_study(base: Path, tmp_path: Path, tried: Tried) -> None:
    (tmp_path / "out.training").mkdir()
    (tmp_path / "out.training" / "state.pt").write_bytes(b"")
    with pytest.raises(OutputError, match=r"out\.training holds an unfinished run"):
        tune(plan(tmp_path / "out", base), 2)
    assert tried == []


def points(line: Any) -> list[list[float]]:
    found: list[list[float]] = line.get_xydata().tolist()
    return found


def test_the_picture_shows_every_trial_and_the_best() -> None:
    trials = tuple(
        Trial({"learning_rate": rate}, metric, 1.0, "finished" if metric else "stopped")
        for rate, metric in ((1e-4, 0.5), (3e-4, 0.7), (9e-4, None), (2e-5, 0.6))
    )
    history, by_rate = tuning_history(Tuning(trials, 1)).axes
    dots, ring, best, crosses = (points(line) for line in history.lines)
    assert dots == [[1, 0.5], [2, 0.7], [4, 0.6]]
    assert ring == [[2, 0.7]]
    assert [y for _, y in best] == [0.5, 0.7, 0.7, 0.7]
    assert [x for x, _ in crosses] == [3]
    assert points(by_rate.lines[1]) == [[3e-4, 0.7]]
    assert by_rate.get_xscale() == "log"
    alone = tuning_history(Tuning((Trial({"epochs": 3}, 0.5, 1.0, "finished"),), 0))
    assert len(alone.axes) == 1


def test_emotions_are_tuned(data: Path, tmp_path: Path) -> None:
    """Two trials of two epochs on 120 rows, from the packaged base."""
    rows = read_labelled(data / "emotion" / "validation.tsv")
    recipe = Recipe(epochs=2, max_length=32, pooling="mean", precision="fp32")
    held = rows.take(range(120, 240))
    done = tune(Plan(rows.take(range(120)), tmp_path / "out", validation=held, int8=False, recipe=recipe), 2)
    metrics = [one["metric"] for one in study_of(tmp_path / "out")["trials"]]
    assert done.fitted.metric == max(metrics) > 0.2
