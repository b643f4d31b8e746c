"""Files that are never half there: hashing, atomic writes, and the folders for caches and data."""

import errno
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal

from tonewise.errors import ModelError, OutputError

RepoKind = Literal["model", "dataset"]
SHA256 = re.compile(r"[0-9a-f]{64}")


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file's bytes. Raises OSError as `open` does."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_blob_id(path: Path) -> str:
    """Hex id that git gives a file: sha1 over `blob SIZE NUL` and its bytes (gitglossary, "blob object")."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that takes the name `path` when the block ends well, and vanishes when it does not.

    Raises OSError when the folder cannot be written; readers see the old file or the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write a whole file or nothing. Raises OutputError, naming the file and the cause."""
    try:
        with replacing(path) as file:
            file.write(data.encode() if isinstance(data, str) else data)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {reason(error)}") from None


def reason(error: OSError) -> str:
    """An OSError in a few words, without its path and number."""
    if error.errno == errno.ENOSPC:
        return "the disk is full"
    return (error.strerror or str(error)).lower()


def is_inside(name: str) -> bool:
    """Whether a file name read from elsewhere stays inside the folder it is joined to."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\\" not in name


def parse_json(text: str) -> Any:
    """`json.loads`, with ValueError for every text that it cannot read."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def cache_folder(configured: str | None = None) -> Path:
    """Where built graphs are kept: the setting `cache_dir`, else `$XDG_CACHE_HOME/tonewise`.

    Raises ModelError, as the other folders here do, when it needs a home folder and there is none.
    """
    remedy = "set XDG_CACHE_HOME or cache_dir"
    if configured:
        return _expanded(configured, remedy)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else _expanded("~/.cache", remedy)) / "tonewise"


def data_folder() -> Path:
    """Where the user's own lock is kept: `$XDG_DATA_HOME/tonewise`."""
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else _expanded("~/.local/share", "set XDG_DATA_HOME")) / "tonewise"


def _expanded(path: str, remedy: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ModelError(f"{path}: there is no home folder here (HOME is not set); {remedy}") from None


def hub_folder() -> Path:
    """Where huggingface_hub keeps what it fetched, read anew at each call.

    `HF_HUB_CACHE`, else `$HF_HOME/hub`, else `$XDG_CACHE_HOME/huggingface/hub`: its own order, so that
    what other programs have fetched is found.
    """
    for variable, below in (
        ("HF_HUB_CACHE", "."),
        ("HUGGINGFACE_HUB_CACHE", "."),
        ("HF_HOME", "hub"),
        ("XDG_CACHE_HOME", "huggingface/hub"),
    ):
        if value := os.environ.get(variable):
            return _expanded(os.path.expandvars(value), f"write {variable} in full") / below
    return _expanded("~/.cache/huggingface/hub", "set HF_HOME")


def hub_snapshot(repo: str, commit: str, kind: RepoKind = "model") -> Path:
    """Where huggingface_hub puts the files of one commit of `owner/name`; it may not be there yet."""
    return hub_folder() / f"{kind}s--{repo.replace('/', '--')}" / "snapshots" / commit
