"""The loop: epochs of steps, a look at validation after each, the best kept, every minute a checkpoint."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tonewise.calibration import fit_thresholds
from tonewise.errors import EngineError
from tonewise.metrics import macro_f1, one_hot
from tonewise.train.checkpoint import Checkpoints
from tonewise.train.learner import Learner
from tonewise.train.losses import weights_of
from tonewise.train.optimizer import open_optimizer, open_schedule
from tonewise.train.parts import Part, Step, Target, count_steps, steps
from tonewise.train.recipe import Recipe

SAVE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch came to.

    loss     mean over its examples
    metrics  macro F1 by head on the validation examples; {} without any
    rate     the learning rate at its end
    """

    epoch: int
    loss: float
    metrics: Mapping[str, float]
    seconds: float
    rate: float = 0.0

    @property
    def metric(self) -> float:
        """Mean of the heads' macro F1: what epochs are chosen by."""
        return float(np.mean(list(self.metrics.values()))) if self.metrics else 0.0


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a fit stands, for whoever watches; `metric` is the last epoch's."""

    stage: str
    step: int
    steps: int
    epoch: int
    loss: float
    metric: float | None


@dataclass(slots=True)
class Fit:
    """What a fit came to.

    best      the epoch whose weights were kept; the last one where nothing was measured
    averaged  the mean of the last steps' weights was better, and was kept
    """

    history: list[Epoch] = field(default_factory=list)
    best: int = 0
    averaged: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Stage:
    """One fit of a run, and who follows it.

    name         under which checkpoints know it
    checkpoints  where it saves itself; None: nowhere
    watch        is shown each step
    on_epoch     is shown each epoch; what it raises ends the fit
    """

    name: str = "fit"
    checkpoints: Checkpoints | None = None
    watch: Callable[[Moment], None] = lambda moment: None
    on_epoch: Callable[[Epoch], None] = lambda epoch: None


def fit(
    learner: Learner,
    parts: Sequence[Part],
    validation: Sequence[Part],
    recipe: Recipe,
    stage: Stage | None = None,
) -> Fit:
    """Train until the epochs are over or patience is, and leave the learner with the best epoch's weights.

    `recipe` is settled. With checkpoints, goes on where the stage was left; the end is the same, bit for
    bit, on the same machine with the same threads. Without validation the last epoch is the best. Raises
    EngineError when the loss is no number, OutputError when a checkpoint cannot be written.
    """
    return _Loop(learner, parts, validation, recipe, stage or Stage()).run()


