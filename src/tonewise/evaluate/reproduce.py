"""`reproduce`: the figures that a model's own card states, measured again on the data that it names."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from tonewise.classifier import Classifier
from tonewise.config import Config
from tonewise.errors import ConfigError, HubError, InputError, ModelError
from tonewise.evaluate.answers import NAMED, Progress, answer, choose_head, in_labels_of
from tonewise.evaluate.claims import Claim, DataName, check_numbers, read_claims
from tonewise.evaluate.definitions import definitions
from tonewise.evaluate.suspects import Check, checks
from tonewise.head import Head
from tonewise.source.labelled import Data, Labelled, Labels, read_labelled
from tonewise.source.table import listed
from tonewise.store import Bundle
from tonewise.store.data import SplitName, class_names, fetch_split

TOLERANCE = 1.0
SLACK = 1e-9
"""Of a difference that is as large as the tolerance, but for rounding."""
LEARNED = "out-of-fold figures of rows that the model has since learned; evaluate it on other labelled rows"
HEADLESS = "the model has several heads, and the card does not say of which one they are; evaluate that one"


@dataclass(frozen=True, slots=True)
class Line:
    """A stated figure beside the measured one.

    measured    None for a metric that is not measured here
    definition  what was measured: of several meanings the usual one, unless only another fits
    points      measured minus stated, in hundredths
    within      whether that is within the tolerance; None where nothing was measured
    why         what keeps a figure of a known kind from being measured
    """

    claim: Claim
    measured: float | None
    definition: str | None
    points: float | None
    within: bool | None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class OnData:
    """The figures that the card states of one split, and what may explain those that are missed.

    source   where the rows are from; "" where none of the figures can be measured, so that none was read
    skipped  why rows were left out, a line each
    """

    data: DataName
    source: str
    rows: int
    lines: tuple[Line, ...]
    checks: tuple[Check, ...]
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reproduction:
    """What became of a card's figures.

    model      ref, digest, head, engine, precision
    tolerance  in points, of which 100 make the whole
    """

    model: Mapping[str, str]
    tolerance: float
    parts: tuple[OnData, ...]

    @property
    def lines(self) -> tuple[Line, ...]:
        """All figures, in the order of the card."""
        return tuple(line for part in self.parts for line in part.lines)

    @property
    def reproduced(self) -> bool:
        """Whether every figure that was measured is within the tolerance."""
        return all(line.within is not False for line in self.lines)

    def to_json(self) -> dict[str, Any]:
        """For `json.dumps`; what is not a number is None."""
        written = json.dumps({**asdict(self), "reproduced": self.reproduced})
        table: dict[str, Any] = json.loads(written, parse_constant=lambda name: None)  # JSON has no nan
        return table


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which of the card's data is meant, where it names several: a part of its name, its split and config."""

    dataset: str | None = None
    split: str | None = None
    config: str | None = None

    def includes(self, data: DataName) -> bool:
        """Whether that data is meant; a card may leave its split and its config untold."""
        named = self.dataset is None or self.dataset.lower() in f"{data.type} {data.name}".lower()
        return (
            named
            and self.split in (None, data.split or self.split)
            and self.config in (None, data.config or self.config)
        )


