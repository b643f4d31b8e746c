"""Data sets of the hub: one split as Parquet, by commit, each file checked and pinned in the lock."""

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tonewise.config import StoreConfig
from tonewise.errors import HubError, IntegrityError
from tonewise.store.files import hub_snapshot, sha256_of
from tonewise.store.lock import Pin, lock_path, read_lock, record
from tonewise.store.manifest import File
from tonewise.store.ref import COMMIT

CONVERTED = "refs/convert/parquet"
"""The branch on which the hub keeps every data set as Parquet."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")
PART = re.compile(r"(?P<split>.+?)(-\d+-of-\d+(-\w+)?)?\.parquet")
TRUE = frozenset({"1", "ON", "YES", "TRUE"})  # as huggingface_hub reads its variables


@dataclass(frozen=True, slots=True)
class SplitName:
    """One split of a data set of the hub; without a commit its present state."""

    repo: str
    split: str
    config: str | None = None
    commit: str | None = None

    @property
    def key(self) -> str:
        """Its name in the lock."""
        pinned = f"@{self.commit}" if self.commit else ""
        return f"{self.repo}{pinned}:{self.config or ''}/{self.split}"


@dataclass(frozen=True, slots=True)
class Split:
    """Its files here, in order, and the commit that they are of.

    converted  they are of the hub's own conversion of its present state, not of the commit asked for
    """

    paths: tuple[Path, ...]
    commit: str
    converted: bool


def fetch_split(wanted: SplitName, config: StoreConfig | None = None) -> Split:
    """The split's Parquet files: as the lock pins them, else looked up, fetched, and pinned.

    Looked for in the data set at the commit (or its main branch), then in the hub's conversion. Raises
    HubError when it cannot be had, IntegrityError for a file that is not the pinned one, ModelError for a
    broken lock, OutputError when the lock cannot be written.
    """
    config = config or StoreConfig()
    pin = read_lock(lock_path(), "data").get(wanted.key)
    offline = is_offline(config)
    if pin is None:
        if offline:
            raise HubError(f"{wanted.key} is not in {lock_path()} and offline is set")
        pin = record(lock_path(), wanted.key, _looked_up(wanted), "data")
    folder = hub_snapshot(wanted.repo, pin.commit, "dataset")
    missing = [name for name in pin.files if not (folder / name).is_file()]
    if missing and offline:
        raise HubError(f"{wanted.key}: {missing[0]} is not in {folder} and offline is set")
    if missing:
        from tonewise.store import hub

        hub.fetch(wanted.repo, pin.commit, hub.pinned_files(pin.files), "dataset")
    for name, file in pin.files.items():
        if sha256_of(folder / name) != file.sha256:
            raise IntegrityError(f"{folder / name} is not the file that {lock_path()} pins; delete it")
    converted = wanted.commit not in (None, pin.commit)
    return Split(tuple(folder / name for name in sorted(pin.files)), pin.commit, converted)


def is_offline(config: StoreConfig) -> bool:
    """Whether the network may not be touched: by our setting, or by the hub's own variable."""
    return config.offline or os.environ.get("HF_HUB_OFFLINE", "").upper() in TRUE


def _looked_up(wanted: SplitName) -> Pin:
    """Which files of which commit the split is; fetched, so that their hashes are known."""
    from tonewise.store import hub

    if not NAME.fullmatch(wanted.repo):
        raise HubError(f"'{wanted.repo}' is no name of a data set on the hub")
    if wanted.commit and not COMMIT.fullmatch(wanted.commit):
        raise HubError(f"{wanted.repo}: revision '{wanted.commit}' is not a commit of 40 hex digits")
    found = hub.survey_data(wanted.repo, wanted.commit or "main")
    try:
        names = files_of_split(found.files, wanted)
    except HubError:  # the conversion has configs that are not folders of the data set itself
        if wanted.config is None:
            raise
        names = []
    if not names:
        found = hub.survey_data(wanted.repo, CONVERTED)
        names = files_of_split(found.files, wanted)
    if not names:
        has = ", ".join(sorted(name for name in found.files if name.endswith(".parquet"))[:10]) or "none"
        what = f"split '{wanted.split}'" + (f" of config '{wanted.config}'" if wanted.config else "")
        raise HubError(f"{wanted.repo}: no Parquet file of {what}; it has: {has}")
    files = [found.files[name] for name in names]
    hub.fetch(wanted.repo, found.commit, files, "dataset")
    folder = hub_snapshot(wanted.repo, found.commit, "dataset")
    pinned = {file.name: File(file.sha256 or sha256_of(folder / file.name), file.size) for file in files}
    return Pin(found.commit, pinned)


def files_of_split(names: Iterable[str], wanted: SplitName) -> list[str]:
    """Those of a data set's files that hold a split, by the layouts that the hub's Parquet has.

    `CONFIG/SPLIT/0000.parquet`, `CONFIG/SPLIT-00000-of-00001.parquet`, `data/SPLIT-….parquet`. Files that
    are of no config are those of `default`. Raises HubError where the config is not told and several have
    such a split, and where another than the one that is told has it.
    """
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        path = PurePosixPath(name)
        match = PART.fullmatch(path.name)
        if match is None or wanted.split not in (match["split"], path.parent.name):
            continue
        above = [part for part in path.parts[:-1] if part not in ("data", wanted.split)]
        found.setdefault(above[-1] if above else "", []).append(name)
    if wanted.config in found:
        return found[str(wanted.config)]
    if wanted.config is None and len(found) > 1 and not found.keys() & {"default", ""}:
        raise HubError(f"{wanted.repo}: which config is meant? It has: {', '.join(found)} (--dataset-config)")
    if wanted.config is None and found:
        return found.get("default") or found.get("") or next(iter(found.values()))
    if wanted.config not in (None, "default") and found:
        has = ", ".join(name or "default" for name in found)
        what = f"split '{wanted.split}' of config '{wanted.config}'"
        raise HubError(f"{wanted.repo}: no Parquet file of {what}; configs with such a split: {has}")
    return found.get("", [])


def class_names(path: Path, column: str | None) -> tuple[str, ...]:
    """The names of the numbers in a split's column, as `datasets` writes them into Parquet; else ()."""
    import pyarrow.parquet

    told = (pyarrow.parquet.read_schema(path).metadata or {}).get(b"huggingface", b"{}")
    one = json.loads(told).get("info", {}).get("features", {}).get(column)
    if isinstance(one, list) and one:  # how older versions write a list of labels
        one = one[0]
    while isinstance(one, dict) and isinstance(one.get("feature"), dict):
        one = one["feature"]
    if isinstance(one, dict) and one.get("_type") == "ClassLabel":
        return tuple(map(str, one.get("names", ())))
    return ()
