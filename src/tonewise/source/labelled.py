"""Gold labels: files, frames or dicts → Labelled, texts beside what each of them is."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tonewise.config import OnError, SourceConfig
from tonewise.errors import ConfigError, InputError, RowError
from tonewise.source.example import Example
from tonewise.source.files import open_source
from tonewise.source.frames import kind_of_frame
from tonewise.source.label_values import OBVIOUS_LABEL_COLUMNS, is_list, one_label, several_labels, share
from tonewise.source.python import examples_of
from tonewise.source.table import listed

Kind = Literal["single", "multi", "soft"]
Data = str | Path | Iterable[Any]
SUM_TOLERANCE = 1e-3
LABELS_NAMED = 10
MANY_LABELS, FEW_LABELS = 1000, 20
"""Above the first, or above the second where most of them occur once, labels look like an id column."""
MOST_CELLS = 2**27
"""Rows times labels, from which on an id column is refused before its table takes all memory."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Where the gold labels of a set are, and how they are written.

    label_column   default: the one obvious column
    label_columns  soft labels: a column per label, each row's shares summing to 1
    separator      what joins several labels in one cell
    names          the labels in their order; default: as first seen
    multi_label    default: told by the data, which is multi label with lists or a separator
    """

    label_column: str | None = None
    label_columns: tuple[str, ...] | None = None
    separator: str | None = None
    names: tuple[str, ...] | None = None
    multi_label: bool | None = None

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        if self.label_columns is not None:
            _check_soft(self)
        if self.separator is not None and self.multi_label is False:
            raise ConfigError("a label separator is for multi label; drop it, or --single-label")
        if self.separator == "":
            raise ConfigError("the label separator is empty; name the mark that stands between labels")
        for name in self.names or ():
            if not name.strip() or (self.names or ()).count(name) > 1:
                raise ConfigError(f"labels are {listed(self.names or ())}; each needs a name of its own")
        if self.names is not None and len(self.names) < 2 and self.multi_label is not True:
            raise ConfigError(f"labels are {listed(self.names) or 'none'}; two are the least")


@dataclass(frozen=True, slots=True)
class Labelled:
    """Texts and their gold labels.

    examples  each with its labels; of soft ones the most likely; the label columns are out of `fields`
    names     of the L labels
    targets   float32[N, L]: one-hot, multi-hot, or soft rows that sum to 1
    column    where the labels stood; None for soft ones, and for Examples' own
    skipped   the rows that were left out under `on_error=skip`
    named     the names were given, not gathered from the rows
    """

    examples: tuple[Example, ...]
    names: tuple[str, ...]
    targets: NDArray[np.float32]
    kind: Kind
    column: str | None = None
    skipped: tuple[RowError, ...] = ()
    named: bool = False

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def multi_label(self) -> bool:
        """Whether any number of labels may hold at once."""
        return self.kind == "multi"

    @property
    def gold(self) -> NDArray[np.bool_]:
        """bool[N, L]: the labels that hold; of soft ones the most likely."""
        if self.kind == "multi":
            return np.greater(self.targets, 0.5)
        return np.equal(self.ids[:, None], np.arange(len(self.names)))

    @property
    def ids(self) -> NDArray[np.int64]:
        """int64[N]: each text's label by its place in `names`. Raises ConfigError for multi label."""
        if self.kind == "multi":
            raise ConfigError("a text of a multi-label set has no one label")
        return np.asarray(self.targets.argmax(axis=1), np.int64)

    @property
    def texts(self) -> list[str | tuple[str, str]]:
        """What a Classifier takes: texts, and pairs."""
        return [one.text if one.text_pair is None else (one.text, one.text_pair) for one in self.examples]

    def take(self, rows: Sequence[int] | NDArray[Any]) -> "Labelled":
        """Some rows, in the order asked, under the same names. Rows may also be bool[N]."""
        chosen = np.arange(len(self))[np.asarray(rows, dtype=None if len(rows) else np.int64)]
        some = tuple(self.examples[i] for i in chosen)
        return Labelled(some, self.names, self.targets[chosen], self.kind, self.column, named=self.named)

    def fingerprint(self) -> str:
        """Hex sha256 of texts, names and targets in their order, however they were read."""
        found = hashlib.sha256(json.dumps([self.kind, self.names]).encode())
        for text in self.texts:
            found.update(json.dumps(text).encode() + b"\n")
        found.update(self.targets.astype("<f4").tobytes())
        return found.hexdigest()


