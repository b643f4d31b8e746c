"""Downloads from the hub, by commit only and each file checked; the one user of huggingface_hub."""

import errno
import logging
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tonewise.errors import HubError, IntegrityError, ModelError
from tonewise.store.bundle import weights_among
from tonewise.store.files import RepoKind, git_blob_id, hub_folder, hub_snapshot, reason, sha256_of
from tonewise.store.manifest import File
from tonewise.store.ref import COMMIT

# A pull asks for the model and for nothing else. huggingface_hub reads this once, when it is imported.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub import errors as hub_errors

T = TypeVar("T")

# Which HTTP library is below changes between versions of huggingface_hub: its widest error is the last
# ancestor that is not a built-in one.
TransportError: type[Exception] = [
    kind
    for kind in hub_errors.HfHubHTTPError.__mro__
    if issubclass(kind, Exception) and kind.__module__ != "builtins"
][-1]
TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
DISK = frozenset(
    {errno.EACCES, errno.EDQUOT, errno.EIO, errno.ENAMETOOLONG, errno.ENOSPC, errno.EPERM, errno.EROFS}
)
NO_SUCH_MODEL = "the hub knows no such model, or it is private; check the name, or set HF_TOKEN"
REFUSALS = {  # the narrower kinds first
    hub_errors.GatedRepoError: "the model is gated; accept its terms on its page, then set HF_TOKEN",
    hub_errors.RepositoryNotFoundError: NO_SUCH_MODEL,
    hub_errors.RevisionNotFoundError: "the model has no such commit; check it, or leave it away",
    hub_errors.EntryNotFoundError: "the hub lists this file but does not have it; try again later",
}
STATUSES = {
    401: NO_SUCH_MODEL,  # what the hub says of a model that it does not show to strangers
    403: "the hub forbids access (403); check what HF_TOKEN may read",
    429: "too many requests (429); wait, then try again",
}
PAUSES_SECONDS = (0.5, 2.0)  # before the second and third attempt
TIMEOUT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file to fetch. One of the hashes is there: sha256 (LFS, or from a lock) or git's blob id."""

    name: str
    size: int
    sha256: str | None = None
    blob_id: str | None = None

    def is_at(self, path: Path) -> bool:
        """Whether `path` holds these bytes."""
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        return sha256_of(path) == self.sha256 if self.sha256 else git_blob_id(path) == self.blob_id


@dataclass(frozen=True, slots=True)
class Survey:
    """What the hub says of one commit of a model."""

    repo: str
    commit: str
    files: Mapping[str, RemoteFile]


def survey(repo: str, revision: str | None = None) -> Survey:
    """Ask which commit `revision` (default: the main branch) is, and what files it has.

    Raises HubError when the hub cannot or will not say, ModelError when the model has no safetensors.
    """
    where = f"{repo}@{revision}" if revision else repo
    info = _ask(
        where,
        lambda: HfApi(endpoint=_endpoint()).model_info(
            repo, revision=revision, files_metadata=True, timeout=TIMEOUT_SECONDS
        ),
    )
    commit, siblings = str(info.sha), info.siblings or []
    if revision and commit != revision:
        raise HubError(f"{where}: the hub answers for commit {commit}; check HF_ENDPOINT")
    names = [sibling.rfilename for sibling in siblings]
    if "model.safetensors" not in names:
        raise ModelError(f"{where}: no model.safetensors; {weights_among(names)}")
    return Survey(repo, commit, _remote_files(where, siblings))


def survey_data(repo: str, revision: str) -> Survey:
    """Ask which commit a branch or commit of a data set is, and what files it has. Raises HubError."""
    where = f"{repo}@{revision}"
    info = _ask(
        where,
        lambda: HfApi(endpoint=_endpoint()).dataset_info(
            repo, revision=revision, files_metadata=True, timeout=TIMEOUT_SECONDS
        ),
        "dataset",
    )
    commit = str(info.sha)
    if not COMMIT.fullmatch(commit) or (COMMIT.fullmatch(revision) and commit != revision):
        raise HubError(f"{where}: the hub answers for commit {commit}; check HF_ENDPOINT")
    return Survey(repo, commit, _remote_files(where, info.siblings or []))


def _remote_files(where: str, siblings: Iterable[Any]) -> dict[str, RemoteFile]:
    files = {}
    for sibling in siblings:
        sha256 = sibling.lfs.sha256 if sibling.lfs else None
        if sibling.size is None or not (sha256 or sibling.blob_id):
            raise HubError(f"{where}: the hub gives no hash for {sibling.rfilename}; check HF_ENDPOINT")
        files[sibling.rfilename] = RemoteFile(sibling.rfilename, sibling.size, sha256, sibling.blob_id)
    return files


def pinned_files(files: Mapping[str, File]) -> list[RemoteFile]:
    """What a lock entry names, as files to fetch."""
    return [RemoteFile(name, file.size, file.sha256) for name, file in files.items()]


