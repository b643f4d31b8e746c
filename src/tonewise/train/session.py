"""One training prepared: sets read, base opened, texts tokenized; fitted as often as a study asks."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tonewise import __version__
from tonewise.engines import choose_threads
from tonewise.errors import ConfigError, EngineError
from tonewise.store import Pooling
from tonewise.tokenizer import Row
from tonewise.train.base import Base
from tonewise.train.dropout import Dropout
from tonewise.train.frozen import fit_head
from tonewise.train.learner import Learner, wants_bf16
from tonewise.train.loop import Fit, Stage, fit
from tonewise.train.lora import add_adapters, merge_adapters
from tonewise.train.losses import weights_of
from tonewise.train.network import HeadForm, HeadModule
from tonewise.train.outcome import Outcome, judge
from tonewise.train.parts import Part, Target
from tonewise.train.recipe import Recipe
from tonewise.train.retain import Kept
from tonewise.train.small import begin_from_frozen, cross_validate, parts_of
from tonewise.train.task import Task

Floats = NDArray[np.float32]
Tell = Callable[[str], None]
VERY_FEW = 100
"""Examples under which an encoder is kept as it was unless one that learned is better on validation."""
SCARCE = 50
"""Examples a label under which a head learns sooner from the mean of the tokens than from the first."""


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """What one recipe came to.

    scores  macro F1 by candidate, where there were some: out of fold, or on few examples' validation
    frozen  the encoder did not learn
    """

    learner: Learner
    recipe: Recipe
    fit: Fit
    outcomes: Mapping[str, Outcome]
    scores: Mapping[str, float] = field(default_factory=dict)
    frozen: bool = False

    @property
    def computed_in(self) -> str:
        """The precision of the products by which the encoder learned: bf16 or fp32."""
        return "bf16" if self.learner.bf16 and not self.frozen else "fp32"

    @property
    def metric(self) -> float:
        """Mean of the heads' macro F1 on held-out rows."""
        return float(np.mean([outcome.metric for outcome in self.outcomes.values()]))