def read_labelled(
    data: Data,
    config: SourceConfig | None = None,
    labels: Labels | None = None,
    *,
    on_error: OnError = "stop",
    or_texts: bool = False,
) -> Labelled:
    """Read texts with gold labels: files by their names, a data frame, dicts, or Examples with labels.

    Of Examples their own labels count unless a column is named. A `ClassLabel` of `datasets` gives its
    names. With `on_error=skip` a row that cannot be used is kept in `skipped`. With `or_texts` labels are
    welcome but not needed: where the named column is not there it is the obvious one, and without that
    the texts are a multi-label set of no labels.

    Raises InputError, naming file and column, when no label column is there or several could be meant, or
    when no row is left; RowError, naming the row, for a label that is null, empty or not among the names,
    and for shares that do not sum to 1; and what `open_source` raises.
    """
    labels = labels or Labels()
    taken: list[tuple[Example, Any]] = []
    skipped: list[RowError] = []
    with ExitStack() as opened:
        name, rows = _rows(data, config or SourceConfig(), opened)
        cells, labels = _cells(name, rows, data, labels, or_texts=or_texts)
        for item in cells:
            if not isinstance(item, RowError):
                taken.append(item)
            elif on_error == "stop":
                raise item
            else:
                skipped.append(item)
    if not taken:
        raise InputError(f"{name}: no row has a text and a label{f'; {skipped[0]}' if skipped else ''}")
    if labels.label_columns is not None:
        return _soft(taken, labels, skipped)
    if labels.names == ():
        texts = tuple(example for example, _ in taken)
        return Labelled(texts, (), np.zeros((len(texts), 0), np.float32), "multi", None, tuple(skipped))
    return _hard(name, taken, labels, skipped, on_error)


def _rows(data: Data, config: SourceConfig, opened: ExitStack) -> tuple[str, Iterator[Example | RowError]]:
    if isinstance(data, (str, Path)):
        data = [data]
    if isinstance(data, Sequence) and data and all(isinstance(one, (str, Path)) for one in data):
        source = opened.enter_context(open_source(data, config))
        names = [str(path) for path in source.paths]
        return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more", iter(source)
    kind = "the frame" if kind_of_frame(data) else "the data"
    return kind, examples_of(data, config.text_column, config.text_pair_column)


Cells = Iterator[tuple[Example, Any] | RowError]


class NoLabelColumnError(InputError):
    """There is no column of that name, or none that is obvious."""


def _cells(
    name: str, rows: Iterator[Example | RowError], data: Any, labels: Labels, *, or_texts: bool
) -> tuple[Cells, Labels]:
    """Each example without its label columns, beside what they hold; and which column that was."""
    head: list[Example | RowError] = []
    for item in rows:
        head.append(item)
        if not isinstance(item, RowError):
            break
    first = head[-1] if head and isinstance(head[-1], Example) else None
    if first is None:
        return iter([item for item in head if isinstance(item, RowError)]), labels
    everything = chain(head, rows)
    if not or_texts:
        return _chosen(name, first, everything, data, labels)
    for wanted in (labels, Labels()):
        with suppress(NoLabelColumnError):
            return _chosen(name, first, everything, data, wanted)
    alone = ((item if isinstance(item, RowError) else (item, ())) for item in everything)
    return alone, Labels(names=(), multi_label=True)


def _chosen(
    name: str, first: Example, everything: Iterator[Example | RowError], data: Any, labels: Labels
) -> tuple[Cells, Labels]:
    if labels.label_columns is not None:
        _check_there(name, labels.label_columns, first)
        return (_split_columns(item, labels.label_columns) for item in everything), labels
    if labels.label_column is None and first.labels:
        return ((item if isinstance(item, RowError) else (item, item.labels)) for item in everything), labels
    column = labels.label_column or _obvious(name, first)
    _check_there(name, [column], first)
    names = _class_names(data, column)
    told = replace(labels, label_column=column, names=labels.names or names)
    return (_split_column(item, column, names) for item in everything), told


def _check_there(name: str, columns: Sequence[str], first: Example) -> None:
    for column in columns:
        if column not in first.fields:
            raise _no_column(name, column, list(first.fields))


def _obvious(name: str, first: Example) -> str:
    found = [column for column in first.fields if column.lower() in OBVIOUS_LABEL_COLUMNS]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{name}: the label may be in {listed(found)}; name one with --label-column")
    raise _no_column(name, "label", list(first.fields))


def _no_column(name: str, column: str, columns: Sequence[str]) -> NoLabelColumnError:
    beside = (
        f"columns beside the text are {listed(columns)}" if columns else "there is no column but the text"
    )
    return NoLabelColumnError(f"{name}: no label column '{column}'; {beside} (name one with --label-column)")


def _split_column(
    item: Example | RowError, column: str, names: Sequence[str] | None
) -> tuple[Example, Any] | RowError:
    if isinstance(item, RowError):
        return item
    if column not in item.fields:
        return RowError(item.where, InputError(f"no column '{column}'; a label is wanted"))
    fields = dict(item.fields)
    value = fields.pop(column)
    if names is not None:
        value = [_class_name(one, names) for one in value] if is_list(value) else _class_name(value, names)
    return replace(item, fields=fields), value


def _split_columns(item: Example | RowError, columns: Sequence[str]) -> tuple[Example, Any] | RowError:
    if isinstance(item, RowError):
        return item
    shares = []
    for column in columns:
        if column not in item.fields:
            return RowError(item.where, InputError(f"no column '{column}'; a number is wanted"))
        found = share(item.fields[column], f"column '{column}'")
        if isinstance(found, InputError):
            return RowError(item.where, found)
        shares.append(found)
    if abs(sum(shares) - 1) > SUM_TOLERANCE:
        return RowError(item.where, InputError(f"soft labels sum to {sum(shares):g}; wanted: 1"))
    kept = {name: value for name, value in item.fields.items() if name not in columns}
    return replace(item, fields=kept), shares


