"""The manifest: what `tonewise.json` says of a model, read strictly, and the digest of it."""

import hashlib
import json
import re
import reprlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, is_dataclass
from typing import Any, Literal, Self, get_args

from tonewise.errors import ModelError
from tonewise.store.files import SHA256, is_inside, parse_json

MANIFEST = "tonewise.json"
FORMAT = 1
BEHAVIOURS = {"tokenizer": "tokenizer.v1", "head": "head.v1"}
CHANNEL = re.compile(r"0|[1-9][0-9]{0,8}")
LEAST, MOST = 2.0**-126, 2.0**127 * (2 - 2.0**-23)  # of float32, in which the answers are computed

ProblemType = Literal["single_label_classification", "multi_label_classification", "regression"]
Pooling = Literal["first", "mean"]
Activation = Literal["tanh", "relu", "none"]


@dataclass(frozen=True, slots=True)
class HeadSpec:
    """What a head is called, what it answers, and which tensors hold it.

    dense, output  prefixes of `.weight` and `.bias` in the weights; `dense` may be absent
    temperature    divides the logits before softmax or sigmoid
    thresholds     per label, for multi label and one-output heads; default 0.5
    abstain_below  a best score under this is no answer
    mapping        per label, the consumer's label that it is answered as; default: itself
    """

    labels: tuple[str, ...]
    output: str
    problem_type: ProblemType = "single_label_classification"
    pooling: Pooling = "first"
    dense: str | None = None
    activation: Activation = "none"
    temperature: float = 1.0
    thresholds: tuple[float, ...] | None = None
    abstain_below: float | None = None
    mapping: tuple[str, ...] | None = None

    @property
    def answers(self) -> tuple[str, ...]:
        """The labels that users see: its own, or what they are mapped to, each once."""
        return self.labels if self.mapping is None else tuple(dict.fromkeys(self.mapping))


