"""The models that come with the package: each folder beside this file that has a manifest."""

from pathlib import Path

from tonewise.store.bundle import MANIFEST

ROOT = Path(__file__).parent
HEADS = dict.fromkeys(("sentiment", "go-emotions", "spam", "offensive"), "multitask")
"""Names that mean one head of a packaged model with several."""


def packaged_names() -> list[str]:
    """The names of the packaged models, sorted; a head with a name of its own is one."""
    folders = {path.parent.name for path in ROOT.glob(f"*/{MANIFEST}")}
    return sorted([*folders, *(head for head, of in HEADS.items() if of in folders)])


def head_of(name: str) -> str | None:
    """The packaged model of several heads of which `name` is one."""
    return HEADS.get(name)


def packaged_folder(name: str) -> Path:
    """The bundle folder of a packaged model."""
    return ROOT / HEADS.get(name, name)
