"""Where a command writes its pages and pictures: a folder that is there and takes files."""

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tonewise.benchmark.picture import check_matplotlib
from tonewise.errors import OutputError
from tonewise.store.files import reason


def prepared(
    folder: Path, names: Sequence[str] = (), is_same: Callable[[Any], bool] = lambda held: True
) -> Path:
    """The folder, made, and known to take files.

    names    what is going to be written, the JSON first
    is_same  whether such a JSON is of the same models and data, so that it may be replaced

    Raises OutputError, MissingExtraError.
    """
    check_matplotlib()
    try:
        there = [name for name in names if (folder / name).exists()]
        if there and not _may_replace(folder / names[0], is_same):
            raise OutputError(
                f"{folder} holds {there[0]} of another model or other data; name another folder"
            )
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {reason(error)}") from None


def _may_replace(path: Path, is_same: Callable[[Any], bool]) -> bool:
    """Not what nobody can tell the model and data of."""
    try:
        return is_same(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return False