def _class_names(data: Any, column: str) -> tuple[str, ...] | None:
    """The names of a `datasets` ClassLabel, or of a list of them."""
    feature = getattr(data, "features", {}).get(column) if kind_of_frame(data) == "datasets" else None
    feature = getattr(feature, "feature", feature)
    names = getattr(feature, "names", None)
    return None if names is None else tuple(map(str, names))


def _class_name(value: Any, names: Sequence[str]) -> Any:
    """A ClassLabel's name; -1, which stands for none, is null."""
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else None


def _soft(taken: Sequence[tuple[Example, Any]], labels: Labels, skipped: Sequence[RowError]) -> Labelled:
    columns = labels.label_columns or ()
    names = labels.names or columns
    shares = np.array([value for _, value in taken], dtype=np.float64)
    shares = (shares / shares.sum(axis=1, keepdims=True))[:, [columns.index(name) for name in names]]
    examples = (
        replace(example, labels=(names[best],))
        for (example, _), best in zip(taken, shares.argmax(axis=1), strict=True)
    )
    targets = shares.astype(np.float32)
    return Labelled(tuple(examples), names, targets, "soft", None, tuple(skipped), named=True)


def _hard(
    name: str,
    taken: Sequence[tuple[Example, Any]],
    labels: Labels,
    skipped: list[RowError],
    on_error: OnError,
) -> Labelled:
    """One-hot and multi-hot: the labels of each row, and then their names."""
    multi = labels.multi_label if labels.multi_label is not None else _is_multi(taken, labels)
    examples: list[Example] = []
    for example, value in taken:
        found = _labels_of(example, value, labels, multi)
        if not isinstance(found, RowError):
            examples.append(replace(example, labels=found))
        elif on_error == "stop":
            raise found
        else:
            skipped.append(found)
    names = labels.names or tuple(dict.fromkeys(label for one in examples for label in one.labels))
    if not examples or not names:
        raise InputError(f"{name}: no row has a label{f'; {skipped[0]}' if skipped else ''}")
    if labels.names is None and not multi and len(examples) * len(names) > MOST_CELLS:
        count = Counter(one.labels for one in examples)
        if looks_like_ids(np.fromiter(count.values(), np.int64)):
            raise InputError(f"{name}: {told_as_ids(len(names), len(examples), labels.label_column)}")
    place = {label: column for column, label in enumerate(names)}
    targets = np.zeros((len(examples), len(names)), np.float32)
    for row, one in enumerate(examples):
        targets[row, [place[label] for label in one.labels]] = 1
    kind: Kind = "multi" if multi else "single"
    named = labels.names is not None
    return Labelled(tuple(examples), names, targets, kind, labels.label_column, tuple(skipped), named)


def looks_like_ids(counts: NDArray[np.int64]) -> bool:
    """Whether labels that occur so often, int[L], are more likely ids or texts."""
    there = counts[counts > 0]
    if len(there) > MANY_LABELS:
        return True
    return len(there) > FEW_LABELS and int((there == 1).sum()) > len(there) / 2


def told_as_ids(labels: int, rows: int, column: str | None) -> str:
    """What is said of them, and what to do."""
    of = f"column '{column}'" if column else "the label"
    told = f"{labels:,} different labels in {rows:,} rows: is {of} an id or a text?"
    return f"{told} name the right one with --label-column, or the labels with --labels"


def _is_multi(taken: Sequence[tuple[Example, Any]], labels: Labels) -> bool:
    if labels.separator is not None:
        return True
    # an Example's own labels are always a tuple, so there only their number tells
    return any(is_list(value) and not (value is one.labels and len(value) == 1) for one, value in taken)


def _labels_of(example: Example, value: Any, labels: Labels, multi: bool) -> tuple[str, ...] | RowError:
    what = "the label" if labels.label_column is None else f"column '{labels.label_column}'"
    if value is example.labels and not multi and len(example.labels) == 1:
        value = example.labels[0]
    found = several_labels(value, labels.separator, what) if multi else one_label(value, what)
    if isinstance(found, InputError):
        return RowError(example.where, found)
    found = (found,) if isinstance(found, str) else found
    for label in found:
        if labels.names is not None and label not in labels.names:
            few = listed(labels.names, LABELS_NAMED)
            return RowError(example.where, InputError(f"label {label[:40]!r} is not among {few}"))
    return found


def _check_soft(labels: Labels) -> None:
    columns = labels.label_columns or ()
    if labels.label_column is not None:
        raise ConfigError("--label-column names one column and --label-columns several; give one of them")
    if labels.separator is not None or labels.multi_label:
        raise ConfigError("soft labels (--label-columns) are of one label each; drop what says multi label")
    if len(set(columns)) < 2 or len(set(columns)) < len(columns):
        raise ConfigError(f"soft labels need two columns or more, each once; given: {listed(columns)}")
    if labels.names is not None and set(labels.names) != set(columns):
        raise ConfigError(f"labels are {listed(labels.names)}, but the label columns are {listed(columns)}")
