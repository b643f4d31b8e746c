"""Few examples: a frozen and a fine-tuned encoder judged by answers to rows that neither had learned from."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tonewise.source.labelled import Labelled
from tonewise.source.split import folds, normalised
from tonewise.train.frozen import fit_head, quick_head
from tonewise.train.learner import Learner
from tonewise.train.loop import Stage, fit, macro
from tonewise.train.losses import weights_of
from tonewise.train.parts import Part
from tonewise.train.recipe import Recipe

Floats = NDArray[np.float32]
FOLDS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """What cross-validation chose, and its out-of-fold logits float32[N, L].

    tuned    the whole encoder learns
    scores   macro F1 out of fold by candidate
    seconds  that the fits of all folds took
    """

    tuned: bool
    logits: Floats
    scores: dict[str, float]
    seconds: float = 0.0


def cross_validate(
    learned: Labelled,
    part: Part,
    name: str,
    recipe: Recipe,
    make: tuple[Callable[[], Learner], Callable[[], Learner]],
    stage: Stage,
) -> tuple[Chosen, dict[str, Floats]]:
    """Fine-tune in five folds, fit a head on frozen states in the same folds, and choose; and that head.

    Every candidate answers each row from the others. `make` gives a learner to be tuned, and one whose
    encoder stays as it is. `recipe.freeze_encoder` leaves that one candidate.
    """
    parts = parts_of(learned)
    target = part.targets[name]
    learner = make[1]()
    with learner.exact():
        states = learner.states(part.rows, learner.head(name).form.pooling)
    weights = weights_of(target, recipe.class_weights)
    head, logits = fit_head(states, target.values, target.kind, parts, weights)
    frozen = macro(logits, target)
    if recipe.freeze_encoder:
        return Chosen(False, logits, {"frozen": frozen}), head
    tuned, seconds = _out_of_fold(part, name, recipe, make[0], parts, stage)
    scores = {"frozen": frozen, "tuned": macro(tuned, target)}
    better = scores["tuned"] > scores["frozen"]
    return Chosen(better, tuned if better else logits, scores, seconds), head


def _out_of_fold(
    part: Part,
    name: str,
    recipe: Recipe,
    make: Callable[[], Learner],
    parts: list[NDArray[np.int64]],
    following: Stage,
) -> tuple[Floats, float]:
    """Logits float32[N, L], and how many seconds the fits took, those of an interrupted run included."""
    checkpoints, seconds = following.checkpoints, 0.0
    found = np.zeros(part.targets[name].values.shape, np.float32)
    for number, held in enumerate(parts):
        stage = f"fold-{number + 1}"
        stored = checkpoints.read(f"{stage}-logits") if checkpoints else None
        if stored is not None:
            found[held] = stored["logits"].numpy()
            seconds += stored.get("seconds", 0.0)  # a run begun by an older Tonewise has none
            continue
        learned = np.setdiff1d(np.arange(len(part)), held)
        learner = make()
        inner = _taken(part, learned)
        begin_from_frozen(learner, name, inner)
        done = fit(learner, [inner], [], recipe, replace(following, name=stage))
        seconds += done.seconds
        with learner.exact():
            found[held] = learner.logits([part.rows[i] for i in held], [name])[name]
        if checkpoints:
            answered = {"logits": torch.from_numpy(found[held]), "seconds": done.seconds}
            checkpoints.write(f"{stage}-logits", answered)
            checkpoints.drop_best(stage)
    return found, seconds


def begin_from_frozen(learner: Learner, name: str, part: Part) -> None:
    """Let a linear head begin as the logistic regression on frozen states (Kumar et al. 2022, LP-FT)."""
    form = learner.head(name).form
    if form.dense or part.targets[name].kind.endswith("logits"):
        return
    target = part.targets[name]
    with learner.exact():
        states = learner.states(part.rows, form.pooling)
    learner.head(name).fill(quick_head(states, target.values, target.kind))


def _taken(part: Part, rows: NDArray[np.int64]) -> Part:
    targets: dict[str, Any] = {
        name: replace(target, values=target.values[rows]) for name, target in part.targets.items()
    }
    return Part([part.rows[i] for i in rows], targets)


def parts_of(learned: Labelled) -> list[NDArray[np.int64]]:
    """Five folds, or as many as there are different texts."""
    return folds(learned, min(FOLDS, len(set(map(normalised, learned.examples)))))
