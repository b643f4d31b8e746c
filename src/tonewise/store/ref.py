"""The grammar of refs: what a model may be called, and where each name points."""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tonewise.errors import ModelError
from tonewise.store.catalogue import catalogue, catalogued
from tonewise.store.packaged import head_of, packaged_names

HUB = "hub:"
REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
COMMIT = re.compile(r"[0-9a-f]{40}")
FOLDER_STARTS = ("./", "../", "/", "~")

Place = Literal["packaged", "folder", "hub"]


@dataclass(frozen=True, slots=True)
class Ref:
    """A name, taken apart.

    text    as the user wrote it
    name    of the packaged model, the folder, or the hub's `owner/name`
    commit  of a pinned hub ref
    heads   the ones selected after `#`; none selects all
    """

    text: str
    place: Place
    name: str
    commit: str | None = None
    heads: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Its name in the lock: `owner/name`, or `owner/name@COMMIT` for a pinned ref."""
        return f"{self.name}@{self.commit}" if self.commit else self.name


def parse(ref: str | Path) -> Ref:
    """Take a ref apart. A folder needs a path mark (`./x`, `/x`, `~/x`, `x/`) or to be a `Path`.

    Raises ModelError for a name that points nowhere, with the nearest ones that do.
    """
    if isinstance(ref, Path):
        return Ref(str(ref), "folder", str(ref))
    text = ref.strip()
    name, mark, listed = text.rpartition("#") if "#" in text else (text, "", "")
    heads = tuple(part.strip() for part in listed.split(",")) if mark else ()
    if not name or not all(part for part in heads):
        raise ModelError(f"'{ref}' is not a model's name; write NAME or NAME#HEAD,HEAD")
    if name in (".", "..") or name.startswith(FOLDER_STARTS) or name.endswith("/"):
        return Ref(text, "folder", str(_folder(name)), heads=heads)
    if name in packaged_names():
        return Ref(text, "packaged", name, heads=_heads(name, heads))
    repo, at, commit = name.removeprefix(HUB).partition("@")
    if known := catalogued(repo):
        repo = known.repo
    elif "/" not in repo and not name.startswith(HUB):
        raise ModelError(_unknown(name))
    if not REPO.fullmatch(repo):
        raise ModelError(f"'{text}' is not a hub model's name; write owner/name")
    if at and not COMMIT.fullmatch(commit.lower()):
        raise ModelError(
            f"'{text}': '{commit}' is not a commit of 40 hex digits; "
            f"leave @{commit} away and `tonewise pull {repo}` pins the present one"
        )
    return Ref(text, "hub", repo, commit.lower() or None, heads)


def _heads(name: str, heads: tuple[str, ...]) -> tuple[str, ...]:
    """The heads that a packaged model's name selects: where it is a head's own name, that one."""
    several = head_of(name)
    if several is None:
        return heads
    if heads not in ((), (name,)):
        raise ModelError(f"{name} is one head; for others write {several}#{','.join(heads)}")
    return (name,)


def _folder(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise ModelError(f"'{name}': there is no such home folder") from None


def _unknown(name: str) -> str:
    """Why a plain name points nowhere, and what was perhaps meant."""
    if Path(name).is_dir():
        return f"no model is called '{name}'; for the folder of that name write ./{name}"
    packaged = packaged_names()
    short = {repo.partition("/")[2]: repo for repo in catalogue()}
    near = difflib.get_close_matches(name, [*packaged, *short], n=3, cutoff=0.5)
    meant = f"; did you mean {' or '.join(short.get(one, one) for one in near)}?" if near else ""
    return f"no model is called '{name}'{meant} (packaged: {', '.join(packaged) or 'none'})"
