"""A fresh current folder, files in it, and sources over them that are closed in the end."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tonewise.config import SourceConfig
from tonewise.source import Source, open_source

Put = Callable[[str, bytes | str], Path]
Open = Callable[..., Source]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Write a file into the current folder, which is a fresh one."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, data: bytes | str) -> Path:
        path = Path(name)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    return write


@pytest.fixture
def open_one() -> Iterator[Open]:
    """Open files with settings."""
    with ExitStack() as stack:

        def open_these(*names: str, **settings: Any) -> Source:
            return stack.enter_context(open_source(names, SourceConfig(**settings)))

        yield open_these
