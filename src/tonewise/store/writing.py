"""New bundles: a folder that appears whole, or not at all."""

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tonewise.errors import OutputError
from tonewise.store.bundle import BUNDLE_FILES, Bundle
from tonewise.store.files import reason, sha256_of
from tonewise.store.manifest import MANIFEST, File, Manifest

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """An empty folder that takes the name `output` when the block ends well, and vanishes when it does not.

    What a writer of the same `output` left when it was killed is removed first: the hidden folder, and what
    lies beside it under its name, a dot and more. Where it cannot be told that nobody writes there, it stays.

    Raises OutputError when `output` is there already and not an empty folder, or cannot be written.
    """
    check_new_folder(output)
    place = Path(os.path.abspath(output))
    try:
        missing = [parent for parent in place.parents if not parent.exists()]
    except OSError as error:
        raise _cannot_write(output, error) from None
    try:
        _sweep(place)
        with _hidden_folder(place) as work:
            yield work
            for path in work.rglob("*"):
                _flush(path)
            if place.is_dir():
                place.rmdir()
            work.rename(place)
            _flush(place.parent)
    except OSError as error:
        raise _cannot_write(output, error) from None
    finally:
        for parent in missing:
            with suppress(OSError):  # it holds what was written
                parent.rmdir()


@contextmanager
def _hidden_folder(place: Path) -> Iterator[Path]:
    """A new folder beside `place`, locked until the block ends, and then gone unless it was renamed."""
    work, handle = _locked_folder(place)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        os.close(handle)


def _locked_folder(place: Path) -> tuple[Path, int]:
    """The folder, and the handle that holds its lock for as long as this process lives."""
    while True:
        work = place.with_name(f"{_beginning(place)}{secrets.token_hex(4)}.tmp")
        work.mkdir(parents=True)
        try:
            handle = os.open(work, os.O_RDONLY)
        except FileNotFoundError:
            continue  # another writer took it for a left-over before it was locked
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)  # it is being taken for one
            continue
        except OSError:
            return work, handle  # a file system that cannot lock a folder: then nothing is swept there either
        if work.exists():
            return work, handle
        os.close(handle)


def _beginning(place: Path) -> str:
    """How the names of its hidden folders begin: with the boot too, as a lock tells of this machine alone."""
    name = os.fsencode(place.name)[:200].decode(errors="ignore")
    boot = _boot()
    return f".{name}." if boot is None else f".{name}.{boot}-"


def _boot() -> str | None:
    """What tells this machine since it was last started from all others; None where the system does not."""
    try:
        found = re.match(r"[0-9a-f]{8}(?=-)", BOOT_ID.read_text("ascii"))
    except (OSError, ValueError):
        return None
    return found and found[0]


def _sweep(place: Path) -> None:
    """Remove what writers of `place` left who are surely dead: of this machine, and their lock is free."""
    if _boot() is None:
        return
    ours = re.compile(re.escape(_beginning(place)) + r"[0-9a-f]{8}\.tmp")
    with suppress(OSError):  # there is no such folder yet, or it cannot be read
        names = os.listdir(place.parent)
        for name in filter(ours.fullmatch, names):
            beside = [place.with_name(one) for one in names if one.startswith(f"{name}.")]
            _remove_unless_locked(place.with_name(name), beside)


def _remove_unless_locked(work: Path, beside: Iterable[Path]) -> None:
    with suppress(OSError):  # its writer lives, or ended this instant, or it is another user's
        handle = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for path in (*beside, work):
                shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(handle)


def _flush(path: Path) -> None:
    """Have the disk hold it, so that a name never points to what was not yet written."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_new_folder(output: Path) -> None:
    """Raise OutputError for a path that is there already, unless it is an empty folder."""
    try:
        taken = output.exists() and not (output.is_dir() and not any(output.iterdir()))
    except OSError as error:
        raise _cannot_write(output, error) from None
    if taken:
        raise OutputError(f"{output} is there already; name a folder that is not")


def _cannot_write(output: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot write {output}: {reason(error)}")


def copy_files(bundle: Bundle, folder: Path) -> None:
    """Copy what a bundle consists of, but for its manifest. Raises OSError as `shutil` does."""
    for name in bundle.manifest.files or BUNDLE_FILES:
        source = bundle.folder / name
        if name != MANIFEST and source.is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / name)


def pinned_files(folder: Path) -> Mapping[str, File]:
    """sha256 and size of every file below `folder`, by its name there, but for the manifest."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    names = {path: path.relative_to(folder).as_posix() for path in paths}
    return {name: File(sha256_of(path), path.stat().st_size) for path, name in names.items()}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `tonewise.json`. Raises OSError as `write_text` does."""
    (folder / MANIFEST).write_text(manifest.to_json(), "utf-8")