def fetch(repo: str, commit: str, files: Iterable[RemoteFile], kind: RepoKind = "model") -> None:
    """Make these files present in the hub's cache, each with the right bytes.

    What is there and whole stays; what is damaged is removed and fetched again. Raises HubError when
    that fails, IntegrityError when the hub sends other bytes; nothing damaged is left in the cache.
    """
    folder = hub_snapshot(repo, commit, kind)
    absent = _ask(repo, lambda: [file for file in files if not file.is_at(folder / file.name)], kind)
    _refuse_full_disk(repo, sum(file.size for file in absent))
    for file in absent:
        where = f"{repo}@{commit[:12]} {file.name}"
        # Twice: the first bytes may be a damaged blob that the cache holds for this file.
        if not any(_ask(where, partial(_fetched, repo, commit, file, kind), kind) for _ in range(2)):
            raise IntegrityError(
                f"{where}: the hub sent other bytes than it announces, or than the lock holds; they were "
                f"deleted; check HF_ENDPOINT and proxies, then pull again"
            )


def _fetched(repo: str, commit: str, file: RemoteFile, kind: RepoKind) -> bool:
    """Fetch one file; whether it is the right one. If not, it is gone again."""
    path = hub_snapshot(repo, commit, kind) / file.name
    _discard(path)
    given = Path(_download(repo, commit, file.name, kind))
    if file.is_at(path):
        return True
    _discard(given)
    return False


def _download(repo: str, commit: str, name: str, kind: RepoKind) -> str:
    return str(
        hf_hub_download(
            repo,
            name,
            repo_type=kind,
            revision=commit,
            cache_dir=hub_folder(),
            endpoint=_endpoint(),
            etag_timeout=TIMEOUT_SECONDS,
        )
    )


def _discard(path: Path) -> None:
    """Remove a file from the cache, and the blobs that it links to."""
    root = hub_folder().resolve()
    while path.is_symlink():
        target = path.parent / path.readlink()
        path.unlink()
        path = target
    if path.is_file() and path.resolve().is_relative_to(root):
        path.unlink()


def _refuse_full_disk(repo: str, size: int) -> None:
    """Fail before a download that cannot end well."""
    folder = hub_folder()
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < size:
        raise HubError(
            f"{repo}: {size / 1e6:.0f} MB to fetch, {free / 1e6:.0f} MB free in {hub_folder()}; "
            f"make room, or set HF_HOME to another disk"
        )


def _endpoint() -> str | None:
    """`HF_ENDPOINT` as it is now; huggingface_hub's own constant is as old as its import."""
    return (os.environ.get("HF_ENDPOINT") or "").rstrip("/") or None


def _ask(where: str, call: Callable[[], T], kind: RepoKind = "model") -> T:
    """Run `call`, again after a passing failure; whatever fails in the end becomes one HubError."""
    for pause in (*PAUSES_SECONDS, None):
        try:
            with _quiet():
                return call()
        except (TransportError, hub_errors.EntryNotFoundError, OSError, RuntimeError, ValueError) as error:
            if pause is None or not _is_passing(error):
                told = _explained(error).replace("model", "model" if kind == "model" else "data set")
                raise HubError(f"{where}: {told}") from error
        time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back huggingface_hub's log and warnings: what matters becomes the error that we raise."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _is_passing(error: Exception) -> bool:
    """Whether the same request may succeed in a moment."""
    if isinstance(error, hub_errors.HfHubHTTPError):
        return _status(error) in TRANSIENT
    refused = "Connect" in type(error).__name__ or isinstance(error, ValueError)
    return isinstance(error, TransportError) and not refused


def _status(error: Exception) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return int(status) if status is not None else None


def _explained(error: Exception) -> str:
    """What went wrong and what to do, in one line."""
    if isinstance(error, hub_errors.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    hub, detail = _endpoint() or "the hub", " ".join(str(error).split())[:200] or type(error).__name__
    if isinstance(error, hub_errors.HfHubHTTPError):
        return _refused(error)
    if isinstance(error, OSError) and error.errno in DISK:
        text = f"cannot write to {hub_folder()}: {reason(error)}; make room or access, or set HF_HOME"
    elif type(error) is OSError and error.errno is None:  # huggingface_hub's own count of the bytes
        text = "the download came incomplete; check the network and proxies, then try again"
    elif isinstance(error, hub_errors.OfflineModeIsEnabled):
        text = "huggingface_hub is offline; unset HF_HUB_OFFLINE to fetch it"
    elif "Timeout" in type(error).__name__:
        text = f"{hub} did not answer in time; check the network, then try again"
    elif isinstance(error, (TransportError, ConnectionError)) and not isinstance(error, ValueError):
        text = f"{hub} cannot be reached ({detail}); check the network, HF_ENDPOINT and proxies"
    else:
        text = f"{hub} did not answer as a hub does ({detail}); try again, or check HF_ENDPOINT and proxies"
    return text


def _refused(error: Exception) -> str:
    """The hub's own refusal: by the kind that huggingface_hub gives it, else by its HTTP status."""
    status = _status(error)
    if status == 401 and "Invalid credentials" in str(error):
        return "the hub does not accept the token (401); check HF_TOKEN"
    for kind, text in REFUSALS.items():
        if isinstance(error, kind):
            return text
    return STATUSES.get(status or 0, f"the hub answered {status}; try again later")