def reproduce(  # noqa: PLR0913
    ref: str | Path,
    *,
    data: Data | None = None,
    config: Config | None = None,
    labels: Labels | None = None,
    wanted: Wanted | None = None,
    head: str | None = None,
    tolerance: float = TOLERANCE,
    progress: Progress = lambda told: None,
) -> Reproduction:
    """Measure what the card's `model-index` states, on `data` or on the data that the card names.

    Labels of the data are the model's, or the numbers 0 to L - 1 in the model's order; of a model with one
    label 1 and 0 say whether it holds. Data that the card names is fetched by commit and pinned, unless
    offline, and only where a figure of it can be measured. A figure with several meanings (F1) counts in the
    usual one, and where only another one fits, in that, which is then told. Not measured again are figures of
    rows that the model has learned since (split `out-of-fold`), and those that may be of another head.

    Raises ConfigError for settings, ModelError for a card without figures or with none that can be measured,
    and for a model that cannot be had, InputError for data that is needed and not here, naming it, or that
    does not fit the model's labels. With `on_error=skip` rows of other labels are left out.
    """
    config, wanted = config or Config(), wanted or Wanted()
    if not 0 <= tolerance <= 100:
        raise ConfigError(f"tolerance is {tolerance}; wanted: points from 0 to 100")
    with Classifier.load(ref, config=config) as classifier:
        own, bundle = choose_head(classifier, head), classifier.bundle
        stated = _stated(_meant(_claims_of(own.name, bundle), wanted), several=len(bundle.manifest.heads) > 1)
        usable = [claim for claim, obstacle in stated if obstacle is None]
        check_numbers(usable, bundle.ref)
        _check_data(usable, given=data is not None)
        parts = []
        for name, some in _by_data(stated):
            if all(obstacle is not None for _, obstacle in some):
                parts.append(OnData(name, "", 0, tuple(_line(*one, {}, tolerance) for one in some), ()))
                continue
            progress(f"reading {name}")
            read = _read(name, data, config, labels, own)
            known = in_labels_of(own, read.labelled, bundle.ref, on_error=config.run.on_error)
            fitting = replace(read, labelled=known)
            parts.append(_measured(classifier, own, fitting, name, some, tolerance, progress))
        found = Reproduction(_model(classifier, own), tolerance, tuple(parts))
    _check_measured(found)
    return found


Stated = tuple[Claim, str | None]
"""A figure, and what keeps it from being measured: None for nothing, "" for a kind that is not known."""


def _stated(claims: Sequence[Claim], *, several: bool) -> list[Stated]:
    return [(claim, _obstacle(claim, several=several)) for claim in claims]


def _obstacle(claim: Claim, *, several: bool) -> str | None:
    if claim.metric is None:
        return ""
    if claim.data.out_of_fold:
        return LEARNED
    return HEADLESS if several and claim.head is None else None


def _check_data(usable: Sequence[Claim], *, given: bool) -> None:
    """Raise ConfigError where one set was given, and figures are of several."""
    known = dict.fromkeys(claim.data for claim in usable)
    if given and len(known) > 1:
        told = "; ".join(map(str, known))
        options = "--dataset, --dataset-config, --split"
        raise ConfigError(f"the card has figures of several data: {told}; name one ({options})")


def _check_measured(found: Reproduction) -> None:
    """Raise ModelError where nothing was measured."""
    if any(line.measured is not None for line in found.lines):
        return
    told = ", ".join(dict.fromkeys(line.claim.name for line in found.lines))
    if whys := dict.fromkeys(line.why for line in found.lines if line.why):
        raise ModelError(f"the card's figures ({told}) cannot be measured again: {'; '.join(whys)}")
    raise ModelError(f"none of the card's figures ({told}) is one that is measured here")


def _claims_of(head: str, bundle: Bundle) -> list[Claim]:
    """What the card states, but for figures of other heads."""
    claims = read_claims(bundle.folder / "README.md", bundle.ref)
    found = [claim for claim in claims if claim.head in (None, head)]
    if not found:
        raise ModelError(f"{bundle.ref}: its card states no figure of the head {head}")
    return found


def _meant(claims: Sequence[Claim], wanted: Wanted) -> list[Claim]:
    found = [claim for claim in claims if wanted.includes(claim.data)]
    if not found:
        has = "; ".join(str(name) for name in dict.fromkeys(claim.data for claim in claims))
        raise ConfigError(f"the card states no figure of that data; it has: {has}")
    told = {name: value for name in ("split", "config") if (value := getattr(wanted, name)) is not None}
    return [replace(one, data=replace(one.data, **told)) for one in found]


def _by_data(stated: Sequence[Stated]) -> list[tuple[DataName, list[Stated]]]:
    order = list(dict.fromkeys(claim.data for claim, _ in stated))
    ordered = sorted(stated, key=lambda one: order.index(one[0].data))
    return [(name, list(some)) for name, some in groupby(ordered, key=lambda one: one[0].data)]


@dataclass(frozen=True, slots=True)
class _Read:
    """Labelled texts, where they are from, and what is doubtful about that."""

    labelled: Labelled
    source: str
    doubts: tuple[Check, ...] = ()


