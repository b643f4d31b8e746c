"""What is here and whether it is whole: the rows of `models`, the files of `verify`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from tonewise.config import StoreConfig
from tonewise.errors import HubError, ModelError
from tonewise.store.bundle import heads_of, read_json, read_manifest, unpinned_files
from tonewise.store.catalogue import Entry, Figure, catalogue, catalogued
from tonewise.store.files import hub_snapshot, sha256_of
from tonewise.store.licence import UNSTATED, card_facts
from tonewise.store.lock import Pin, lock_path, pin_of, read_lock
from tonewise.store.manifest import MANIFEST
from tonewise.store.packaged import head_of, packaged_folder, packaged_names
from tonewise.store.ref import Ref, parse


@dataclass(frozen=True, slots=True)
class FileCheck:
    """What `verify` found of one file.

    state     unpinned: a run would read it, and nothing vouches for it
    expected  the pinned sha256
    found     the sha256 of what is there; None when it is missing or cannot be read
    """

    name: str
    state: Literal["ok", "differs", "missing", "unpinned"]
    expected: str | None
    found: str | None


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model as a list shows it.

    kind     packaged; catalogued (known, not pulled); present (in the lock, its files here); locked
             (in the lock, its files not here)
    labels   per head
    size     bytes of its files; None when unknown
    figures  published ones, each with its source
    head_of  the packaged model with several heads whose files these are
    """

    name: str
    kind: Literal["packaged", "catalogued", "present", "locked"]
    licence: str
    data_terms: str | None = None
    languages: tuple[str, ...] = ()
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    size: int | None = None
    figures: tuple[Figure, ...] = ()
    head_of: str | None = None


def verify(ref: str | Path, config: StoreConfig | None = None) -> list[FileCheck]:
    """Hash every file of a model against its manifest or the lock. Never touches the network.

    A file that differs is reported, not raised. Raises ModelError for a name that is no model or a
    manifest that cannot be read, HubError for a hub model that was never pulled.
    """
    del config  # nothing here depends on it; every door of this room takes one
    parsed = parse(ref)
    folder, pinned = _pinned_files(parsed)
    checks = [_checked(folder, name, expected) for name, expected in sorted(pinned.items())]
    return checks + [_checked(folder, name, None) for name in unpinned_files(folder, pinned)]


def models(config: StoreConfig | None = None) -> list[ModelRow]:
    """Packaged models, then those in the lock, then the catalogued ones that are in neither."""
    del config
    pins = read_lock(lock_path())
    pulled = {name.partition("@")[0] for name in pins}
    rows = [_packaged_row(name) for name in packaged_names()]
    rows += [_locked_row(name, pin) for name, pin in sorted(pins.items())]
    rows += [
        ModelRow(
            entry.repo,
            "catalogued",
            entry.licence or UNSTATED,
            entry.data_terms,
            entry.languages,
            entry.labels,
            figures=entry.figures,
        )
        for entry in catalogue().values()
        if entry.repo not in pulled
    ]
    return rows


def _pinned_files(ref: Ref) -> tuple[Path, Mapping[str, str]]:
    """Where a model's files are, and the sha256 that each must have."""
    if ref.place == "hub":
        pin = pin_of(ref)
        if pin is None:
            raise HubError(f"{ref.text} is not in {lock_path()}; run: tonewise pull {ref.key}")
        return hub_snapshot(ref.name, pin.commit), pin.hashes
    folder = packaged_folder(ref.name) if ref.place == "packaged" else Path(ref.name)
    if not folder.is_dir():
        raise ModelError(f"{ref.text}: there is no folder {folder}")
    if not (folder / MANIFEST).is_file():
        return folder, {}
    return folder, {name: file.sha256 for name, file in read_manifest(folder, ref.text).files.items()}


def _checked(folder: Path, name: str, expected: str | None) -> FileCheck:
    try:
        found = sha256_of(folder / name)
    except FileNotFoundError:
        return FileCheck(name, "missing", expected, None)
    except OSError:
        return FileCheck(name, "differs", expected, None)
    state: Literal["ok", "differs", "unpinned"] = "ok" if found == expected else "differs"
    return FileCheck(name, state if expected else "unpinned", expected, found)


def _packaged_row(name: str) -> ModelRow:
    manifest, several = read_manifest(packaged_folder(name), name), head_of(name)
    heads = {head: spec for head, spec in manifest.heads.items() if several is None or head == name}
    return ModelRow(
        name,
        "packaged",
        manifest.licence or UNSTATED,
        manifest.data_terms,
        manifest.languages,
        {head: spec.answers for head, spec in heads.items()},
        sum(file.size for file in manifest.files.values()),
        head_of=several,
    )


def _locked_row(name: str, pin: Pin) -> ModelRow:
    repo = name.partition("@")[0]
    known = catalogued(repo) or Entry(repo)
    folder = hub_snapshot(repo, pin.commit)
    size = sum(file.size for file in pin.files.values())
    row = ModelRow(
        name,
        "locked",
        pin.licence or UNSTATED,
        known.data_terms,
        known.languages,
        known.labels,
        size,
        known.figures,
    )
    if not all((folder / file).is_file() for file in pin.files):
        return row
    row = replace(row, kind="present")
    try:
        if MANIFEST in pin.files:
            manifest = read_manifest(folder, name)
            heads, languages = manifest.heads, manifest.languages
            row = replace(row, data_terms=manifest.data_terms or known.data_terms)
        else:
            heads = heads_of(read_json(folder / "config.json", name), name)
            languages = card_facts(folder / "README.md").languages
    except ModelError:
        return row  # a list is no place to fail; `verify` says what is wrong with it
    labels = {head: spec.answers for head, spec in heads.items()}
    return replace(row, labels=labels, languages=languages or known.languages)
