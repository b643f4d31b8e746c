"""Stage 0 · a model's name → a Bundle: present, verified, pinned, licensed. The room's door."""

from pathlib import Path

from tonewise.config import StoreConfig
from tonewise.errors import HubError, IntegrityError
from tonewise.store.bundle import (
    BUNDLE_FILES,
    Bundle,
    open_bundle,
    read_manifest,
)
from tonewise.store.catalogue import Entry, Figure, catalogued
from tonewise.store.data import is_offline
from tonewise.store.files import hub_snapshot, sha256_of
from tonewise.store.inventory import FileCheck, ModelRow, models, verify
from tonewise.store.licence import UNSTATED, card_facts, check_data_terms, check_licence, is_permissive
from tonewise.store.lock import Pin, lock_path, pin_of, record
from tonewise.store.manifest import (
    MANIFEST,
    Activation,
    File,
    HeadSpec,
    Manifest,
    Pooling,
    ProblemType,
)
from tonewise.store.mapping import mapped, write_mapped
from tonewise.store.packaged import packaged_folder, packaged_names
from tonewise.store.ref import Ref, parse

__all__ = [
    "UNSTATED",
    "Activation",
    "Bundle",
    "Entry",
    "Figure",
    "File",
    "FileCheck",
    "HeadSpec",
    "Manifest",
    "ModelRow",
    "Pooling",
    "ProblemType",
    "catalogued",
    "describe",
    "is_permissive",
    "mapped",
    "models",
    "open_bundle",
    "packaged_names",
    "pull",
    "resolve",
    "verify",
    "write_mapped",
]


def resolve(ref: str | Path, config: StoreConfig | None = None) -> Bundle:
    """The model that `ref` names, every file checked.

    A hub ref must be in the lock, or pinned by a commit; files that are not here are fetched, unless
    offline. A hub model passes two gates, its licence and its data terms. A folder is the user's own:
    a licence that it states must be an accepted one; its data terms are shown, not gated.

    Raises ModelError for a name or folder that is no model, IntegrityError for a file that is not the
    pinned one, HubError when it must be fetched and cannot, LicenceError for terms not accepted.
    """
    return _open(parse(ref), config or StoreConfig(), pulling=False)


def pull(ref: str | Path, config: StoreConfig | None = None) -> Bundle:
    """Fetch what `ref` names, write it into the lock, and mend files that are missing or damaged.

    What the lock already holds stays as it is: the same commit, the same hashes. Raises as `resolve`
    does, and OutputError when the lock cannot be written.
    """
    return _open(parse(ref), config or StoreConfig(), pulling=True)


def describe(ref: str | Path) -> Bundle:
    """The model as it lies here, every file checked: to be read about, not to be run.

    Terms must be readable before they are accepted, so no gate is asked; and nothing is fetched. Raises as
    `resolve` does, and HubError for a hub model whose files are not here.
    """
    parsed = parse(ref)
    if parsed.place != "hub":
        return _open_own(parsed).select(parsed.heads)
    pin = pin_of(parsed)
    folder = hub_snapshot(parsed.name, pin.commit) if pin else None
    if pin is None or folder is None or not all((folder / name).is_file() for name in pin.files):
        raise HubError(f"{parsed.text}: its files are not here; run: tonewise pull {parsed.key}")
    known = catalogued(parsed.name) or Entry(parsed.name)
    return _open_pinned(parsed, pin, known).select(parsed.heads)


def _open_own(ref: Ref) -> Bundle:
    """A packaged model or a folder."""
    if ref.place == "folder":
        return open_bundle(Path(ref.name), ref.text)
    try:
        return open_bundle(packaged_folder(ref.name), ref.text)
    except IntegrityError as error:
        raise IntegrityError(f"{error}; install tonewise again") from None