@dataclass(frozen=True, slots=True)
class File:
    """One pinned file: sha256 in hex, size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `tonewise.json` holds; for a plain folder, what its files tell of it.

    embedding          `pooling` and `normalize`; or `unsupported`, and what is not computed here
    origin             hub ref and commit, or the recipe that made it
    activation_ranges  per linear layer the least and greatest input seen, after smoothing, for static int8
    smoothing          per linear layer what channels of its input are divided by before they become int8
    agreement          by engine the share of labels on which int8 agrees with fp32
    parent             digest of the bundle that this one was made from
    behaviours         version of each behaviour that the answers depend on
    """

    files: Mapping[str, File]
    heads: Mapping[str, HeadSpec] = field(default_factory=dict)
    embedding: Mapping[str, Any] = field(default_factory=lambda: {"pooling": "mean", "normalize": True})
    name: str | None = None
    origin: Mapping[str, str] = field(default_factory=dict)
    licence: str | None = None
    data_terms: str | None = None
    languages: tuple[str, ...] = ()
    activation_ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    smoothing: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    agreement: Mapping[str, float] = field(default_factory=dict)
    parent: str | None = None
    behaviours: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """The manifest as `tonewise.json` holds it: stable key order, so that equal means equal."""
        return (
            json.dumps({"format": FORMAT, **asdict(self)}, indent=2, sort_keys=True, ensure_ascii=False)
            + "\n"
        )

    @classmethod
    def from_json(cls, text: str, where: str) -> Self:
        """Read `tonewise.json`. Raises ModelError for another format, an unknown key or a senseless value."""
        try:
            table = _table(parse_json(text), "the file")
            if table.pop("format", None) != FORMAT:
                raise ModelError(f"{where}: written in another format than {FORMAT}; upgrade tonewise")
            behaviours = _texts_by_name(table.get("behaviours", {}), "behaviours")
            if newer := [value for name, value in behaviours.items() if BEHAVIOURS.get(name) != value]:
                told = _listed(reprlib.repr(value) for value in newer)
                raise ModelError(f"{where}: made for a newer tonewise (behaviours: {told}); upgrade")
            return cls(**_validated(table, MANIFEST_READERS, ("files",), ""))
        except ValueError as error:
            raise ModelError(f"{where}: not a manifest: {error}") from None

    @property
    def digest(self) -> str:
        """`sha256:` and the hash of what the manifest states, which holds the hash of every file.

        A field at its default is not hashed: whether it is written out, left out or not yet invented
        makes no other model.
        """
        stated = {"format": FORMAT, **_stated(self)}
        canonical = json.dumps(stated, sort_keys=True, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


def _stated(value: Any) -> Any:
    """A manifest as plain tables, without the fields that equal their default."""
    if is_dataclass(value):
        pairs = ((one.name, getattr(value, one.name), one) for one in fields(value))
        return {name: _stated(found) for name, found, one in pairs if found != _default(one)}
    if isinstance(value, Mapping):
        return {name: _stated(entry) for name, entry in value.items()}
    return value


def _default(one: Field[Any]) -> Any:
    return one.default if one.default_factory is MISSING else one.default_factory()


# How each part is read: a value and where it stands → the value as the dataclasses hold it, or ValueError.

Reader = Callable[[Any, str], Any]


def _validated(
    table: Mapping[str, Any], readers: Mapping[str, Reader], needed: Iterable[str], place: str
) -> dict[str, Any]:
    """Every entry read by its reader. Raises ValueError naming what is missing, unknown or senseless."""
    at = f" in {place}" if place else ""
    if missing := [name for name in needed if name not in table]:
        raise ValueError(f"no {_listed(missing)}{at}")
    if unknown := [repr(name) for name in table if name not in readers]:
        raise ValueError(f"unknown {_listed(unknown)}{at}; if a newer tonewise wrote it, upgrade")
    dotted = f"{place}." if place else ""
    return {name: readers[name](value, dotted + name) for name, value in table.items()}


def _wrong(place: str, value: Any, wanted: str) -> ValueError:
    return ValueError(f"{place} is {reprlib.repr(value)}; wanted: {wanted}")


def _table(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(place, value, "a JSON object")
    return value


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise _wrong(place, value, "a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _wrong(place, value, "text without half characters (lone surrogates)") from None
    return value


def _texts(value: Any, place: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _wrong(place, value, "a list of strings")
    return tuple(_text(one, place) for one in value)


def _number(value: Any, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -MOST <= value <= MOST:
        raise _wrong(place, value, "a finite number")
    return float(value)


def _numbers(value: Any, place: str) -> tuple[float, ...]:
    if not isinstance(value, list):
        raise _wrong(place, value, "a list of numbers")
    return tuple(_number(one, place) for one in value)


def _or_none(reader: Reader) -> Reader:
    return lambda value, place: None if value is None else reader(value, place)


def _by_name(reader: Reader) -> Reader:
    """A JSON object whose entries all have one form."""

    def read(value: Any, place: str) -> dict[str, Any]:
        table = _table(value, place)
        return {
            _text(name, place): reader(entry, f"{place}.{_one_line(name)}") for name, entry in table.items()
        }

    return read


_texts_by_name = _by_name(_text)


def _sha256(value: Any, place: str) -> str:
    if not isinstance(value, str) or not SHA256.fullmatch(value):
        raise _wrong(place, value, "64 hex digits, lower case")
    return value


def _size(value: Any, place: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _wrong(place, value, "a whole number from 0 on")
    return value


def _file(value: Any, place: str) -> File:
    readers: dict[str, Reader] = {"sha256": _sha256, "size": _size}
    return File(**_validated(_table(value, place), readers, readers, place))


def _files(value: Any, place: str) -> dict[str, File]:
    table = _table(value, place)
    if outside := [repr(name) for name in table if not is_inside(name)]:
        raise ValueError(f"names files outside its folder: {_listed(outside)}")
    files: dict[str, File] = _by_name(_file)(table, place)
    return files


def _labels(value: Any, place: str) -> tuple[str, ...]:
    labels = _texts(value, place)
    if not labels or len(set(labels)) != len(labels):
        raise ValueError(f"{place} names {'a label twice' if labels else 'no label'}")
    return labels


def _head(value: Any, place: str) -> HeadSpec:
    spec = HeadSpec(**_validated(_table(value, place), HEAD_READERS, ("labels", "output"), place))
    if spec.temperature < LEAST:
        raise ValueError(f"{place} has temperature {spec.temperature}; wanted: a finite number above 0")
    _check_mapping(spec, place)
    if spec.thresholds is None:
        return spec
    if len(spec.thresholds) != len(spec.labels):
        raise ValueError(f"{place} has {len(spec.labels)} labels but {len(spec.thresholds)} thresholds")
    one_of_many = spec.problem_type == "single_label_classification" and len(spec.labels) > 1
    if one_of_many or spec.problem_type == "regression":
        raise ValueError(
            f"{place}.thresholds would be ignored: a head of {spec.problem_type} has none; remove them"
        )
    return spec


def _check_mapping(spec: HeadSpec, place: str) -> None:
    if spec.mapping is None:
        return
    if len(spec.mapping) != len(spec.labels):
        raise ValueError(f"{place} has {len(spec.labels)} labels but maps {len(spec.mapping)}")
    if spec.problem_type == "regression":
        raise ValueError(f"{place}.mapping would be ignored: a head of regression has no labels; remove it")


def _embedding(value: Any, place: str) -> dict[str, Any]:
    table = _table(value, place)
    if "unsupported" in table:
        return _validated(table, {"unsupported": _text}, (), place)
    readers: dict[str, Reader] = {"pooling": _pooling, "normalize": _flag}
    return _validated(table, readers, readers, place)


def _pooling(value: Any, place: str) -> str:
    if value not in get_args(Pooling):
        raise _wrong(place, value, " | ".join(get_args(Pooling)))
    return str(value)


def _flag(value: Any, place: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(place, value, "true | false")
    return value


def _range(value: Any, place: str) -> tuple[float, float]:
    pair = _numbers(value, place)
    if len(pair) != 2 or pair[0] > pair[1]:
        raise _wrong(place, value, "the least and the greatest value, in this order")
    return pair[0], pair[1]


def _factors(value: Any, place: str) -> dict[str, float]:
    factors: dict[str, float] = _by_name(_number)(_table(value, place), place)
    for channel, factor in factors.items():
        if not CHANNEL.fullmatch(channel) or factor < 1:
            raise _wrong(place, value, "channel numbers, each with a factor from 1 on")
    return factors


def _share(value: Any, place: str) -> float:
    share = _number(value, place)
    if not 0 <= share <= 1:
        raise _wrong(place, value, "a share from 0 to 1")
    return share


HEAD_READERS: Mapping[str, Reader] = {
    "labels": _labels,
    "output": _text,
    "problem_type": _text,  # whether these three are known, the head says: one never opened does no harm
    "pooling": _text,
    "activation": _text,
    "dense": _or_none(_text),
    "temperature": _number,
    "thresholds": _or_none(_numbers),
    "abstain_below": _or_none(_number),
    "mapping": _or_none(_texts),
}
MANIFEST_READERS: Mapping[str, Reader] = {
    "files": _files,
    "heads": _by_name(_head),
    "embedding": _embedding,
    "name": _or_none(_text),
    "origin": _texts_by_name,
    "licence": _or_none(_text),
    "data_terms": _or_none(_text),
    "languages": _texts,
    "activation_ranges": _by_name(_range),
    "smoothing": _by_name(_factors),
    "agreement": _by_name(_share),
    "parent": _or_none(_text),
    "behaviours": _texts_by_name,
}


def _one_line(name: str) -> str:
    return repr(name)[1:-1]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
