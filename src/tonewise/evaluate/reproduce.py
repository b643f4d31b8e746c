"""`reproduce`: the figures that a model's own card states, measured again on the data that it names."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from tonewise.classifier import Classifier
from tonewise.config import Config
from tonewise.errors import ConfigError, HubError, InputError, ModelError
from tonewise.evaluate.answers import Progress, answer, choose_head, in_labels_of
from tonewise.evaluate.claims import Claim, DataName, read_claims
from tonewise.evaluate.definitions import definitions
from tonewise.evaluate.suspects import Check, checks
from tonewise.head import Head
from tonewise.source.labelled import Data, Labelled, Labels, read_labelled
from tonewise.store import Bundle
from tonewise.store.data import SplitName, class_names, fetch_split

TOLERANCE = 1.0
SLACK = 1e-9
"""Of a difference that is as large as the tolerance, but for rounding."""


@dataclass(frozen=True, slots=True)
class Line:
    """A stated figure beside the measured one.

    measured    None for a metric that is not measured here
    definition  what was measured: of several meanings the usual one, unless only another fits
    points      measured minus stated, in hundredths
    within      whether that is within the tolerance; None where nothing was measured
    """

    claim: Claim
    measured: float | None
    definition: str | None
    points: float | None
    within: bool | None


@dataclass(frozen=True, slots=True)
class OnData:
    """The figures that the card states of one split, and what may explain those that are missed."""

    data: DataName
    source: str
    rows: int
    lines: tuple[Line, ...]
    checks: tuple[Check, ...]


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
        """For `json.dumps`."""
        return {**asdict(self), "reproduced": self.reproduced}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which of the card's data is meant, where it names several: a part of its name, and its split."""

    dataset: str | None = None
    split: str | None = None

    def includes(self, data: DataName) -> bool:
        """Whether that data is meant; a card may leave its split untold."""
        named = self.dataset is None or self.dataset.lower() in f"{data.type} {data.name}".lower()
        return named and self.split in (None, data.split or self.split)


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

    Labels of the data are the model's, or the numbers 0 to L - 1 in the model's order. Data that the card
    names is fetched by commit and pinned, unless offline. A figure with several meanings (F1) counts in the
    usual one, and where only another one fits, in that, which is then told.

    Raises ConfigError for settings, ModelError for a card without figures and for a model that cannot be
    had, InputError for data that is needed and not here, naming it, or that does not fit the model's labels.
    """
    config, wanted = config or Config(), wanted or Wanted()
    if not 0 <= tolerance <= 100:
        raise ConfigError(f"tolerance is {tolerance}; wanted: points from 0 to 100")
    with Classifier.load(ref, config=config) as classifier:
        own = choose_head(classifier, head)
        claims = _meant(_claims_of(own.name, classifier.bundle), wanted)
        named = _by_data(claims)
        if data is not None and len(named) > 1:
            told = "; ".join(str(one) for one, _ in named)
            raise ConfigError(f"the card has figures of several data: {told}; name one (--dataset, --split)")
        parts = []
        for name, some in named:
            progress(f"reading {name}")
            labelled, source, note = _read(name, data, config, labels, own)
            fitting = in_labels_of(own, labelled, classifier.bundle.ref)
            parts.append(_measured(classifier, own, fitting, (name, source), some, tolerance, progress))
            if note:
                parts[-1] = replace(parts[-1], checks=(Check("data", True, note), *parts[-1].checks))
        return Reproduction(_model(classifier, own), tolerance, tuple(parts))


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
    if wanted.split:
        return [replace(one, data=replace(one.data, split=wanted.split)) for one in found]
    return found


def _by_data(claims: Sequence[Claim]) -> list[tuple[DataName, list[Claim]]]:
    order = list(dict.fromkeys(claim.data for claim in claims))
    ordered = sorted(claims, key=lambda claim: order.index(claim.data))
    return [(name, list(some)) for name, some in groupby(ordered, key=lambda claim: claim.data)]


def _read(
    name: DataName, data: Data | None, config: Config, labels: Labels | None, head: Head
) -> tuple[Labelled, str, str]:
    """The labelled texts, where they are from, and what is doubtful about that."""
    labels = labels or Labels(multi_label=True if head.is_multi_label else None)
    if data is not None:
        found = read_labelled(data, config.source, labels, on_error=config.run.on_error)
        return _in_model_names(found, head, ()), _told(data), ""
    if not name.split:
        raise InputError(_give(name, head, "the card does not say which split; name it with --split"))
    try:
        split = fetch_split(SplitName(name.type, name.split, name.config, name.revision), config.store)
    except HubError as error:
        raise InputError(_give(name, head, str(error))) from None
    paths = [str(path) for path in split.paths]
    found = read_labelled(paths, config.source, labels, on_error=config.run.on_error)
    stated = f"the card names commit {(name.revision or '')[:12]}, which has no Parquet; this is the hub's "
    note = f"{stated}conversion of the present state" if split.converted else ""
    return _in_model_names(found, head, class_names(split.paths[0])), f"{name.type}@{split.commit}", note


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


def _in_model_names(labelled: Labelled, head: Head, classes: Sequence[str]) -> Labelled:
    """The same set under the model's names: its own spelling, and numbers by their place.

    Numbers are places in the data set's own list of names where that is known and the model has the
    same names; else in the model's.
    """
    known = {label.lower(): label for label in head.labels}
    order = [known.get(one.lower(), "") for one in classes]
    if not order or not all(order):
        order = list(head.labels)
    names = []
    for name in labelled.names:
        place = int(name) if name.isdecimal() and name not in head.labels else -1
        names.append(order[place] if 0 <= place < len(order) else known.get(name.lower(), name))
    if len(set(names)) < len(names):
        raise InputError(f"labels {', '.join(labelled.names[:10])}: several mean one label of the model")
    return replace(labelled, names=tuple(names))


def _measured(
    classifier: Classifier,
    head: Head,
    labelled: Labelled,
    named: tuple[DataName, str],
    claims: Sequence[Claim],
    tolerance: float,
    progress: Progress,
) -> OnData:
    kept, answers, _ = answer(classifier, head, labelled, progress)
    multi = head.is_multi_label
    lines = [
        _line(claim, definitions(kept, answers, claim, multi_label=multi), tolerance) for claim in claims
    ]
    if all(line.measured is None for line in lines):
        told = ", ".join(dict.fromkeys(claim.name for claim in claims))
        raise ModelError(f"none of the card's figures ({told}) is one that is measured here")
    found = checks(classifier, kept, answers, claims, multi_label=multi)
    return OnData(*named, len(kept), tuple(lines), tuple(found))


def _line(claim: Claim, found: Mapping[str, float], tolerance: float) -> Line:
    if not found:
        return Line(claim, None, None, None, None)
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
