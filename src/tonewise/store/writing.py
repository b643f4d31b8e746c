"""New bundles: a folder that appears whole, or not at all."""

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tonewise.errors import OutputError
from tonewise.store.bundle import BUNDLE_FILES, Bundle
from tonewise.store.files import reason, sha256_of
from tonewise.store.manifest import MANIFEST, File, Manifest


@contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """An empty folder that takes the name `output` when the block ends well, and vanishes when it does not.

    Raises OutputError when `output` is there already and not an empty folder, or cannot be written.
    """
    check_new_folder(output)
    place = Path(os.path.abspath(output))
    work = place.with_name(f".{place.name[:200]}.{secrets.token_hex(4)}.tmp")
    try:
        missing = [parent for parent in place.parents if not parent.exists()]
    except OSError as error:
        raise _cannot_write(output, error) from None
    try:
        work.mkdir(parents=True)
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
        shutil.rmtree(work, ignore_errors=True)
        for parent in missing:
            with suppress(OSError):  # it holds what was written
                parent.rmdir()


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
