"""tonewise.lock: which commit a hub ref means, and the sha256 of each of its files."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from tonewise.errors import ModelError, OutputError
from tonewise.store.files import SHA256, data_folder, is_inside, parse_json, reason, write_atomically
from tonewise.store.manifest import File
from tonewise.store.ref import COMMIT, Ref

LOCK = "tonewise.lock"
FORMAT = 1
Kind = Literal["models", "data"]
PROJECT_MARKS = ("pyproject.toml", ".git")


@dataclass(frozen=True, slots=True)
class Pin:
    """What one lock entry fixes.

    licence  as it was when the model was pulled: the card's, else the catalogue's
    """

    commit: str
    files: Mapping[str, File]
    licence: str | None = None

    @property
    def hashes(self) -> dict[str, str]:
        """sha256 by file name."""
        return {name: file.sha256 for name, file in self.files.items()}


def lock_path() -> Path:
    """The lock that applies here.

    The nearest one in this folder or above it; else one to be written here, if this looks like a
    project; else the user's own.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / LOCK).is_file():
            return folder / LOCK
    if any((here / mark).exists() for mark in PROJECT_MARKS):
        return here / LOCK
    return data_folder() / LOCK


def read_lock(path: Path, kind: Kind = "models") -> dict[str, Pin]:
    """Every entry by name; none when there is no file. Raises ModelError for a broken lock."""
    try:
        table = parse_json(path.read_text("utf-8"))
        if table["format"] != FORMAT:
            raise ModelError(f"{path}: written in another format than {FORMAT}; upgrade tonewise")
        entries = table["models"] if kind == "models" else table.get(kind, {})
        return {str(name): _pin(entry) for name, entry in entries.items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {reason(error)}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ModelError(
            f"{path}: not a lock ({what}); restore it from version control, or delete it and pull again"
        ) from None


def pin_of(ref: Ref) -> Pin | None:
    """The lock's entry for a hub ref; a pinned ref finds the plain entry when the commits agree.

    Raises ModelError for a broken lock.
    """
    pins = read_lock(lock_path())
    plain = pins.get(ref.name)
    if ref.commit and plain and plain.commit == ref.commit:
        return plain
    return pins.get(ref.key)


def record(path: Path, name: str, pin: Pin, kind: Kind = "models") -> Pin:
    """Add an entry and return the one that stands: another process may have been first.

    Raises OutputError when the lock cannot be written, ModelError when it is broken.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {reason(error)}") from None
    with _alone_in(path.parent):
        entries = {one: read_lock(path, one) for one in get_args(Kind)}
        pins = entries[kind]
        if name in pins:
            return pins[name]
        pins[name] = pin
        table: dict[str, Any] = {"format": FORMAT}
        for one, some in entries.items():
            if some or one == "models":
                table[one] = {key: asdict(value) for key, value in some.items()}
        write_atomically(path, json.dumps(table, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
        return pin


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other process is in this block for `folder`; leaves no file behind."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems cannot lock a folder. The write stays atomic there; at worst
        # one of two pulls in the same instant must be repeated.
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _pin(entry: Mapping[str, Any]) -> Pin:
    files = {str(name): File(**file) for name, file in entry["files"].items()}
    for name, file in files.items():
        if not (is_inside(name) and SHA256.fullmatch(file.sha256) and isinstance(file.size, int)):
            raise ValueError(f"the entry of {name} is malformed")
    if not COMMIT.fullmatch(entry["commit"]):
        raise ValueError(f"{entry['commit']} is not a commit")
    licence = entry.get("licence")
    return Pin(entry["commit"], files, None if licence is None else str(licence))