def _open(ref: Ref, config: StoreConfig, *, pulling: bool) -> Bundle:
    if ref.place == "packaged":
        bundle = _open_own(ref)
    elif ref.place == "folder":
        bundle = _open_own(ref)
        check_licence(ref.text, bundle.manifest.licence, config.accept_licences, own=True)
    else:
        try:
            bundle = _open_hub(ref, config, pulling)
        except HubError as error:
            if not Path(ref.name).is_dir():
                raise
            raise HubError(
                f"{error}; there is a folder {ref.name} here: write ./{ref.name} for it"
            ) from error
    return bundle.select(ref.heads)


def _open_hub(ref: Ref, config: StoreConfig, pulling: bool) -> Bundle:
    known = catalogued(ref.name) or Entry(ref.name)
    check_data_terms(ref.name, known.data_terms, config.accept_data_terms)
    pin = pin_of(ref)
    if pin is None:
        if known.licence:  # refused here, a model costs nobody a request
            check_licence(ref.name, known.licence, config.accept_licences, own=False)
        if not (pulling or ref.commit):
            raise HubError(f"{ref.text} is not in {lock_path()}; run: tonewise pull {ref.key}")
        pulled, bundle = _pull_new(ref, known, config)
        pin = record(lock_path(), ref.key, pulled)
        if pin == pulled:
            return bundle
    check_licence(ref.name, pin.licence, config.accept_licences, own=False)
    _complete(ref, pin, config, mend=pulling)
    return _open_gated(ref, pin, known, config)


def _pull_new(ref: Ref, known: Entry, config: StoreConfig) -> tuple[Pin, Bundle]:
    """Resolve a ref to a commit, pass the gate, download, open: only what can run enters the lock."""
    if is_offline(config):
        raise HubError(f"{ref.text} is not in {lock_path()} and offline is set; pull it with the network")
    from tonewise.store import hub

    found = hub.survey(ref.name, ref.commit)
    folder = hub_snapshot(ref.name, found.commit)
    # The terms first: a model that may not be used is not downloaded.
    hub.fetch(
        ref.name,
        found.commit,
        [found.files[name] for name in ("README.md", MANIFEST) if name in found.files],
    )
    manifest = read_manifest(folder, ref.text) if MANIFEST in found.files else Manifest(files={})
    licence = manifest.licence or card_facts(folder / "README.md").licence or known.licence
    check_licence(ref.name, licence, config.accept_licences, own=False)
    check_data_terms(ref.name, manifest.data_terms, config.accept_data_terms)
    names = dict.fromkeys((MANIFEST, *BUNDLE_FILES, *manifest.files))
    wanted = [found.files[name] for name in names if name in found.files]
    hub.fetch(ref.name, found.commit, wanted)
    files = {file.name: File(file.sha256 or sha256_of(folder / file.name), file.size) for file in wanted}
    pin = Pin(found.commit, files, licence)
    return pin, _open_gated(ref, pin, known, config)


def _complete(ref: Ref, pin: Pin, config: StoreConfig, *, mend: bool) -> None:
    """Fetch the pinned files that are missing; with `mend` also those that are damaged."""
    folder = hub_snapshot(ref.name, pin.commit)
    missing = [name for name in pin.files if not (folder / name).is_file()]
    if is_offline(config):
        if missing:
            raise HubError(
                f"{ref.text}: {missing[0]} is not in {folder} and offline is set; "
                f"run once with the network: tonewise pull {ref.key}"
            )
    elif missing or mend:
        from tonewise.store import hub

        hub.fetch(ref.name, pin.commit, hub.pinned_files(pin.files))


def _open_gated(ref: Ref, pin: Pin, known: Entry, config: StoreConfig) -> Bundle:
    bundle = _open_pinned(ref, pin, known)
    check_data_terms(ref.name, bundle.manifest.data_terms, config.accept_data_terms)
    return bundle


def _open_pinned(ref: Ref, pin: Pin, known: Entry) -> Bundle:
    """A hub model whose files are here."""
    try:
        return open_bundle(
            hub_snapshot(ref.name, pin.commit),
            ref.text,
            pinned=pin.hashes,
            origin={"hub": ref.name, "commit": pin.commit},
            licence=pin.licence,
            data_terms=known.data_terms,
        )
    except IntegrityError as error:
        raise IntegrityError(f"{error}; run: tonewise pull {ref.key}") from None