class Session:
    """Tasks and base, ready to be fitted.

    cut        by task, how many texts to learn from were longer than the recipe's `max_length`
    threads    that it computes with
    auto_bf16  what the precision `auto` comes to; None: not measured yet
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        base: Base,
        kept: Kept | None,
        device: str,
        tell: Tell,
        threads: int | None = None,
    ) -> None:
        """Tokenize. Raises RowError for a text that cannot be, EngineError for an absent device.

        `threads` by default are all processors that this process may use.
        """
        self.tasks, self.base, self.kept = tuple(tasks), base, kept
        self.device, self.tell, self._told = torch.device(device), tell, set[str]()
        self.threads = choose_threads(threads)
        self.auto_bf16: bool | None = None
        if device == "cuda" and not torch.cuda.is_available():
            raise EngineError(f"torch {torch.__version__} sees no cuda device; leave out the device")
        self.rows: dict[str, list[Row]] = {}
        self.held_rows: dict[str, list[Row]] = {}
        self.cut: dict[str, int] = {}
        for task in tasks:
            self.rows[task.name], self.cut[task.name] = base.rows(task.learn)
            if task.held is not None:
                self.held_rows[task.name], _ = base.rows(task.held)

    def settled(self, recipe: Recipe) -> Recipe:
        """The recipe with what is open filled in for these tasks. Raises ConfigError for what cannot be."""
        layers = self.base.spec.layers
        if recipe.frozen_layers > layers:
            told = f"frozen_layers is {recipe.frozen_layers}, and {self.base.bundle.ref} has {layers} layers"
            raise ConfigError(f"{told}; freeze_encoder is for all of them")
        return recipe.settled(
            max(map(len, self.rows.values())), self._pooling(recipe), self.base.spec.hidden_size
        )

    def run(self, recipe: Recipe, stage: Stage | None = None) -> Fitted:
        """Fit a settled recipe and judge it on rows that it did not learn from.

        Raises EngineError for a loss that is no number, OutputError for a checkpoint that cannot be written.
        """
        stage = stage or Stage()
        with _on_threads(self.threads):
            if self.tasks[0].held is None:
                return self._few(recipe, stage)
            if recipe.freeze_encoder:
                return self._frozen(recipe)
            tuned = self._full(recipe, stage)
            return tuned if self.kept or len(self.tasks) > 1 else self._guarded(tuned)

    def identity(self, recipe: Recipe) -> dict[str, str]:
        """What makes a run the same run, by name."""
        data = hashlib.sha256()
        for task in self.tasks:
            data.update(json.dumps([task.name, task.learn.fingerprint()]).encode())
            data.update((task.held.fingerprint() if task.held is not None else "").encode())
        found = {name: json.dumps(value) for name, value in recipe.stated().items()}
        return found | {
            "data": data.hexdigest()[:16],
            "base": self.base.bundle.digest,
            "retained": self.kept.fingerprint() if self.kept else "",
            "torch": str(torch.__version__),  # its own class is refused when a checkpoint is read
            "tonewise": __version__,
            "threads": str(self.threads),
            "device": self.device.type,
        }

    def make(self, recipe: Recipe) -> Learner:
        """The base with heads that have not learned, the same each time."""
        dropout = Dropout(recipe.dropout)
        rows = [*self.rows.values(), *self.held_rows.values(), *(self.kept.all_rows() if self.kept else ())]
        network = self.base.network(rows, dropout)
        bf16 = self.bf16(recipe)
        torch.manual_seed(recipe.seed)
        heads = {task.name: self._head(task, recipe, dropout) for task in self.tasks}
        if self.kept:
            heads |= {name: self.base.own_head(name, dropout) for name in self.kept.heads}
        if recipe.lora_rank:
            add_adapters(network, recipe.lora_rank)
        learner = Learner(network, heads, dropout, self.base.tokenizer.padding_id, bf16=bf16)
        learner.to(self.device)
        return learner

    def bf16(self, recipe: Recipe) -> bool:
        """Whether to compute in bf16. Of `auto` what came out first holds: to measure again may differ."""
        if recipe.precision != "auto":
            return wants_bf16(self.base.spec, recipe, self.device)
        if self.auto_bf16 is None:
            self.auto_bf16 = wants_bf16(self.base.spec, recipe, self.device)
        return self.auto_bf16

    def form(self, task: Task, recipe: Recipe) -> HeadForm:
        """What a task's head is before it has learned; on a frozen encoder a linear one."""
        pooling: Pooling = "first" if recipe.pooling == "first" else "mean"
        learned, linear = task.learn, recipe.freeze_encoder
        return self.base.new_form(
            learned.names, multi_label=learned.multi_label, pooling=pooling, linear=linear
        )

    def _head(self, task: Task, recipe: Recipe, dropout: Dropout) -> HeadModule:
        form = self.form(task, recipe)
        return (
            self.base.new_head(form, dropout) if self.kept else self.base.head_for(form, dropout, self._once)
        )

    def _once(self, line: str) -> None:
        """Tell it: the heads of a run are made more than once."""
        if line not in self._told:
            self._told.add(line)
            self.tell(line)

    def _pooling(self, recipe: Recipe) -> Pooling:
        if recipe.pooling != "auto":
            return recipe.pooling
        if not recipe.freeze_encoder and not self.kept and self._goes_on():
            return "first"
        scarce = min(len(task.learn) / len(task.learn.names) for task in self.tasks) < SCARCE
        return self.base.embedding_pooling if recipe.freeze_encoder or scarce else "first"

    def _goes_on(self) -> bool:
        """Whether the base has a head of these labels already, which can go on."""
        own = [set(spec.labels) for spec in self.base.bundle.heads.values() if spec.pooling == "first"]
        return set(self.tasks[0].learn.names) in own

    def _parts(self) -> list[Part]:
        parts = []
        for task in self.tasks:
            target = Target(task.learn.kind, task.learn.targets)
            kept = self.kept.targets_on(task.name) if self.kept else {}
            parts.append(Part(self.rows[task.name], {task.name: target, **kept}))
        return [*parts, *(self.kept.parts() if self.kept else ())]

    def _validation(self) -> list[Part]:
        return [
            Part(self.held_rows[task.name], {task.name: Target(task.held.kind, task.held.targets)})
            for task in self.tasks
            if task.held is not None
        ]

    def _full(self, recipe: Recipe, stage: Stage) -> Fitted:
        learner = self.make(recipe)
        if self.kept:
            self.kept.imitate(learner, self.rows, self.held_rows)
        parts = self._parts()
        for task, part in zip(self.tasks, parts, strict=False):
            begin_from_frozen(learner, task.name, part)
        done = fit(learner, parts, self._validation(), recipe, stage)
        return self._judged(learner, recipe, done)

    def _judged(self, learner: Learner, recipe: Recipe, done: Fit) -> Fitted:
        """Merge what stands beside the weights, and measure in float32 what was learned."""
        if recipe.lora_rank:
            merge_adapters(learner.network)
        outcomes = {}
        with learner.exact():
            for task in self.tasks:
                if task.held is not None:
                    logits = learner.logits(self.held_rows[task.name], [task.name])[task.name]
                    outcomes[task.name] = judge(task.held, logits)
        return Fitted(learner, recipe, done, outcomes)

    def _frozen(self, recipe: Recipe) -> Fitted:
        learner = self.make(recipe)
        for task in self.tasks:
            states = learner.states(self.rows[task.name], learner.head(task.name).form.pooling)
            target = Target(task.learn.kind, task.learn.targets)
            weights = weights_of(target, recipe.class_weights)
            head, _ = fit_head(states, target.values, target.kind, parts_of(task.learn), weights)
            learner.head(task.name).fill(head)
        judged = self._judged(learner, recipe, Fit())
        return Fitted(learner, recipe, judged.fit, judged.outcomes, frozen=True)

    def _guarded(self, tuned: Fitted) -> Fitted:
        """Of few examples an encoder that learned is kept only where it is better on held-out rows."""
        if len(self.tasks[0].learn) >= VERY_FEW or tuned.recipe.lora_rank or self._goes_on():
            return tuned
        frozen = self._frozen(self._as_frozen(tuned.recipe))
        scores = {"frozen": frozen.metric, "tuned": tuned.metric}
        better = tuned.metric > frozen.metric
        told = ", ".join(f"{name} {f1:.4f}" for name, f1 in scores.items())
        self.tell(f"on validation, macro F1: {told}; kept: {'tuned' if better else 'frozen'}")
        return replace(tuned if better else frozen, scores=scores)

    def _few(self, recipe: Recipe, stage: Stage) -> Fitted:
        """Choose and judge out of fold, then learn from every row."""
        (task,), (part,) = self.tasks, self._parts()[:1]
        frozen = self._as_frozen(recipe)
        chosen, head = cross_validate(
            task.learn,
            part,
            task.name,
            recipe,
            (lambda: self.make(recipe), lambda: self.make(frozen)),
            stage,
        )
        told = ", ".join(f"{name} {f1:.4f}" for name, f1 in chosen.scores.items())
        self.tell(f"out of fold, macro F1: {told}; kept: {'tuned' if chosen.tuned else 'frozen'}")
        recipe = recipe if chosen.tuned else frozen
        learner, done = self.make(recipe), Fit()
        if chosen.tuned:
            begin_from_frozen(learner, task.name, part)
            done = fit(learner, [part], [], recipe, stage)
        else:
            learner.head(task.name).fill(head)
        if recipe.lora_rank:
            merge_adapters(learner.network)
        done.seconds += chosen.seconds
        outcome = judge(task.learn, chosen.logits)
        return Fitted(learner, recipe, done, {task.name: outcome}, chosen.scores, not chosen.tuned)

    def _as_frozen(self, recipe: Recipe) -> Recipe:
        """The same with an encoder that does not learn, read as it was made to be read."""
        if recipe.freeze_encoder:
            return recipe
        pooling = self.base.embedding_pooling
        return replace(recipe, freeze_encoder=True, frozen_layers=0, lora_rank=0, pooling=pooling)


@contextmanager
def _on_threads(count: int) -> Iterator[None]:
    """Compute with so many, and leave torch as it was."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def stated(fitted: Fitted) -> dict[str, Any]:
    """The fit as `training.json` holds it."""
    return {
        "recipe": fitted.recipe.stated(),
        "frozen": fitted.frozen,
        "computed_in": fitted.computed_in,
        "candidates": dict(fitted.scores),
        "best_epoch": fitted.fit.best,
        "averaged": fitted.fit.averaged,
        "seconds": round(fitted.fit.seconds, 1),
        "history": [
            {"epoch": one.epoch, "loss": one.loss, "macro_f1": dict(one.metrics), "seconds": one.seconds}
            for one in fitted.fit.history
        ],
    }
