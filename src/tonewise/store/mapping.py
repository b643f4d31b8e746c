"""Label mappings: the consumer's label for each of a model's, checked against its heads."""

import csv
import json
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tonewise.errors import ConfigError
from tonewise.store.bundle import Bundle
from tonewise.store.files import reason
from tonewise.store.manifest import HeadSpec
from tonewise.store.writing import copy_files, new_folder, pinned_files, write_manifest

KINDS = (".json", ".toml", ".csv")
CARD = "README.md"
HAND = "the mapping"


def read_mapping(path: Path) -> dict[str, Any]:
    """Label → label, or head → such a table, from JSON, TOML, or the first two columns under a CSV's header.

    Raises ConfigError for a file that cannot be read, or that names a label twice.
    """
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise ConfigError(f"{path}: its name tells no format; wanted: {', '.join(KINDS)}")
    try:
        text = path.read_text("utf-8-sig")
        if kind == ".csv":
            return _each_once(_csv_pairs(text))
        table = tomllib.loads(text) if kind == ".toml" else json.loads(text, object_pairs_hook=_each_once)
    except OSError as error:
        raise ConfigError(f"{path}: {reason(error)}") from None
    except (ValueError, RecursionError, csv.Error) as error:
        raise ConfigError(f"{path}: not a mapping: {error}") from None
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: not a mapping: wanted a table of labels")
    return table


def _csv_pairs(text: str) -> Iterable[tuple[str, str]]:
    rows = csv.reader(text.splitlines(), strict=True)
    for number, row in enumerate(rows):
        if number and row:
            if len(row) != 2:
                raise ValueError(f"row {number + 1} has {len(row)} columns; wanted: 2")
            yield row[0], row[1]


def _each_once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for label, other in pairs:
        if label in table:
            raise ValueError(f"'{label}' is there twice")
        table[label] = other
    return table


def mapped(bundle: Bundle, mapping: str | Path | Mapping[str, Any]) -> Bundle:
    """The same bundle, whose selected heads answer in the labels that a mapping gives (a file, or a table).

    A flat mapping is for a bundle with one selected head; one with a table per head leaves the heads that
    it does not name as they are. The labels are those that the head answers in: of a mapped head, the
    consumer's. Raises ConfigError, naming them, for labels that are not mapped or that no head has.
    """
    where, table = HAND, mapping
    if not isinstance(mapping, Mapping):
        where, table = str(mapping), read_mapping(Path(mapping))
    heads = dict(bundle.heads)
    for name, labels in _by_head(dict(table), bundle, where).items():  # type: ignore[arg-type]
        if name in heads:  # one that is not selected is not asked
            heads[name] = _mapped_head(heads[name], name, labels, where)
    return replace(bundle, heads=heads)


def _by_head(table: dict[str, Any], bundle: Bundle, where: str) -> dict[str, Mapping[str, Any]]:
    nested = [name for name, entry in table.items() if isinstance(entry, Mapping)]
    if nested and len(nested) < len(table):
        plain = next(name for name in table if name not in nested)
        raise ConfigError(f"{where}: '{nested[0]}' is a table and '{plain}' is not; write labels, or heads")
    if nested:
        if strange := [name for name in nested if name not in bundle.manifest.heads]:
            has = ", ".join(bundle.manifest.heads) or "none"
            raise ConfigError(f"{where}: {bundle.ref} has no head '{strange[0]}'; it has {has}")
        return table
    if len(bundle.heads) != 1:
        has = ", ".join(bundle.heads) or "none"
        told = f"{where}: labels of one head, but {bundle.ref} has these: {has}"
        raise ConfigError(f"{told}; select one as REF#HEAD, or write a table per head")
    return {next(iter(bundle.heads)): table}


def _mapped_head(spec: HeadSpec, name: str, table: Mapping[str, Any], where: str) -> HeadSpec:
    if spec.problem_type == "regression":
        raise ConfigError(f"{where}: head '{name}' answers with numbers, which have no labels to map")
    if strange := [label for label in table if label not in spec.answers]:
        raise ConfigError(
            f"{where}: head '{name}' has no label {_listed(strange)}; it has {_listed(spec.answers)}"
        )
    if missing := [label for label in spec.answers if label not in table]:
        raise ConfigError(
            f"{where}: no label for {_listed(missing)} of head '{name}'; every one of its labels needs one"
        )
    if empty := [label for label, other in table.items() if not isinstance(other, str) or not other]:
        raise ConfigError(
            f"{where}: {_listed(empty)} of head '{name}' becomes no label; a label cannot be dropped, only "
            f"mapped to a text"
        )
    return replace(spec, mapping=tuple(table[label] for label in spec.mapping or spec.labels))


def _listed(labels: Iterable[str]) -> str:
    return ", ".join(f"'{label}'" for label in labels)


def write_mapped(bundle: Bundle, output: Path, mended: Callable[[str, Bundle], str]) -> str:
    """Write a bundle with the heads of `bundle` as they are now, and return its digest.

    Weights stay what they were; a card, whose figures are of other labels, becomes what `mended` makes of its
    words. Raises OutputError when `output` is there already or cannot be written.
    """
    with new_folder(output) as folder:
        copy_files(bundle, folder)
        if (card := folder / CARD).is_file():
            # a card may be in any encoding; what is not understood is kept as it is
            text = card.read_text("utf-8", errors="surrogateescape")
            card.write_text(mended(text, bundle), "utf-8", errors="surrogateescape")
        manifest = replace(
            bundle.manifest, files=pinned_files(folder), heads=bundle.heads, parent=bundle.digest
        )
        write_manifest(folder, manifest)
    return manifest.digest
