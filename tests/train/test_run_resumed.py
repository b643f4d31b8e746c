"""A run that was broken off goes on to the same weights, and never begins anew."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.doubles import MakeModel
from tests.models import opened
from tests.train.moods import (
    QUICK,
    some,
    weights_bytes,
)
from tonewise.errors import OutputError
from tonewise.store import Bundle, verify
from tonewise.train import Recipe, train
from tonewise.train.learner import Learner
from tonewise.train.loop import Fit, Moment, fit


@pytest.fixture
def base(model: MakeModel) -> Path:
    return model("bert", seed=3)


def quick(data: Any, output: Path, base: Path, **options: Any) -> Bundle:
    """A training of seconds: one epoch, no int8."""
    given: dict[str, Any] = {"recipe": QUICK, "int8": False} | options
    return train(data, output, base=base, **given)


class Stopped(Exception):  # noqa: N818  not an error of ours
    """Somebody pulled the plug."""


@pytest.mark.parametrize("way", ["validation", "few"])
@pytest.mark.parametrize("at", [1, 9, 16])
def test_a_broken_run_goes_on_to_the_same_weights(base: Path, tmp_path: Path, way: str, at: int) -> None:
    recipe = Recipe(epochs=3, batch_size=16, learning_rate=3e-3, precision="fp32")
    validation = some(30, seed=1) if way == "validation" else None
    options: dict[str, Any] = {"validation": validation, "recipe": recipe}
    quick(some(90), tmp_path / "whole", base, **options)
    moments: list[Moment] = []

    def stop(moment: Moment) -> None:
        moments.append(moment)
        if len(moments) == at:
            raise Stopped

    with pytest.raises(Stopped):
        quick(some(90), tmp_path / "out", base, watch=stop, **options)
    assert not (tmp_path / "out").exists()
    if at > 6:  # an epoch is done, and saved
        with pytest.raises(OutputError, match="--resume continues it"):
            quick(some(90), tmp_path / "out", base, **options)
    quick(some(90), tmp_path / "out", base, resume=True, **options)
    assert weights_bytes(tmp_path / "out") == weights_bytes(tmp_path / "whole")
    heads = [opened(tmp_path / name).heads for name in ("out", "whole")]
    assert heads[0] == heads[1]
    assert not list(tmp_path.glob("*.training")), "its checkpoints are gone"


def test_a_run_that_was_stopped_late_does_not_begin_anew(base: Path, tmp_path: Path) -> None:
    recipe = Recipe(epochs=3, batch_size=16, precision="fp32")
    whole: list[Moment] = []
    quick(some(90), tmp_path / "whole", base, recipe=recipe, watch=whole.append)
    count = 0

    def stop(moment: Moment) -> None:
        nonlocal count
        count += 1
        if count == len(whole):
            raise Stopped

    with pytest.raises(Stopped):
        quick(some(90), tmp_path / "out", base, recipe=recipe, watch=stop)
    again: list[Moment] = []
    quick(some(90), tmp_path / "out", base, recipe=recipe, watch=again.append, resume=True)
    assert 0 < len(again) < len(whole) / 3


def test_a_bundle_that_could_not_be_written_is_published_by_resume(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    options: dict[str, Any] = {"validation": some(30, seed=1)}
    with monkeypatch.context() as patch:
        patch.setattr("tonewise.train.publish.write_card", full)
        with pytest.raises(OutputError, match="the disk is full"):
            quick(some(60), tmp_path / "out", base, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["out.training"]
    again: list[Moment] = []
    bundle = quick(some(60), tmp_path / "out", base, resume=True, watch=again.append, **options)
    assert not again, "no step is taken again"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert all(one.state == "ok" for one in verify(bundle.folder))


def test_a_resume_that_finds_nothing_says_that_the_run_begins(base: Path, tmp_path: Path) -> None:
    told: list[str] = []
    quick(some(40), tmp_path / "out", base, validation=some(20, seed=1), resume=True, tell=told.append)
    assert f"nothing to go on with in {tmp_path / 'out.training'}: the run begins" in told


def test_a_resumed_run_goes_on_in_the_precision_and_the_seconds_that_it_had(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[bool] = []
    measured = [True, False]

    def watched(learner: Learner, *rest: Any) -> Fit:
        used.append(learner.bf16)
        return replace(fit(learner, *rest), seconds=10.0)

    def stop(moment: Moment) -> None:
        if moment.stage == "fold-3":
            raise Stopped

    monkeypatch.setattr("tonewise.train.small.fit", watched)
    monkeypatch.setattr("tonewise.train.session.wants_bf16", lambda *rest: measured[0])
    recipe = replace(QUICK, precision="auto")
    with pytest.raises(Stopped):
        quick(some(60), tmp_path / "out", base, recipe=recipe, watch=stop)
    measured.reverse()
    quick(some(60), tmp_path / "out", base, recipe=recipe, resume=True)
    assert used == [True] * (3 + 3)
    training = json.loads((tmp_path / "out" / "training.json").read_text())
    assert training["seconds"] >= 50, "those of the two folds before it was stopped are among them"
