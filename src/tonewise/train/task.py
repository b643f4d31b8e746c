"""What one head is to learn: its labelled set, checked, and the rows that it will be measured on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tonewise.config import Config
from tonewise.errors import InputError
from tonewise.source.checks import Finding, check, leaks
from tonewise.source.inputs import find_inputs
from tonewise.source.labelled import Labelled, Labels, read_labelled
from tonewise.source.split import split
from tonewise.store.files import sha256_of
from tonewise.train.data import raise_fatal
from tonewise.train.facts import DataFile

FEW = 1_000
"""Under so many examples none is set aside: what is chosen is chosen by out-of-fold scores."""
SHARE = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """One head's set.

    given     all rows to learn from, as they were read
    learn     those that are learned from
    held      those that epochs, temperature and figures come from; None: out-of-fold scores of `learn`
    split     how these were told apart, as the card says it
    skipped   lines about the rows that were left out under `on_error=skip`
    own_validation  `held` was given, not set aside
    """

    name: str
    given: Labelled
    learn: Labelled
    held: Labelled | None
    split: str
    findings: tuple[Finding, ...]
    files: tuple[DataFile, ...]
    skipped: tuple[str, ...] = ()
    own_validation: bool = False

    @property
    def split_name(self) -> str:
        """What the card calls the rows that were measured."""
        return "out-of-fold" if self.held is None else "validation"

    @property
    def measured(self) -> str | None:
        """The file of the rows that were measured, where they have one of their own."""
        return self.files[-1].name if self.held is not None and self.own_validation and self.files else None


def read_task(
    name: str, data: Any, validation: Any, labels: Labels, config: Config, *, alone: bool = True
) -> Task:
    """Read, check and split one head's set; a head that learns beside others is never measured out of fold.

    `data` and `validation` are a file or several, a frame, a data set, dicts or a `Labelled`. Raises
    InputError for what cannot be read and for a set from which nothing sensible can be learned.
    """
    given = _read(data, labels, config)
    findings = check(given)
    if validation is not None:  # one row of each label can be learned from, where others are there to judge
        findings = tuple(one for one in findings if one.code != "once_each")
    raise_fatal(findings, None if alone else name)  # else the validation set would be blamed for it
    held = None
    if validation is not None:
        same = replace(labels, names=given.names, multi_label=given.multi_label)
        held = _read(validation, same, config, names=given.names)
        if held.kind != given.kind and "multi" in (held.kind, given.kind):
            raise InputError(
                f"validation is {held.kind} label and the training set {given.kind}; write both alike"
            )
        findings += tuple(leaks(given, held))
    skipped = [*told_skipped("rows", given), *(told_skipped("validation rows", held) if held else ())]
    learn, how = given, "a set of its own"
    if held is None and (len(given) >= FEW or not alone):
        learn, held = split(given, SHARE)
        how = "a tenth, by hash of the text"
        if not len(held):
            option = "--validation FILE" if alone else f"--head-validation {name}=FILE"
            raise InputError(f"{name}: too few texts of each label to set some aside; give {option}")
    elif held is None:
        how = "out-of-fold answers over all of the training rows"
    else:
        how = ", ".join(one.name for one in _files(validation, held, config)) or how
    files = _files(data, given, config)
    if validation is not None and held is not None:
        files += _files(validation, held, config)
    return Task(name, given, learn, held, how, findings, files, tuple(skipped), validation is not None)


def told_skipped(rows: str, labelled: Labelled) -> Iterator[str]:
    """A line about the rows that were left out, if any were."""
    if labelled.skipped:
        yield f"{rows} skipped: {len(labelled.skipped):,}; the first: {labelled.skipped[0]}"


def _read(data: Any, labels: Labels, config: Config, names: tuple[str, ...] | None = None) -> Labelled:
    if isinstance(data, Labelled):
        if names is not None and data.names != names:
            raise InputError(
                f"validation has the labels {data.names[:5]}, training {names[:5]}; make them equal"
            )
        return data
    found = read_labelled(data, config.source, labels, on_error=config.run.on_error)
    if not len(found):
        raise InputError("the set has no rows to learn from")
    return found


def _files(data: Any, labelled: Labelled, config: Config) -> tuple[DataFile, ...]:
    """Files by their last names; nothing of what was handed over in Python, or can be read only once."""
    given = [data] if isinstance(data, str | Path) else data
    if not isinstance(given, Sequence) or not all(isinstance(one, str | Path) for one in given):
        return ()
    found = [
        one for one in find_inputs(given, config.source) if one.path is not None and one.size is not None
    ]
    return tuple(
        DataFile(Path(one.name).name, sha256_of(Path(one.name)), _rows_of(one.name, labelled))
        for one in found
    )


def _rows_of(name: str, labelled: Labelled) -> int:
    return sum(one.where.startswith(f"{name} ") for one in labelled.examples)
