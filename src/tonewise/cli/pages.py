"""Where a command writes its pages and pictures: a folder that is there and takes files."""

import tempfile
from pathlib import Path

from tonewise.benchmark.picture import check_matplotlib
from tonewise.errors import OutputError
from tonewise.store.files import reason


def prepared(folder: Path) -> Path:
    """The folder, made, and known to take files. Raises OutputError, MissingExtraError."""
    check_matplotlib()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {reason(error)}") from None
