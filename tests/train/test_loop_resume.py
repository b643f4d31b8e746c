"""A fit that was killed goes on to the same weights, bit for bit, wherever it was killed."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.train import killed
from tests.train.killed import STEPS, fitted, without_time
from tests.train.toys import same_bits
from tonewise.errors import OutputError
from tonewise.train import loop
from tonewise.train.checkpoint import Checkpoints
from tonewise.train.loop import Moment, Stage

ROOT = Path(__file__).parents[2]
EACH, NEVER = -1.0, 1e9
Model = Callable[..., Path]


def kill(model: Path, folder: Path, where: str, count: int, seconds: float, held: str = "held") -> None:
    command = [sys.executable, "-m", killed.__name__, str(model), str(folder), where, str(count)]
    done = subprocess.run([*command, str(seconds), held], cwd=ROOT, check=False)
    assert done.returncode == -9


def resumed(model: Path, folder: Path, *, held: bool = True) -> tuple[int, bool]:
    """How many steps were left, and whether the end is that of a fit that nobody killed."""
    met: list[Moment] = []
    whole, wanted = fitted(model, None, Stage(), held=held)
    done, found = fitted(model, folder, Stage(watch=met.append), held=held)
    assert without_time(done.history) == without_time(whole.history)
    assert (done.best, done.averaged) == (whole.best, whole.averaged)
    return len(met), same_bits(wanted, found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "count", "seconds", "left"),
    [
        ("step", STEPS + 3, EACH, 2 * STEPS - 2),  # the third step of the second epoch was not saved yet
        ("step", STEPS + 3, NEVER, 2 * STEPS),  # only ends of epochs were saved
        ("step", 3 * STEPS, EACH, 1),
        ("best", 1, EACH, 2 * STEPS),  # between the best weights and the state: the epoch's steps were saved
        ("state", 3 * STEPS + 3, EACH, 0),  # the last of all writes: a state for each step and each epoch
    ],
)
def test_a_killed_fit_goes_on_to_the_same_bits(
    model: Model, tmp_path: Path, where: str, count: int, seconds: float, left: int
) -> None:
    kill(model(), tmp_path, where, count, seconds)
    assert resumed(model(), tmp_path) == (left, True)


@pytest.mark.slow
def test_so_does_one_that_is_killed_twice_and_has_nothing_held_out(model: Model, tmp_path: Path) -> None:
    kill(model(), tmp_path, "step", 4, EACH, "none")
    kill(model(), tmp_path, "step", 2 * STEPS + 5, EACH, "none")
    assert resumed(model(), tmp_path, held=False) == (STEPS - 4, True)


@pytest.mark.slow
def test_what_is_killed_while_it_settles_settles_again(model: Model, tmp_path: Path) -> None:
    done, _ = fitted(model(), None, Stage(), held=False)
    assert done.averaged
    kill(model(), tmp_path, "best", 4, NEVER, "none")  # three epochs, and the mean of the last steps
    assert resumed(model(), tmp_path, held=False) == (STEPS, True)


def test_saving_changes_nothing(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, wanted = fitted(model(), None, Stage())
    monkeypatch.setattr(loop, "SAVE_SECONDS", EACH)
    _, found = fitted(model(), tmp_path, Stage())
    assert same_bits(wanted, found)


def test_a_finished_fit_is_not_done_again(model: Model, tmp_path: Path) -> None:
    first, wanted = fitted(model(), tmp_path, Stage())
    met: list[Moment] = []
    second, found = fitted(model(), tmp_path, Stage(watch=met.append))
    assert met == []
    assert second == first
    assert same_bits(wanted, found)


def test_best_weights_that_are_gone_are_not_done_without(model: Model, tmp_path: Path) -> None:
    fitted(model(), tmp_path, Stage())
    (tmp_path / "best-fit.pt").unlink()
    with pytest.raises(OutputError, match=f"cannot read {tmp_path / 'best-fit.pt'}: .*; remove {tmp_path}"):
        fitted(model(), tmp_path, Stage())


def test_a_disk_that_fills_up_stops_the_fit_which_then_goes_on(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_SECONDS", EACH)
    theirs, calls = Checkpoints.write, []

    def full(self: Checkpoints, name: str, stage: dict[str, object]) -> None:
        calls.append(name)
        if len(calls) == STEPS + 4:
            raise OutputError("cannot write state.pt: no space left on device")
        theirs(self, name, stage)

    with monkeypatch.context() as inside:
        inside.setattr(Checkpoints, "write", full)
        with pytest.raises(OutputError, match="no space left"):
            fitted(model(), tmp_path, Stage())
    assert resumed(model(), tmp_path) == (2 * STEPS - 2, True)


def test_the_precision_that_was_measured_is_kept(model: Model, tmp_path: Path) -> None:
    def stop(moment: Moment) -> None:
        if moment.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(model(), tmp_path, Stage(watch=stop))
    stage = Checkpoints(tmp_path, {"seed": "5"}, resume=True)
    found = stage.read("fit")
    assert found is not None
    assert found["bf16"] is False
    stage.write("fit", found | {"bf16": True})
    _, exact = fitted(model(), None, Stage())
    _, rough = fitted(model(), tmp_path, Stage())
    assert not same_bits(exact, rough)
