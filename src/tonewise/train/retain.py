"""Learning a new head without forgetting the old ones: their logits are imitated while it learns."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tonewise.config import Config
from tonewise.errors import ConfigError, InputError
from tonewise.metrics import accuracy
from tonewise.source.labelled import Labelled, Labels, read_labelled
from tonewise.source.split import split
from tonewise.tokenizer import Row
from tonewise.train.base import Base
from tonewise.train.facts import Retained
from tonewise.train.learner import Learner
from tonewise.train.parts import Part, Target

Floats = NDArray[np.float32]


def read_old(data: Any, labels: Labels, config: Config) -> Labelled:
    """The texts to imitate on, with their labels where they have such; a `Labelled` as it is.

    Of `labels` the columns count: what else they say is of the new heads. Raises as `read_labelled` does.
    """
    if isinstance(data, Labelled):
        return data
    columns = Labels(labels.label_column, labels.label_columns)
    return read_labelled(data, config.source, columns, on_error=config.run.on_error, or_texts=True)


@dataclass(slots=True, eq=False)
class Kept:
    """The heads that a base has already, and the texts on which they are kept as they are.

    heads   their names
    learn   texts of the old data to imitate on, as rows; [] where none were given
    held    the others of the old data, on which before and after are measured
    gold    their labels and the head whose labels they are; None where the old data has none of a head's
    """

    base: Base
    heads: tuple[str, ...]
    learn: list[Row] = field(default_factory=list)
    held: list[Row] = field(default_factory=list)
    gold: tuple[str, Labelled] | None = None
    _targets: dict[str, dict[str, Target]] = field(default_factory=dict)
    _own: dict[str, Target] = field(default_factory=dict)
    _before: dict[str, Floats] = field(default_factory=dict)

    @classmethod
    def of(cls, base: Base, new: Sequence[str], old: Labelled | None) -> "Kept":
        """All heads of the base. Raises ConfigError where a new head has the name of an old one."""
        if not base.bundle.heads:
            raise ConfigError(f"--retain {base.bundle.ref}: it has no head to keep")
        if taken := [name for name in new if name in base.bundle.heads]:
            raise ConfigError(
                f"--retain: the old model has a head '{taken[0]}' too; give another --head name"
            )
        for name, spec in base.bundle.heads.items():
            if spec.problem_type == "regression":
                raise ConfigError(f"--retain {base.bundle.ref}: its head '{name}' gives a number, not labels")
        heads = tuple(base.bundle.heads)
        if old is None:
            return cls(base, heads)
        learn, held = split(old)
        if not len(held):
            raise InputError("--retain: the old data has too few texts to set some aside")
        owner = next((name for name in heads if set(old.names) <= set(base.bundle.heads[name].labels)), None)
        gold = None if owner is None or old.multi_label else (owner, held)
        return cls(base, heads, base.rows(learn)[0], base.rows(held)[0], gold)

    def all_rows(self) -> Iterator[list[Row]]:
        """Every row that the network may meet because of it."""
        yield self.learn
        yield self.held

    def fingerprint(self) -> str:
        """Hex sha256 of what is imitated on."""
        ids = json.dumps([self.heads, [list(row.input_ids) for row in self.learn]])
        return hashlib.sha256(ids.encode()).hexdigest()[:16]

    def imitate(
        self, learner: Learner, rows: Mapping[str, Sequence[Row]], held: Mapping[str, Sequence[Row]]
    ) -> None:
        """Take what the old heads answer now as what they are to answer: before anything is learned.

        `rows` are the new heads'; without old texts those of `held` tell what is kept.
        """
        names = list(self.heads)
        self.held = self.held or [row for some in held.values() for row in some]
        with learner.exact():
            for task, some in rows.items():
                self._targets[task] = self._as_targets(learner.logits(some, names))
            self._own = self._as_targets(learner.logits(self.learn, names)) if self.learn else {}
            self._before = learner.logits(self.held, names) if self.held else {}

    def targets_on(self, task: str) -> dict[str, Target]:
        """What the old heads are to answer on a task's rows."""
        return self._targets.get(task, {})

    def parts(self) -> list[Part]:
        """What is imitated on the old texts."""
        return [Part(self.learn, self._own)] if self._own else []

    def report(self, learner: Learner) -> tuple[Retained, ...]:
        """Figures of the old heads before and after: accuracy where gold is known, else labels as before."""
        if not self.held:
            return ()
        with learner.exact():
            after = learner.logits(self.held, list(self.heads))
        found = []
        for name in self.heads:
            old, new = self._before[name], after[name]
            if self.gold and self.gold[0] == name:
                labels = self.base.bundle.heads[name].labels
                held = self.gold[1]
                gold = np.array([labels.index(held.names[i]) for i in held.ids], np.int64)
                figures = (accuracy(gold, old.argmax(axis=1)), accuracy(gold, new.argmax(axis=1)))
                found.append(Retained(name, "accuracy", *figures, len(held)))
            else:
                found.append(Retained(name, "labels as before", 1.0, self._same(name, old, new), len(old)))
        return tuple(found)

    def _same(self, name: str, old: Floats, new: Floats) -> float:
        if self._by_label(name):
            return float(np.mean((old > 0) == (new > 0)))
        return float(np.mean(old.argmax(axis=1) == new.argmax(axis=1)))

    def _by_label(self, name: str) -> bool:
        """Whether each label holds or not; a head of one label has no other kind of score."""
        spec = self.base.bundle.heads[name]
        return spec.problem_type == "multi_label_classification" or len(spec.labels) == 1

    def _as_targets(self, logits: Mapping[str, Floats]) -> dict[str, Target]:
        return {
            name: Target(
                "multi_logits" if self._by_label(name) else "logits",
                values,
            )
            for name, values in logits.items()
        }