class _Loop:
    def __init__(
        self,
        learner: Learner,
        parts: Sequence[Part],
        validation: Sequence[Part],
        recipe: Recipe,
        stage: Stage,
    ) -> None:
        self.learner, self.parts, self.validation, self.recipe = learner, parts, validation, recipe
        self.stage, self.checkpoints = stage, stage.checkpoints
        self.epochs, self.size = recipe.epochs or 1, recipe.batch_size or 1
        self.total = self.epochs * count_steps(parts, self.size)
        self.optimizer = open_optimizer(learner.network, learner.heads, recipe)
        self.schedule = open_schedule(self.optimizer, self.total, recipe.warmup)
        self.device = next(learner.parameters()).device
        self.weights = [_class_weights(part, recipe.class_weights, self.device) for part in parts]
        self.done, self.at, self.loss_sum, self.rows_seen = Fit(), 0, 0.0, 0
        self.mean: list[Tensor] = []
        self.averaging = self.total - max(1, round(self.total * recipe.average))
        self.best: dict[str, dict[str, Tensor]] | None = None
        self.saved = self.begun = time.monotonic()

    def run(self) -> Fit:
        finished = self._resume()
        while not finished:
            epoch = len(self.done.history) + 1
            self._epoch(epoch)
            self.stage.on_epoch(self.done.history[-1])
            finished = epoch == self.epochs or epoch - self.done.best >= self.recipe.patience
            if finished:
                self._settle()
            self._save(finished=finished)
        if self.best is not None:
            self.learner.restore(self.best)
        return self.done

    def _epoch(self, number: int) -> None:
        planned = steps(self.parts, self.size, self.recipe.batch_tokens, (self.recipe.seed, number))
        for step in planned[self.at :]:
            passed = (number - 1) * len(planned) + self.at + 1
            self._step(step, passed)
            self.at += 1
            if self.recipe.average and passed > self.averaging:
                self._average(passed - self.averaging)
            metric = self.done.history[-1].metric if self.done.history and self.validation else None
            mean = self.loss_sum / self.rows_seen
            self.stage.watch(Moment(self.stage.name, passed, self.total, number, mean, metric))
            if time.monotonic() - self.saved > SAVE_SECONDS:
                self._save()
        found = measure(self.learner, self.validation)
        rate = max(map(float, self.schedule.get_last_lr()))
        epoch = Epoch(number, self.loss_sum / max(1, self.rows_seen), found, self._seconds(), rate)
        better = not self.done.history or epoch.metric > self.done.history[self.done.best - 1].metric
        self.done.history.append(epoch)
        self.at, self.loss_sum, self.rows_seen = 0, 0.0, 0
        if better or not self.validation:
            self._keep(number)

    def _step(self, step: Step, number: int) -> None:
        self.learner.dropout.begin(self.recipe.seed, number)
        self.optimizer.zero_grad(set_to_none=True)
        part, weights = self.parts[step.part], self.weights[step.part]
        for rows in step.pieces:
            loss = self.learner.cost(part, list(rows), self.recipe.label_smoothing, weights)
            (loss / len(step)).backward()  # type: ignore[no-untyped-call]
            self.loss_sum += loss.item()
        self.learner.dropout.end()
        self.rows_seen += len(step)
        learning = [one for group in self.optimizer.param_groups for one in group["params"]]
        norm = nn.utils.clip_grad_norm_(learning, self.recipe.clip_norm).item()
        if not np.isfinite([self.loss_sum, norm]).all():
            told = "the loss or its gradient is no number any more"
            raise EngineError(f"{told} in epoch {len(self.done.history) + 1}; lower --learning-rate")
        self.optimizer.step()
        self.schedule.step()

    def _average(self, count: int) -> None:
        """Take the weights into the mean of the last steps' (Izmailov et al. 2018)."""
        now = [one.detach() for one in self.learner.parameters()]
        if not self.mean:
            self.mean = [one.clone() for one in now]
        for mean, one in zip(self.mean, now, strict=True):
            mean.lerp_(one, 1 / count)

    def _keep(self, number: int) -> None:
        self.done.best, self.best = number, self.learner.state()
        if self.checkpoints:
            self.checkpoints.write_best(self.stage.name, self.best)

    def _settle(self) -> None:
        """Take the mean of the last steps' weights where it is no worse than the best epoch's."""
        self.done.seconds = self._seconds()
        if not self.mean:
            return
        with torch.no_grad():
            for one, mean in zip(self.learner.parameters(), self.mean, strict=True):
                one.copy_(mean)
        best = self.done.history[self.done.best - 1].metric
        if not self.validation or _mean(measure(self.learner, self.validation)) >= best:
            self.done.averaged, self.best = True, self.learner.state()
            if self.checkpoints:
                self.checkpoints.write_best(self.stage.name, self.best)

    def _seconds(self) -> float:
        return self.done.seconds + time.monotonic() - self.begun

    def _save(self, *, finished: bool = False) -> None:
        if not self.checkpoints:
            return
        heavy: dict[str, Any] = {}
        if not finished:
            heavy = {
                "weights": self.learner.state(),
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
                "mean": self.mean,
            }
        done = {**asdict(self.done), "seconds": self.done.seconds if finished else self._seconds()}
        place = {"at": self.at, "loss_sum": self.loss_sum, "rows_seen": self.rows_seen}
        stage = {"finished": finished, "bf16": self.learner.bf16, "done": done, **place, **heavy}
        self.checkpoints.write(self.stage.name, stage)
        self.saved = time.monotonic()

    def _resume(self) -> bool:
        """Go back to where the stage was left, if it had begun: whether it was finished."""
        found = self.checkpoints.read(self.stage.name) if self.checkpoints else None
        if found is None or self.checkpoints is None:
            return False
        done = dict(found["done"])  # the checkpoint keeps its own
        history = [Epoch(**epoch) for epoch in done.pop("history")]
        self.done = Fit(history, **done)
        self.learner.bf16 = found["bf16"]
        self.best = self.checkpoints.read_best(self.stage.name) if self.done.best else None
        if found["finished"]:
            return True
        self.at, self.loss_sum, self.rows_seen = found["at"], found["loss_sum"], found["rows_seen"]
        self.learner.restore(found["weights"])
        self.optimizer.load_state_dict(found["optimizer"])
        self.schedule.load_state_dict(found["schedule"])
        self.mean = [one.to(self.device) for one in found["mean"]]
        return False


def measure(learner: Learner, parts: Sequence[Part]) -> dict[str, float]:
    """Macro F1 by head, over the labels that occur; of several labels at the thresholds that fit best."""
    found: dict[str, float] = {}
    for part in parts:
        logits = learner.logits(part.rows, list(part.targets))
        found |= {name: macro(logits[name], target) for name, target in part.targets.items()}
    return found


def macro(logits: Any, target: Target) -> float:
    """Macro F1 of logits float32[N, L] against a target, as `measure` has it."""
    if target.kind == "multi":
        gold = target.values > 0.5
        scores = 1 / (1 + np.exp(-logits.astype(np.float64)))
        found = scores >= np.asarray(fit_thresholds(scores.astype(np.float32), gold))
    else:
        labels = target.values.shape[1]
        gold = one_hot(target.values.argmax(axis=1), labels)
        found = one_hot(logits.argmax(axis=1), labels)
    return macro_f1(gold, found)


def _mean(found: Mapping[str, float]) -> float:
    return float(np.mean(list(found.values())))


def _class_weights(part: Part, power: float, device: torch.device) -> dict[str, Tensor | None]:
    found = {name: weights_of(target, power) for name, target in part.targets.items()}
    return {name: None if one is None else torch.from_numpy(one).to(device) for name, one in found.items()}
