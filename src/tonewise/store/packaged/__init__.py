"""The models that come with the package: each folder beside this file that has a manifest."""

from pathlib import Path

from tonewise.store.bundle import MANIFEST

ROOT = Path(__file__).parent


def packaged_names() -> list[str]:
    """The names of the packaged models, sorted."""
    return sorted(path.parent.name for path in ROOT.glob(f"*/{MANIFEST}"))


def packaged_folder(name: str) -> Path:
    """The bundle folder of a packaged model."""
    return ROOT / name
