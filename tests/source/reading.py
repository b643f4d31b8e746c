"""The shortest way into a source: bytes in, texts and errors out."""

import io
from typing import Any

from tonewise.config import SourceConfig
from tonewise.errors import RowError
from tonewise.source import Example, open_source


def read(data: bytes | str, **settings: Any) -> list[Example | RowError]:
    """Read `data` as stdin."""
    data = data.encode() if isinstance(data, str) else data
    with open_source(["-"], SourceConfig(**settings), stdin=io.BytesIO(data)) as source:
        return list(source)


def told(items: list[Example | RowError]) -> list[str]:
    """Texts, and errors as people see them."""
    return [str(item) if isinstance(item, RowError) else item.text for item in items]


def good(items: list[Example | RowError]) -> list[Example]:
    """The Examples, when there is nothing else."""
    assert not [item for item in items if isinstance(item, RowError)]
    return [item for item in items if isinstance(item, Example)]
