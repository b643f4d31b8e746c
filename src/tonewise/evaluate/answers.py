"""What one head says to every labelled text, as arrays beside the gold labels."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from tonewise.classifier import Classifier
from tonewise.config import OnError
from tonewise.errors import ConfigError, InputError, ModelError, RowError
from tonewise.head import Head, HeadPrediction, Prediction
from tonewise.source import Example
from tonewise.source.labelled import Labelled

Progress = Callable[[str], None]
NAMED = 12
"""Labels that an error lists before it breaks off."""
PART = 512
"""Answers that become arrays together, which are a tenth of their size."""
GENERIC = re.compile(r"LABEL_\d+")
YES, NO = frozenset(("1", "true", "yes")), frozenset(("0", "false", "no"))


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of N texts, in their order.

    scores     float32[N, L]
    found      bool[N, L]: the label, or the labels; none where the head abstained
    abstained  bool[N]
    n_tokens   int64[N], before any cut
    truncated  bool[N]
    """

    scores: NDArray[np.float32]
    found: NDArray[np.bool_]
    abstained: NDArray[np.bool_]
    n_tokens: NDArray[np.int64]
    truncated: NDArray[np.bool_]

    @property
    def ids(self) -> NDArray[np.int64]:
        """int64[N]: the first label found, by its place; -1 where there is none."""
        first: NDArray[np.int64] = np.where(self.found.any(axis=1), self.found.argmax(axis=1), -1)
        return first

    def right(self, gold: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """bool[N]: the texts answered just as bool[N, L] has it; an abstained answer is right of none."""
        exact: NDArray[np.bool_] = (gold == self.found).all(axis=1) & ~self.abstained
        return exact


def choose_head(classifier: Classifier, name: str | None) -> Head:
    """The head of that name, or the only one. Raises ConfigError, ModelError for one without labels."""
    heads, ref = classifier.heads, classifier.bundle.ref
    if not heads:
        raise ModelError(f"{ref} has no head, so there are no labels to compare with")
    if name is None and len(heads) > 1:
        raise ConfigError(f"{ref} has several heads: {', '.join(heads)}; name one: REF#HEAD")
    if name is not None and name not in heads:
        raise ConfigError(f"{ref}: no head '{name}'; it has {', '.join(heads)}")
    head = heads[name] if name is not None else next(iter(heads.values()))
    if head.spec.problem_type == "regression":
        raise ModelError(f"{ref}: head '{head.name}' gives a number, and no label to compare with")
    return head


def in_labels_of(
    head: Head, labelled: Labelled, ref: str, remedy: str = "--map FILE", on_error: OnError | None = None
) -> Labelled:
    """The same set with its targets in the head's labels, in their order: float32[N, L].

    Of a head with one label a set may also tell whether it holds: 0 or 1, false or true, no or yes.
    `remedy` is what a user has who must map labels, "" for nothing. With `on_error=skip` rows of a label that
    the head does not answer come to `skipped`; None where rows cannot be skipped. Raises InputError for such
    a label, naming both lists, where no row is without, and for a set with several labels a text where the
    head gives one.
    """
    if labelled.kind == "multi" and not head.is_multi_label:
        told = "the data has several labels a text, and the head gives one"
        raise InputError(f"{ref}: head '{head.name}': {told}; wanted: data of one label a text")
    one_of_any = len(head.labels) == 1 and head.is_multi_label
    if on_error == "skip":
        labelled = _without_unknown(head, labelled, one_of_any=one_of_any)
    unknown = [name for name in labelled.names if name not in head.labels]
    if unknown and one_of_any:
        labelled, unknown = _of_one_label(head, labelled, ref), []
    if unknown:
        raise InputError(_misfit(head, labelled.names, unknown[0], ref, remedy, on_error))
    places = [head.labels.index(name) for name in labelled.names]
    targets = np.zeros((len(labelled), len(head.labels)), np.float32)
    targets[:, places] = labelled.targets
    return replace(labelled, names=head.labels, targets=targets)


def answer(
    classifier: Classifier,
    head: Head,
    labelled: Labelled,
    progress: Progress = lambda told: None,
) -> tuple[Labelled, Answers, list[RowError]]:
    """One pass over all texts: those that were answered, their answers, and what was skipped.

    Raises RowError for the first text that cannot be answered, unless the config says `on_error=skip`;
    then InputError when none is left.
    """
    skip = classifier.config.run.on_error == "skip"
    kept: list[int] = []
    given: list[Prediction] = []
    parts: list[Answers] = []
    skipped: list[RowError] = []
    for row, (_, found) in enumerate(classifier.stream(labelled.examples)):
        if isinstance(found, RowError):
            if not skip:
                raise found
            skipped.append(found)
            continue
        kept.append(row)
        given.append(found)
        if len(given) == PART:
            parts.append(_arrays(head, given))
            given.clear()
            progress(f"answered {row + 1:,} of {len(labelled):,} texts")
    if not kept:
        raise InputError(f"none of the {len(labelled):,} texts could be answered; {skipped[0]}")
    if given:
        parts.append(_arrays(head, given))
    return labelled.take(kept), _joined(parts), skipped


def at_its_place(error: RowError, labelled: Labelled) -> tuple[int, RowError]:
    """Of an error that a Classifier raised for these texts: the row, and the error with the row's place.

    It numbers texts as they were given to it, from 1; a person finds a row by its file and line.
    """
    row = int(error.where.removeprefix("text ")) - 1
    return row, RowError(place_of(labelled.examples[row]), error.cause)


def place_of(example: Example) -> str:
    """Where a person finds a row; by its id where nothing else is known."""
    return example.where or f"text {example.id}"


def _arrays(head: Head, given: Sequence[Prediction]) -> Answers:
    answers = [one.heads[head.name] for one in given]
    return Answers(
        np.array([[one.scores[label] for label in head.labels] for one in answers], np.float32),
        np.array([[label in _labels(one) for label in head.labels] for one in answers], bool),
        np.array([one.abstained for one in answers], bool),
        np.array([one.n_tokens for one in given], np.int64),
        np.array([one.truncated for one in given], bool),
    )


def _joined(parts: Sequence[Answers]) -> Answers:
    return Answers(*(np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(Answers)))


def _labels(one: HeadPrediction) -> tuple[str | None, ...]:
    return (one.label,) if one.labels is None else one.labels


def _without_unknown(head: Head, labelled: Labelled, *, one_of_any: bool) -> Labelled:
    """The rows without a label that the head does not answer, if there are any; the others in `skipped`."""
    known = [
        name in head.labels or (one_of_any and one_label_holds(name, head.labels[0]) is not None)
        for name in labelled.names
    ]
    strange = np.flatnonzero(~np.array(known, bool))
    rows, places = np.nonzero(labelled.targets[:, strange] > 0)
    if not len(strange) or len(set(rows.tolist())) == len(labelled):
        return labelled
    lost = {row: labelled.names[strange[place]] for row, place in zip(rows[::-1], places[::-1], strict=True)}
    told = [RowError(place_of(labelled.examples[row]), _unknown(head, lost[row])) for row in sorted(lost)]
    kept = labelled.take([row for row in range(len(labelled)) if row not in lost])
    names = tuple(name for name, there in zip(labelled.names, known, strict=True) if there)
    targets = np.delete(kept.targets, strange, axis=1)
    return replace(kept, names=names, targets=targets, skipped=(*labelled.skipped, *told))


def _unknown(head: Head, label: str) -> InputError:
    return InputError(f"head '{head.name}' does not know the label '{label[:40]}'")


def _of_one_label(head: Head, labelled: Labelled, ref: str) -> Labelled:
    """A set that tells of each text whether the head's only label holds, as one of any number of labels."""
    (label,) = head.labels
    holds = [one_label_holds(name, label) for name in labelled.names]
    if None in holds:
        unknown = labelled.names[holds.index(None)]
        wanted = f"wanted: '{label}' or none, or 1 or 0, true or false, yes or no"
        raise InputError(
            f"{ref}: head '{head.name}' has one label, '{label}', of which '{unknown[:40]}' of the data "
            f"does not tell whether it holds; {wanted}"
        )
    targets = labelled.targets[:, [bool(one) for one in holds]].sum(axis=1, keepdims=True)
    targets = np.minimum(targets, np.float32(1))
    examples = (
        replace(one, labels=(label,) if held else ())
        for one, held in zip(labelled.examples, targets[:, 0] > 0.5, strict=True)
    )
    return replace(labelled, examples=tuple(examples), names=(label,), targets=targets, kind="multi")


def one_label_holds(name: str, label: str) -> bool | None:
    """Whether a set's name for a class says that a head's only label holds; None where it does not tell."""
    told, own = name.lower(), label.lower()
    if told == own:
        return True
    if own in NO or told not in YES | NO:  # of a label "no" yes and no have two meanings
        return None
    return told in YES


def _misfit(
    head: Head, names: Sequence[str], unknown: str, ref: str, remedy: str, on_error: OnError | None
) -> str:
    if all(GENERIC.fullmatch(label) for label in head.labels):
        what = f"the labels of head '{head.name}' have no names ({_listed(head.labels)})"
        todo = f"name them with {remedy}" if remedy else "write those in the data"
        return f"{ref}: {what}, and the data has {_listed(names)}; {todo}"
    what = f"{_unknown(head, unknown)} of the data"
    both = f"it has {_listed(head.labels)}, and the data {_listed(names)}"
    todo = f"map one to the other with {remedy}" if remedy else "write the model's labels in the data"
    skipping = ", or leave out the rows of labels that it lacks with --on-error skip"
    return f"{ref}: {what}; {both}; {todo}{skipping if on_error == 'stop' else ''}"


def _listed(names: Sequence[str]) -> str:
    told = ", ".join(name[:40] for name in names[:NAMED])
    return told if len(names) <= NAMED else f"{told} and {len(names) - NAMED} more"
