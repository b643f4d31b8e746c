"""A fit that saves itself, and that a process of its own can be killed in: at a step, or after a write."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tests.models import opened
from tests.train.toys import learner_of, parameters, part_of, recipe_of
from tonewise.train import loop
from tonewise.train.checkpoint import Checkpoints
from tonewise.train.loop import Epoch, Fit, Moment, Stage
from tonewise.train.recipe import Recipe

KNOBS = {"dropout": 0.2, "average": 0.3, "class_weights": 0.5, "layer_decay": 0.9, "epochs": 3, "seed": 5}
STEPS = 6
"""Of an epoch."""


def settled(**knobs: Any) -> Recipe:
    return recipe_of(**KNOBS | knobs)


def fitted(
    model: Path, folder: Path | None, stage: Stage, *, held: bool = True, **knobs: Any
) -> tuple[Fit, dict[str, NDArray[np.float32]]]:
    """Fit, or go on with a fit, in this folder: what it came to, and the weights."""
    bundle, recipe = opened(model), settled(**knobs)
    checkpoints = None if folder is None else Checkpoints(folder, {"seed": str(recipe.seed)}, resume=True)
    learner = learner_of(bundle, recipe)
    validation = [part_of(bundle, 24, seed=1)] if held else []
    following = Stage("fit", checkpoints, stage.watch, stage.on_epoch)
    done = loop.fit(learner, [part_of(bundle, 8 * STEPS)], validation, recipe, following)
    return done, parameters(learner)


def without_time(history: list[Epoch]) -> list[tuple[int, float, float, float]]:
    return [(one.epoch, one.loss, one.metric, one.rate) for one in history]


def die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(model: str, folder: str, where: str, count: str, seconds: str, held: str) -> None:
    """`where` step: at that step's end, before it is saved; best, state: after that write of its kind."""
    torch.set_num_threads(1)
    loop.SAVE_SECONDS = float(seconds)
    left = int(count)

    def watch(moment: Moment) -> None:
        if where == "step" and moment.step == left:
            die()

    def counted(write: Any) -> Any:
        def wrapped(*given: Any) -> None:
            nonlocal left
            write(*given)
            left -= 1
            if not left:
                die()

        return wrapped

    if where != "step":
        name = "write_best" if where == "best" else "write"
        setattr(Checkpoints, name, counted(getattr(Checkpoints, name)))
    fitted(Path(model), Path(folder), Stage(watch=watch), held=held == "held")


if __name__ == "__main__":
    main(*sys.argv[1:])