def _read(name: DataName, data: Data | None, config: Config, labels: Labels | None, head: Head) -> _Read:
    labels = labels or Labels(multi_label=True if head.is_multi_label else None)
    if data is not None:
        found = read_labelled(data, config.source, labels, on_error=config.run.on_error)
        return _in_model_names(_Read(found, _told(data)), head, ())
    if not name.split:
        raise InputError(_give(name, head, "the card does not say which split; name it with --split"))
    try:
        split = fetch_split(SplitName(name.type, name.split, name.config, name.revision), config.store)
    except HubError as error:
        raise InputError(_give(name, head, str(error))) from None
    paths = [str(path) for path in split.paths]
    found = read_labelled(paths, config.source, labels, on_error=config.run.on_error)
    stated = f"the card names commit {(name.revision or '')[:12]}, which has no Parquet; this is the hub's "
    doubt = Check("data", True, f"{stated}conversion of the present state")
    read = _Read(found, f"{name.type}@{split.commit}", (doubt,) if split.converted else ())
    return _in_model_names(read, head, class_names(split.paths[0], found.column))


def _give(name: DataName, head: Head, why: str) -> str:
    columns = (
        f"columns: the text, and its label ({', '.join(head.labels[:6])}{', …' * (len(head.labels) > 6)})"
    )
    return f"wanted: {name}, as a file with --data FILE ({columns}, or their numbers); {why}"


def _told(data: Data) -> str:
    if isinstance(data, (str, Path)):
        return str(data)
    given = [str(one) for one in data] if isinstance(data, (list, tuple)) else []
    return ", ".join(given[:3]) if given and len(given[0]) < 1000 else "the data given"


def _in_model_names(read: _Read, head: Head, classes: Sequence[str]) -> _Read:
    """The same set under the model's names: its own spelling, and numbers by their place.

    Numbers are places in the data set's own list of names where that is known and the model has the
    same names; else in the model's. Of a model with one label they say whether it holds.
    """
    labelled, alone = read.labelled, len(head.labels) == 1
    known = {label.lower(): label for label in head.labels}
    order = [known.get(one.lower(), "0" if alone else "") for one in classes]
    fits = not order or (head.labels[0] in order if alone else all(order))
    if not order or not fits:
        order = [] if alone else list(head.labels)
    numbers = [name for name in labelled.names if name.isdecimal() and name not in head.labels]
    names = []
    for name in labelled.names:
        place = int(name) if name in numbers else -1
        names.append(order[place] if 0 <= place < len(order) else known.get(name.lower(), name))
    if len(set(names)) < len(names) and not alone:
        raise InputError(f"labels {', '.join(labelled.names[:10])}: several mean one label of the model")
    renamed = replace(read, labelled=replace(labelled, names=tuple(names)))
    if fits or not numbers:
        return renamed
    taken = f"to say whether '{head.labels[0]}' holds" if alone else "in the model's order"
    told = f"numbers were taken {taken}; the data's names are {listed(classes, NAMED)}"
    return replace(renamed, doubts=(*read.doubts, Check("label order", True, told)))


def _measured(
    classifier: Classifier,
    head: Head,
    read: _Read,
    name: DataName,
    stated: Sequence[Stated],
    tolerance: float,
    progress: Progress,
) -> OnData:
    kept, answers, skipped = answer(classifier, head, read.labelled, progress)
    multi = head.is_multi_label
    usable = [claim for claim, obstacle in stated if obstacle is None]
    measured = {claim: definitions(kept, answers, claim, multi_label=multi) for claim in usable}
    lines = [_line(*one, measured.get(one[0], {}), tolerance) for one in stated]
    found = (*read.doubts, *checks(classifier, kept, answers, usable, multi_label=multi))
    left_out = tuple(str(error) for error in (*read.labelled.skipped, *skipped))
    return OnData(name, read.source, len(kept), tuple(lines), found, left_out)


def _line(claim: Claim, obstacle: str | None, found: Mapping[str, float], tolerance: float) -> Line:
    if obstacle is not None or not found:
        return Line(claim, None, None, None, None, obstacle or None)
    points = {name: 100 * (value - claim.value) for name, value in found.items()}
    fitting = [name for name, off in points.items() if abs(off) <= tolerance + SLACK]
    name = fitting[0] if fitting else next(iter(found))
    return Line(claim, found[name], name, points[name], bool(fitting))


def _model(classifier: Classifier, head: Head) -> dict[str, str]:
    return {
        "ref": classifier.bundle.ref,
        "digest": classifier.bundle.digest,
        "head": head.name,
        "engine": classifier.engine.name,
        "precision": classifier.engine.precision,
    }
